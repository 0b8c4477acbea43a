"""Read a file out of an ext4 file system that nothing has mounted.

An inode has its flags at 20 (u32, 80000h: extents) and its size at 04 (u32). In its 60 bytes at 28
stands the root of a tree of extents: magic F30A, u16 entries, u16 room, u16 depth, u32; then
entries of 12 bytes. In a leaf: u32 first block of the file, u16 blocks (above 8000h: without
content), u16 and u32 the high and low part of the first block on the disk. Above: u32 first block,
u32 and u16 the block of the next node, u16. Without extents the 60 bytes are block numbers: of 12
blocks of the file, of a block of such numbers, and of one with numbers of those; 0 is a hole.

A directory is a list of entries: u32 inode, u16 bytes of the entry, u8 bytes of the name, u8 type,
name. An indexed one reads as a list as well.

Source: Linux v6.1, Documentation/filesystems/ext4/{inodes,ifork,directory}.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from applianceforge.formats import ext
from applianceforge.formats.ext import Superblock
from applianceforge.model.errors import SlotError

Reading = Callable[[int, int], bytes]

_ROOT_INODE = 2
_EXTENTS = 0x80000
_EXTENT_MAGIC = 0xF30A
_UNWRITTEN = 0x8000
_HOLE = 0
_MAP_AT, _MAP_BYTES = 0x28, 60
_DEEPEST = 5
_DIRECT_BLOCKS = 12
_LARGEST_DIRECTORY_BYTES = 1 << 20
_HINT = "it is damaged, or not what its name says: build or fetch it again"


class Reader:
    """An ext4 file system behind a function that reads bytes.

    Args:
        read: Returns `size` bytes at a byte; fewer where the image ends.
        what: What messages call the image.

    Raises:
        SlotError: It is no ext file system, or a damaged one.
    """

    def __init__(self, read: Reading, what: str) -> None:
        self._read, self._what = read, what
        self.superblock: Superblock = ext.decode_superblock(
            read(ext.SUPERBLOCK_AT, ext.SUPERBLOCK_BYTES), what
        )
        size = self.superblock.groups * self.superblock.descriptor_bytes
        self._groups = ext.decode_groups(read(self.superblock.groups_at, size), self.superblock)

    def file(self, path: str, limit_bytes: int) -> bytes:
        """Return the first bytes of a file; links are not followed.

        Raises:
            SlotError: It is not there, or the file system is damaged.
        """
        return self._content(self._find(path), limit_bytes)

    def require(self, path: str) -> None:
        """Look whether a file, or a link, is there.

        Raises:
            SlotError: It is not there, or the file system is damaged.
        """
        self._find(path)

    def _find(self, path: str) -> int:
        number = _ROOT_INODE
        for name in path.split("/"):
            directory = self._content(number, _LARGEST_DIRECTORY_BYTES)
            entries = dict(_entries(directory, self.superblock.block_bytes))
            if name.encode() not in entries:
                raise SlotError(f"{self._what} has no file {path}", hint=_HINT)
            number = entries[name.encode()]
        return number

    def _content(self, number: int, limit_bytes: int) -> bytes:
        inode = self._inode(number)
        (flags,) = struct.unpack_from("<I", inode, 0x20)
        size = min(struct.unpack_from("<I", inode, 0x04)[0], limit_bytes)
        block_bytes = self.superblock.block_bytes
        content = bytearray(size)
        mapped = inode[_MAP_AT : _MAP_AT + _MAP_BYTES]
        runs = self._extents(mapped, 0) if flags & _EXTENTS else self._mapped(mapped, size)
        end = 0
        for logical, physical, blocks in runs:
            at = logical * block_bytes
            if logical < end or not blocks:
                # Each is one block at least and lies behind the one before: so they come to an end.
                raise self._damaged("the blocks of a file are in no order")
            if at >= size:
                break
            end = logical + blocks
            wanted = min(blocks * block_bytes, size - at)
            if physical != _HOLE:
                content[at : at + wanted] = self._bytes(physical * block_bytes, wanted)
        return bytes(content)

    def _inode(self, number: int) -> bytes:
        if not 0 < number <= self.superblock.inodes:
            raise self._damaged(f"there is no inode {number}")
        group, index = divmod(number - 1, self.superblock.inodes_per_group)
        table = self._groups[group].inode_table_block * self.superblock.block_bytes
        return self._bytes(table + index * self.superblock.inode_bytes, self.superblock.inode_bytes)

    def _extents(self, node: bytes, level: int) -> Iterator[tuple[int, int, int]]:
        magic, entries, _, depth = struct.unpack_from("<4H", node)
        wrong = magic != _EXTENT_MAGIC or level > _DEEPEST or 12 + entries * 12 > len(node)
        if wrong or (level and not entries):
            raise self._damaged("a tree of extents is none")
        for at in range(12, 12 + entries * 12, 12):
            if depth == 0:
                logical, blocks, high, low = struct.unpack_from("<IHHI", node, at)
                if blocks > _UNWRITTEN:
                    yield logical, _HOLE, blocks - _UNWRITTEN
                else:
                    yield logical, high << 32 | low, blocks
            else:
                _, low, high = struct.unpack_from("<IIH", node, at)
                block = (high << 32 | low) * self.superblock.block_bytes
                yield from self._extents(self._bytes(block, self.superblock.block_bytes), level + 1)

    def _mapped(self, mapped: bytes, size_bytes: int) -> Iterator[tuple[int, int, int]]:
        numbers = struct.unpack_from(f"<{_DIRECT_BLOCKS + 2}I", mapped)
        yield from _runs(numbers[:_DIRECT_BLOCKS], 0)
        logical, wanted = _DIRECT_BLOCKS, -(-size_bytes // self.superblock.block_bytes)
        if logical < wanted:
            single = self._numbers(numbers[_DIRECT_BLOCKS])
            yield from _runs(single, logical)
            logical += len(single)
        if logical < wanted:
            for number in self._numbers(numbers[_DIRECT_BLOCKS + 1]):
                if logical >= wanted:
                    break
                single = self._numbers(number)
                yield from _runs(single, logical)
                logical += len(single)

    def _numbers(self, block: int) -> tuple[int, ...]:
        """Return the block numbers in a block; all are holes if it is one itself."""
        size = self.superblock.block_bytes
        content = self._bytes(block * size, size) if block else bytes(size)
        return struct.unpack(f"<{size // 4}I", content)

    def _bytes(self, at: int, size: int) -> bytes:
        if at + size > self.superblock.size_bytes:
            raise self._damaged(f"it names byte {at}, and has {self.superblock.size_bytes}")
        content = self._read(at, size)
        if len(content) < size:
            raise self._damaged(f"it ends before byte {at + size}")
        return content

    def _damaged(self, how: str) -> SlotError:
        return SlotError(f"{self._what} holds a damaged file system: {how}", hint=_HINT)


def _runs(numbers: Iterable[int], first: int) -> Iterator[tuple[int, int, int]]:
    for logical, physical in enumerate(numbers, first):
        if physical:
            yield logical, physical, 1


def _entries(directory: bytes, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    for start in range(0, len(directory), block_bytes):
        block = directory[start : start + block_bytes]
        at = 0
        while at + 8 <= len(block):
            number, length, name_bytes = struct.unpack_from("<IHB", block, at)
            if length < 8:
                break
            if number:
                yield block[at + 8 : at + 8 + name_bytes], number
            at += length
