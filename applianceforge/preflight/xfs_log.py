"""Whether the log of an XFS that is not mounted holds what was not written back.

The superblock has no mark for it: a clean unmount ends the log with an unmount record, and that
must be the last thing in it. All numbers are big endian.

    superblock  004 u32 block size, 030 u64 first block of the log (0: it is on another device),
                054 u32 blocks of an allocation group, 060 u32 blocks of the log,
                07C u8 bits of a block number within its group
    log         sectors of 512 bytes. The first word of each is the number of the cycle in which it
                was written; in the first sector of a record it is FEEDBABE, and the cycle follows.
                The log is written round and round: its head is where the cycle drops.
    record      008 u32 version, 00C u32 length, 028 u32 number of operations,
                140h u32 size of its buffer: one sector of header for each 32 KiB of it
    operation   009 u8 flags: 20h unmount

Source: Linux, fs/xfs/libxfs/xfs_format.h (xfs_dsb), xfs_log_format.h (xlog_rec_header,
xlog_op_header, XLOG_UNMOUNT_TRANS); fs/xfs/xfs_log_recover.c (xlog_find_head,
xlog_check_unmount_rec).
"""

from __future__ import annotations

import struct
from typing import Callable

_SECTOR = 512
_MAGIC = 0xFEEDBABE
_UNMOUNT = 0x20
_HEADER_FOR_BYTES = 32 * 1024
# A record is at most 256 KiB long, with eight sectors of header.
_LONGEST_RECORD_SECTORS = 512 + 8
# 2 GiB is XFS's own limit.
_LARGEST_LOG_BYTES = 1 << 31

Read = Callable[[int, int], bytes]


def needs_recovery(read: Read) -> bool | None:
    """Return whether the log must be recovered; None if that cannot be told.

    Args:
        read: Returns so many bytes from a place of the file system: `read(at, size)`.
    """
    place = _log(read(0, _SECTOR))
    if place is None:
        return None
    start, sectors = place
    first, last = _cycle(read, start), _cycle(read, start + sectors - 1)
    if first is None or last is None or first == 0:
        return None
    head = sectors if first == last else _drop(read, start, sectors, last)
    if head is None:
        return None
    return _ends_dirty(read, start, head)


def _log(superblock: bytes) -> tuple[int, int] | None:
    """Return the first sector of the log and how many it has."""
    if len(superblock) < _SECTOR or superblock[:4] != b"XFSB":
        return None
    (block_bytes,) = struct.unpack_from(">I", superblock, 0x04)
    (block,) = struct.unpack_from(">Q", superblock, 0x30)
    (group_blocks,) = struct.unpack_from(">I", superblock, 0x54)
    (blocks,) = struct.unpack_from(">I", superblock, 0x60)
    bits = superblock[0x7C]
    if not 0 < blocks * block_bytes <= _LARGEST_LOG_BYTES or block == 0 or bits > 32:
        return None
    if block_bytes % _SECTOR:
        return None
    number = (block >> bits) * group_blocks + (block & ((1 << bits) - 1))
    return number * block_bytes // _SECTOR, blocks * block_bytes // _SECTOR


def _cycle(read: Read, sector: int) -> int | None:
    words = read(sector * _SECTOR, 8)
    if len(words) < 8:
        return None
    magic, cycle = struct.unpack(">II", words)
    found: int = cycle if magic == _MAGIC else magic
    return found


def _drop(read: Read, start: int, sectors: int, last: int) -> int | None:
    """Return the first sector of the log that is of the last one's cycle, by halves."""
    low, high = 0, sectors - 1
    while high - low > 1:
        middle = (low + high) // 2
        cycle = _cycle(read, start + middle)
        if cycle is None:
            return None
        low, high = (low, middle) if cycle == last else (middle, high)
    return high


def _ends_dirty(read: Read, start: int, head: int) -> bool | None:
    """Return whether something else than an unmount record is the last before the head."""
    begin = max(0, head - _LONGEST_RECORD_SECTORS)
    tail = read((start + begin) * _SECTOR, (head - begin) * _SECTOR)
    for at in range(len(tail) - _SECTOR, -1, -_SECTOR):
        if tail[at : at + 4] == _MAGIC.to_bytes(4, "big"):
            return not _is_unmount(tail[at:])
    # The last record lies across the log's end, or is not there: an unmount record is short.
    return True if tail else None


def _is_unmount(record: bytes) -> bool:
    version, length = struct.unpack_from(">II", record, 0x08)
    (operations,) = struct.unpack_from(">I", record, 0x28)
    (size,) = struct.unpack_from(">I", record, 0x140)
    headers = 1
    if version & 2 and size > _HEADER_FOR_BYTES:
        headers = -(-size // _HEADER_FOR_BYTES)
    flags = record[headers * _SECTOR + 9 : headers * _SECTOR + 10]
    whole = len(record) == headers * _SECTOR + -(-length // _SECTOR) * _SECTOR
    return operations == 1 and whole and flags != b"" and bool(flags[0] & _UNMOUNT)
