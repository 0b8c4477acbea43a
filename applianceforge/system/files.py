"""Write durably: the only module that calls fsync or rename.

A durable write is on the disk, under its final name and whole, when the call returns; before that
the old state is there. Every function here is one effect.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    ForgeError,
    SettingsError,
)
from applianceforge.system.effects import EffectKind, Effects

_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700


@contextmanager
def named_errors(path: Path | str, doing: str) -> Iterator[None]:
    """Turn the operating system's errors on `path` into the errors that a person can act on.

    Args:
        path: What was worked on, for the message.
        doing: The verb of the message, such as "write".

    Raises:
        DiskFullError: No space or quota is left.
        AccessDeniedError: Permission denied, or a read-only file system.
        SettingsError: A part of the path is missing or is of another kind.
    """
    try:
        yield
    except OSError as error:
        raise describe(error, path, doing) from error


def describe(error: OSError, path: Path | str, doing: str) -> ForgeError:
    """Return the named error for an error of the operating system."""
    # Of a rename it is the name that was meant, and not that of the copy.
    where = error.filename2 or error.filename or path
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"cannot {doing} {where}: {reason}",
            hint="make room on that file system, then run the same command again: it continues",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDeniedError(
            f"cannot {doing} {where}: {reason}",
            hint="run as root, or as the user who owns it; a read-only file system must be mounted"
            " for writing",
        )
    return SettingsError(
        f"cannot {doing} {where}: {reason}", hint="check the path in the settings or the command"
    )


@contextmanager
def _no_copy_left(staging: Path) -> Iterator[None]:
    """Begin without a copy that a cut left, and leave none on a disk that is full."""
    # Python 3.7, which the check alone must run on, has no unlink(missing_ok=True).
    with suppress(FileNotFoundError):
        staging.unlink()
    try:
        yield
    except OSError:
        with suppress(OSError):
            staging.unlink()
        raise


def sync_directory(path: Path) -> None:
    """Flush the names in a directory, without counting as an effect."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path, effects: Effects, *, mode: int = _PRIVATE_DIRECTORY) -> None:
    """Make a directory, and the parents that are missing, durably and whatever the umask is.

    One that exists is left as it is.
    """
    if path.is_dir():
        return
    if not path.parent.exists():
        make_directory(path.parent, effects, mode=mode)
    with named_errors(path, "make the directory"):
        path.mkdir(mode=mode, exist_ok=True)
        path.chmod(mode)
        sync_directory(path.parent)
    effects.happened(EffectKind.WRITE, f"directory {path}")


def write_file(path: Path, content: bytes, effects: Effects, *, mode: int = _PRIVATE_FILE) -> None:
    """Replace a file durably: after a power cut it has the old content or the new one, whole."""
    staging = path.with_name(f".{path.name}.new")
    with named_errors(path, "write"), _no_copy_left(staging):
        handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(handle, "wb") as stream:
            os.fchmod(handle, mode)
            stream.write(content)
            stream.flush()
            os.fsync(handle)
        os.replace(staging, path)
        sync_directory(path.parent)
    effects.happened(EffectKind.WRITE, f"file {path}")


