"""Go over a data partition, read only, and say of each file what a change of width does to it.

The scan opens regular files and directories, nothing else, and never waits for one: a FIFO, a
socket or a device is counted by its type. It follows no link, so it stays in the directory that it
was given, and it enters no directory on which another file system is mounted, so it meets neither
/proc nor a server that does not answer. It changes no time of access where the kernel allows that
(to the owner and to root). Memory is bounded: the way down to the directory that is gone over, with
the names of the directories still to come on each of its levels, at most 32 descriptors, and a few
examples of each kind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from applianceforge.formats import foreign
from applianceforge.formats.foreign_words import HEAD_BYTES, Disposition, Identification
from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight import scan_places, scan_reading
from applianceforge.preflight.scan_result import CLUSTERS, Cluster, Scan, Special, Statement
from applianceforge.preflight.scan_tally import Groups, Misses, Statements

_PROGRESS_FILES = 1000
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
# How many levels of directories are open at once.
_OPEN_LEVELS = 32
# Paths longer than twice this, which no program can open in one piece either (PATH_MAX is 4096),
# are told without their middle.
_PATH_LETTERS = 4096
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
    """

    name: str
    identity: tuple[int, int]


class _Level:
    """A directory on the way down.

    Attributes:
        descriptor: -1 where it is closed for the time being.
        whole: The thing that it is a part of.
        letters: How long its path is.
        waiting: The directories in it that are still to be gone over.
    """

    __slots__ = ("descriptor", "identity", "letters", "name", "waiting", "whole")

    def __init__(self, name: str, descriptor: int, above: _Level | None) -> None:
        self.name = name
        self.descriptor = descriptor
        self.identity = scan_reading.identity(os.fstat(descriptor))
        self.whole: _Whole | None = above.whole if above is not None else None
        self.letters: int = above.letters + len(name) + 1 if above is not None else 0
        self.waiting: list[_Waiting] = []


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
        mounts = scan_reading.mounts()
        try:
            place = os.path.realpath(directory)
        except OSError as error:
            # A relative path in a directory that was removed: it opens, but it has no name.
            raise _refusal(directory, error.strerror or str(error)) from error
        kind = scan_reading.kind_of(place, mounts)
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
        self._unreadable = Misses()
        self._elsewhere = Misses()
        self._way: list[_Level] = []
        self._files = self._directories = self._size_bytes = self._vanished = 0
        self._kinds = {stat.S_IFLNK: 0, stat.S_IFIFO: 0, stat.S_IFSOCK: 0, stat.S_IFCHR: 0}

    def run(self) -> Scan:
        """Go over everything, and return what was found."""
        try:
            self._enter("", scan_reading.open_quietly(".", _DIRECTORY, self._root))
            while self._way:
                level = self._way[-1]
                if level.waiting:
                    self._go_down(level, level.waiting.pop())
                else:
                    self._go_up()
        finally:
            for level in self._way:
                if level.descriptor >= 0:
                    os.close(level.descriptor)
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

    def _go_down(self, level: _Level, waiting: _Waiting) -> None:
        path = self._below(waiting.name)
        try:
            descriptor = scan_reading.open_quietly(waiting.name, _DIRECTORY, level.descriptor)
        except OSError as error:
            self._missed(path, error)
            return
        if scan_reading.identity(os.fstat(descriptor)) != waiting.identity:
            os.close(descriptor)
            self._vanished += 1
            return
        self._enter(waiting.name, descriptor)

    def _enter(self, name: str, descriptor: int) -> None:
        """Go over the entries of a directory, which becomes the last one on the way."""
        level = _Level(name, descriptor, self._way[-1] if self._way else None)
        self._way.append(level)
        if len(self._way) > _OPEN_LEVELS:
            higher = self._way[-_OPEN_LEVELS - 1]
            if higher.descriptor >= 0:
                os.close(higher.descriptor)
                higher.descriptor = -1
        self._directories += 1
        place = self._place()
        if level.whole is None:
            level.whole = self._recognise(place, name, descriptor)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    path = f"{place}/{entry.name}" if place else entry.name
                    try:
                        self._meet(entry, path, level)
                    except OSError as error:
                        self._missed(path, error)
        except OSError as error:
            self._missed(place, error)

    def _go_up(self) -> None:
        """Leave the last directory on the way; open the one above anew, if it was closed.

        It is opened from below: that takes one step on any level. Where the directory was moved
        meanwhile, another one is above, and what still waited counts as vanished.
        """
        level = self._way[-1]
        above = self._way[-2] if len(self._way) > 1 else None
        if above is not None and above.descriptor < 0:
            above.descriptor = self._again(above, level.descriptor)
            if above.descriptor < 0:
                self._vanished += len(above.waiting)
                above.waiting.clear()
        if level.whole is not None and (above is None or above.whole is None):
            self._finish(level.whole)
        if level.descriptor >= 0:
            os.close(level.descriptor)
        self._way.pop()

    def _again(self, above: _Level, below: int) -> int:
        """Return a descriptor of a directory on the way by that of one in it, or -1."""
        if not above.waiting and below < 0:
            return -1
        descriptor = -1
        with contextlib.suppress(OSError):
            if below >= 0:
                descriptor = scan_reading.open_quietly("..", _DIRECTORY, below)
                if scan_reading.identity(os.fstat(descriptor)) == above.identity:
                    return descriptor
        if descriptor >= 0:
            os.close(descriptor)
        return self._from_the_root(above)

    def _from_the_root(self, wanted: _Level) -> int:
        """Return a descriptor of a directory on the way, step by step from the root, or -1."""
        descriptor = os.dup(self._root)
        for level in self._way:
            if level.name:
                try:
                    deeper = scan_reading.open_quietly(level.name, _DIRECTORY, descriptor)
                except OSError:
                    break
                finally:
                    os.close(descriptor)
                descriptor = deeper
            if scan_reading.identity(os.fstat(descriptor)) != level.identity:
                os.close(descriptor)
                break
            if level is wanted:
                return descriptor
        return -1

    def _place(self) -> str:
        """Return the path of the last directory on the way, without its middle if it is long."""
        if self._way[-1].letters <= 2 * _PATH_LETTERS:
            return "/".join(level.name for level in self._way[1:])
        first: list[str] = []
        last: list[str] = []
        for level in self._way[1:]:
            if level.letters > _PATH_LETTERS:
                break
            first.append(level.name)
        letters = 0
        for level in reversed(self._way):
            letters += len(level.name) + 1
            if letters > _PATH_LETTERS:
                break
            last.append(level.name)
        return "/".join((*first, "...", *reversed(last)))

    def _below(self, name: str) -> str:
        place = self._place()
        return f"{place}/{name}" if place else name

    def _recognise(self, path: str, name: str, directory: int) -> _Whole | None:
        found = scan_places.recognise(name or self._prefix.rpartition("/")[2], directory)
        if found is None:
            return None
        whole = _Whole(path, found)
        if found is scan_places.CLUSTER:
            try:
                head, size_bytes = scan_reading.head(directory, "global/pg_control")
                whole.found = foreign.identify("global/pg_control", head, size_bytes)
                version, _ = scan_reading.head(directory, "PG_VERSION")
                whole.major = version[:16].decode("ascii", "replace")
            except OSError as error:
                self._missed(f"{path}/global/pg_control" if path else "global/pg_control", error)
                whole.found = found._replace(evidence="pg_control cannot be read")
            if whole.found.format != "postgresql":
                whole.found = Identification(
                    "postgresql-damaged", Disposition.CARRY_OVER, None, "pg_control is none"
                )
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

    def _meet(self, entry: os.DirEntry[str], path: str, level: _Level) -> None:
        directory, whole = level.descriptor, level.whole
        if entry.is_file(follow_symlinks=False):
            self._files += 1
            if self._files % _PROGRESS_FILES == 0:
                self._progress(self._files)
            if whole is None:
                self._look_at(entry.name, path, directory)
            else:
                size_bytes = scan_reading.allocated_bytes(entry.stat(follow_symlinks=False))
                self._size_bytes += size_bytes
                whole.size_bytes += size_bytes
                if whole.found.format == scan_places.VENV and scan_places.is_compiled(path):
                    head, length = scan_reading.head(directory, entry.name)
                    bits = foreign.identify(entry.name, head, length).width_bits
                    whole.widths |= {bits} if bits else set()
        elif entry.is_dir(follow_symlinks=False):
            if f"{self._prefix}/{path}" in self._mounts:
                self._elsewhere.add(path, "another file system is mounted there")
                return
            status = entry.stat(follow_symlinks=False)
            if not self._mounts and status.st_dev != level.identity[0]:
                # Without a list of mounts (no /proc), btrfs' subvolumes look the same.
                self._elsewhere.add(path, "another file system is mounted there")
                return
            level.waiting.append(_Waiting(entry.name, scan_reading.identity(status)))
        else:
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            self._kinds[stat.S_IFCHR if kind not in self._kinds else kind] += 1

    def _look_at(self, name: str, path: str, directory: int) -> None:
        descriptor = scan_reading.open_quietly(name, scan_reading.READ, directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._vanished += 1
                return
            size_bytes = scan_reading.allocated_bytes(status)
            self._size_bytes += size_bytes
            head = os.pread(descriptor, HEAD_BYTES, 0)
            found = foreign.identify(path, head, status.st_size)
            if found.format == "zeros" and status.st_size > len(head):
                found = scan_reading.behind_zeros(descriptor, status.st_size)
            self._groups.add(path, found, size_bytes)
        finally:
            os.close(descriptor)

    def _missed(self, path: str, error: OSError) -> None:
        if error.errno in _VANISHED:
            self._vanished += 1
        else:
            self._unreadable.add(path or ".", error.strerror or str(error))
