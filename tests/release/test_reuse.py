"""Which blocks are there, and where others are wanted."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as some

from applianceforge.release.index import BLOCK_BYTES, Frame, Index, Run
from applianceforge.release.reuse import Blocks, digests_of

BLOCKS = [bytes(BLOCK_BYTES), *(bytes((number,)) * BLOCK_BYTES for number in range(1, 9))]
# The first block of a file system is never all zeros.
CONTENTS = some.lists(some.integers(0, 8), max_size=60).map(lambda rest: [1, *rest])


def content_of(numbers: list[int]) -> bytes:
    return b"".join(BLOCKS[number] for number in numbers)


def index_of(numbers: list[int]) -> Index:
    zeros: list[Run] = []
    digests = b""
    for at, number in enumerate(numbers):
        if number:
            digests += hashlib.sha256(BLOCKS[number]).digest()[:16]
        elif zeros and zeros[-1].end == at:
            zeros[-1] = Run(zeros[-1].first, zeros[-1].blocks + 1)
        else:
            zeros.append(Run(at, 1))
    frames = (Frame(0, 1, 0, len(numbers), bytes(32)),)
    return Index(len(numbers) * BLOCK_BYTES, bytes(512), frames, tuple(zeros), digests)


@given(CONTENTS, CONTENTS)
def test_what_is_there_is_found(wanted: list[int], there: list[int]) -> None:
    blocks = Blocks(index_of(wanted))
    blocks.compare(0, digests_of(content_of(there)))
    same = [one == other for one, other in zip(wanted, there, strict=False)]
    assert blocks.there == sum(same)
    missing = [
        block for run in blocks.missing(Run(0, blocks.count)) for block in range(*run_of(run))
    ]
    padded = same + [False] * (len(wanted) - len(same))
    assert missing == [at for at, one in enumerate(padded) if not one]
    for at, one in enumerate(padded):
        assert blocks.is_missing(Run(at, 1)) is not one


def run_of(run: Run) -> tuple[int, int]:
    return run.first, run.end


@given(CONTENTS, CONTENTS, some.lists(some.integers(0, 8), max_size=60))
def test_what_lies_elsewhere_is_found(
    wanted: list[int], there: list[int], elsewhere: list[int]
) -> None:
    blocks = Blocks(index_of(wanted))
    blocks.compare(0, digests_of(content_of(there)))
    missing = {
        block for run in blocks.missing(Run(0, blocks.count)) for block in range(*run_of(run))
    }
    blocks.look_out()
    found: dict[int, int] = {}
    for run, number in blocks.wanted(digests_of(content_of(elsewhere))):
        for step in range(run.blocks):
            assert run.first + step not in found
            found[run.first + step] = elsewhere[number + step]
        blocks.note(run)
    # Each is what belongs there, all that could be found was, and zeros are nobody's.
    assert all(wanted[block] == what for block, what in found.items())
    expected = {block for block in missing if wanted[block] and wanted[block] in elsewhere}
    assert found.keys() == expected
    assert blocks.wanted(digests_of(content_of(elsewhere))) is not None
    assert list(blocks.wanted(digests_of(content_of(elsewhere)))) == []


def test_blocks_in_order_are_one_run() -> None:
    wanted = [1, 2, 3, 4, 5, 6]
    blocks = Blocks(index_of(wanted))
    blocks.look_out()
    found = list(blocks.wanted(digests_of(content_of([7, 2, 3, 4, 8, 1]))))
    assert sorted(found) == [(Run(0, 1), 5), (Run(1, 3), 1)]


def test_a_part_of_a_block_is_none() -> None:
    assert digests_of(BLOCKS[1] + b"x") == digests_of(BLOCKS[1])
    assert digests_of(b"x" * (BLOCK_BYTES - 1)) == b""


def test_a_digest_of_zeros_is_no_digest_of_ours() -> None:
    assert digests_of(BLOCKS[0]) == bytes(16)
    assert digests_of(BLOCKS[1]) == hashlib.sha256(BLOCKS[1]).digest()[:16]


def test_memory_for_a_large_slot_is_small() -> None:
    """37 bytes a block at most, as it says: less than 19 MiB for a slot of 2 GiB."""
    count = (1 << 15) + 1
    zeros = (Run(1, count - 2),)
    index = Index(count * BLOCK_BYTES, bytes(512), (), zeros, bytes(range(32)))
    blocks = Blocks(index)
    blocks.look_out()
    held = (
        len(blocks._expected) + len(blocks._there) + 4 * len(blocks._table) + 4 * len(blocks._alike)
    )
    assert held <= 37 * count
