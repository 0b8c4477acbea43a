"""Decode what must be known of an ext2 or ext4 file system that nothing has mounted.

All numbers are little-endian. The superblock is 1024 bytes at byte 1024:

    00  inodes            04  blocks, low half    0C  free blocks, low half   10  free inodes
    14  first data block  18  log2(block / 1024)  20  blocks in a group       28  inodes in a group
    38  magic EF53        3A  state, 1 = clean    4C  revision                58  inode's bytes, u16
    5C  compatible        60  incompatible        64  read-only features      68  UUID, 16 bytes
    78  label, 16 bytes   FE  a group descriptor's bytes, u16, if 64BIT is a feature
    150 blocks, high half 158 free blocks, high half

Group descriptors follow in the next block, of 32 bytes or as many as FE says: u32 inode bitmap at
04, inode table at 08, u16 flags at 12 (1 = none of the group's inodes is in use), high halves at 24
and 28. An inode has its mode at 00 (u16), its links at 1A (u16), atime, ctime, mtime at 08, 0C, 10,
its attribute block at 68, from 80 on the number of its extra bytes (u16), the extra fields of
ctime, mtime and atime at 84, 88, 8C, crtime at 90 and its extra field at 94. Attributes lie behind
the extra bytes, after the magic EA020000, and in the attribute block behind 32 bytes: entries of u8
name bytes, u8 prefix, u16 offset, u32 inode, u32 bytes, u32 hash, name, padded to 4 bytes; four
zero bytes end the list.

Source: Linux v6.1, Documentation/filesystems/ext4/{super,group_descr,inodes,attributes}.rst.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from applianceforge.model.errors import SlotError

SUPERBLOCK_AT = 1024
SUPERBLOCK_BYTES = 1024
MAGIC = 0xEF53

COMPATIBLE_JOURNAL = 0x4
COMPATIBLE_RESIZE = 0x10
INCOMPATIBLE_RECOVER = 0x4
INCOMPATIBLE_EXTENTS = 0x40
INCOMPATIBLE_64BIT = 0x80
READ_ONLY_CHECKSUMS = 0x400

_STATE_CLEAN = 1
_GROUP_INODES_UNUSED = 1
_OLD_INODE_BYTES = 128
_BLOCK_BYTES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
_MOST_GROUPS = 1 << 20
_ATTRIBUTE_MAGIC = 0xEA020000
_ATTRIBUTE = struct.Struct("<BBHIII")
_ATTRIBUTE_BLOCK_HEADER_BYTES = 32
_PREFIXES = {
    0: "",
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}


@dataclass(frozen=True)
class Superblock:
    """What a file system says of itself."""

    inodes: int
    blocks: int
    free_blocks: int
    free_inodes: int
    block_bytes: int
    first_block: int
    blocks_per_group: int
    inodes_per_group: int
    inode_bytes: int
    descriptor_bytes: int
    compatible: int
    incompatible: int
    read_only: int
    clean: bool
    uuid: UUID
    label: str

    @property
    def size_bytes(self) -> int:
        """Return the size of the whole file system."""
        return self.blocks * self.block_bytes

    @property
    def used_bytes(self) -> int:
        """Return what is not free: content, and what the file system needs for itself."""
        return (self.blocks - self.free_blocks) * self.block_bytes

    @property
    def groups(self) -> int:
        """Return the number of block groups."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def groups_at(self) -> int:
        """Return the byte where the group descriptors begin."""
        return (self.first_block + 1) * self.block_bytes

    @property
    def kind(self) -> str:
        """Return "ext4", "ext3" or "ext2", whichever has these features."""
        if self.incompatible & INCOMPATIBLE_EXTENTS:
            return "ext4"
        return "ext3" if self.compatible & COMPATIBLE_JOURNAL else "ext2"

    @property
    def journal_is_empty(self) -> bool:
        """Return whether there is nothing to replay."""
        return not self.incompatible & INCOMPATIBLE_RECOVER


