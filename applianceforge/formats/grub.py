"""GRUB on a BIOS disk, compared with the files that it was installed from.

Sector 0 of the disk is boot.img, and holds on top of it

    000  002  jump
    003  059  left to the BIOS parameter block of whatever was there before
    05C  063  u64, the sector of the core image
    064       the drive to boot from, FF = the one that the BIOS names
    066  067  a jump over the drive's check, or 90 90
    1B8  1FD  disk signature and partition table
    1FE  1FF  55 AA

The core image lies in the gap before the first partition. Its first sector holds, from 1F4 down, 12
bytes for each run of sectors that follows: u64 first sector, u16 sectors, u16 segment; a run of 0
sectors ends the list. At 210 (its second sector, 10) stands the length of the Reed-Solomon code
that grub-install appends, u32. Everything else is core.img byte for byte: the code is systematic.

Source: GRUB 2.06, util/setup.c (setup), include/grub/i386/pc/boot.h, include/grub/offsets.h;
grub-core/boot/i386/pc/boot.S and diskboot.S.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SECTOR_BYTES = 512
# The gap before the first partition is 1 MiB on new disks, 31 KiB on old ones.
LARGEST_CORE_BYTES = 1 << 20

_CORE_SECTOR = 0x5C
_RUNS_END = 0x200
_RUN = struct.Struct("<QHH")
# Above the list of runs is code: 1BC is where diskboot.S ends at the latest.
_RUNS_BEGIN = 0x1BC
_FREE_IN_BOOT = ((0x03, 0x5A), (0x5C, 0x65), (0x66, 0x68), (0x1B8, SECTOR_BYTES))
_REDUNDANCY = (0x210, 0x214)
# What is shown of a difference: enough to find it, no more.
_SHOWN = 4


_DRIVE = 0x64
_DRIVE_CHECK = 0x66
_CODE_BYTES = 0x1B8
# Sector 0 is the MBR; the core image follows at once.
_CORE_AT = 1


class Placed(NamedTuple):
    """What a disk gets of GRUB.

    Attributes:
        code: The first 440 bytes of sector 0; the signature and the partition table follow.
        gap: What lies from sector 1 on, whole sectors.
    """

    code: bytes
    gap: bytes


class Run(NamedTuple):
    """Sectors of a disk in a row."""

    first: int
    sectors: int


def place(boot_img: bytes, core_img: bytes) -> Placed:
    """Return GRUB's files as they lie on a disk whose core image begins in sector 1.

    Raises:
        ValueError: They are not GRUB's files, or the core image is larger than the gap.
    """
    sectors = -(-len(core_img) // SECTOR_BYTES)
    if len(boot_img) != SECTOR_BYTES or sectors < 2:
        raise ValueError("GRUB's files boot.img and core.img are not what GRUB is installed from")
    if (_CORE_AT + sectors) * SECTOR_BYTES > LARGEST_CORE_BYTES:
        raise ValueError(f"the core image has {len(core_img)} bytes, more than the gap takes")
    code = bytearray(boot_img[:_CODE_BYTES])
    struct.pack_into("<Q", code, _CORE_SECTOR, _CORE_AT)
    code[_DRIVE] = 0xFF
    code[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    gap = bytearray(core_img.ljust(sectors * SECTOR_BYTES, b"\0"))
    # The segment, the entry's last field, stands in core.img already.
    struct.pack_into("<QH", gap, _RUNS_END - _RUN.size, _CORE_AT + 1, sectors - 1)
    return Placed(bytes(code), bytes(gap))


def is_boot_sector(sector: bytes) -> bool:
    """Return whether a sector 0 is one that a BIOS starts."""
    return len(sector) == SECTOR_BYTES and sector[0x1FE:] == b"\x55\xaa"


def core_sector(sector: bytes) -> int:
    """Return the sector of the core image by a sector 0 that GRUB wrote; 0 if there is none."""
    if not is_boot_sector(sector):
        return 0
    number: int = struct.unpack_from("<Q", sector, _CORE_SECTOR)[0]
    return number


def runs(first: bytes) -> tuple[Run, ...]:
    """Return the runs of sectors that hold the core image after its first sector.

    Anything may be in the bytes: no length is believed beyond `LARGEST_CORE_BYTES`.
    """
    found: list[Run] = []
    left = LARGEST_CORE_BYTES // SECTOR_BYTES
    for at in range(_RUNS_END - _RUN.size, _RUNS_BEGIN, -_RUN.size):
        if len(first) < SECTOR_BYTES:
            break
        start, sectors, _ = _RUN.unpack_from(first, at)
        if sectors == 0 or sectors > left:
            break
        found.append(Run(start, sectors))
        left -= sectors
    return tuple(found)


def compare(sector: bytes, core: bytes, boot_img: bytes, core_img: bytes) -> tuple[str, ...]:
    """Return how the disk differs from GRUB's files, one sentence a difference; () if it does not.

    Args:
        sector: Sector 0 of the disk.
        core: What follows by the list of runs, its first sector included, as much as there is.
        boot_img: boot.img of the directory of GRUB's files.
        core_img: core.img of the same directory.
    """
    if len(boot_img) != SECTOR_BYTES or len(core_img) <= SECTOR_BYTES:
        return ("GRUB's files boot.img and core.img are not what grub-install writes",)
    if not is_boot_sector(sector):
        return ("sector 0 is no boot sector",)
    found = _difference("sector 0", sector, boot_img, _FREE_IN_BOOT)
    if len(core) < len(core_img):
        found.append(f"the core image ends after {len(core)} of {len(core_img)} bytes")
    whole = core[: len(core_img)]
    found += _difference("the core image", whole, core_img, _free_in_core(core[:SECTOR_BYTES]))
    listed = sum(run.sectors for run in runs(core[:SECTOR_BYTES]))
    needed = -(-(len(core_img) + _redundancy(core)) // SECTOR_BYTES) - 1
    if listed != needed:
        found.append(f"the core image lists {listed} sectors instead of {needed}")
    return tuple(found)


def _redundancy(core: bytes) -> int:
    if len(core) < _REDUNDANCY[1]:
        return 0
    length: int = struct.unpack_from("<I", core, _REDUNDANCY[0])[0]
    return length


def _free_in_core(first: bytes) -> tuple[tuple[int, int], ...]:
    """Return where the installer writes: a run in each entry it needs, but for the first's segment.

    core.img names one run. Where the sectors do not lie in a row there are more entries below.
    """
    entries = max(1, len(runs(first)))
    return ((_RUNS_END - entries * _RUN.size, _RUNS_END - 2), _REDUNDANCY)


def _difference(
    what: str, disk: bytes, file: bytes, free: tuple[tuple[int, int], ...]
) -> list[str]:
    mine, theirs = bytearray(disk), bytearray(file[: len(disk)])
    for start, end in free:
        if end <= len(mine):
            mine[start:end] = theirs[start:end] = bytes(end - start)
    if mine == theirs:
        return []
    places = []
    for start in range(0, len(mine), SECTOR_BYTES):
        one, other = mine[start : start + SECTOR_BYTES], theirs[start : start + SECTOR_BYTES]
        if one != other:
            places += [
                start + at for at in range(len(one)) if one[at : at + 1] != other[at : at + 1]
            ]
    shown = ", ".join(f"{at:X}h" for at in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return [f"{what} differs from GRUB's file at byte {shown}{more}"]
