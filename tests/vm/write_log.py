"""Decode and encode the record of all that was written to a disk, and of every flush.

All numbers are little-endian u64 but the last of the superblock, which is u32.

    sector 0        magic 6A736677736872, version 1, number of entries, bytes in a sector
    then entries    a sector with: first sector, number of sectors, flags, bytes of data
                    then, unless it is a discard, as many sectors as it says

    flags           1 flush, 2 forced to the disk (FUA), 4 discard, 8 mark, 10 metadata

A mark has its data, the name of a moment, in its own sector behind the header; it comes from
Linux's tools, QEMU writes none. QEMU writes the superblock anew at each flush and at its end.

Source: Linux v6.1, drivers/md/dm-log-writes.c and Documentation/admin-guide/device-mapper/
log-writes.rst; QEMU 7.2, block/blklogwrites.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol

MAGIC = 0x6A736677736872
VERSION = 1
SECTOR_BYTES = 512
_SUPERBLOCK = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_LARGEST_SECTOR_BYTES = 4096
_MOST_PROBLEMS = 20


class Flags(IntFlag):
    """What an entry is."""

    NONE = 0
    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16


_KNOWN = Flags.FLUSH | Flags.FUA | Flags.DISCARD | Flags.MARK | Flags.METADATA


class Log(Protocol):
    """Bytes, or a file mapped into memory."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> bytes: ...


@dataclass(frozen=True)
class Entry:
    """A write, a discard, a flush or a mark.

    Attributes:
        first_sector: On the disk, in sectors of the log's size.
        sectors: How many; a flush may have none.
        flags: What it is.
        data_at: The byte of the log where its data begins.
        data_bytes: How many bytes of data it has.
    """

    first_sector: int
    sectors: int
    flags: Flags
    data_at: int
    data_bytes: int


@dataclass(frozen=True)
class WriteLog:
    """A record.

    Attributes:
        sector_bytes: The unit of places on the disk.
        entries: In the order in which the guest did them.
    """

    sector_bytes: int
    entries: tuple[Entry, ...]


class WriteLogError(ValueError):
    """The record is none, or damaged; the message has every problem found."""


def decode(log: Log, disk_bytes: int | None = None) -> WriteLog:
    """Return what was recorded; data stays in the log.

    Args:
        log: The whole record.
        disk_bytes: The size of the disk, if entries beyond it are to be refused.

    Raises:
        WriteLogError: It is no such record, or damaged.
    """
    if len(log) < _SUPERBLOCK.size:
        raise WriteLogError(f"a record of writes has {_SUPERBLOCK.size} bytes at least")
    magic, version, count, sector_bytes = _SUPERBLOCK.unpack(log[0 : _SUPERBLOCK.size])
    if magic != MAGIC:
        raise WriteLogError(f"this is no record of writes: its magic is {magic:#x}")
    problems = []
    if version != VERSION:
        problems.append(f"version {version} is not known")
    if sector_bytes & (sector_bytes - 1) or not SECTOR_BYTES <= sector_bytes <= (
        _LARGEST_SECTOR_BYTES
    ):
        problems.append(f"a sector cannot have {sector_bytes} bytes")
    if problems:
        raise WriteLogError("; ".join(problems))
    return WriteLog(sector_bytes, tuple(_entries(log, count, sector_bytes, disk_bytes)))


def _entries(log: Log, count: int, sector_bytes: int, disk_bytes: int | None) -> list[Entry]:
    found: list[Entry] = []
    problems: list[str] = []
    at = sector_bytes
    for number in range(count):
        if at + _ENTRY.size > len(log):
            problems.append(f"it ends before entry {number} of {count}")
            break
        first, sectors, bits, data_bytes = _ENTRY.unpack(log[at : at + _ENTRY.size])
        if bits & ~int(_KNOWN):
            problems.append(f"entry {number} has unknown flags {bits:#x}")
        flags = Flags(bits & _KNOWN)
        if disk_bytes is not None and (first + sectors) * sector_bytes > disk_bytes:
            problems.append(f"entry {number} lies beyond the end of the disk")
        data_at = at + sector_bytes
        if flags & Flags.MARK:
            entry = Entry(first, sectors, flags, at + _ENTRY.size, data_bytes)
            if data_bytes > sector_bytes - _ENTRY.size:
                problems.append(f"entry {number} is a mark of {data_bytes} bytes")
            at = data_at
        elif flags & Flags.DISCARD:
            entry = Entry(first, sectors, flags, data_at, 0)
            at = data_at
        else:
            entry = Entry(first, sectors, flags, data_at, sectors * sector_bytes)
            at = data_at + entry.data_bytes
            if at > len(log):
                problems.append(f"it ends within the data of entry {number} of {count}")
        found.append(entry)
        if len(problems) >= _MOST_PROBLEMS or at > len(log):
            break
    if problems:
        raise WriteLogError("; ".join(problems))
    return found


@dataclass(frozen=True)
class Written:
    """An entry with its data, for `encode`."""

    first_sector: int
    data: bytes = b""
    flags: Flags = Flags.NONE
    sectors: int | None = None


def encode(entries: Sequence[Written], sector_bytes: int = SECTOR_BYTES) -> bytes:
    """Return the record of entries, as `decode` takes it.

    Raises:
        WriteLogError: Data that does not fill its sectors, or a mark that has no room.
    """
    parts = [_SUPERBLOCK.pack(MAGIC, VERSION, len(entries), sector_bytes)]
    for number, entry in enumerate(entries):
        mark = bool(entry.flags & Flags.MARK)
        sectors = len(entry.data) // sector_bytes if entry.sectors is None else entry.sectors
        carried = 0 if entry.flags & Flags.DISCARD else sectors * sector_bytes
        if not mark and carried != len(entry.data):
            raise WriteLogError(f"entry {number} has {len(entry.data)} bytes, not {carried}")
        if mark and len(entry.data) > sector_bytes - _ENTRY.size:
            raise WriteLogError(f"entry {number} is a mark of {len(entry.data)} bytes")
        head = _ENTRY.pack(entry.first_sector, sectors, entry.flags, len(entry.data) * mark)
        parts += [head + entry.data] if mark else [head, entry.data]
    return b"".join(_in_sectors(parts, sector_bytes))


def _in_sectors(parts: Iterable[bytes], sector_bytes: int) -> Iterable[bytes]:
    for part in parts:
        yield part
        yield bytes(-len(part) % sector_bytes)
