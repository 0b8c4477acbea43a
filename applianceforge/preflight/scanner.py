"""Go over a data partition, read only, and say of each file what a change of width does to it.

The scan opens regular files and directories, nothing else, and never waits for one: a FIFO, a
socket or a device is counted by its type. It follows no link, so it stays in the directory that it
was given, and it enters no directory on which another file system is mounted, so it meets neither
/proc nor a server that does not answer. It changes no time of access where the kernel allows that
(to the owner and to root). Memory is bounded: one descriptor of a directory at a time, the paths of
directories still to come, and a few examples of each kind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from applianceforge.formats import foreign
from applianceforge.formats.foreign_words import HEAD_BYTES, Disposition, Identification
from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight import scan_places
from applianceforge.preflight.scan_result import CLUSTERS, Cluster, Scan, Special, Statement
from applianceforge.preflight.scan_tally import Groups, Misses, Statements

_PROGRESS_FILES = 1000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
# A path that the kernel takes in one piece; PATH_MAX is 4096 with the closing zero.
_PIECE_BYTES = 2048
# Gone, replaced by a link, by something else than a directory, or by another file: all the same.
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
# File systems that hold no data of anybody.
_NO_DATA = ("proc", "sysfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs")


class _Whole:
    """A directory that is one thing: the size and the widths of what is in it so far."""

    def __init__(self, path: str, found: Identification) -> None:
        self.path = path
        self.found = found
        self.size_bytes = 0
        self.major = ""
        self.widths: set[int] = set()


class _Waiting(NamedTuple):
    """A directory still to be gone over.

    Attributes:
        identity: Device and inode, as its parent's listing had them.
        whole: The thing that it is a part of.
    """

    path: str
    identity: tuple[int, int] | None
    whole: _Whole | None


def scan(
    directory: Path,
    statements: tuple[Statement, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Go over a directory and all below it on the same file system.

    Args:
        directory: Where the data is; a link to a directory is followed, only this one.
        statements: What is known of files beforehand; the first one that matches counts.
        progress: Called with the number of files so far, now and then and at the end.

    Raises:
        SettingsError: It is missing, no directory, or one of a file system that holds no data.
        AccessDeniedError: It must not be read.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        raise AccessDeniedError(
            f"{directory} cannot be read: {error.strerror}", hint="scan as root"
        ) from error
    except (OSError, ValueError) as error:
        raise _refusal(directory, getattr(error, "strerror", None) or str(error)) from error
    try:
        mounts = _mounts()
        try:
            place = os.path.realpath(directory)
        except OSError as error:
            # A relative path in a directory that was removed: it opens, but it has no name.
            raise _refusal(directory, error.strerror or str(error)) from error
        kind = _kind_of(place, mounts)
        if kind in _NO_DATA:
            raise _refusal(directory, f"its file system is {kind}, which holds no data")
        return _Scanner(directory, root, statements, progress, place, frozenset(mounts)).run()
    finally:
        os.close(root)


def _refusal(directory: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"{directory} cannot be scanned: {reason}", hint="name the directory with the data"
    )


class _Scanner:
    """One scan."""

    def __init__(
        self,
        directory: Path,
        root: int,
        statements: tuple[Statement, ...],
        progress: Callable[[int], None] | None,
        place: str,
        mounts: frozenset[str],
    ) -> None:
        self._directory = directory
        self._root = root
        self._progress = progress or (lambda _files: None)
        self._prefix = "" if place == "/" else place
        self._mounts = mounts
        self._statements = Statements(statements)
        self._groups = Groups(self._statements)
        self._clusters: list[Cluster] = []
        self._wholes: list[_Whole] = []
        self._unreadable = Misses()
        self._elsewhere = Misses()
        self._waiting: list[_Waiting] = []
        self._files = self._directories = self._size_bytes = self._vanished = 0
        self._kinds = {stat.S_IFLNK: 0, stat.S_IFIFO: 0, stat.S_IFSOCK: 0, stat.S_IFCHR: 0}

    def run(self) -> Scan:
        """Go over everything, and return what was found."""
        self._waiting.append(_Waiting("", None, None))
        while self._waiting:
            self._enter(self._waiting.pop())
        for whole in self._wholes:
            self._finish(whole)
        self._progress(self._files)
        return Scan(
            directory=str(self._directory),
            files=self._files,
            directories=self._directories,
            size_bytes=self._size_bytes,
            groups=self._groups.finished(),
            clusters=tuple(sorted(self._clusters)),
            special=Special(*self._kinds.values()),
            unreadable=self._unreadable.finished(),
            vanished=self._vanished,
            elsewhere=self._elsewhere.finished(),
            unused=self._statements.unused,
        )

    def _enter(self, waiting: _Waiting) -> None:
        try:
            directory = _open_below(self._root, waiting.path)
        except OSError as error:
            self._missed(waiting.path, error)
            return
        try:
            status = os.fstat(directory)
            if waiting.identity not in (None, (status.st_dev, status.st_ino)):
                self._vanished += 1
                return
            self._directories += 1
            whole = waiting.whole or self._recognise(waiting.path, directory)
            with os.scandir(directory) as entries:
                for entry in entries:
                    path = f"{waiting.path}/{entry.name}" if waiting.path else entry.name
                    try:
                        self._meet(entry, path, directory, whole)
                    except OSError as error:
                        self._missed(path, error)
        except OSError as error:
            self._missed(waiting.path, error)
        finally:
            os.close(directory)

    def _recognise(self, path: str, directory: int) -> _Whole | None:
        name = path.rpartition("/")[2] or self._prefix.rpartition("/")[2]
        found = scan_places.recognise(name, directory)
        if found is None:
            return None
        whole = _Whole(path, found)
        if found is scan_places.CLUSTER:
            try:
                head, size_bytes = _head(directory, "global/pg_control")
                whole.found = foreign.identify("global/pg_control", head, size_bytes)
                whole.major = _head(directory, "PG_VERSION")[0][:16].decode("ascii", "replace")
            except OSError as error:
                self._missed(f"{path}/global/pg_control" if path else "global/pg_control", error)
                whole.found = found._replace(evidence="pg_control cannot be read")
            if whole.found.format != "postgresql":
                whole.found = Identification(
                    "postgresql-damaged", Disposition.CARRY_OVER, None, "pg_control is none"
                )
        self._wholes.append(whole)
        return whole

    def _finish(self, whole: _Whole) -> None:
        if whole.found.format == scan_places.VENV:
            whole.found = scan_places.venv(whole.widths)
        self._groups.add(whole.path or ".", whole.found, whole.size_bytes)
        if whole.found.format.startswith("postgresql"):
            if whole.found.format == "postgresql-tablespace" or len(self._clusters) >= CLUSTERS:
                return
            self._clusters.append(
                Cluster(
                    whole.path or ".",
                    whole.major.strip(),
                    whole.found.width_bits,
                    whole.size_bytes,
                    whole.found.evidence,
                )
            )

    def _meet(
        self, entry: os.DirEntry[str], path: str, directory: int, whole: _Whole | None
    ) -> None:
        if entry.is_file(follow_symlinks=False):
            self._files += 1
            if self._files % _PROGRESS_FILES == 0:
                self._progress(self._files)
            if whole is None:
                self._look_at(entry.name, path, directory)
            else:
                size_bytes = _allocated(entry.stat(follow_symlinks=False))
                self._size_bytes += size_bytes
                whole.size_bytes += size_bytes
                if whole.found.format == scan_places.VENV and scan_places.is_compiled(path):
                    head, length = _head(directory, entry.name)
                    bits = foreign.identify(entry.name, head, length).width_bits
                    whole.widths |= {bits} if bits else set()
        elif entry.is_dir(follow_symlinks=False):
            if f"{self._prefix}/{path}" in self._mounts:
                self._elsewhere.add(path, "another file system is mounted there")
                return
            status = entry.stat(follow_symlinks=False)
            if not self._mounts and status.st_dev != os.fstat(directory).st_dev:
                # Without a list of mounts (no /proc), btrfs' subvolumes look the same.
                self._elsewhere.add(path, "another file system is mounted there")
                return
            self._waiting.append(_Waiting(path, (status.st_dev, status.st_ino), whole))
        else:
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            self._kinds[stat.S_IFCHR if kind not in self._kinds else kind] += 1

    def _look_at(self, name: str, path: str, directory: int) -> None:
        descriptor = _open(name, _READ, directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._vanished += 1
                return
            size_bytes = _allocated(status)
            self._size_bytes += size_bytes
            head = os.pread(descriptor, HEAD_BYTES, 0)
            found = foreign.identify(path, head, status.st_size)
            if found.format == "zeros" and status.st_size > len(head):
                found = _behind_zeros(descriptor, status.st_size)
            self._groups.add(path, found, size_bytes)
        finally:
            os.close(descriptor)

    def _missed(self, path: str, error: OSError) -> None:
        if error.errno in _VANISHED:
            self._vanished += 1
        else:
            self._unreadable.add(path or ".", error.strerror or str(error))


def _allocated(status: os.stat_result) -> int:
    """Return what a file takes on the disk, at most its length: what there is to carry over.

    A small file may have no block of its own: some file systems keep it in the inode.

    Source: stat(2): st_blocks counts 512 bytes, whatever the size of a block is.
    """
    if status.st_size <= 4096:
        return status.st_size
    return min(status.st_size, status.st_blocks * 512)


def _open(name: str, flags: int, directory: int) -> int:
    """Open without a trace in the time of access, where the kernel allows it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError as error:
        # EPERM is "not yours"; EACCES would not go away.
        if error.errno != errno.EPERM:
            raise
    return os.open(name, flags, dir_fd=directory)


