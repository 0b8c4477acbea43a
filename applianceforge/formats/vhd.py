"""Decode and encode the footer of a virtual hard disk (VHD), its last 512 bytes.

All numbers are big-endian.

    00  "conectix"                08  features, u32, 2          0C  version, u32, 10000h
    10  next header, u64          18  seconds since 2000, u32   1C  creator, 4 bytes
    20  creator's version, u32    24  creator's system, 4       28  original size in bytes, u64
    30  current size, u64         38  cylinders, u16            3A  heads, u8    3B  sectors, u8
    3C  kind, u32: 2 fixed, 3 dynamic, 4 differencing
    40  checksum, u32             44  UUID, 16 bytes            54  saved state, u8
    55  reserved, zeros

A fixed disk is the disk's bytes and then the footer; its next header is FFFFFFFFFFFFFFFF. The
checksum is the complement of the sum of all bytes of the footer but its own four. Azure takes fixed
disks of whole MiB only.

Source: Microsoft, Virtual Hard Disk Image Format Specification 1.0 (2006), Hard Disk Footer Format;
Microsoft Learn, "Prepare a Windows VHD or VHDX to upload to Azure" for the sizes.
"""

import struct
from dataclasses import dataclass
from uuid import UUID

from applianceforge.model.errors import SlotError

FOOTER_BYTES = 512
FIXED = 2

_COOKIE = b"conectix"
_RESERVED_FEATURE = 2
_VERSION = 0x10000
_NO_NEXT_HEADER = 0xFFFFFFFFFFFFFFFF
_LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
_CHECKSUM = slice(0x40, 0x44)
_KINDS = (2, 3, 4)
_SECTOR_BYTES = 512


@dataclass(frozen=True)
class Footer:
    """What a VHD says of itself.

    Attributes:
        made_s: Seconds since the first second of 2000, UTC.
        creator: The program that made it, 4 bytes; readers choose by it which size is right.
        creator_version: Of that program.
        creator_system: The operating system, 4 bytes.
        original_bytes: The size when it was made.
        size_bytes: The size now.
        cylinders: Of the geometry that a BIOS is told.
        heads: Of the same.
        sectors: Of the same, on a track.
        kind: FIXED or another.
        uuid: Names it to its children.
        next_header: The byte where a dynamic disk goes on.
    """

    made_s: int
    creator: bytes
    creator_version: int
    creator_system: bytes
    original_bytes: int
    size_bytes: int
    cylinders: int
    heads: int
    sectors: int
    kind: int
    uuid: UUID
    next_header: int = _NO_NEXT_HEADER


def checksum_of(footer: bytes) -> int:
    """Return the checksum that a footer must have."""
    others = bytes(footer[: _CHECKSUM.start]) + bytes(footer[_CHECKSUM.stop :])
    return ~sum(others) & 0xFFFFFFFF


def decode(data: bytes, what: str = "the disk") -> Footer:
    """Decode a footer.

    Args:
        data: The last 512 bytes of the file.
        what: What messages call the file.

    Raises:
        SlotError: It is none, or damaged; all problems are the evidence.
    """
    if len(data) != FOOTER_BYTES or data[:8] != _COOKIE:
        raise SlotError(
            f"{what} does not end in the footer of a VHD", hint="copy or build it again"
        )
    (
        _,
        features,
        version,
        next_header,
        made_s,
        creator,
        creator_version,
        creator_system,
        original_bytes,
        size_bytes,
        cylinders,
        heads,
        sectors,
        kind,
        checksum,
        uuid,
        saved,
    ) = _LAYOUT.unpack_from(data)
    wrong = []
    if checksum != checksum_of(data):
        wrong.append(f"the checksum is {checksum:08X}h instead of {checksum_of(data):08X}h")
    if version >> 16 != _VERSION >> 16:
        wrong.append(f"the version is {version >> 16}.{version & 0xFFFF}")
    if not features & _RESERVED_FEATURE:
        wrong.append(f"the features are {features:X}h")
    if kind not in _KINDS:
        wrong.append(f"the kind is {kind}")
    if (kind == FIXED) != (next_header == _NO_NEXT_HEADER):
        wrong.append(f"the kind is {kind}, but the next header is at {next_header:X}h")
    if size_bytes % _SECTOR_BYTES or size_bytes == 0:
        wrong.append(f"the size is {size_bytes} bytes")
    if saved or any(data[_LAYOUT.size :]):
        wrong.append("reserved bytes are used")
    if wrong:
        raise SlotError(
            f"{what} has a damaged footer: {wrong[0]}",
            hint="copy or build it again",
            evidence=tuple(wrong),
        )
    return Footer(
        made_s,
        creator,
        creator_version,
        creator_system,
        original_bytes,
        size_bytes,
        cylinders,
        heads,
        sectors,
        kind,
        UUID(bytes=uuid),
        next_header,
    )


def encode(footer: Footer) -> bytes:
    """Encode a footer, with its checksum."""
    data = bytearray(FOOTER_BYTES)
    _LAYOUT.pack_into(
        data,
        0,
        _COOKIE,
        _RESERVED_FEATURE,
        _VERSION,
        footer.next_header,
        footer.made_s,
        footer.creator,
        footer.creator_version,
        footer.creator_system,
        footer.original_bytes,
        footer.size_bytes,
        footer.cylinders,
        footer.heads,
        footer.sectors,
        footer.kind,
        0,
        footer.uuid.bytes,
        0,
    )
    data[_CHECKSUM] = checksum_of(bytes(data)).to_bytes(4, "big")
    return bytes(data)
