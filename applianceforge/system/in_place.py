"""Change a file or a disk where its bytes lie, and read what the disk itself has."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from applianceforge.model.errors import SlotError
from applianceforge.system.effects import EffectKind, Effects
from applianceforge.system.files import lock, named_errors, open_seekable

_CHUNK_BYTES = 1 << 20
_ZEROS = bytes(_CHUNK_BYTES)
# Source: linux/falloc.h.
_KEEP_SIZE = 0x01
_ZERO_RANGE = 0x10
# What a file system, a device or an old kernel says that cannot do it.
_CANNOT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL)


def _in_use(path: Path) -> SlotError:
    return SlotError(
        f"{path} is in use: it is mounted, or another command writes it",
        hint="wait until that command has ended, or unmount it; then run the same command again",
    )


class InPlace:
    """A file or device whose bytes are changed where they lie.

    It is never truncated, replaced or made, so that no block of it moves.

    Args:
        path: The file or device.
        effects: Told of each flush, after which all that was written before is on the disk.
        writable: Open it for writing, too.

    Raises:
        SettingsError: It is not there, or is neither a file nor a block device.
        SlotError: It is mounted, or another command writes it.
        AccessDeniedError: It may not be opened so.
    """

    def __init__(self, path: Path, effects: Effects, *, writable: bool = True) -> None:
        self._path, self._effects = path, effects
        with named_errors(path, "open"):
            flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
            # Of a block device that is mounted or otherwise in use, the kernel refuses O_EXCL.
            block = writable and stat.S_ISBLK(path.stat().st_mode)
            try:
                self._handle = open_seekable(path, flags | (os.O_EXCL if block else 0))
                if writable:
                    self._lock_at_once()
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.EWOULDBLOCK):
                    raise _in_use(path) from error
                raise

    def _lock_at_once(self) -> None:
        """Let no other command write the same, which for a plain file only a lock can do."""
        try:
            lock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise

    def __enter__(self) -> InPlace:
        """Return itself."""
        return self

    def __exit__(self, *_ended: object) -> None:
        """Close it; what was not flushed may be lost."""
        os.close(self._handle)

    @property
    def size_bytes(self) -> int:
        """Return its size; that of a device as well."""
        with named_errors(self._path, "read"):
            return os.lseek(self._handle, 0, os.SEEK_END)

    def read(self, at_bytes: int, size_bytes: int) -> bytes:
        """Return bytes; fewer where it ends."""
        with named_errors(self._path, "read"):
            return os.pread(self._handle, size_bytes, at_bytes)

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        """Write bytes, without waiting for the disk."""
        with named_errors(self._path, "write"):
            view = memoryview(content)
            while view:
                written = os.pwrite(self._handle, view, at_bytes)
                view, at_bytes = view[written:], at_bytes + written

    def zero(self, at_bytes: int, size_bytes: int) -> None:
        """Make bytes zeros, without waiting for the disk, and without sending them where it can.

        Source: fallocate(2), FALLOC_FL_ZERO_RANGE; Linux 4.9 and later, block/fops.c, for block
        devices, where it is BLKZEROOUT and drops what memory has of that range.
        """
        with named_errors(self._path, "write"):
            if not _zero_range(self._handle, at_bytes, size_bytes):
                for at in range(at_bytes, at_bytes + size_bytes, _CHUNK_BYTES):
                    self.write(at, _ZEROS[: at_bytes + size_bytes - at])

    def flush(self) -> None:
        """Wait until the disk has all that was written."""
        with named_errors(self._path, "flush"):
            os.fdatasync(self._handle)
        self._effects.happened(EffectKind.WRITE, f"bytes of {self._path}")

    def read_from_disk(
        self, size_bytes: int, chunk_bytes: int = _CHUNK_BYTES, at_bytes: int = 0
    ) -> Iterator[bytes]:
        """Return its first bytes as the disk has them, in chunks, and not as memory has.

        Args:
            size_bytes: How many of its first bytes.
            chunk_bytes: How many at once.
            at_bytes: Begin there, a multiple of 4096.

        Source: open(2), O_DIRECT: buffer, offset and length are multiples of the block size. A file
        system without it (tmpfs) is asked to forget what it has in memory (posix_fadvise(2)).
        """
        with named_errors(self._path, "read"):
            try:
                handle = os.open(self._path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                # Memory from mmap begins at a page, as O_DIRECT needs.
                with mmap.mmap(-1, chunk_bytes) as buffer:
                    at = at_bytes
                    while at < size_bytes:
                        got = os.preadv(handle, [buffer], at)
                        if got == 0:
                            return
                        yield buffer[: min(got, size_bytes - at)]
                        at += got
            finally:
                os.close(handle)


def _zero_range(handle: int, at_bytes: int, size_bytes: int) -> bool:
    """Ask the kernel to zero a range; tell whether it can."""
    libc = ctypes.CDLL(None, use_errno=True)
    # With 64-bit offsets on i386, too.
    words = (ctypes.c_int64(at_bytes), ctypes.c_int64(size_bytes))
    while libc.fallocate64(handle, _KEEP_SIZE | _ZERO_RANGE, *words) != 0:
        number = ctypes.get_errno()
        if number in _CANNOT:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
