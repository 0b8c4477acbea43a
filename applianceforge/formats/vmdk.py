"""Decode the header and the descriptor of a stream-optimized VMDK, and give it another content ID.

The file begins with one sector, its numbers little-endian:

    00  "KDMV"                    04  version, u32, 3           08  flags, u32
    0C  capacity in sectors, u64  14  grain in sectors, u64     1C  descriptor's sector, u64
    24  its sectors, u64          2C  entries of a grain table  38  directory's sector; all Fs if
    4D  0A 20 0D 0A               4D+4  compression, u16, 1         it stands in the footer

flags: 1 = the four bytes at 49h are a line-end test, 10000h = compressed, 20000h = with markers.
The descriptor is text, filled up with zeros; its lines are `key=value`, `# comment`, and one line
`RW sectors SPARSE "name"` per extent. CID changes whenever the content is written, up to 8
hexadecimal digits (qemu-img writes no zeros before them); parentCID is ffffffff for a disk without
a parent.

Source: VMware, Virtual Disk Format 5.0, "Hosted Sparse Extent Header", "Stream-Optimized Compressed
Sparse Extents", "The Descriptor File".
"""

import re
import struct
from dataclasses import dataclass

from applianceforge.model.errors import SlotError

SECTOR_BYTES = 512
HEADER_BYTES = 512

_MAGIC = b"KDMV"
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_LINE_ENDS = b"\n \r\n"
_VALID_LINE_ENDS = 1
_COMPRESSED = 0x10000
_MARKERS = 0x20000
_DEFLATE = 1
_STREAM = "streamOptimized"
# The format names no limit; ours has one, so that no length is believed.
_MOST_DESCRIPTOR_SECTORS = 128
_CID = re.compile(rb"^CID=[0-9a-f]{1,8}$", re.MULTILINE)
_EXTENT = re.compile(r'^RW (\d+) SPARSE "([^"]*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """Where things are in a stream-optimized disk.

    Attributes:
        version: Of the format.
        capacity_sectors: The size of the disk.
        grain_sectors: What is compressed at a time.
        descriptor_at: The byte where the descriptor begins.
        descriptor_bytes: Its size, zeros at its end included.
    """

    version: int
    capacity_sectors: int
    grain_sectors: int
    descriptor_at: int
    descriptor_bytes: int


@dataclass(frozen=True)
class Descriptor:
    """What the descriptor says.

    Attributes:
        content_id: Changes with the content.
        kind: Such as streamOptimized.
        adapter: What kind of controller the disk was made for, such as "lsilogic".
        extent_sectors: The size of the disk.
        extent_name: The name that its file had when it was made.
    """

    content_id: int
    kind: str
    adapter: str
    extent_sectors: int
    extent_name: str


def decode_header(data: bytes, what: str = "the disk") -> Header:
    """Decode the first sector.

    Raises:
        SlotError: It is no header of a stream-optimized disk, or damaged.
    """
    if len(data) < HEADER_BYTES or data[:4] != _MAGIC:
        raise SlotError(f"{what} is no VMDK in one file", hint="copy or build it again")
    (_, version, flags, capacity, grain, at, sectors, _, _, _, _, _, ends, compression) = (
        _HEADER.unpack_from(data)
    )
    wrong = []
    if not flags & _COMPRESSED or not flags & _MARKERS or compression != _DEFLATE:
        wrong.append(f"it is not stream-optimized: flags {flags:X}h, compression {compression}")
    if flags & _VALID_LINE_ENDS and ends != _LINE_ENDS:
        wrong.append("its line ends were changed, as a transfer as text does")
    if not 0 < sectors <= _MOST_DESCRIPTOR_SECTORS or at < 1:
        wrong.append(f"its descriptor has {sectors} sectors at {at}")
    if capacity == 0 or grain == 0 or grain & (grain - 1):
        wrong.append(f"it has {capacity} sectors in grains of {grain}")
    if wrong:
        raise SlotError(
            f"{what} cannot be used as VMDK: {wrong[0]}",
            hint="copy or build it again",
            evidence=tuple(wrong),
        )
    return Header(version, capacity, grain, at * SECTOR_BYTES, sectors * SECTOR_BYTES)


def decode_descriptor(data: bytes, what: str = "the disk") -> Descriptor:
    """Decode the descriptor, zeros at its end included.

    Raises:
        SlotError: A line that must be there is not, or is there twice.
    """
    text = data.rstrip(b"\0").decode(errors="replace")
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key.strip(), []).append(value.strip().strip('"'))
    extents = _EXTENT.findall(text)
    wrong = [
        f"{key} is there {len(values.get(key, []))} times"
        for key in ("CID", "parentCID", "createType", "ddb.adapterType")
        if len(values.get(key, [])) != 1
    ]
    if len(extents) != 1:
        wrong.append(f"it has {len(extents)} extents")
    if not wrong and not re.fullmatch(r"[0-9a-f]{1,8}", values["CID"][0]):
        wrong.append(f"CID is {values['CID'][0]}")
    if not wrong and values["createType"][0] != _STREAM:
        wrong.append(f"createType is {values['createType'][0]}")
    if wrong:
        raise SlotError(
            f"{what} has a damaged descriptor: {wrong[0]}",
            hint="copy or build it again",
            evidence=tuple(wrong),
        )
    return Descriptor(
        int(values["CID"][0], 16),
        values["createType"][0],
        values["ddb.adapterType"][0],
        int(extents[0][0]),
        extents[0][1],
    )


def with_content_id(data: bytes, content_id: int) -> bytes:
    """Return a descriptor with another content ID in 8 digits, of the same length.

    Raises:
        SlotError: It has none, or no room for longer text.
        ValueError: The content ID is none of 32 bits, or the one that means "no parent".
    """
    if not 0 <= content_id < 0xFFFFFFFF:
        raise ValueError(f"{content_id:X}h is no content ID")
    decode_descriptor(data)
    changed = _CID.sub(f"CID={content_id:08x}".encode(), data.rstrip(b"\0"), count=1)
    if len(changed) > len(data):
        raise SlotError("the descriptor is full", hint="copy or build the disk again")
    return changed.ljust(len(data), b"\0")
