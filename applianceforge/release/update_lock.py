"""One update at a time: a lock that dies with its owner."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from applianceforge.model.errors import AlreadyRunningError
from applianceforge.system import files

_LONGEST_PID = 20


@contextmanager
def only_update(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs.

    The kernel drops it when its owner dies, however that happens; the number in the file is for the
    message alone.

    Raises:
        AlreadyRunningError: Another update works.
        AccessDeniedError: Only root may.
        SettingsError: Something else than a file lies there.
    """
    with files.named_errors(path, "open the lock"):
        handle = files.open_plain(path, os.O_RDWR | os.O_CREAT)
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
        with files.named_errors(path, "write the lock"):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
