"""The record of boots: what counts, what starts the counts again, what a cut leaves."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.boot_record import (
    BootRecord,
    Counts,
    Line,
    count,
    decode,
    last_end,
    read,
)
from applianceforge.system.effects import Effects

AGAIN, BACK = 75, 76
_WORDS = {"b": "begun", "e": "ended", "x": "crashed", "n": "anew"}


def lines(text: str) -> tuple[Line, ...]:
    """Return lines from words such as "b0" (begun, no step done) and "e3" (ended in 75)."""
    found = []
    for word in text.split():
        event, reached = _WORDS[word[0]], int(word[1:] or 0)
        found.append(Line(event, 0.0, reached, AGAIN if event == "ended" else -1))
    return tuple(found)


@pytest.mark.parametrize(
    ("before", "reached", "counts"),
    [
        ("", 0, Counts(0, 0, 0)),
        # Boots without an end.
        ("b0", 0, Counts(1, 0, 1)),
        ("b0 b0 b0", 0, Counts(3, 0, 3)),
        ("b0 b0 b0", 1, Counts(3, 0, 0)),
        ("b0 b1 b1", 1, Counts(3, 0, 1 + 1)),
        # Attempts that failed.
        ("b0 e0", 0, Counts(1, 1, 0)),
        ("b0 e2", 2, Counts(1, 1, 0)),
        ("b0 e2 b2 e2", 2, Counts(2, 2, 0)),
        ("b0 e2 b2 e3", 3, Counts(2, 1, 0)),
        ("b0 e2", 4, Counts(1, 0, 0)),
        # Both: an end breaks the row, and a boot without one is no failure.
        ("b0 b0 b0 e0", 0, Counts(3, 1, 0)),
        ("b0 e0 b0 b0", 0, Counts(3, 1, 2)),
        # What crashed counts as a failure, and says nothing of progress.
        ("b2 x0", 2, Counts(1, 1, 0)),
        ("b2 x0 b2 x0", 2, Counts(2, 2, 0)),
        ("b2 x0 b3 x0", 3, Counts(2, 1, 0)),
        # What stands above does not count any more.
        ("b5 e5 b5 b5 n0", 0, Counts(0, 0, 0)),
        ("b5 e5 n0 b0", 0, Counts(1, 0, 1)),
    ],
)
def test_counts(before: str, reached: int, counts: Counts) -> None:
    assert count(lines(before), reached) == counts


def test_twenty_five_boots_in_a_row_are_counted() -> None:
    assert count(lines("b4 " * 25), 4).silent == 25


@given(st.lists(st.tuples(st.sampled_from("bex"), st.integers(0, 3)), max_size=12))
def test_progress_starts_both_counts_again(events: Sequence[tuple[str, int]]) -> None:
    before = lines(" ".join(f"{event}{reached}" for event, reached in events))
    found = count(before, 4)
    assert (found.failures, found.silent) == (0, 0)


def test_writes_and_reads_again(tmp_path: Path) -> None:
    path = tmp_path / "boots.jsonl"
    record = BootRecord(path, Effects(), lambda: 12.5)
    assert record.begin("one", 0) == Counts()
    record.end(3, AGAIN, "disk-full", "no space", "make room")
    again = BootRecord(path, Effects(), lambda: 13.0)
    assert again.lines == record.lines
    found = last_end(again.lines)
    assert found is not None
    assert (found.status, found.reason, found.message) == (AGAIN, "disk-full", "no space")
    assert again.begin("two", 3) == Counts(1, 1, 0)
    assert last_end(again.lines) is None


def test_an_end_that_counts_no_more_is_none(tmp_path: Path) -> None:
    record = BootRecord(tmp_path / "boots.jsonl", Effects(), lambda: 0.0)
    record.begin("one", 0)
    record.end(0, BACK, "not-proved", "", "")
    assert record.source == 0
    record.renew(77)
    assert record.source == 77
    assert last_end(record.lines) is None


@pytest.mark.parametrize("cut", range(1, 100, 7))
def test_a_torn_line_counts_as_unwritten(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "boots.jsonl"
    BootRecord(path, Effects(), lambda: 0.0).begin("one", 0)
    whole = path.read_bytes()
    BootRecord(path, Effects(), lambda: 0.0).end(2, AGAIN, "disk-full", "it is full", "")
    content = path.read_bytes()
    assert len(whole) + cut < len(content)
    path.write_bytes(content[: len(whole) + cut])
    record = BootRecord(path, Effects(), lambda: 0.0)
    assert len(record.lines) == 1
    assert record.begin("two", 0) == Counts(1, 0, 1)
    assert len(BootRecord(path, Effects(), lambda: 0.0).lines) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"schema": 2, "event": "begun", "time": 1, "reached": 0}',
        b'{"schema": 1, "event": "danced", "time": 1, "reached": 0}',
        b'{"schema": 1, "event": "begun", "time": null, "reached": 0}',
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_understood_is_left_out(line: bytes) -> None:
    good = json.dumps({"schema": 1, "event": "begun", "time": 1, "reached": 0}).encode()
    assert len(decode(good + b"\n" + line + b"\n" + good + b"\n")) == 2


def test_evidence_is_kept_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "boots.jsonl"
    record = BootRecord(path, Effects(), lambda: 1.0)
    record.end(0, BACK, "not-proved", "they differ", "", [f"{n} " + "x" * 999 for n in range(99)])
    line = last_end(read(path))
    assert line is not None
    assert record.lines == (line,)
    assert [text[:2] for text in line.evidence] == [f"{n} " for n in range(8)]
    assert {len(text) for text in line.evidence} == {300}
    assert path.stat().st_mode & 0o077 == 0
