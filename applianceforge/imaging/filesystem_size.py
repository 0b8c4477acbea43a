"""Estimate how large an ext file system must be for a tree, from names and sizes alone.

Blocks that the build's own file system took would not do: they depend on that file system.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

# What `find -printf` is asked for: type, size, links, device and inode, path below the tree.
FIND_FORMAT = r"%y\t%s\t%n\t%D:%i\t%P\0"

_DIRECTORY_ENTRY_BYTES = 8
_DIRECTORY_TAIL_BYTES = 12
# A longer target of a symbolic link does not fit into the inode.
_SHORT_LINK_BYTES = 59
_EXTENTS_IN_INODE = 4
_LARGEST_EXTENT_BLOCKS = 32768
# Inodes below 11 are the file system's own; 11 is lost+found, which takes up to 4 blocks.
_OWN_INODES = 11
_LOST_AND_FOUND_BYTES = 16384
_PER_GROUP_BITMAPS = 2
_DESCRIPTOR_BYTES = 64


@dataclass(frozen=True)
class Census:
    """What a tree needs: inodes, and blocks for content, directories and long links."""

    inodes: int
    blocks: int


def census_of(listing: bytes, block_bytes: int) -> Census:
    """Count what `find -printf FIND_FORMAT` lists.

    Hard links count once; holes count as if they were content, which a file system may not share.
    """
    seen: set[bytes] = set()
    directories: dict[bytes, int] = defaultdict(int)
    inodes = blocks = 0
    for entry in listing.split(b"\0")[:-1]:
        kind, size, links, identity, path = entry.split(b"\t", 4)
        parent, _, name = path.rpartition(b"/")
        if path:
            directories[parent] += _entry_bytes(len(name))
        if kind == b"d":
            directories[path] += _entry_bytes(1) + _entry_bytes(2)
        elif int(links) > 1:
            if identity in seen:
                continue
            seen.add(identity)
        inodes += 1
        blocks += _content_blocks(kind, int(size), block_bytes)
    usable = block_bytes - _DIRECTORY_TAIL_BYTES
    # No entry crosses a block: what is left at the end of one is at most a long name's entry.
    blocks += sum(-(-size // (usable - 64)) for size in directories.values())
    return Census(inodes, blocks)


def _entry_bytes(name_bytes: int) -> int:
    return (_DIRECTORY_ENTRY_BYTES + name_bytes + 3) & ~3


def _content_blocks(kind: bytes, size_bytes: int, block_bytes: int) -> int:
    if kind == b"l":
        return 1 if size_bytes > _SHORT_LINK_BYTES else 0
    if kind != b"f":
        return 0
    blocks = -(-size_bytes // block_bytes)
    extents = -(-blocks // _LARGEST_EXTENT_BLOCKS)
    return blocks + (1 if extents > _EXTENTS_IN_INODE else 0)


def inodes_for(census: Census) -> int:
    """Return how many inodes a file system for this content gets: a few more than it needs."""
    return _OWN_INODES + census.inodes + census.inodes // 64 + 16


def blocks_for(
    census: Census, inode_bytes: int, block_bytes: int, journal_bytes: int, spare: float
) -> int:
    """Return how many blocks a file system needs for this content.

    Args:
        census: Of the content.
        inode_bytes: Of one inode.
        block_bytes: Of one block.
        journal_bytes: Of the journal; 0 if there is none.
        spare: What is added, as a share of the content.
    """
    tables = -(-inodes_for(census) * inode_bytes // block_bytes)
    fixed = (
        tables
        + -(-journal_bytes // block_bytes)
        + -(-_LOST_AND_FOUND_BYTES // block_bytes)
        + -(-(1 << 20) // block_bytes) // 4
    )
    wanted = census.blocks + fixed + int(census.blocks * spare)
    groups = -(-wanted // (8 * block_bytes)) + 1
    copies = 1 + -(-groups * _DESCRIPTOR_BYTES // block_bytes)
    return wanted + groups * (_PER_GROUP_BITMAPS + copies)


def total(parts: Iterable[Census]) -> Census:
    """Return what several trees need together."""
    known = list(parts)
    return Census(sum(part.inodes for part in known), sum(part.blocks for part in known))
