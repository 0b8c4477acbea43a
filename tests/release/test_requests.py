"""Which bytes are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from applianceforge.model.errors import PayloadError
from applianceforge.release.fetch.arriving import Arriving
from applianceforge.release.index import Frame
from applianceforge.release.requests import requests_for

SIZES = some.lists(some.tuples(some.integers(1, 100), some.booleans()), max_size=50)


def frames_of(sizes: list[tuple[int, bool]]) -> tuple[list[Frame], int]:
    found, at = [], 0
    for number, (size, needed) in enumerate(sizes):
        if needed:
            found.append(Frame(at, size, number, 1, b""))
        at += size
    return found, at


@given(SIZES, some.integers(0, 150))
def test_every_frame_is_asked_for_once(sizes: list[tuple[int, bool]], gap: int) -> None:
    frames, _ = frames_of(sizes)
    requests = requests_for(frames, gap)
    assert [frame for request in requests for frame in request.frames] == frames
    wasted = sum(one.size_bytes for one in requests) - sum(one.size_bytes for one in frames)
    assert wasted <= gap * max(len(frames) - 1, 0)
    ends = [request.at_bytes + request.size_bytes for request in requests]
    begins = [request.at_bytes for request in requests]
    assert all(begin - end > gap for end, begin in zip(ends, begins[1:], strict=False))


@given(SIZES, some.integers(1, 40), some.integers(0, 150))
def test_frames_arrive_whole(sizes: list[tuple[int, bool]], chunk: int, gap: int) -> None:
    frames, total = frames_of(sizes)
    payload = bytes(number % 251 for number in range(total))
    for request in requests_for(frames, gap):
        answer = payload[request.at_bytes : request.at_bytes + request.size_bytes]
        chunks = (answer[at : at + chunk] for at in range(0, len(answer), chunk))
        told: list[int] = []
        arriving = Arriving(chunks, request.at_bytes, told.append)
        for frame in request.frames:
            got = arriving.read(frame.at_bytes, frame.size_bytes)
            assert got == payload[frame.at_bytes : frame.at_bytes + frame.size_bytes]
        arriving.end()
        assert sum(told) == request.size_bytes


def test_an_answer_that_is_too_short_or_too_long() -> None:
    with pytest.raises(PayloadError, match="cut short"):
        Arriving(iter([b"abc"]), 0, lambda _size: None).read(0, 4)
    for chunks in ([b"abcd"], [b"abc", b"d"]):
        arriving = Arriving(iter(chunks), 0, lambda _size: None)
        assert arriving.read(0, 3) == b"abc"
        with pytest.raises(PayloadError, match="more than it was asked for"):
            arriving.end()
