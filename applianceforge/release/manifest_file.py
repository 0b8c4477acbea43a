"""Decode and encode the manifest of a bundle.

    {"schema": 1,
     "release": {...},                                      as in RELEASE.json
     "slot": {"name": "current", "size_bytes": 346181632, "sha256": "..."},
     "block_bytes": 4096,
     "index": {"path": "bundles/SHA256.index", "size_bytes": 1413000, "sha256": "..."},
     "payload": {"path": "bundles/SHA256.payload.zst", "size_bytes": 91000000, "sha256": "..."}}

The same manifest gives the same bytes: keys in this order, no spaces, ASCII, a line end.
"""

from __future__ import annotations

import json
import re
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import WrongBundleError
from applianceforge.preflight import json_values, release_file
from applianceforge.preflight.json_values import Reader
from applianceforge.preflight.requirements import Release
from applianceforge.release.index import BLOCK_BYTES, MOST_BLOCKS
from applianceforge.release.manifest import Manifest, Part

SCHEMA = 1
LARGEST_BYTES = 1 << 18
INDEX_SUFFIX = ".index"
PAYLOAD_SUFFIX = ".payload.zst"

_LARGEST_PART_BYTES = MOST_BLOCKS * BLOCK_BYTES
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = ("schema", "release", "slot", "block_bytes", "index", "payload")
_HINT = "it was changed, or made by a newer toolkit: fetch it again, or ask your vendor"


def part_path(sha256: str, suffix: str) -> str:
    """Return where a part of a bundle lies below the repository's root."""
    return f"bundles/{sha256}{suffix}"


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON, always the same."""
    document = {
        "schema": SCHEMA,
        "release": release_file.encode(manifest.release),
        "slot": {
            "name": manifest.slot_name,
            "size_bytes": manifest.slot_bytes,
            "sha256": manifest.slot_sha256,
        },
        "block_bytes": manifest.block_bytes,
        "index": _part_fields(manifest.index),
        "payload": _part_fields(manifest.payload),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _part_fields(part: Part) -> dict[str, Any]:
    return {"path": part.path, "size_bytes": part.size_bytes, "sha256": part.sha256}


def decode(data: bytes, name: str) -> Manifest:
    """Return what a manifest says.

    Args:
        data: The manifest, whole.
        name: What messages call it.

    Raises:
        WrongBundleError: It is wrong; the evidence names every problem.
    """
    if len(data) > LARGEST_BYTES:
        raise _refused(name, (f"it has more than {LARGEST_BYTES // 1024} KiB",))
    try:
        document = json_values.parsed(data)
    except ValueError as error:
        raise _refused(name, (f"it is not JSON: {error}",)) from None
    if document is None:
        raise _refused(name, ("it is not a JSON object",))
    schema = document.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise WrongBundleError(
            f"{name} has schema {schema}; this program knows schemas up to {SCHEMA}",
            hint="update to a release in between first, or ask your vendor",
        )
    reader = Reader()
    manifest = _manifest(document, reader)
    if reader.count:
        raise _refused(name, reader.told)
    return manifest


def _manifest(document: dict[str, Any], reader: Reader) -> Manifest:
    reader.keys(document, "", _KEYS)
    if type(document.get("schema")) is not int or document["schema"] < 1:
        reader.wrong("schema", f"must be the number {SCHEMA}")
    release = release_file.from_object(
        _object(document, "release", reader), Reader("release.", reader)
    )
    slot = _object(document, "slot", reader)
    reader.keys(slot, "slot.", ("name", "size_bytes", "sha256"))
    slot_bytes = _size(slot, "slot.", reader)
    if slot_bytes % BLOCK_BYTES:
        reader.wrong("slot.size_bytes", f"must be a multiple of {BLOCK_BYTES}")
    if reader.number(document, "block_bytes", "", BLOCK_BYTES) != BLOCK_BYTES:
        reader.wrong("block_bytes", f"must be {BLOCK_BYTES}")
    return Manifest(
        release or Release(Architecture.AMD64),
        reader.text(slot, "name", "slot.", needed=True),
        slot_bytes,
        _digest(slot, "slot.", reader),
        BLOCK_BYTES,
        _part(document, "index", INDEX_SUFFIX, reader),
        _part(document, "payload", PAYLOAD_SUFFIX, reader),
    )


def _object(document: dict[str, Any], key: str, reader: Reader) -> dict[str, Any]:
    found = reader.object(document, key)
    if key not in document:
        reader.wrong(key, "must be there")
    return found or {}


def _part(document: dict[str, Any], key: str, suffix: str, reader: Reader) -> Part:
    fields, where = _object(document, key, reader), f"{key}."
    reader.keys(fields, where, ("path", "size_bytes", "sha256"))
    sha256 = _digest(fields, where, reader)
    path = part_path(sha256, suffix)
    # Where it lies follows from its digest, so that no manifest can name another file.
    if reader.text(fields, "path", where) != path:
        reader.wrong(f"{where}path", f"must be {path}")
    return Part(path, _size(fields, where, reader), sha256)


def _size(fields: dict[str, Any], where: str, reader: Reader) -> int:
    found = reader.number(fields, "size_bytes", where, _LARGEST_PART_BYTES)
    if found == 0:
        reader.wrong(f"{where}size_bytes", "must be above 0")
    return found


def _digest(fields: dict[str, Any], where: str, reader: Reader) -> str:
    found = reader.text(fields, "sha256", where)
    if not _SHA256.fullmatch(found):
        reader.wrong(f"{where}sha256", "must be 64 hexadecimal digits, in small letters")
        return ""
    return found


def _refused(name: str, problems: tuple[str, ...]) -> WrongBundleError:
    return WrongBundleError(
        f"{name} is no manifest of a bundle: {problems[0]}", hint=_HINT, evidence=problems
    )
