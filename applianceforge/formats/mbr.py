"""Decode and encode the master boot record of a disk, its first sector.

    000  1B7  code, GRUB's on our disks
    1B8  1BB  disk signature, u32
    1BC  1BD  0, or 5A5A for a disk that must not be written
    1BE  1FD  four entries of 16 bytes
    1FE  1FF  55 AA

    entry     00  80 = active, 00 = not      01  first sector as cylinder, head, sector (3 bytes)
              04  type, 00 = entry not used  05  last sector, the same
              08  first sector, u32          0C  number of sectors, u32

A cylinder has 255 heads of 63 sectors. What lies beyond 1023 cylinders is written as cylinder 1023,
head 254, sector 63. Only the u32 fields are read.

Source: UEFI Specification 2.10, 5.2.1 and 5.2.2 (legacy MBR, partition record, protective MBR).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from applianceforge.model.errors import SlotError

SECTOR_BYTES = 512
CODE_BYTES = 440
LINUX = 0x83
MOST_PARTITIONS = 4

_SIGNATURE = b"\x55\xaa"
_HEADER = struct.Struct("<IH")
_ENTRY = struct.Struct("<B3sB3sII")
_ENTRIES_AT = 446
_ACTIVE = 0x80
_PROTECTIVE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)
_HEADS = 255
_SECTORS_A_TRACK = 63
_LAST_CYLINDER = 1023
_LARGEST = 0xFFFFFFFF


@dataclass(frozen=True)
class Partition:
    """One primary partition.

    Attributes:
        number: From 1 to 4.
        first_sector: Where it begins.
        sectors: How many it has.
        kind: The type, such as LINUX.
        active: Whether it has the mark that some BIOSes look for.
    """

    number: int
    first_sector: int
    sectors: int
    kind: int = LINUX
    active: bool = False

    @property
    def first_byte(self) -> int:
        """Return the byte of the disk where it begins."""
        return self.first_sector * SECTOR_BYTES

    @property
    def size_bytes(self) -> int:
        """Return its size."""
        return self.sectors * SECTOR_BYTES

    @property
    def end_sector(self) -> int:
        """Return the first sector after it."""
        return self.first_sector + self.sectors


@dataclass(frozen=True)
class Mbr:
    """A boot record: code, signature, and the partitions in the order of their numbers."""

    code: bytes
    signature: int
    partitions: tuple[Partition, ...]

    def partition(self, number: int) -> Partition | None:
        """Return a partition by its number."""
        return next((one for one in self.partitions if one.number == number), None)


def decode(sector: bytes, disk_sectors: int | None = None, what: str = "the disk") -> Mbr:
    """Decode sector 0.

    Args:
        sector: Its 512 bytes.
        disk_sectors: How many the disk has; None is not known.
        what: What messages call the disk.

    Raises:
        SlotError: There is no such table, or its entries contradict each other or the disk.
    """
    if len(sector) < SECTOR_BYTES:
        raise SlotError(
            f"{what} ends within its first sector",
            hint="it was cut short: copy or build it again",
        )
    if sector[0x1FE:SECTOR_BYTES] != _SIGNATURE:
        raise SlotError(
            f"{what} has no partition table of the kind MBR",
            hint="name an image of a whole disk, not of a partition or a packed one",
        )
    signature, _ = _HEADER.unpack_from(sector, CODE_BYTES)
    partitions, wrong = [], []
    for index in range(MOST_PARTITIONS):
        number = index + 1
        status, _, kind, _, first, sectors = _ENTRY.unpack_from(
            sector, _ENTRIES_AT + index * _ENTRY.size
        )
        if kind == 0:
            continue
        if kind == _PROTECTIVE:
            raise SlotError(
                f"{what} has a partition table of the kind GPT",
                hint="our disks have an MBR; name another image",
            )
        if kind in _EXTENDED:
            wrong.append(f"partition {number} is extended")
        if status not in (0, _ACTIVE):
            wrong.append(f"partition {number} has the status {status:02X}h")
        partitions.append(Partition(number, first, sectors, kind, status == _ACTIVE))
    wrong += problems(partitions, disk_sectors)
    if wrong:
        raise SlotError(
            f"{what} has a damaged partition table: {wrong[0]}",
            hint="copy or build the image again",
            evidence=tuple(wrong),
        )
    return Mbr(bytes(sector[:CODE_BYTES]), signature, tuple(partitions))


def encode(mbr: Mbr) -> bytes:
    """Encode sector 0.

    Raises:
        ValueError: The record cannot be: code of another length, or partitions that contradict
            each other.
    """
    wrong = problems(mbr.partitions, None)
    if len(mbr.code) != CODE_BYTES:
        wrong.append(f"code of {len(mbr.code)} bytes")
    if not 0 <= mbr.signature <= _LARGEST:
        wrong.append(f"the signature {mbr.signature:X}h")
    if wrong:
        raise ValueError("; ".join(wrong))
    sector = bytearray(SECTOR_BYTES)
    sector[:CODE_BYTES] = mbr.code
    _HEADER.pack_into(sector, CODE_BYTES, mbr.signature, 0)
    for one in mbr.partitions:
        _ENTRY.pack_into(
            sector,
            _ENTRIES_AT + (one.number - 1) * _ENTRY.size,
            _ACTIVE if one.active else 0,
            _address(one.first_sector),
            one.kind,
            _address(one.end_sector - 1),
            one.first_sector,
            one.sectors,
        )
    sector[0x1FE:] = _SIGNATURE
    return bytes(sector)


def problems(
    partitions: list[Partition] | tuple[Partition, ...], disk_sectors: int | None
) -> list[str]:
    """Return what is wrong with partitions, one sentence each; [] if nothing is.

    Args:
        partitions: In any order.
        disk_sectors: How many the disk has; None is not known.
    """
    wrong = []
    for one in partitions:
        if not 1 <= one.number <= MOST_PARTITIONS:
            wrong.append(f"there is no partition {one.number}")
        if one.first_sector < 1 or one.sectors < 1:
            wrong.append(f"partition {one.number} has {one.sectors} sectors at {one.first_sector}")
        if one.first_sector > _LARGEST or one.sectors > _LARGEST:
            wrong.append(f"partition {one.number} lies farther than an MBR reaches (2 TiB)")
        if disk_sectors is not None and one.end_sector > disk_sectors:
            wrong.append(
                f"partition {one.number} ends at sector {one.end_sector}, the disk at"
                f" {disk_sectors}"
            )
    if len({one.number for one in partitions}) < len(partitions):
        wrong.append("two partitions have one number")
    if sum(one.active for one in partitions) > 1:
        wrong.append("more than one partition is active")
    for before, after in pairwise(sorted(partitions, key=lambda one: one.first_sector)):
        if before.end_sector > after.first_sector:
            wrong.append(f"partitions {before.number} and {after.number} overlap")
    return wrong


def _address(sector: int) -> bytes:
    cylinder, rest = divmod(sector, _HEADS * _SECTORS_A_TRACK)
    head, track_sector = divmod(rest, _SECTORS_A_TRACK)
    if cylinder > _LAST_CYLINDER:
        cylinder, head, track_sector = _LAST_CYLINDER, _HEADS - 1, _SECTORS_A_TRACK - 1
    return bytes((head, (cylinder >> 2 & 0xC0) | (track_sector + 1), cylinder & 0xFF))
