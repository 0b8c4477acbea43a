"""Prove that converted RRDs hold what the originals hold, bit for bit."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from applianceforge.formats.rrd.compare import (
    ValueDifference,
    header_differences,
    row_differences,
    same_shape,
)
from applianceforge.formats.rrd.layout import NATIVE
from applianceforge.migrate.rrd.reading import OpenRrd, opened
from applianceforge.migrate.rrd.scan import PATTERNS, RrdFile, Scan, named, scan
from applianceforge.migrate.rrd.workers import JOBS, chunks, in_workers
from applianceforge.model.errors import ForgeError
from applianceforge.system.progress import Counter

LIMIT = 1000
"""As many differences are listed; one is enough to refuse."""


@dataclass(frozen=True)
class FileDifference:
    """One thing that a source and its target do not have in common.

    Attributes:
        file: The file's path, relative to the compared directories.
        difference: What differs, and both its values.
    """

    file: str
    difference: ValueDifference

    def __str__(self) -> str:
        return f"{named(self.file)}: {self.difference}"


@dataclass(frozen=True)
class _Task:
    source: str
    target: str
    paths: tuple[str, ...]
    limit: int


@dataclass(frozen=True)
class _Done:
    paths: tuple[str, ...]
    source_bytes: int
    differences: tuple[FileDifference, ...]


def compare_pair(source: Path, target: Path, *, limit: int = LIMIT) -> tuple[FileDifference, ...]:
    """Compare a converted RRD with its original: every field and every double, as bits.

    A file that cannot be read as an RRD is a difference too, so that one damaged file does not end
    the comparison of many.

    Args:
        source: The original, of any architecture.
        target: The converted file; one that is not laid out natively differs.
        limit: At most as many differences are returned.

    Returns:
        What differs, nothing if all is equal. The differences name the target.
    """
    return _compare(str(source), str(target), str(target), limit)


def _compare(source: str, target: str, name: str, limit: int) -> tuple[FileDifference, ...]:
    try:
        with opened(source) as mine:
            try:
                with opened(target) as theirs:
                    found = islice(_differences(mine, theirs), limit)
                    return tuple(FileDifference(name, difference) for difference in found)
            except ForgeError as error:
                difference = ValueDifference("file", "an RRD", error.message)
    except ForgeError as error:
        difference = ValueDifference("file", error.message, "not compared")
    return (FileDifference(name, difference),)


def _differences(mine: OpenRrd, theirs: OpenRrd) -> Iterator[ValueDifference]:
    if theirs.header.layout != NATIVE:
        yield ValueDifference("layout", NATIVE.name, theirs.header.layout.name)
    for what, left, right in (
        ("mode", oct(mine.status.st_mode), oct(theirs.status.st_mode)),
        ("mtime_ns", mine.status.st_mtime_ns, theirs.status.st_mtime_ns),
        *(
            (
                ("uid", mine.status.st_uid, theirs.status.st_uid),
                ("gid", mine.status.st_gid, theirs.status.st_gid),
            )
            if os.geteuid() == 0
            else ()
        ),
    ):
        if left != right:
            yield ValueDifference(what, str(left), str(right))
    yield from header_differences(mine.header, theirs.header)
    if same_shape(mine.header, theirs.header):
        yield from _row_differences(mine, theirs)


def _row_differences(mine: OpenRrd, theirs: OpenRrd) -> Iterator[ValueDifference]:
    """Compare rows piece by piece; pieces of both files need not end at the same double."""
    at_bytes = 0
    left = right = memoryview(b"")
    ours, others = mine.pieces(), theirs.pieces()
    while True:
        left = left if left else memoryview(next(ours, b""))
        right = right if right else memoryview(next(others, b""))
        size_bytes = min(len(left), len(right))
        if not size_bytes:
            return
        yield from row_differences(
            mine.header, left[:size_bytes], right[:size_bytes], start_bytes=at_bytes
        )
        left, right = left[size_bytes:], right[size_bytes:]
        at_bytes += size_bytes


def verify_trees(
    source: Path,
    target: Path,
    *,
    patterns: Sequence[str] = PATTERNS,
    counter: Counter | None = None,
    jobs: int = JOBS,
    limit: int = LIMIT,
) -> tuple[FileDifference, ...]:
    """Compare a directory of converted RRDs with that of the originals.

    Args:
        source: The originals.
        target: The converted files.
        patterns: Which files count.
        counter: Advanced by the bytes of the source, and by one row per file.
        jobs: How many processes.
        limit: At most as many differences are returned.

    Returns:
        What differs, sorted by file: missing and extra files, links and directories, and every
        field and double.

    Raises:
        AccessDeniedError: A directory may not be read.
        SettingsError: A directory is not there.
    """
    mine, theirs = scan(source, patterns), scan(target, patterns)
    found = list(_shape_differences(mine, theirs))
    present = {file.path for file in theirs.files}
    firsts = [group[0] for group in mine.hard_links() if group[0].path in present]
    tasks = [
        _Task(str(mine.root), str(theirs.root), tuple(file.path for file in piece), limit)
        for piece in chunks(firsts, lambda file: file.size_bytes)
    ]
    with closing(in_workers(_compare_some, tasks, jobs=jobs)) as results:
        for done in results:
            found += done.differences
            if counter is not None:
                counter.advance(
                    add_bytes=done.source_bytes, add_rows=len(done.paths), item=done.paths[-1]
                )
    return tuple(sorted(found, key=lambda difference: difference.file)[:limit])


def _compare_some(task: _Task) -> _Done:
    """Compare some files; runs in a worker."""
    found: list[FileDifference] = []
    source_bytes = 0
    for path in task.paths:
        source = f"{task.source}/{path}"
        found += _compare(source, f"{task.target}/{path}", path, task.limit)
        source_bytes += os.stat(source).st_size  # noqa: PTH116
    return _Done(task.paths, source_bytes, tuple(found[: task.limit]))


def _shape_differences(mine: Scan, theirs: Scan) -> Iterator[FileDifference]:
    """Yield what is there on one side only, or is linked otherwise."""
    for what, left, right in (
        ("file", _by_path(mine.files), _by_path(theirs.files)),
        (
            "directory",
            {directory.path: oct(directory.mode) for directory in mine.directories},
            {directory.path: oct(directory.mode) for directory in theirs.directories},
        ),
        (
            "symbolic link",
            {link.path: link.target for link in mine.links},
            {link.path: link.target for link in theirs.links},
        ),
    ):
        for path in sorted(left.keys() | right.keys()):
            if left.get(path) != right.get(path):
                difference = ValueDifference(
                    what, left.get(path, "not there"), right.get(path, "not there")
                )
                yield FileDifference(path, difference)


def _by_path(found: Sequence[RrdFile]) -> dict[str, str]:
    """Return what each path is: a file of its own, or another name of an earlier path."""
    first: dict[tuple[int, int], str] = {}
    what = {}
    for file in found:
        earlier = first.setdefault((file.device, file.inode), file.path)
        what[file.path] = "there" if earlier == file.path else f"another name of {earlier}"
    return what
