import itertools
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from applianceforge.migrate import journal
from applianceforge.migrate.journal import Event, Journal
from applianceforge.model.errors import ForgeError, JournalError
from applianceforge.system.effects import Effect, Effects

STEP = "postgres.load:mail"
# What a step's event makes of it: done or not. `failed` and `stopped` follow a `begun`, and
# `stopped` may follow a `done` whose step is over.
AFTER = {
    (False, Event.BEGUN): False,
    (False, Event.DONE): True,
    (False, Event.FAILED): False,
    (False, Event.STOPPED): False,
    (True, Event.BEGUN): False,
    (True, Event.DONE): True,
    (True, Event.FAILED): True,
    (True, Event.STOPPED): True,
}
OF_A_STEP = (Event.BEGUN, Event.DONE, Event.FAILED, Event.STOPPED)


def opened(path: Path, effects: Effects | None = None) -> Journal:
    return Journal(path, effects or Effects(), lambda: 1000.5)


def written(path: Path) -> bytes:
    """A journal of a run that was cut once."""
    lines = opened(path)
    lines.write(Event.PLANNED, plan="abc", operation="run")
    lines.write(Event.BEGUN, STEP)
    lines.write(Event.FAILED, STEP, message="kein Platz für Müller")
    lines.write(Event.RESUMED)
    lines.write(Event.BEGUN, STEP)
    lines.write(Event.DONE, STEP, result={"detail": "8 bytes", "values": {}})
    return path.read_bytes()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    entries = journal.read(path)
    assert [one.number for one in entries] == [1, 2, 3, 4, 5, 6]
    assert [one.event.value for one in entries] == [
        *("planned", "begun", "failed", "resumed", "begun", "done")
    ]
    assert entries[0].detail == {"plan": "abc", "operation": "run"}
    assert entries[2].detail["message"] == "kein Platz für Müller"
    assert entries[5].time_s == 1000.5
    assert opened(path).entries == entries
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_an_empty_journal(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "none") == ()
    assert opened(tmp_path / "none").entries == ()
    assert not (tmp_path / "none").exists()


def test_cut_at_every_byte_whole_lines_count_and_the_torn_one_does_not(tmp_path: Path) -> None:
    content = written(tmp_path / "whole")
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    path = tmp_path / "journal.jsonl"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert len(journal.read(path)) == whole
        assert path.stat().st_size == size, "reading must not write"
        lines = opened(path)
        assert len(lines.entries) == whole
        assert path.read_bytes() == content[: ends[whole - 1] if whole else 0]
        lines.write(Event.BEGUN, "next")
        assert [one.number for one in journal.read(path)] == [*range(1, whole + 2)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 80,
        b"not json",
        b"[]",
        b"7",
        b"{}",
        b'{"schema": 1}',
        b'{"schema": "x", "number": 7, "time": 1, "event": "begun"}',
        b'{"schema": 1, "number": 7, "time": "noon", "event": "begun"}',
        b'{"schema": 1, "number": 7, "time": 1, "event": "guessed"}',
        b'{"schema": 1, "number": 7, "time": 1, "event": "begun"',
        b"\xff\xfe",
        b'{"schema": 1e400, "number": 7, "time": 1, "event": "begun"}',
        b"[" * 20_000,
    ],
)
def test_a_whole_line_that_is_damaged_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    content = written(path) + line + b"\n"
    path.write_bytes(content)
    for read in (journal.read, opened):
        with pytest.raises(JournalError, match="line 7 of the journal is damaged"):
            read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 2, "number": 7, "time": 1, "event": "begun"}, "newer release"),
        # A newer release knows events that we do not: that is no damage.
        ({"schema": 2, "number": 7, "time": 1, "event": "guessed"}, "newer release"),
        ({"schema": 2}, "newer release"),
        ({"schema": 1, "number": 8, "time": 1, "event": "begun"}, "lines are missing"),
        ({"schema": 1, "number": 6, "time": 1, "event": "begun"}, "lines are missing"),
    ],
)
def test_what_another_release_wrote_is_refused(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(written(path) + json.dumps(fields).encode() + b"\n")
    with pytest.raises(JournalError, match=f"line 7 .*{message}"):
        journal.read(path)


@pytest.mark.parametrize(
    "events",
    [order for length in range(4) for order in itertools.product(OF_A_STEP, repeat=length)],
    ids=lambda events: "-".join(one.value for one in events) or "none",
)
def test_every_order_of_a_step_s_events(tmp_path: Path, events: tuple[Event, ...]) -> None:
    lines = opened(tmp_path / "journal.jsonl")
    lines.write(Event.PLANNED)
    done = False
    latest = 0
    for number, event in enumerate(events):
        lines.write(event, STEP, **({"result": {"n": number}} if event is Event.DONE else {}))
        # What happens to other steps decides nothing.
        lines.write(Event.DONE if number % 2 else Event.BEGUN, "other", result={})
        done = AFTER[done, event]
        latest = number if event is Event.DONE else latest
    expected = {"n": latest} if done else None
    assert lines.result_of(STEP) == expected
    assert opened(tmp_path / "journal.jsonl").result_of(STEP) == expected


def test_the_first_of_a_kind(tmp_path: Path) -> None:
    written(tmp_path / "journal.jsonl")
    lines = opened(tmp_path / "journal.jsonl")
    first = lines.first(Event.BEGUN)
    assert first is not None
    assert first.number == 2
    assert lines.first(Event.PUBLISHED) is None


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """No file of ours can grow beyond a size: a write is cut short there, as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    content = written(path)
    lines = opened(path)
    with files_at_most(len(content) + 20), pytest.raises(ForgeError):
        lines.write(Event.BEGUN, "next")
    assert path.read_bytes() == content
    lines.write(Event.BEGUN, "next")
    assert [one.number for one in journal.read(path)] == [*range(1, 8)]


def test_an_interruption_in_the_middle_of_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    def interrupt(effect: Effect) -> None:
        if effect.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    lines = opened(path, Effects(interrupt))
    lines.write(Event.PLANNED)
    with pytest.raises(KeyboardInterrupt):
        lines.write(Event.BEGUN, STEP)
    lines.write(Event.STOPPED, STEP)
    assert journal.read(path) == lines.entries
    assert [one.event.value for one in lines.entries] == ["planned", "begun", "stopped"]