class Group(NamedTuple):
    """Where a block group keeps its inodes."""

    inode_bitmap_block: int
    inode_table_block: int
    unused: bool


class Time(NamedTuple):
    """A time stamp as it is stored: signed seconds, and the extra field."""

    seconds: int
    extra: int


class Inode(NamedTuple):
    """The fields of an inode that making it reproducible needs."""

    mode: int
    links: int
    atime: Time
    ctime: Time
    mtime: Time
    crtime: Time
    attribute_block: int
    attributes: tuple[str, ...]


def decode_superblock(data: bytes, what: str = "the image") -> Superblock:
    """Decode the 1024 bytes at byte 1024.

    Args:
        data: The superblock.
        what: What messages call the file system.

    Raises:
        SlotError: This is no ext file system, or one whose numbers contradict each other.
    """
    if len(data) < SUPERBLOCK_BYTES or struct.unpack_from("<H", data, 0x38)[0] != MAGIC:
        raise SlotError(
            f"{what} holds no ext2 or ext4 file system",
            hint="it may be cut short, or not be what its name says: build it again",
        )
    numbers = struct.unpack_from("<11I", data)
    compatible, incompatible, read_only = struct.unpack_from("<3I", data, 0x5C)
    large = bool(incompatible & INCOMPATIBLE_64BIT)
    high_blocks, _, high_free = struct.unpack_from("<3I", data, 0x150) if large else (0, 0, 0)
    (state,) = struct.unpack_from("<H", data, 0x3A)
    (revision,) = struct.unpack_from("<I", data, 0x4C)
    (inode_bytes,) = struct.unpack_from("<H", data, 0x58) if revision else (_OLD_INODE_BYTES,)
    (descriptor_bytes,) = struct.unpack_from("<H", data, 0xFE) if large else (32,)
    found = Superblock(
        inodes=numbers[0],
        blocks=numbers[1] | high_blocks << 32,
        free_blocks=numbers[3] | high_free << 32,
        free_inodes=numbers[4],
        block_bytes=1024 << min(numbers[6], 32),
        first_block=numbers[5],
        blocks_per_group=numbers[8],
        inodes_per_group=numbers[10],
        inode_bytes=inode_bytes,
        descriptor_bytes=descriptor_bytes,
        compatible=compatible,
        incompatible=incompatible,
        read_only=read_only,
        clean=bool(state & _STATE_CLEAN),
        uuid=UUID(bytes=bytes(data[0x68:0x78])),
        label=data[0x78:0x88].split(b"\0")[0].decode(errors="replace"),
    )
    wrong = _contradictions(found)
    if wrong:
        raise SlotError(
            f"{what} holds a damaged file system: {wrong[0]}",
            hint="build or copy it again",
            evidence=wrong,
        )
    return found


def _contradictions(found: Superblock) -> tuple[str, ...]:
    wrong = []
    if found.block_bytes not in _BLOCK_BYTES:
        return (f"a block of {found.block_bytes} bytes",)
    if not 0 < found.blocks_per_group <= 8 * found.block_bytes:
        return (f"{found.blocks_per_group} blocks in a group",)
    if not 0 < found.inodes_per_group <= 8 * found.block_bytes:
        wrong.append(f"{found.inodes_per_group} inodes in a group")
    power_of_two = found.inode_bytes & (found.inode_bytes - 1) == 0
    if not _OLD_INODE_BYTES <= found.inode_bytes <= found.block_bytes or not power_of_two:
        wrong.append(f"an inode of {found.inode_bytes} bytes")
    if found.descriptor_bytes < 32 or found.descriptor_bytes > 1024:
        wrong.append(f"a group descriptor of {found.descriptor_bytes} bytes")
    if found.free_blocks > found.blocks:
        wrong.append(f"{found.free_blocks} of {found.blocks} blocks are free")
    if found.free_inodes > found.inodes:
        wrong.append(f"{found.free_inodes} of {found.inodes} inodes are free")
    if not 0 < found.groups <= _MOST_GROUPS:
        wrong.append(f"{found.groups} block groups")
    elif found.inodes > found.groups * found.inodes_per_group:
        wrong.append(f"{found.inodes} inodes in {found.groups} groups")
    return tuple(wrong)


