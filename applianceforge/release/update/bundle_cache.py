"""Keep manifest and index of the bundle that is being installed, so that they are fetched once.

What is found in the cache is proved like what is fetched: a damaged copy is fetched again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from applianceforge.model.errors import ForgeError, PayloadError, SettingsError
from applianceforge.release import manifest_file
from applianceforge.release.fetch.source import Source
from applianceforge.release.manifest import Manifest, Part
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.system import files
from applianceforge.system.effects import Effects

# The index of a slot of 8 GiB in blocks of 4 KiB has 32 MiB of digests.
_LARGEST_INDEX_BYTES = 64 << 20


def digest(manifest: Manifest) -> str:
    """Return what tells a manifest from others: the SHA-256 of its file, in hexadecimal."""
    return hashlib.sha256(manifest_file.encode(manifest)).hexdigest()


def keep_manifest(places: UpdatePlaces, manifest: Manifest, effects: Effects) -> None:
    """Keep the manifest, if it is not the one that is kept."""
    content = manifest_file.encode(manifest)
    if _kept(places.manifest) != content:
        files.write_file(places.manifest, content, effects)


def _kept(path: Path) -> bytes:
    """Return what is kept; nothing where something else than a file lies there."""
    try:
        return files.read_plain(path) or b""
    except SettingsError:
        return b""


def kept_manifest(places: UpdatePlaces, expected: str) -> Manifest | None:
    """Return the manifest that is kept, if it has this digest."""
    try:
        found = manifest_file.decode(_kept(places.manifest), str(places.manifest))
    except ForgeError:
        return None
    return found if digest(found) == expected else None


def index_of(places: UpdatePlaces, manifest: Manifest, source: Source, effects: Effects) -> bytes:
    """Return the index of a bundle, from the cache or the repository, proved by its manifest.

    Raises:
        PayloadError: What the repository has is not what the manifest names.
        NetworkError: It cannot be reached.
        ServerAnswerError: It has no such file.
        DiskFullError: There is no room for it.
    """
    part = manifest.index
    if part.size_bytes > _LARGEST_INDEX_BYTES:
        raise PayloadError(
            f"the index of release {manifest.release.version} is said to have"
            f" {part.size_bytes} bytes, which no slot needs",
            hint="tell your vendor: the repository was made wrongly. Nothing was changed here",
        )
    kept = _kept(places.index)
    if _is(kept, part):
        return kept
    fetched = b"".join(source.fetch(part.path, part.size_bytes))
    if not _is(fetched, part):
        raise PayloadError(
            f"the index of release {manifest.release.version} is not the one that its manifest"
            f" names: {len(fetched)} of {part.size_bytes} bytes came, or others",
            hint="try again; if it stays so, tell your vendor, or whoever runs the proxy between."
            " Nothing was changed here",
        )
    files.write_file(places.index, fetched, effects)
    return fetched


def _is(content: bytes, part: Part) -> bool:
    return len(content) == part.size_bytes and hashlib.sha256(content).hexdigest() == part.sha256


def forget(places: UpdatePlaces, effects: Effects) -> None:
    """Remove what was kept: the bundle is installed, or given up."""
    files.remove_tree(places.index, effects)
    files.remove_tree(places.manifest, effects)
