"""One run at a time: a lock that dies with its owner and says who that is."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from applianceforge.model.errors import AlreadyRunningError, ForgeError, SettingsError
from applianceforge.system import files

# Whoever only looks whether the lock is held, holds it for a moment.
_PATIENCE_S = 0.5
_POLL_S = 0.02


@dataclass(frozen=True)
class Owner:
    """Who holds the lock: a process, and the boot that it lives in."""

    pid: int
    boot: str
    doing: str


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def only_run(path: Path, doing: str) -> Iterator[Owner]:
    """Hold the lock while the block runs.

    The kernel drops the lock when its owner dies, however that happens; the identity in the file
    is for the message alone.

    Raises:
        AlreadyRunningError: Another process holds it.
    """
    with files.named_errors(path, "open the lock"):
        handle = files.open_plain(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            _take(handle)
        except BlockingIOError as error:
            owner = read_owner(path)
            who = f"process {owner.pid} ({owner.doing})" if owner else "another process"
            raise AlreadyRunningError(
                f"{who} is already at work on {path.parent}",
                hint="wait for it, or watch it with `applianceforge migrate status`",
            ) from error
        owner = Owner(os.getpid(), _boot(), doing)
        with files.named_errors(path, "write the lock"):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(owner)).encode(), 0)
        yield owner
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_S)


def read_owner(path: Path) -> Owner | None:
    """Return the identity that the last owner wrote, or None where there is none."""
    try:
        return Owner(**json.loads(files.read_plain(path) or b""))
    except (ForgeError, ValueError, TypeError, RecursionError):
        return None


def is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock."""
    try:
        handle = files.open_plain(path)
    except (OSError, SettingsError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
