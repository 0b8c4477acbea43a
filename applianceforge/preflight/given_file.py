"""Read a file that the user named, whatever it is, without waiting for ever.

A plain file, or a pipe (`--for <(...)`). A device may never end, or act when it is opened; a file
of /proc, such as /proc/kmsg, may wait for ever or lose what is read from it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PATIENCE_S = 30.0


def read(path: str, most_bytes: int) -> bytes:
    """Return what a file holds.

    Args:
        path: A plain file or a pipe.
        most_bytes: Of a file that has more, one byte more than that is returned.

    Raises:
        OSError: It cannot be read, is of another kind, or the pipe did not end within half a
            minute; `strerror` says it.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, "no path has a NUL")
    _look(Path(path).stat())  # For a device may act when it is opened.
    handle = os.open(path, _FLAGS)
    try:
        status = os.fstat(handle)
        _look(status)  # Another may lie there now.
        return _content(handle, most_bytes, stat.S_ISFIFO(status.st_mode))
    finally:
        os.close(handle)


def _look(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise OSError(errno.EINVAL, "it is no plain file, but a device or a socket")
    if status.st_dev == _device_of_proc():
        raise OSError(errno.EINVAL, "it is no plain file, but one that the kernel makes up")


def _device_of_proc() -> int | None:
    try:
        return Path("/proc/self").stat().st_dev
    except OSError:
        return None


def _content(handle: int, most_bytes: int, pipe: bool) -> bytes:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    end_s = time.monotonic() + _PATIENCE_S
    found = bytearray()
    while len(found) <= most_bytes:
        if pipe and not poll.poll(max(end_s - time.monotonic(), 0) * 1000):
            raise OSError(errno.ETIMEDOUT, f"this pipe did not end within {_PATIENCE_S:g} seconds")
        piece = os.read(handle, most_bytes + 1 - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)