def replace_volatile(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file at once but not durably, for what is worth nothing after a power cut.

    Not an effect: nothing is decided by such a file.
    """
    staging = path.with_name(f".{path.name}.new")
    with named_errors(path, "write"), _no_copy_left(staging):
        handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(handle, "wb") as stream:
            os.fchmod(handle, mode)
            stream.write(content)
        os.replace(staging, path)


def append_line(
    path: Path,
    line: bytes,
    effects: Effects,
    *,
    mode: int = _PRIVATE_FILE,
    owner_only: bool = False,
) -> None:
    """Append one line durably, or nothing; the power alone can go while half of it is there.

    Half a line that is there already is ended first, so that it damages none of ours. The file is
    locked meanwhile, or what is taken back after an error could be another process's line.

    Args:
        path: The file; it is made if it is not there. A link is not followed.
        line: Without its line end.
        effects: Told of the write.
        mode: Of a new file.
        owner_only: Take the rights of others away from a file that is there.

    Raises:
        DiskFullError: No space is left.
        AccessDeniedError: It may not be written, or others may read it and it is not ours.
        SettingsError: A part of the path is missing, or it is no plain file.
    """
    with named_errors(path, "write"):
        fresh = not os.path.lexists(path)
        handle = open_plain(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode=mode)
        try:
            if owner_only:
                _keep_to_owner(path, handle)
            lock(handle)
            _append(handle, line + b"\n")
        finally:
            os.close(handle)
        if fresh:
            sync_directory(path.parent)
    effects.happened(EffectKind.WRITE, f"line in {path}")


def open_plain(
    path: Path, flags: int = os.O_RDONLY, *, mode: int = _PRIVATE_FILE, follow: bool = False
) -> int:
    """Open a plain file; nothing else that may lie there is waited for, or opened at all.

    Args:
        path: The file.
        flags: As of open(2).
        mode: Of a new file.
        follow: Go where a link leads.

    Raises:
        OSError: It cannot be opened.
        SettingsError: It is of another kind.
    """
    doing = "write" if flags & (os.O_WRONLY | os.O_RDWR) else "read"
    with suppress(FileNotFoundError):
        # For a device may act when it is opened.
        _require_plain(path, path.stat() if follow else path.lstat(), doing)
    beside = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    handle = os.open(path, flags | beside, mode)
    try:
        _require_plain(path, os.fstat(handle), doing)  # Another may lie there now.
    except SettingsError:
        os.close(handle)
        raise
    return handle


def read_plain(path: Path, *, follow: bool = False) -> bytes | None:
    """Return the content of a plain file; None if nothing lies there.

    Args:
        path: The file.
        follow: Go where a link leads.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: It is of another kind, or cannot be read.
    """
    with named_errors(path, "read"):
        try:
            handle = open_plain(path, follow=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with open(handle, "rb") as stream:
            return stream.read()


def _require_plain(path: Path, status: os.stat_result, doing: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        link = stat.S_ISLNK(status.st_mode)
        raise SettingsError(
            f"cannot {doing} {path}: it is {'a link' if link else 'no plain file'}",
            hint="let the file itself be there, and no link to it"
            if link
            else "move it away, or name another: a plain file belongs there",
        )


def _keep_to_owner(path: Path, handle: int) -> None:
    status = os.fstat(handle)
    if not status.st_mode & 0o077:
        return
    if status.st_uid != os.geteuid():
        raise AccessDeniedError(
            f"cannot write {path}: others than its owner, the user {status.st_uid}, may read or"
            " write it",
            hint="let its owner run chmod 600 on it, or name another file",
        )
    os.fchmod(handle, _PRIVATE_FILE)


def lock(handle: int, how: int = fcntl.LOCK_EX) -> None:
    """Lock an open file, where its file system has locks."""
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        # Some network file systems have no locks; the line is worth more than they are.
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def _append(handle: int, lines: bytes) -> None:
    size_bytes = os.fstat(handle).st_size
    if size_bytes and os.pread(handle, 1, size_bytes - 1) != b"\n":
        lines = b"\n" + lines
    try:
        view = memoryview(lines)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size_bytes)
        raise


def truncate_file(path: Path, size_bytes: int, effects: Effects) -> None:
    """Cut a file to a size, durably."""
    with named_errors(path, "write"), open(path, "r+b") as stream:
        stream.truncate(size_bytes)
        os.fsync(stream.fileno())
    effects.happened(EffectKind.WRITE, f"size of {path}")


def sync_file(path: Path, effects: Effects) -> None:
    """Flush a file's content and size to its disk."""
    with named_errors(path, "flush"), open(path, "rb") as stream:
        os.fsync(stream.fileno())
    effects.happened(EffectKind.WRITE, f"flush of {path}")


def rename(source: Path, target: Path, effects: Effects) -> None:
    """Rename durably within one file system."""
    with named_errors(target, "rename to"):
        os.rename(source, target)
        sync_directory(target.parent)
        if source.parent != target.parent:
            sync_directory(source.parent)
    effects.happened(EffectKind.WRITE, f"name {target}")


def sync_tree(path: Path, effects: Effects) -> None:
    """Flush everything below a directory to its disk, with one call for its file system.

    Source: syncfs(2); since Linux 5.8 it reports write errors.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with named_errors(path, "flush"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if libc.syncfs(handle) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(path))
        finally:
            os.close(handle)
    effects.happened(EffectKind.WRITE, f"tree {path}")


def remove_tree(path: Path, effects: Effects) -> None:
    """Remove a directory or file and all below it; it is no error if it is not there."""
    with named_errors(path, "remove"):
        if not os.path.lexists(path):
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        sync_directory(path.parent)
    effects.happened(EffectKind.WRITE, f"removal of {path}")


def prune_empty(path: Path, effects: Effects) -> None:
    """Remove the empty directories of a tree, and the tree itself if nothing is left in it."""
    with named_errors(path, "remove"):
        for directory, _, _ in os.walk(path, topdown=False):
            if not os.listdir(directory):
                Path(directory).rmdir()
        sync_directory(path.parent)
    effects.happened(EffectKind.WRITE, f"empty directories of {path}")


def change_owner(path: Path, uid: int, gid: int) -> None:
    """Give a file or directory to a user, if we may; only root ever needs to."""
    if os.geteuid() == 0:
        with named_errors(path, "change the owner of"):
            os.chown(path, uid, gid, follow_symlinks=False)


def used_bytes(path: Path) -> int:
    """Return the bytes on disk of a file, or of a directory and all below it.

    What vanishes while it is counted, counts as nothing: servers work meanwhile.
    """
    total = 0
    pending = [path]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(Path(entry.path))
                    except FileNotFoundError:
                        continue
        except NotADirectoryError:
            total += current.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def free_bytes(path: Path) -> int:
    """Return the bytes that are free for us on the file system of `path` or its nearest parent."""
    while not path.exists():
        path = path.parent
    status = os.statvfs(path)
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return blocks * status.f_frsize


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock on a file or directory that is there; wait for it as long as needed."""
    with named_errors(path, "lock"):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        with named_errors(path, "lock"):
            lock(handle)
        yield
    finally:
        os.close(handle)


def open_seekable(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file or block device; of what waits for somebody, such as a pipe, no more is asked.

    Raises:
        OSError: It cannot be opened.
        SettingsError: It is of another kind.
    """
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise SettingsError(
        f"cannot read {path}: it is neither a file nor a block device",
        hint="name a plain file, or a partition",
    )
