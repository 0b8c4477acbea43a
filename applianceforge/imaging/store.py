"""A store of things that are made once: named by their content, whole or not there.

An entry is a directory named by a key that digests everything it is made from. It is made under a
staging name and renamed, so whoever finds it finds it whole; two makers of one key wait for each
other; what an interruption left behind is removed by the next maker.
"""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from applianceforge.model.errors import DiskFullError, ForgeError, ProgramFailedError
from applianceforge.system import files
from applianceforge.system.effects import Effects

_KEY_DIGITS = 16
_PUBLIC = 0o755
_HARDLY_BYTES = 1 << 18


def key_of(parts: Iterable[bytes | str]) -> str:
    """Digest the parts that an entry is made from into the end of its name.

    The length of each part is digested too, so that no two lists of parts are taken for one.
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:_KEY_DIGITS]


def obtain(
    store: Path,
    name: str,
    make: Callable[[Path], None],
    effects: Effects,
    *,
    remove: Callable[[Path, Effects], None] = files.remove_tree,
) -> Path:
    """Return the entry `name`, made first if it is not there.

    Args:
        store: The directory of all entries; made if needed, and open to all, as servers that run
            as another user read what is in it.
        name: The entry's name, with the key in it.
        make: Fills the empty directory that it is given; what it leaves there is the entry.
        effects: Told of the writes.
        remove: Removes what an interrupted maker left, where it may hold other users' files.

    Raises:
        ForgeError: Whatever `make` raises; nothing is left of the entry.
        DiskFullError: No space is left.
        AccessDeniedError: The store may not be written to.
    """
    entry = store / name
    if entry.is_dir():
        return entry
    make_public_directory(store, effects)
    with alone(store / f".{name}.lock"):
        if not entry.is_dir():
            staging = store / f".{name}.new"
            remove(staging, effects)
            try:
                with full_disk_named(store):
                    files.make_directory(staging, effects)
                    staging.chmod(_PUBLIC)
                    make(staging)
                    files.sync_tree(staging, effects)
                    files.rename(staging, entry, effects)
            except BaseException:
                # On a full disk, what is left of it would be in the way of whatever makes room.
                with suppress(ForgeError):
                    remove(staging, effects)
                raise
    return entry


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into ours, wherever below `path` it comes up.

    Not every program says why it failed: where hardly a byte is left, that is why.
    """
    try:
        yield
    except ProgramFailedError as error:
        status = os.statvfs(path)
        files_left = status.f_favail or not status.f_files  # Some count none.
        if status.f_bavail * status.f_frsize >= _HARDLY_BYTES and files_left:
            raise
        raise DiskFullError(
            f"no space is left for {path}: {error.message}",
            hint="make room on that file system, then run the same command again",
            evidence=error.evidence,
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise files.describe(error, path, "write") from error
        raise


def used(entry: Path) -> None:
    """Note that an entry is in use now, for `prune`."""
    with suppress(OSError):  # Somebody else's store serves as well.
        os.utime(entry)


def prune(store: Path, prefix: str, effects: Effects, *, keep: int, idle_s: float) -> None:
    """Remove the entries of a kind that were not used for long.

    Args:
        store: The directory of all entries.
        prefix: What the kind's names begin with, up to the key.
        effects: Told of the removals.
        keep: How many stay in any case, those that were used last.
        idle_s: How long ago the others must have been used.
    """
    found = []
    for entry in store.glob(f"{prefix}-*"):
        with suppress(FileNotFoundError):
            if len(entry.name) == len(prefix) + 1 + _KEY_DIGITS:
                found.append((entry.stat().st_mtime, entry))
    for used_s, entry in sorted(found, reverse=True)[keep:]:
        if used_s < time.time() - idle_s:
            files.remove_tree(entry, effects)


def make_public_directory(path: Path, effects: Effects) -> None:
    """Make a directory and its missing parents, open to all whatever the umask says."""
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    files.make_directory(path, effects, mode=_PUBLIC)
    for made in missing:
        made.chmod(_PUBLIC)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock that the kernel takes back when its owner dies; wait for it as long as needed."""
    with files.named_errors(lock, "lock"):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
