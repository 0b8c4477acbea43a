"""Decode and encode the index of a bundle: what each block of a slot's file system must be.

All numbers are little-endian.

    000  "AFINDEX1"           008  bytes of the file system, u64    010  bytes of a block, u32
    014  number of frames, u32            018  number of runs of zeros, u32   01C  zeros, u32
    020  the 512 bytes that are written last, see `slots.sealing`
    220  for each frame: its bytes, u32; the blocks that it holds, u32; its SHA-256, 32 bytes
    ...  for each run of blocks that are all zeros: its first block, u32; its blocks, u32
    ...  for each other block: the first 16 bytes of its SHA-256

Frames and blocks stand in the order of the file system, each exactly once, so where they begin
needs not be said. A frame's SHA-256 is that of its bytes as they are fetched. 16 bytes of a block's
digest are enough to recognise it: to find another block with the same takes 2^128 tries; the whole
is proved by the manifest's SHA-256 besides.

The index itself is proved by the manifest's digest of it before it is decoded. Its lengths are not
believed all the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from applianceforge.formats import zstd_seekable
from applianceforge.model.errors import PayloadError

BLOCK_BYTES = 4096
DIGEST_BYTES = 16
SHA256_BYTES = 32
# What a frame may unpack to, so that who installs it knows how much memory it takes.
MOST_FRAME_BLOCKS = 1024
# zstd's own bound of what cannot be compressed is 1/256 more, and a little.
LARGEST_FRAME_BYTES = MOST_FRAME_BLOCKS * BLOCK_BYTES * 257 // 256 + 1024
# 1 TiB; the disks with two slots that an MBR describes are at most twice as large.
MOST_BLOCKS = 1 << 28

_MAGIC = b"AFINDEX1"
_HEAD = struct.Struct("<8sQIIII512s")
_FRAME = struct.Struct("<II32s")
_RUN = struct.Struct("<II")
_MOST_PROBLEMS = 20


class Frame(NamedTuple):
    """A part of the payload that is fetched and unpacked alone.

    Attributes:
        at_bytes: Where it begins in the payload.
        size_bytes: Its size there.
        first_block: The first block of the file system that it holds.
        blocks: How many it holds.
        sha256: The digest of its bytes in the payload, 32 bytes.
    """

    at_bytes: int
    size_bytes: int
    first_block: int
    blocks: int
    sha256: bytes

    @property
    def end_block(self) -> int:
        """Return the block after its last."""
        return self.first_block + self.blocks


class Run(NamedTuple):
    """Blocks that lie one after the other: the first, and how many."""

    first: int
    blocks: int

    @property
    def end(self) -> int:
        """Return the block after its last."""
        return self.first + self.blocks


@dataclass(frozen=True)
class Index:
    """What a slot's file system must be, block by block.

    Attributes:
        slot_bytes: Its size, a multiple of the block's.
        seal: The bytes that are written last.
        frames: All of the payload, in order.
        zeros: The blocks that are all zeros: runs in order, never adjacent.
        digests: The digests of all other blocks, one after the other, `DIGEST_BYTES` each.
    """

    slot_bytes: int
    seal: bytes
    frames: tuple[Frame, ...]
    zeros: tuple[Run, ...]
    digests: bytes

    @property
    def block_bytes(self) -> int:
        """Return the size of a block."""
        return BLOCK_BYTES

    @property
    def blocks(self) -> int:
        """Return the number of all blocks."""
        return self.slot_bytes // BLOCK_BYTES

    @property
    def frames_bytes(self) -> int:
        """Return the size of all frames in the payload, without the table at its end."""
        return self.frames[-1].at_bytes + self.frames[-1].size_bytes if self.frames else 0

    @property
    def payload_bytes(self) -> int:
        """Return the size of the payload."""
        return self.frames_bytes + zstd_seekable.table_bytes(len(self.frames))

    def filled(self) -> Iterator[Run]:
        """Return the runs of blocks that are not all zeros, in order."""
        at = 0
        for run in self.zeros:
            if run.first > at:
                yield Run(at, run.first - at)
            at = run.end
        if at < self.blocks:
            yield Run(at, self.blocks - at)


def encode(index: Index) -> bytes:
    """Return the index as bytes."""
    head = _HEAD.pack(
        _MAGIC, index.slot_bytes, BLOCK_BYTES, len(index.frames), len(index.zeros), 0, index.seal
    )
    frames = (_FRAME.pack(one.size_bytes, one.blocks, one.sha256) for one in index.frames)
    zeros = (_RUN.pack(*run) for run in index.zeros)
    return b"".join((head, *frames, *zeros, index.digests))


def decode(data: bytes, name: str) -> Index:
    """Return what the bytes say.

    Args:
        data: The index, whole.
        name: What messages call it.

    Raises:
        PayloadError: It is none, was cut short, or contradicts itself.
    """
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise _refused(name, ["it does not begin as an index does"])
    _, slot_bytes, block_bytes, frames, runs, reserved, seal = _HEAD.unpack_from(data)
    problems = []
    if block_bytes != BLOCK_BYTES or slot_bytes % BLOCK_BYTES or reserved:
        problems.append(f"it has {slot_bytes} bytes in blocks of {block_bytes}")
    blocks = slot_bytes // BLOCK_BYTES
    if not 0 < blocks <= MOST_BLOCKS:
        problems.append(f"it has {blocks} blocks")
    digests_at = _HEAD.size + frames * _FRAME.size + runs * _RUN.size
    if digests_at > len(data):
        problems.append(f"it has {frames} frames and {runs} runs of zeros in {len(data)} bytes")
    if problems:
        raise _refused(name, problems)
    found_frames = _frames(data, frames, blocks, problems)
    found_zeros = _zeros(data[_HEAD.size + frames * _FRAME.size : digests_at], blocks, problems)
    filled = blocks - sum(run.blocks for run in found_zeros)
    if not problems and len(data) - digests_at != filled * DIGEST_BYTES:
        problems.append(f"it has {len(data) - digests_at} bytes of digests for {filled} blocks")
    if problems:
        raise _refused(name, problems)
    return Index(slot_bytes, seal, found_frames, found_zeros, bytes(data[digests_at:]))


def _frames(data: bytes, count: int, blocks: int, problems: list[str]) -> tuple[Frame, ...]:
    found = []
    at_bytes = first = 0
    table = data[_HEAD.size : _HEAD.size + count * _FRAME.size]
    for number, (size_bytes, held, digest) in enumerate(_FRAME.iter_unpack(table)):
        if not 0 < held <= MOST_FRAME_BLOCKS or not 0 < size_bytes <= LARGEST_FRAME_BYTES:
            problems.append(f"frame {number} has {size_bytes} bytes for {held} blocks")
        found.append(Frame(at_bytes, size_bytes, first, held, digest))
        at_bytes += size_bytes
        first += held
    if first != blocks:
        problems.append(f"its frames hold {first} of {blocks} blocks")
    return tuple(found)


def _zeros(table: bytes, blocks: int, problems: list[str]) -> tuple[Run, ...]:
    found: list[Run] = []
    # The first block holds the file system's superblock, so no run begins there.
    end = 0
    for number, (first, held) in enumerate(_RUN.iter_unpack(table)):
        if first <= end or held == 0 or first + held > blocks:
            problems.append(f"run {number} of zeros has {held} blocks from {first} on")
        found.append(Run(first, held))
        end = first + held
    return tuple(found)


def _refused(name: str, problems: list[str]) -> PayloadError:
    return PayloadError(
        f"{name} is no index of a bundle: {problems[0]}",
        hint="it was cut short, or made by a newer toolkit: fetch it again, or ask your vendor",
        evidence=tuple(problems[:_MOST_PROBLEMS]),
    )
