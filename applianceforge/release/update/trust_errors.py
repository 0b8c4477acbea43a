"""Say in our words why metadata is not trusted.

python-tuf's errors tell kinds apart by class, and within one kind by their words, which the tests
hold fast for the version in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from securesystemslib.exceptions import Error as SecureSystemsError
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from applianceforge.model.errors import (
    ExpiredError,
    ForgeError,
    NetworkError,
    RollbackError,
    SignatureError,
)
from applianceforge.release import clock

# What python-tuf raises for what a repository did wrong; ValueError for a role without delegation.
KINDS = (RepositoryError, DownloadError, SecureSystemsError, ValueError)

_ROLE = re.compile(r"\b(root|timestamp|snapshot|targets)\b")
_VERSIONS = re.compile(r"^Expected (?:root|snapshot|targets) (?:version )?v?(\d+)\D+(\d+)")
_CHANGED = (
    "try again in a few minutes, as the repository may just be changed, and without a proxy if"
    " there is one; if it stays so, tell your vendor: the repository was made wrongly, or somebody"
    " changed it on the way"
)
_OLDER = (
    "try again in a few minutes: a cache or mirror may lag behind; if it stays so, tell your"
    " vendor: somebody may be offering what was withdrawn"
)


def explained(
    error: Exception,
    name: str,
    bodies: Mapping[str, bytes],
    last: str,
    now_s: float,
    server_s: float | None,
) -> ForgeError:
    """Return what an error of python-tuf means.

    Args:
        error: One of `KINDS`.
        name: What messages call the repository.
        bodies: The metadata at hand, by its role; of each role what was looked at last.
        last: The role whose metadata was fetched last.
        now_s: What our clock says, seconds since 1970.
        server_s: What the server says of the time; None if nothing.
    """
    words = str(error)
    found = _ROLE.search(words)
    role = found[1] if found else ""
    which = f"the {role} metadata" if role else "the metadata"
    if isinstance(error, ExpiredMetadataError):
        return _expired(name, role, bodies.get(role, b""), now_s, server_s)
    if isinstance(error, BadVersionNumberError) or "is missing info for" in words:
        versions = _VERSIONS.match(words)
        if versions is None or int(versions[2]) < int(versions[1]):
            return RollbackError(
                f"{name} offers older metadata than was seen before ({words})", hint=_OLDER
            )
        return SignatureError(
            f"{which} of {name} does not belong to the rest of it ({words})", hint=_CHANGED
        )
    if isinstance(error, UnsignedMetadataError):
        return SignatureError(
            f"{which} of {name} is not signed by enough of the keys that are trusted ({words})",
            hint=_CHANGED,
        )
    if isinstance(error, LengthOrHashMismatchError):
        return SignatureError(f"{which} of {name} is not what was signed ({words})", hint=_CHANGED)
    if isinstance(error, DeserializationError):
        return SignatureError(
            f"the {last} metadata of {name} is damaged, or none at all", hint=_CHANGED
        )
    if isinstance(error, DownloadError):
        return NetworkError(f"{name} cannot be reached ({words})", hint="try again later")
    return SignatureError(f"{which} of {name} cannot be trusted ({words})", hint=_CHANGED)


def too_large(name: str, what: str, largest_bytes: int) -> SignatureError:
    """Return the error for metadata that is larger than any can be."""
    return SignatureError(
        f"{what} of {name} is larger than {largest_bytes} bytes, as no true one is", hint=_CHANGED
    )


def changed(name: str, what: str, words: str) -> SignatureError:
    """Return the error for a target that is not what was signed."""
    return SignatureError(f"{what} of {name} is not what was signed ({words})", hint=_CHANGED)


def expiry(body: bytes) -> datetime | None:
    """Return when metadata expires; None if that cannot be read."""
    try:
        expires: datetime = Metadata.from_bytes(body).signed.expires
    except DeserializationError:
        return None
    return expires


def _expired(
    name: str, role: str, body: bytes, now_s: float, server_s: float | None
) -> ExpiredError:
    when = expiry(body)
    since, expired_s = "", now_s
    if when is not None:
        expired_s = when.timestamp()
        since = f" since {clock.shown(expired_s)}, {_how_long(now_s - expired_s)}"
    advice = clock.doubt(now_s, expired_s, server_s)
    return ExpiredError(
        f"the {role} metadata of {name} is out of date{since}",
        hint=f"{advice}; if the clock is right, try without a proxy or another mirror, and tell"
        " your vendor, who must sign it anew: newer releases may be held back from you",
    )


def _how_long(seconds: float) -> str:
    hours = int(seconds // 3600)
    if hours < 1:
        return "less than an hour"
    if hours < 48:
        return f"{hours} hour{'' if hours == 1 else 's'}"
    return f"{hours // 24} days"
