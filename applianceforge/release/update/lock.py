"""One update at a time: a lock that dies with its owner."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from applianceforge.model.errors import AlreadyRunningError
from applianceforge.system import files

_LONGEST_PID = 20
_CANNOT_BE_MADE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT)


@contextmanager
def only_update(path: Path, *, needed: bool = True) -> Iterator[None]:
    """Hold the lock while the block runs.

    The kernel drops it when its owner dies, however that happens; the number in the file is for the
    message alone.

    Args:
        path: The lock.
        needed: Something is to be changed. Else a lock that cannot be made is gone without:
            nobody else can hold one then.

    Raises:
        AlreadyRunningError: Another update works.
        AccessDeniedError: Only root may.
        SettingsError: Something else than a file lies there.
    """
    handle = _open(path, needed)
    if handle is None:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            found = os.pread(handle, _LONGEST_PID, 0).decode("ascii", "replace").strip()
            who = f" (process {found})" if found.isdecimal() else ""
            raise AlreadyRunningError(
                f"another update is at work{who}",
                hint="wait for it, and watch it with `applianceforge status`",
            ) from error
        with files.named_errors(path, "write the lock") if needed else suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _open(path: Path, needed: bool) -> int | None:
    with files.named_errors(path, "open the lock"):
        try:
            return files.open_plain(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if needed or error.errno not in _CANNOT_BE_MADE:
                raise
        try:
            # What can only be read can be locked as well.
            return files.open_plain(path)
        except FileNotFoundError:
            return None
