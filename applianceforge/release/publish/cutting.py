"""Decide where the frames of a payload begin, so that few must be fetched.

A box that has an earlier release copies the blocks that it has and fetches the frames of the
others, whole. Where new blocks are scattered among old ones, frames of equal length would nearly
all have to be fetched. So a frame begins where what is known of a block changes, unless what lies
between is so little that it costs less to fetch it than to cut there: a frame is packed without
what comes before it, and each cut makes the payload larger for those who fetch it whole.

What is known of a block is a set of earlier releases, the bits of a number; a block of zeros is
never fetched for its own sake and belongs to whatever is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from applianceforge.release.index import BLOCK_BYTES, MOST_FRAME_BLOCKS

ZEROS = -1
# Measured on the reference appliance, see docs/bundle-format.md: below 8 blocks the payload grows
# faster than what is fetched for an update shrinks.
MOST_EXTRA_BLOCKS = 8
# Twice as many make the payload of the reference gateway 1.5 % larger.
_FRAMES_OF_A_SLOT = 85
_LEAST_FRAME_BLOCKS = 16
# What is lost when a transfer is cut off: less than 2 % of a payload that packs to a quarter.
_PACKED_PARTS_OF_A_SLOT = 200
_LEAST_PACKED_BYTES = 1 << 16


@dataclass
class _Segment:
    known: int
    blocks: int


def most_frame_blocks(blocks: int) -> int:
    """Return how many blocks a frame may hold in a slot of so many."""
    return min(MOST_FRAME_BLOCKS, max(_LEAST_FRAME_BLOCKS, blocks // _FRAMES_OF_A_SLOT))


def most_packed_bytes(blocks: int) -> int:
    """Return above how many packed bytes a frame is cut in two, in a slot of so many blocks.

    A slot packs to about a quarter, but parts of it, such as an initial RAM disk, not at all, and
    even become a little larger.
    """
    most = max(_LEAST_PACKED_BYTES, blocks * BLOCK_BYTES // _PACKED_PARTS_OF_A_SLOT)
    return most * 65 // 64


def cut(known: Sequence[int], most_extra_blocks: int = MOST_EXTRA_BLOCKS) -> list[int]:
    """Return how many blocks each frame holds, in order.

    Args:
        known: For each block, the earlier releases that have it, or `ZEROS`.
        most_extra_blocks: So many blocks a box may fetch in vain to save a cut.
    """
    segments = _segments(known)
    # The cheapest first, so that what is merged early does not stand in the way of better.
    for extra in range(most_extra_blocks + 1):
        segments = _merged(segments, extra)
    most = most_frame_blocks(len(known))
    return [part for segment in segments for part in _evenly(segment.blocks, most)]


def _segments(known: Sequence[int]) -> list[_Segment]:
    found: list[_Segment] = []
    for one in known:
        if found and one in (ZEROS, found[-1].known):
            found[-1].blocks += 1
        elif found and found[-1].known == ZEROS:
            found[-1].known = one
            found[-1].blocks += 1
        else:
            found.append(_Segment(one, 1))
    return found


def _merged(segments: list[_Segment], most_extra: int) -> list[_Segment]:
    found: list[_Segment] = []
    for segment in segments:
        while found and _extra(found[-1], segment) <= most_extra:
            before = found.pop()
            segment = _Segment(before.known & segment.known, before.blocks + segment.blocks)
        found.append(segment)
    return found


def _extra(one: _Segment, other: _Segment) -> int:
    """Return how many blocks are fetched in vain if both are in one frame, over all releases."""
    return (one.known & ~other.known).bit_count() * one.blocks + (
        other.known & ~one.known
    ).bit_count() * other.blocks


def _evenly(blocks: int, most: int) -> list[int]:
    parts = -(-blocks // most)
    return [(number + 1) * blocks // parts - number * blocks // parts for number in range(parts)]