def _open_below(root: int, path: str) -> int:
    """Open a directory by its path below `root`, in pieces if it is too long for one."""
    descriptor = os.dup(root)
    rest = path or "."
    while rest:
        piece = rest
        # Four bytes at most for a character.
        while len(piece) * 4 > _PIECE_BYTES and "/" in piece:
            piece = piece[: max(piece.rfind("/", 0, _PIECE_BYTES // 4), piece.find("/"))]
        rest = rest[len(piece) + 1 :]
        try:
            deeper = _open(piece, _DIRECTORY, descriptor)
        finally:
            os.close(descriptor)
        descriptor = deeper
    return descriptor


def _head(directory: int, name: str) -> tuple[bytes, int]:
    """Return the first bytes of a regular file, and its size."""
    descriptor = _open(name, _READ, directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b"", 0
        return os.pread(descriptor, HEAD_BYTES, 0), status.st_size
    finally:
        os.close(descriptor)


def _behind_zeros(descriptor: int, size_bytes: int) -> Identification:
    """Say what a file is that begins with zeros: look where data begins, midway, at its end."""
    places = [size_bytes // 2, size_bytes - 1]
    # An error: no data at all behind the head, or a file system that does not know.
    with contextlib.suppress(OSError):
        places.insert(0, os.lseek(descriptor, HEAD_BYTES, os.SEEK_DATA))
    for place in places:
        sample = os.pread(descriptor, HEAD_BYTES, place // HEAD_BYTES * HEAD_BYTES)
        if any(sample):
            return foreign.identify_sample(sample)
    return foreign.identify_sample(b"")


def _mounts() -> dict[str, str]:
    """Return where what is mounted: the kind of file system by the directory; empty if unknown.

    Source: proc(5), /proc/self/mountinfo: the fifth field is the directory with space, tab, line
    feed and backslash in octal; the kind follows a lone hyphen.
    """
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        fields = line.split(b" ")
        if len(fields) < 9 or b"-" not in fields:
            continue
        place = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code.group(1), 8)]), fields[4])
        found[os.fsdecode(place)] = fields[fields.index(b"-") + 1].decode("ascii", "replace")
    return found


def _kind_of(place: str, mounts: dict[str, str]) -> str:
    """Return the kind of the file system that a directory is on."""
    while place not in mounts and place not in ("/", ""):
        place = place.rpartition("/")[0] or "/"
    return mounts.get(place, "")
