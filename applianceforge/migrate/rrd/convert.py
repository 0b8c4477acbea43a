"""Convert RRDs to the native form: one file, or a tree of a hundred thousand.

The target is a staging directory that the caller renames when all is proved. So files are written
in place and without a flush each; one flush of the whole tree ends it.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats.rrd.encode import encode_header
from applianceforge.migrate.rrd.reading import OpenRrd, until_unchanged
from applianceforge.migrate.rrd.scan import RrdFile, Scan, named
from applianceforge.migrate.rrd.workers import JOBS, chunks, in_workers
from applianceforge.model.errors import RrdError, SettingsError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

_SHOWN_REFUSALS = 100


@dataclass(frozen=True)
class ConvertedTree:
    """What a conversion made.

    Attributes:
        files: Names, hard links among them.
        source_bytes: What was read.
        target_bytes: What was written.
    """

    files: int
    source_bytes: int
    target_bytes: int


@dataclass(frozen=True)
class _Task:
    """Files for one worker; the first name of each hard-linked file only."""

    source: str
    target: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class _Done:
    """What a worker made of its task, and what it refused: path and message."""

    paths: tuple[str, ...]
    source_bytes: int
    target_bytes: int
    refused: tuple[tuple[str, str], ...]


def convert_file(source: Path, target: Path) -> int:
    """Convert one RRD, with its mode, times and (as root) owner; not flushed to the disk.

    Args:
        source: Read again if it changes while it is read.
        target: Must not exist.

    Returns:
        The size of the target in bytes.

    Raises:
        RrdError: The source is no RRD, is damaged, or never stands still.
        AccessDeniedError: It may not be read, or the target not be written.
        DiskFullError: No room is left for the target.
        SettingsError: The target exists, or a path is wrong.
    """
    return _convert(str(source), str(target))


def _convert(source: str, target: str) -> int:
    with files.named_errors(target, "write"):
        handle = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    try:
        return until_unchanged(source, lambda rrd: _write(rrd, handle, target))
    except BaseException:
        os.unlink(target)  # noqa: PTH108
        raise
    finally:
        os.close(handle)


def _write(rrd: OpenRrd, handle: int, target: str) -> int:
    """Write one RRD to an open file, from its beginning."""
    with files.named_errors(target, "write"):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        written = _write_all(handle, encode_header(rrd.header))
    for piece in rrd.pieces():
        with files.named_errors(target, "write"):
            written += _write_all(handle, piece)
    status = rrd.status
    with files.named_errors(target, "write"):
        if os.geteuid() == 0:
            os.fchown(handle, status.st_uid, status.st_gid)
        os.fchmod(handle, status.st_mode & 0o7777)
        os.utime(handle, ns=(status.st_atime_ns, status.st_mtime_ns))
    return written


def _write_all(handle: int, content: bytes | memoryview) -> int:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    return len(content)


def convert_tree(
    scan: Scan,
    target: Path,
    effects: Effects,
    *,
    counter: Counter | None = None,
    jobs: int = JOBS,
) -> ConvertedTree:
    """Convert every RRD of a scan into a staging directory, and flush it once.

    A file with several hard links is converted once and linked again. Every file that is refused
    is named in one error, after all others were tried.

    Args:
        scan: What to convert; its findings are the caller's to judge.
        target: Does not exist yet, or is an empty directory.
        effects: Told of the flush at the end.
        counter: Advanced by the bytes read, and by one row per file.
        jobs: How many processes.

    Raises:
        RrdError: Files are damaged or never stand still; all are in the evidence.
        AccessDeniedError: A file may not be read, or the target not be written.
        DiskFullError: No room is left.
        SettingsError: The target is not empty.
    """
    _begin(scan, target)
    groups = scan.hard_links()
    first = {group[0].path: group for group in groups}
    tasks = [
        _Task(str(scan.root), str(target), tuple(file.path for file in piece))
        for piece in chunks([group[0] for group in groups], lambda file: file.size_bytes)
    ]
    source_bytes = target_bytes = 0
    refused: list[tuple[str, str]] = []
    with closing(in_workers(_convert_some, tasks, jobs=jobs)) as results:
        for done in results:
            source_bytes += done.source_bytes
            target_bytes += done.target_bytes
            refused += done.refused
            if counter is not None:
                names = sum(len(first[path]) for path in done.paths)
                counter.advance(add_bytes=done.source_bytes, add_rows=names, item=done.paths[-1])
    if refused:
        raise refusal(refused, len(scan.files))
    _link(scan, groups, target)
    _finish_directories(scan, target)
    files.sync_tree(target, effects)
    return ConvertedTree(len(scan.files), source_bytes, target_bytes)


def refusal(refused: Sequence[tuple[str, str]], of: int) -> RrdError:
    """Return the error that names the files of a tree that were refused, with their messages."""
    lines = [message for _, message in sorted(refused)]
    more = len(lines) - _SHOWN_REFUSALS
    return RrdError(
        f"{len(lines)} of {of} RRDs cannot be used: {lines[0]}",
        hint="restore these files from a backup, or move them out of the RRD directories; the"
        " command can be run again then",
        evidence=(*lines[:_SHOWN_REFUSALS], *((f"and {more} more",) if more > 0 else ())),
    )


def _begin(scan: Scan, target: Path) -> None:
    """Make the directories, private until the files are in them."""
    with files.named_errors(target, "write"):
        target.mkdir(mode=0o700, exist_ok=True)
        if any(target.iterdir()):
            raise SettingsError(
                f"the directory {target} is not empty",
                hint="remove it, or name another one; nothing is overwritten",
            )
        for directory in scan.directories:
            if directory.path:
                target.joinpath(directory.path).mkdir(mode=0o700)


def _convert_some(task: _Task) -> _Done:
    """Convert some files; runs in a worker."""
    source_bytes = target_bytes = 0
    refused = []
    for path in task.paths:
        source = f"{task.source}/{path}"
        try:
            target_bytes += _convert(source, f"{task.target}/{path}")
            source_bytes += os.stat(source).st_size  # noqa: PTH116
        except RrdError as error:
            refused.append((path, error.message))
    return _Done(task.paths, source_bytes, target_bytes, tuple(refused))


def _link(scan: Scan, groups: Sequence[tuple[RrdFile, ...]], target: Path) -> None:
    with files.named_errors(target, "link in"):
        for first, *others in groups:
            for other in others:
                os.link(target / first.path, target / other.path)
        for link in scan.links:
            target.joinpath(link.path).symlink_to(link.target)


def _finish_directories(scan: Scan, target: Path) -> None:
    """Give directories their owner, mode and times, the deepest first."""
    for directory in reversed(scan.directories):
        path = target / directory.path
        with files.named_errors(named(str(path)), "write"):
            files.change_owner(path, directory.uid, directory.gid)
            path.chmod(directory.mode)
            os.utime(path, ns=(directory.mtime_ns, directory.mtime_ns))