def decode_groups(data: bytes, superblock: Superblock) -> tuple[Group, ...]:
    """Decode the group descriptors.

    Args:
        data: `groups * descriptor_bytes` bytes from `groups_at` on.
        superblock: Of the same file system.
    """
    size = superblock.descriptor_bytes
    found = []
    for number in range(superblock.groups):
        entry = data[number * size : (number + 1) * size]
        if len(entry) < size:
            raise SlotError(
                f"the file system has {superblock.groups} groups, but only {number} descriptors",
                hint="it was cut short: build or copy it again",
            )
        bitmap, table = struct.unpack_from("<2I", entry, 4)
        (flags,) = struct.unpack_from("<H", entry, 0x12)
        if size >= 64:
            high_bitmap, high_table = struct.unpack_from("<2I", entry, 0x24)
            bitmap |= high_bitmap << 32
            table |= high_table << 32
        found.append(Group(bitmap, table, bool(flags & _GROUP_INODES_UNUSED)))
    return tuple(found)


def used_inodes(bitmap: bytes, first: int, count: int) -> tuple[int, ...]:
    """Return the numbers of a group's inodes that are in use.

    Args:
        bitmap: The group's inode bitmap.
        first: The number of the group's first inode; the file system's first is 1.
        count: How many inodes the group has.
    """
    return tuple(first + n for n in range(count) if bitmap[n >> 3] & 1 << (n & 7))


def decode_inode(data: bytes) -> Inode:
    """Decode one inode, of as many bytes as the superblock says."""
    (mode,) = struct.unpack_from("<H", data)
    (links,) = struct.unpack_from("<H", data, 0x1A)
    atime, ctime, mtime = struct.unpack_from("<3i", data, 8)
    (attribute_block,) = struct.unpack_from("<I", data, 0x68)
    if len(data) <= _OLD_INODE_BYTES:
        none = Time(0, 0)
        return Inode(
            mode, links, Time(atime, 0), Time(ctime, 0), Time(mtime, 0), none, attribute_block, ()
        )
    (extra_bytes,) = struct.unpack_from("<H", data, 0x80)
    ctime_extra, mtime_extra, atime_extra, crtime, crtime_extra = struct.unpack_from(
        "<IIIiI", data, 0x84
    )
    return Inode(
        mode,
        links,
        Time(atime, atime_extra),
        Time(ctime, ctime_extra),
        Time(mtime, mtime_extra),
        Time(crtime, crtime_extra),
        attribute_block,
        _body_attributes(data, _OLD_INODE_BYTES + extra_bytes),
    )


def _body_attributes(data: bytes, at: int) -> tuple[str, ...]:
    if at + 4 > len(data) or struct.unpack_from("<I", data, at)[0] != _ATTRIBUTE_MAGIC:
        return ()
    return _attribute_names(data, at + 4)


def decode_attribute_block(data: bytes) -> tuple[str, ...]:
    """Return the names of the extended attributes in an attribute block, in their order."""
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != _ATTRIBUTE_MAGIC:
        return ()
    return _attribute_names(data, _ATTRIBUTE_BLOCK_HEADER_BYTES)


def _attribute_names(data: bytes, at: int) -> tuple[str, ...]:
    names = []
    while at + _ATTRIBUTE.size <= len(data) and data[at : at + 4] != bytes(4):
        length, prefix = data[at], data[at + 1]
        name = data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + length]
        names.append(_PREFIXES.get(prefix, f"{prefix}.") + name.decode(errors="surrogateescape"))
        at += (_ATTRIBUTE.size + length + 3) & ~3
    return tuple(names)
