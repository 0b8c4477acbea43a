"""Read a little of a file, and leave no trace of it; what is mounted where."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

from applianceforge.formats import foreign
from applianceforge.formats.foreign_words import HEAD_BYTES, Identification

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def allocated_bytes(status: os.stat_result) -> int:
    """Return what a file takes on the disk, at most its length: what there is to carry over.

    A small file may have no block of its own: some file systems keep it in the inode.

    Source: stat(2): st_blocks counts 512 bytes, whatever the size of a block is.
    """
    if status.st_size <= 4096:
        return status.st_size
    return min(status.st_size, status.st_blocks * 512)


def open_quietly(name: str, flags: int, directory: int) -> int:
    """Open without a trace in the time of access, where the kernel allows it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError as error:
        # EPERM is "not yours"; EACCES would not go away.
        if error.errno != errno.EPERM:
            raise
    return os.open(name, flags, dir_fd=directory)


def identity(status: os.stat_result) -> tuple[int, int]:
    """Return what no two files have in common: device and inode."""
    return status.st_dev, status.st_ino


def head(directory: int, name: str) -> tuple[bytes, int]:
    """Return the first bytes of a regular file, and its size."""
    descriptor = open_quietly(name, READ, directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b"", 0
        return os.pread(descriptor, HEAD_BYTES, 0), status.st_size
    finally:
        os.close(descriptor)


def behind_zeros(descriptor: int, size_bytes: int) -> Identification:
    """Say what a file is that begins with zeros: look where data begins, midway, at its end."""
    places = [size_bytes // 2, size_bytes - 1]
    # An error: no data at all behind the head, or a file system that does not know.
    with contextlib.suppress(OSError):
        places.insert(0, os.lseek(descriptor, HEAD_BYTES, os.SEEK_DATA))
    for place in places:
        sample = os.pread(descriptor, HEAD_BYTES, place // HEAD_BYTES * HEAD_BYTES)
        if any(sample):
            return foreign.identify_sample(sample)
    return foreign.identify_sample(b"")


def mounts() -> dict[str, str]:
    """Return where what is mounted: the kind of file system by the directory; empty if unknown.

    Source: proc(5), /proc/self/mountinfo: the fifth field is the directory with space, tab, line
    feed and backslash in octal; the kind follows a lone hyphen.
    """
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        fields = line.split(b" ")
        if len(fields) < 9 or b"-" not in fields:
            continue
        place = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code.group(1), 8)]), fields[4])
        found[os.fsdecode(place)] = fields[fields.index(b"-") + 1].decode("ascii", "replace")
    return found


def kind_of(place: str, mounts: dict[str, str]) -> str:
    """Return the kind of the file system that a directory is on."""
    while place not in mounts and place not in ("/", ""):
        place = place.rpartition("/")[0] or "/"
    return mounts.get(place, "")
