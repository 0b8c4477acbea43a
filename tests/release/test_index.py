"""The index of a bundle."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from applianceforge.formats import zstd_seekable
from applianceforge.model.errors import PayloadError
from applianceforge.release import index
from applianceforge.release.index import BLOCK_BYTES, DIGEST_BYTES, Frame, Index, Run

SEAL = bytes(range(256)) * 2
# Six blocks, the third and fourth zeros, in two frames; written down when the format was made.
SMALL = Index(
    6 * BLOCK_BYTES,
    SEAL,
    (Frame(0, 100, 0, 4, b"a" * 32), Frame(100, 50, 4, 2, b"b" * 32)),
    (Run(2, 2),),
    b"".join(bytes((number,)) * 16 for number in range(1, 5)),
)
GOLDEN_SHA256 = "56e1e0f366f41df5af050aa0ffec89ff"


@some.composite
def indices(draw: some.DrawFn) -> Index:
    kinds = [False, *draw(some.lists(some.booleans(), max_size=40))]
    zeros: list[Run] = []
    for number, zero in enumerate(kinds):
        if zero and zeros and zeros[-1].end == number:
            zeros[-1] = Run(zeros[-1].first, zeros[-1].blocks + 1)
        elif zero:
            zeros.append(Run(number, 1))
    frames: list[Frame] = []
    first = at = 0
    while first < len(kinds):
        held = draw(some.integers(1, len(kinds) - first))
        size = draw(some.integers(1, index.LARGEST_FRAME_BYTES))
        frames.append(Frame(at, size, first, held, draw(some.binary(min_size=32, max_size=32))))
        first, at = first + held, at + size
    digests = draw(some.binary(min_size=1, max_size=1)) * DIGEST_BYTES * kinds.count(False)
    return Index(len(kinds) * BLOCK_BYTES, SEAL, tuple(frames), tuple(zeros), digests)


@given(indices())
def test_there_and_back(one: Index) -> None:
    data = index.encode(one)
    assert index.decode(data, "index") == one
    assert index.encode(index.decode(data, "index")) == data
    filled = [block for run in one.filled() for block in range(run.first, run.end)]
    zeros = [block for run in one.zeros for block in range(run.first, run.end)]
    assert sorted(filled + zeros) == list(range(one.blocks))
    assert len(filled) * DIGEST_BYTES == len(one.digests)


def test_golden() -> None:
    data = index.encode(SMALL)
    assert len(data) == 544 + 2 * 40 + 8 + 4 * 16
    assert data[:32] == struct.pack("<8sQIIII", b"AFINDEX1", 24576, 4096, 2, 1, 0)
    assert data[32:544] == SEAL
    assert data[544:584] == struct.pack("<II", 100, 4) + b"a" * 32
    assert data[624:632] == struct.pack("<II", 2, 2)
    assert hashlib.sha256(data).hexdigest().startswith(GOLDEN_SHA256)


def test_what_follows_from_it() -> None:
    assert (SMALL.blocks, SMALL.block_bytes) == (6, 4096)
    assert SMALL.frames_bytes == 150
    assert SMALL.payload_bytes == 150 + zstd_seekable.table_bytes(2)
    assert list(SMALL.filled()) == [Run(0, 2), Run(4, 2)]


def _patched(at: int, layout: str, *values: int) -> bytes:
    data = bytearray(index.encode(SMALL))
    struct.pack_into(layout, data, at, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin"),
        (index.encode(SMALL)[:543], "does not begin"),
        (b"AFINDEX2" + index.encode(SMALL)[8:], "does not begin"),
        (index.encode(SMALL)[:-1], "63 bytes of digests for 4 blocks"),
        (index.encode(SMALL) + b"x", "65 bytes of digests for 4 blocks"),
        (_patched(8, "<Q", 0), "0 blocks"),
        (_patched(8, "<Q", 24575), "24575 bytes in blocks of 4096"),
        (_patched(8, "<Q", 7 * 4096), "hold 6 of 7 blocks"),
        (_patched(8, "<Q", (1 << 63) - 4096), "blocks"),
        (_patched(16, "<I", 512), "in blocks of 512"),
        (_patched(16, "<I", 0), "in blocks of 0"),
        (_patched(20, "<I", 0xFFFFFFFF), "4294967295 frames"),
        (_patched(20, "<I", 3), "frame 2 has|hold|digests"),
        (_patched(24, "<I", 0xFFFFFFFF), "4294967295 runs"),
        (_patched(24, "<I", 2), "run 1 of zeros"),
        (_patched(28, "<I", 1), "in blocks of"),
        (_patched(544, "<I", 0), "frame 0 has 0 bytes for 4 blocks"),
        (_patched(544, "<I", index.LARGEST_FRAME_BYTES + 1), "frame 0 has"),
        (_patched(548, "<I", 0), "for 0 blocks"),
        (_patched(548, "<I", index.MOST_FRAME_BLOCKS + 1), "for 1025 blocks"),
        (_patched(548, "<I", 3), "hold 5 of 6 blocks"),
        (_patched(624, "<I", 0), "run 0 of zeros has 2 blocks from 0 on"),
        (_patched(624, "<I", 5), "run 0 of zeros has 2 blocks from 5 on"),
        (_patched(624, "<I", 0xFFFFFFFF), "from 4294967295 on"),
        (_patched(628, "<I", 0), "run 0 of zeros has 0 blocks"),
        (_patched(628, "<I", 3), "digests for 3 blocks"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message) as caught:
        index.decode(data, "bundles/x.index")
    assert caught.value.hint
    assert caught.value.evidence
    assert caught.value.message.startswith("bundles/x.index is no index")


def test_runs_of_zeros_that_touch_are_refused() -> None:
    """Else one file system would have several indices."""
    touching = replace(SMALL, zeros=(Run(2, 1), Run(3, 1)))
    with pytest.raises(PayloadError, match="run 1 of zeros"):
        index.decode(index.encode(touching), "index")


@given(some.integers(0, 695), some.binary(min_size=1, max_size=8))
def test_whatever_is_changed_is_refused_or_read(at: int, change: bytes) -> None:
    data = index.encode(SMALL)
    changed = (data[:at] + change + data[at + len(change) :])[: len(data)]
    try:
        found = index.decode(changed, "index")
    except PayloadError:
        return
    assert index.encode(found) == changed
    assert sum(frame.blocks for frame in found.frames) == found.blocks
