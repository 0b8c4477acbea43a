"""Files that go into an image from outside: overlays, foreign trees, our own package.

They are listed with the mode and owner that they get, digested, and packed into one tar, whatever
the owners, modes, dates and the order on this machine are.
"""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from applianceforge.system import files

_DIRECTORY_MODE = 0o755
_PROGRAM_MODE = 0o755
_FILE_MODE = 0o644


@dataclass(frozen=True)
class Entry:
    """One file, directory or link of an image.

    Attributes:
        path: Where, without a slash at the beginning.
        mode: Its kind and permissions, as in stat(2).
        source: The file that it is copied from, or None.
        content: What a file holds if there is no source; what a link says.
    """

    path: str
    mode: int
    source: Path | None = None
    content: bytes = b""

    def read(self) -> bytes:
        """Return what is in it."""
        if self.source is None:
            return self.content
        with files.named_errors(self.source, "read"):
            return self.source.read_bytes()


@dataclass(frozen=True)
class Tree:
    """Entries by their paths, sorted; the digest names their paths, modes and contents."""

    entries: tuple[Entry, ...]
    digest: str


def tree_of(entries: Iterable[Entry]) -> Tree:
    """Sort and digest entries; of two with one path, the later counts."""
    by_path = {entry.path: entry for entry in entries}
    chosen = tuple(by_path[path] for path in sorted(by_path))
    digest = hashlib.sha256()
    for entry in chosen:
        content = hashlib.sha256(entry.read()).hexdigest()
        digest.update(f"{entry.path}\0{entry.mode:o}\0{content}\n".encode())
    return Tree(chosen, digest.hexdigest())


def entries_below(
    directory: Path, at: str = "", keep: Callable[[str], bool] = lambda _name: True
) -> Iterator[Entry]:
    """List what is below a directory, as it goes below `at` in the image.

    Modes come from the executable bit of the owner alone, which is what git keeps.
    """
    for base, names, plain in os.walk(directory):
        names.sort()
        names[:] = [name for name in names if keep(name)]
        below = Path(base).relative_to(directory)
        for name in sorted(names + [one for one in plain if keep(one)]):
            path = Path(base) / name
            yield _entry(path, str(Path(at) / below / name))


def _entry(path: Path, place: str) -> Entry:
    with files.named_errors(path, "read"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return Entry(place, stat.S_IFLNK | 0o777, content=os.fsencode(path.readlink()))
    if stat.S_ISDIR(mode):
        return Entry(place, stat.S_IFDIR | _DIRECTORY_MODE)
    permissions = _PROGRAM_MODE if mode & stat.S_IXUSR else _FILE_MODE
    return Entry(place, stat.S_IFREG | permissions, path)


def file_entry(path: str, content: bytes, mode: int = _FILE_MODE) -> Entry:
    """Return the entry of a file with this content."""
    return Entry(path, stat.S_IFREG | mode, content=content)


def directory_entry(path: str) -> Entry:
    """Return the entry of a directory."""
    return Entry(path, stat.S_IFDIR | _DIRECTORY_MODE)


def write_tar(tree: Tree, path: Path, epoch_s: int) -> None:
    """Pack a tree into a tar in which root owns everything, with one date."""
    with files.named_errors(path, "write"), tarfile.open(path, "w") as archive:
        for entry in tree.entries:
            member = tarfile.TarInfo(entry.path)
            member.mode = stat.S_IMODE(entry.mode)
            member.mtime = epoch_s
            if stat.S_ISDIR(entry.mode):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif stat.S_ISLNK(entry.mode):
                member.type = tarfile.SYMTYPE
                member.linkname = os.fsdecode(entry.content)
                archive.addfile(member)
            else:
                content = entry.read()
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
