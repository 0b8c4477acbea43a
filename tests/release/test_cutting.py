"""Where frames begin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from applianceforge.release.index import MOST_FRAME_BLOCKS
from applianceforge.release.publish import cutting
from applianceforge.release.publish.cutting import ZEROS, cut

KNOWN = some.lists(some.sampled_from([ZEROS, 0, 1, 2, 3]), min_size=1, max_size=3000)


@given(KNOWN, some.integers(0, 20))
def test_every_block_is_in_one_frame(known: list[int], extra: int) -> None:
    lengths = cut(known, extra)
    assert sum(lengths) == len(known)
    assert all(0 < one <= cutting.most_frame_blocks(len(known)) for one in lengths)


def fetched(known: list[int], lengths: list[int], reference: int) -> tuple[int, int]:
    """Return how many blocks a box with a reference needs, and how many it fetches."""
    needs = [one != ZEROS and not one & reference for one in known]
    at = comes = 0
    for length in lengths:
        comes += length if any(needs[at : at + length]) else 0
        at += length
    return sum(needs), comes


def filled(known: list[int]) -> list[int]:
    return [0 if one == ZEROS else one for one in known]


@given(some.lists(some.sampled_from([0, 1, 2, 3]), min_size=1, max_size=2000))
def test_without_merging_nothing_comes_in_vain(known: list[int]) -> None:
    for reference in (1, 2):
        needs, comes = fetched(known, cut(known, 0), reference)
        assert comes == needs


@given(some.lists(some.booleans(), min_size=1, max_size=2000), some.integers(1, 16))
def test_what_comes_in_vain_is_bounded(new: list[bool], extra: int) -> None:
    """No more than so many blocks for each cut that is saved."""
    known = [0 if one else 1 for one in new]
    merged = cut(known, extra)
    needs, comes = fetched(known, merged, 1)
    runs = sum(1 for one, other in zip([False, *new], new, strict=False) if other and not one)
    assert comes - needs <= extra * 2 * runs


def test_a_small_gap_is_no_cut_and_a_large_one_is() -> None:
    assert cut([1] * 50 + [0] * 5 + [1] * 3 + [0] * 5 + [1] * 50, 8)[4:-4] == [13]
    assert 5 in cut([1] * 50 + [0] * 5 + [1] * 30 + [0] * 5 + [1] * 50, 8)


def test_zeros_belong_to_what_is_around_them() -> None:
    # 28 blocks in two equal parts: no frame begins at the zeros, or at what follows them.
    assert cut([ZEROS] * 4 + [0] * 10 + [ZEROS] * 4 + [0] * 10, 0) == [14, 14]


def test_a_large_slot_has_frames_of_bounded_size() -> None:
    assert cutting.most_frame_blocks(1 << 24) == MOST_FRAME_BLOCKS
    assert max(cut([0] * 300_000)) <= MOST_FRAME_BLOCKS
    assert max(cut([0] * 84_500)) <= cutting.most_frame_blocks(84_500)
