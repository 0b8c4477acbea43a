"""Read and write large files with holes; `files.sync_file` flushes them when all is written."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from applianceforge.system.effects import EffectKind, Effects
from applianceforge.system.files import named_errors

_CHUNK_BYTES = 1 << 20
# The unit in which holes are made; file systems store no smaller ones.
_HOLE_BYTES = 4096
_PRIVATE = 0o600


def create(path: Path, size_bytes: int, effects: Effects, *, mode: int = _PRIVATE) -> None:
    """Make a file that is one hole; a file of that name is replaced."""
    with named_errors(path, "write"):
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(handle, mode)
            os.ftruncate(handle, size_bytes)
        finally:
            os.close(handle)
    effects.happened(EffectKind.WRITE, f"file {path}")


def read_at(path: Path, offset_bytes: int, size_bytes: int) -> bytes:
    """Return the bytes at a place of a file or device; fewer if it ends before."""
    with named_errors(path, "read"), open(path, "rb", buffering=0) as stream:
        parts = []
        while size_bytes > 0:
            part = os.pread(stream.fileno(), size_bytes, offset_bytes)
            if not part:
                break
            parts.append(part)
            offset_bytes += len(part)
            size_bytes -= len(part)
        return b"".join(parts)


def write_at(path: Path, offset_bytes: int, content: bytes, effects: Effects) -> None:
    """Write bytes at a place of a file that is there."""
    with named_errors(path, "write"), open(path, "r+b", buffering=0) as stream:
        _write(stream.fileno(), offset_bytes, content)
    effects.happened(EffectKind.WRITE, f"bytes of {path}")


def copy_into(source: Path, target: Path, offset_bytes: int, effects: Effects) -> None:
    """Copy a file's content to a place of another file, which holds zeros there.

    Neither holes nor blocks of zeros are written, so the target is as sparse as it can be.
    """
    with (
        named_errors(target, "write"),
        open(source, "rb", buffering=0) as reading,
        open(target, "r+b", buffering=0) as writing,
    ):
        for start, end in _data_of(reading.fileno()):
            for at in range(start, end, _CHUNK_BYTES):
                chunk = os.pread(reading.fileno(), min(_CHUNK_BYTES, end - at), at)
                for first, content in _without_zeros(chunk):
                    _write(writing.fileno(), offset_bytes + at + first, content)
    effects.happened(EffectKind.WRITE, f"content of {target}")


def _write(handle: int, offset_bytes: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(handle, view, offset_bytes)
        view = view[done:]
        offset_bytes += done


def _data_of(handle: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file that are not holes."""
    end = 0
    size = os.fstat(handle).st_size
    while end < size:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # There is nothing but a hole up to the end.
                return
            raise
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end


_ZEROS = bytes(_HOLE_BYTES)


def _without_zeros(chunk: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the runs of blocks of a chunk that are not all zeros, with their places in it."""
    view = memoryview(chunk)
    start: int | None = None
    for at in range(0, len(chunk), _HOLE_BYTES):
        block = view[at : at + _HOLE_BYTES]
        if block == _ZEROS[: len(block)]:
            if start is not None:
                yield start, view[start:at]
            start = None
        elif start is None:
            start = at
    if start is not None:
        yield start, view[start:]
