"""Read RRDs that somebody may be writing: headers, and all of a file in pieces."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from applianceforge.formats.rrd.decode import (
    HEAD_BYTES,
    decode_header,
    header_bytes,
    swapped,
)
from applianceforge.formats.rrd.values import Header
from applianceforge.migrate.rrd.scan import named
from applianceforge.model.errors import RrdError
from applianceforge.system import files

_FIRST_READ_BYTES = 256 << 10
_PIECE_BYTES = 1 << 20
_TRIES = 5
_PAUSE_S = 0.05

Value = TypeVar("Value")


@dataclass(frozen=True)
class OpenRrd:
    """An open RRD whose header was decoded.

    Attributes:
        path: For messages.
        handle: The file descriptor.
        header: Everything before the rows.
        rows_at: The offset of the first row.
        first: The beginning of the file, as far as it was read with the header.
        status: The file's status before it was read.
    """

    path: str
    handle: int
    header: Header
    rows_at: int
    first: bytes
    status: os.stat_result

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the rows in pieces of whole doubles, little endian.

        Raises:
            RrdError: The file became shorter meanwhile.
        """
        whole = len(self.first) - (len(self.first) - self.rows_at) % 8
        if whole > self.rows_at:
            yield self._little(memoryview(self.first)[self.rows_at : whole])
        at = max(whole, self.rows_at)
        while at < self.status.st_size:
            piece = os.pread(self.handle, _PIECE_BYTES, at)
            piece = piece[: len(piece) - len(piece) % 8]
            if not piece:
                raise RrdError(f"{named(self.path)} became shorter while it was read")
            yield self._little(memoryview(piece))
            at += len(piece)

    def content(self) -> bytes:
        """Return the whole file.

        Raises:
            RrdError: The file became shorter meanwhile.
        """
        parts = [self.first]
        at = len(self.first)
        while at < self.status.st_size:
            parts.append(os.pread(self.handle, self.status.st_size - at, at))
            if not parts[-1]:
                raise RrdError(f"{named(self.path)} became shorter while it was read")
            at += len(parts[-1])
        return b"".join(parts)

    def _little(self, piece: memoryview) -> bytes | memoryview:
        return swapped(piece) if self.header.layout.big_endian else piece


@contextmanager
def opened(path: str) -> Iterator[OpenRrd]:
    """Open an RRD and decode its header.

    Neither a symbolic link nor a pipe is opened, whoever put it there since the scan.

    Raises:
        RrdError: It is no RRD, is damaged, or is no file.
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read for another reason.
    """
    with files.named_errors(named(path), "read"):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise RrdError(
                    f"{named(path)} is not a file",
                    hint="name an RRD; directories, pipes and devices are none",
                )
            first = os.pread(handle, min(_FIRST_READ_BYTES, status.st_size), 0)
            with named_problems(path):
                need_bytes = header_bytes(first[:HEAD_BYTES], status.st_size)
                if need_bytes > len(first):
                    first = os.pread(handle, need_bytes, 0)
                header, rows_at = decode_header(first, status.st_size)
            yield OpenRrd(path, handle, header, rows_at, first, status)
        finally:
            os.close(handle)


@contextmanager
def named_problems(path: str) -> Iterator[None]:
    """Put the file's name before the message of an RrdError."""
    try:
        yield
    except RrdError as error:
        raise RrdError(
            f"{named(path)}: {error.message}", hint=error.hint, evidence=error.evidence
        ) from error


def until_unchanged(path: str, read: Callable[[OpenRrd], Value]) -> Value:
    """Return what `read` made of a file that did not change meanwhile; it is called until then.

    A change shows in the size, the modification or change time or the inode of the name.

    Raises:
        RrdError: It changed each time, is no RRD, or is damaged.
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read for another reason.
    """
    for number in range(1, _TRIES + 1):
        refused: RrdError | None = None
        with files.named_errors(named(path), "read"):
            before = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - a str, for speed
            try:
                with opened(path) as rrd:
                    value = read(rrd)
            except RrdError as error:
                # A file that is being written may look damaged; that counts once it stands still.
                refused = error
            after = os.stat(path, follow_symlinks=False)  # noqa: PTH116
        if _identity(before) == _identity(after):
            if refused is not None:
                raise refused
            return value
        time.sleep(_PAUSE_S * number)
    raise RrdError(
        f"{named(path)} changed each of the {_TRIES} times it was read",
        hint="stop what updates it (collectd, munin, rrdcached ...), then run the command again",
    )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def read_header(path: Path) -> Header:
    """Return the header of an RRD; its rows are not read.

    Raises:
        RrdError: It is no RRD, or is damaged.
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read for another reason.
    """
    with opened(str(path)) as rrd:
        return rrd.header
