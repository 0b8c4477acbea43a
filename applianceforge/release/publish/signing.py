"""Sign metadata with as many keys as its role asks for, and tell which ones are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from applianceforge.model.errors import SigningKeyError
from applianceforge.release.publish.expiry import DAY_S, Role
from applianceforge.release.publish.keys import Absent, KeyPlaces, MadeKey
from applianceforge.release.publish.state import KeyEntry


def ends_at(now_s: float, days: int) -> datetime:
    """Return when something that is signed now for so many days expires."""
    return datetime.fromtimestamp(int(now_s) + days * DAY_S, UTC)


@dataclass(frozen=True)
class Keyring:
    """The keys of a repository, and where their private halves are.

    Attributes:
        entries: All that it ever had.
        places: Where they are looked for.
        made: Those that are new, and in no file yet.
    """

    entries: tuple[KeyEntry, ...]
    places: KeyPlaces
    made: tuple[MadeKey, ...] = ()

    def sign(self, metadata: Metadata[Any], role: Role, root: Root, before: Root | None) -> bool:
        """Sign with as many keys as a root asks for, and as the root before it asked for.

        What both ask for is signed by the keys of both: a client that has only the older root
        accepts it as one that has the newer. For a root that is the rule itself.

        Args:
            metadata: Is signed.
            role: Who signs.
            root: Whose keys must sign; for a root, that one itself.
            before: Whose keys sign too, as far as they are at hand.

        Returns:
            Whether the keys of `before` sufficed as well.

        Raises:
            SigningKeyError: Too few keys are at hand, or a file is not what it should be.
        """
        payload = metadata.signed_bytes
        metadata.signatures.clear()
        for one in (root,) if before is None else (root, before):
            missing = self._sign(metadata, role, one)
            result = one.get_verification_result(role.value, payload, metadata.signatures)
            if result.verified:
                continue
            if one is before and role is not Role.ROOT:
                return False
            raise _too_few(role, result.threshold, len(result.signed), missing, old=one is before)
        return True

    def _sign(self, metadata: Metadata[Any], role: Role, root: Root) -> list[str]:
        """Sign until there are enough; return the names of keys that are not at hand."""
        wanted = root.roles[role.value]
        missing = []
        for key_id in wanted.keyids:
            if len(metadata.signatures.keys() & set(wanted.keyids)) >= wanted.threshold:
                break
            if key_id in metadata.signatures:
                continue
            name, signer = self._signer(key_id, root)
            if isinstance(signer, Absent):
                missing.append(f"{name} ({signer.reason})" if signer.reason else name)
                continue
            try:
                metadata.sign(signer, append=True)
            except UnsignedMetadataError as error:
                # A security module that is locked or unplugged; another key may do.
                reason = error.__cause__ or error
                missing.append(f"{name} ({str(reason) or type(reason).__name__})")
        return missing

    def _signer(self, key_id: str, root: Root) -> tuple[str, Signer | Absent]:
        for made in self.made:
            if made.entry.key_id == key_id:
                return made.entry.name, made.signer
        for entry in self.entries:
            if entry.key_id == key_id:
                return entry.name, self.places.signer(entry, root.keys[key_id])
        return f"{key_id[:12]}...", Absent()


def _too_few(
    role: Role, wanted: int, found: int, missing: Sequence[str], *, old: bool
) -> SigningKeyError:
    names = ", ".join(missing)
    keys = "key" if wanted == 1 else "keys"
    hint = (
        "bring the directory with what is missing, and name it with --keys, which may be given"
        " often; of a security module: plug it in, set PYKCS11LIB, give the right PIN"
    )
    if old:
        hint += (
            "; if too many root keys are lost for good, no box can be told of new ones: make a new"
            " repository, and bring its root.json to each box with an image"
        )
    elif role is not Role.ROOT:
        hint += f"; if it is lost, replace it: release rotate-keys DIR {role.value} --remove NAME"
    else:
        hint += "; if one is lost, replace it: release rotate-keys DIR root --remove NAME"
    return SigningKeyError(
        f"{wanted} {keys} of {'the former ' if old else ''}{role.value} must sign, and {found} did:"
        f" {names or 'no other'} {'is' if len(missing) == 1 else 'are'} not at hand",
        hint=hint,
    )
