"""The record of writes: round trip, and every way to be malformed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm.write_log import (
    MAGIC,
    Entry,
    Flags,
    WriteLogError,
    Written,
    decode,
    encode,
)

WRITES = [
    Written(3, b"a" * 1024, Flags.FUA),
    Written(0, flags=Flags.FLUSH),
    Written(0, b"name of a moment", Flags.MARK, 0),
    Written(8, flags=Flags.DISCARD, sectors=4),
    Written(5, b"b" * 512),
]


def test_places_in_the_log() -> None:
    log = encode(WRITES)
    assert len(log) == 512 * (1 + 1 + 2 + 1 + 1 + 1 + 1 + 1)
    decoded = decode(log, 12 * 512)
    assert decoded.sector_bytes == 512
    assert decoded.entries == (
        Entry(3, 2, Flags.FUA, 1024, 1024),
        Entry(0, 0, Flags.FLUSH, 2560, 0),
        Entry(0, 0, Flags.MARK, 2560 + 32, 16),
        Entry(8, 4, Flags.DISCARD, 3584, 0),
        Entry(5, 1, Flags.NONE, 4096, 512),
    )
    mark = decoded.entries[2]
    assert log[mark.data_at : mark.data_at + mark.data_bytes] == b"name of a moment"


@given(
    st.lists(
        st.builds(
            Written,
            st.integers(0, 1 << 40),
            st.integers(0, 5).map(lambda count: b"x" * 512 * count),
            st.sampled_from([Flags.NONE, Flags.FLUSH, Flags.FUA, Flags.METADATA | Flags.FUA]),
        )
    )
)
def test_round_trip(writes: list[Written]) -> None:
    log = encode(writes)
    seen = [
        Written(entry.first_sector, log[entry.data_at :][: entry.data_bytes], entry.flags)
        for entry in decode(log).entries
    ]
    assert seen == writes


def patched(at: int, value: int, kind: str = "<Q") -> bytes:
    log = bytearray(encode(WRITES))
    struct.pack_into(kind, log, at, value)
    return bytes(log)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b"", "28 bytes at least"),
        (bytes(4096), "its magic is 0x0"),
        (patched(0, MAGIC + 1), "its magic"),
        (patched(8, 2), "version 2"),
        (patched(24, 0, "<I"), "cannot have 0 bytes"),
        (patched(24, 768, "<I"), "cannot have 768 bytes"),
        (patched(24, 1 << 31, "<I"), "cannot have 2147483648 bytes"),
        (patched(16, 6), "ends before entry 5 of 6"),
        (patched(16, 1 << 60), "ends before entry 5"),
        (encode(WRITES)[:-1], "within the data of entry 4"),
        (patched(512 + 8, 1 << 61), "within the data of entry 0"),
        (patched(512 + 16, 64), "unknown flags 0x40"),
        (patched(2560 + 24, 481), "a mark of 481 bytes"),
        (patched(512, 11), "entry 0 lies beyond the end"),
        (patched(3072 + 8, 5), "entry 3 lies beyond the end"),
    ],
)
def test_malformed(log: bytes, message: str) -> None:
    with pytest.raises(WriteLogError, match=message):
        decode(log, 12 * 512)


def test_all_problems_are_told_but_not_without_end() -> None:
    with pytest.raises(WriteLogError) as caught:
        decode(encode([Written(9, b"a" * 512)] * 1000), 512)
    assert str(caught.value).count("beyond") == 20


@given(st.binary(max_size=4096), st.binary(max_size=64))
def test_noise_is_refused_or_decoded_within_its_bounds(noise: bytes, head: bytes) -> None:
    log = struct.pack("<QQ", MAGIC, 1) + head + noise
    try:
        decoded = decode(log)
    except WriteLogError:
        return
    assert all(entry.data_at + entry.data_bytes <= len(log) for entry in decoded.entries)


@pytest.mark.parametrize(
    "entry",
    [Written(0, b"x"), Written(0, b"x" * 512, sectors=2), Written(0, b"x" * 500, Flags.MARK)],
)
def test_what_cannot_be_encoded(entry: Written) -> None:
    with pytest.raises(WriteLogError):
        encode([entry])
