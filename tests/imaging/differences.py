"""Say how two images differ, in words that lead to the cause."""

import hashlib
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

from applianceforge.imaging import filesystem_mend

_SHOWN = 20
_CHUNK = 1 << 20


def of_bytes(one: Path, other: Path) -> list[str]:
    """Return the first bytes that differ, each with its place."""
    found = []
    if one.stat().st_size != other.stat().st_size:
        found.append(f"  {one.stat().st_size} and {other.stat().st_size} bytes")
    with open(one, "rb") as left, open(other, "rb") as right:
        at = 0
        while len(found) < _SHOWN:
            mine, theirs = left.read(_CHUNK), right.read(_CHUNK)
            if not mine or not theirs:
                break
            if mine != theirs:
                places = (
                    n
                    for n, pair in enumerate(zip(mine, theirs, strict=False))
                    if pair[0] != pair[1]
                )
                found += [
                    f"  byte {at + n}: {mine[n]:02x} and {theirs[n]:02x}"
                    for n in islice(places, _SHOWN)
                ]
            at += _CHUNK
    return found


def of_file_systems(one: Path, other: Path) -> list[str]:
    """Return which files of two ext4 images differ, or else which bytes do."""
    left, right = _listing(one), _listing(other)
    names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    found = [f"  {name}: {left.get(name)} and {right.get(name)}" for name in names[:_SHOWN]]
    return found or of_bytes(one, other)


def _listing(image: Path) -> dict[str, str]:
    """Return each path of an image with its inode's fields and its content's digest."""
    filesystem_mend.read_superblock(image)
    found = {}
    with tempfile.TemporaryDirectory(prefix="differences-") as name:
        words = ["/usr/sbin/debugfs", "-R", f"rdump / {name}", str(image)]
        subprocess.run(words, check=True, capture_output=True)
        for path in Path(name).rglob("*"):
            status = path.lstat()
            what = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
            if path.is_symlink():  # debugfs does not set a link's date.
                what += f" -> {path.readlink()}"
            elif path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                what += f" {int(status.st_mtime)} {digest[:16]}"
            found[str(path.relative_to(name))] = what
    return found
