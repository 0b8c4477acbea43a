"""The engine with a subject that behaves, cut after each of its effects."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from applianceforge.migrate.engine import Phase, Step, StepRecord, StepResult, execute, ordered
from applianceforge.migrate.journal import Event, Journal
from applianceforge.model.errors import DiskFullError, ProgramFailedError
from applianceforge.system import files
from applianceforge.system.effects import Effect, Effects
from applianceforge.system.progress import Counter, NoProgress, ProgressEvent, StepStarted


class Cut(BaseException):
    """The power went."""


@dataclass
class Folder:
    """Copies a text in steps: make a directory, fill it, prove it, give it its name."""

    name: str
    root: Path
    effects: Effects
    told: list[str] = field(default_factory=list)
    open: bool = False

    @property
    def staging(self) -> Path:
        return self.root / f".{self.name}.staging"

    def steps(self) -> tuple[Step, ...]:
        phases = (
            ("read", Phase.EXPORT),
            ("make", Phase.IMPORT),
            ("fill", Phase.IMPORT),
            ("prove", Phase.VERIFY),
            ("publish", Phase.PUBLISH),
        )
        return tuple(Step(f"{self.name}.{key}", f"{key} {self.name}", ph) for key, ph in phases)

    def apply(self, step: Step, counter: Counter) -> StepResult:
        self.open = True
        self.told.append(step.key)
        found = getattr(self, f"_{step.key.partition('.')[2]}")()
        counter.advance(add_bytes=3, add_rows=1)
        return StepResult(f"did {step.key}", {"found": found})

    def close(self) -> None:
        if self.open:
            self.told.append("close")
        self.open = False

    def _read(self) -> str:
        files.write_file(self.root / f"{self.name}.expected", b"one two", self.effects)
        return "read"

    def _make(self) -> str:
        files.remove_tree(self.staging, self.effects)
        files.make_directory(self.staging, self.effects)
        return "made"

    def _fill(self) -> str:
        for word in (self.root / f"{self.name}.expected").read_bytes().split():
            files.write_file(self.staging / word.decode(), word * 3, self.effects)
        return "filled"

    def _prove(self) -> str:
        assert sorted(os.listdir(self.staging)) == ["one", "two"]
        return "proved"

    def _publish(self) -> str:
        if self.staging.exists():
            files.rename(self.staging, self.root / self.name, self.effects)
        return "published"


def attempt(root: Path, cut: int = 0) -> tuple[tuple[StepRecord, ...], list[Folder], int]:
    """Make one attempt, with new objects for all, as a new process has them."""

    def observe(effect: Effect) -> None:
        if effect.number == cut:
            raise Cut

    effects = Effects(observe)
    subjects = [Folder("new", root, effects), Folder("rrd", root, effects)]
    try:
        journal = Journal(root / "journal", effects, lambda: 1.0)
        records = execute(subjects, journal, NoProgress(), lambda: {"peak": 7})
    finally:
        assert not any(one.open for one in subjects)
    return records, subjects, effects.count


def end_of(root: Path) -> dict[str, bytes]:
    """All files but the journal."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "journal"}


def told_of(records: tuple[StepRecord, ...]) -> list[tuple[object, ...]]:
    return [(r.step.key, r.detail, r.values, r.done_bytes, r.done_rows) for r in records]


def test_cut_after_every_effect_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    records, _, count = attempt(tmp_path / "0")
    expected = end_of(tmp_path / "0")
    assert set(expected) >= {"new/one", "new/two", "rrd/one"}
    for number in range(1, count + 1):
        root = tmp_path / str(number)
        root.mkdir()
        with pytest.raises(Cut):
            attempt(root, number)
        again, subjects, _ = attempt(root)
        assert end_of(root) == expected, f"after effect {number}"
        assert told_of(again) == told_of(records), f"after effect {number}"
        # What is done is not done again, and what is not done is.
        done = {key for one in subjects for key in one.told}
        assert {r.step.key for r in again if not r.resumed} == done - {"close"}


def test_cut_twice(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    attempt(tmp_path / "0")
    for first in (5, 12, 20):
        for second in (1, 2, 3, 6):
            root = tmp_path / f"{first}-{second}"
            root.mkdir()
            for number in (first, second):
                with pytest.raises(Cut):
                    attempt(root, number)
            attempt(root)
            assert end_of(root) == end_of(tmp_path / "0")


def test_phase_by_phase_and_in_each_the_subjects_in_order(tmp_path: Path) -> None:
    effects = Effects()
    subjects = [Folder("new", tmp_path, effects), Folder("rrd", tmp_path, effects)]
    assert [step.key for step, _ in ordered(subjects)] == [
        *("new.read", "rrd.read", "new.make", "new.fill", "rrd.make", "rrd.fill"),
        *("new.prove", "rrd.prove", "new.publish", "rrd.publish"),
    ]


def test_a_subject_is_closed_after_its_last_step(tmp_path: Path) -> None:
    _, (new, rrd), _ = attempt(tmp_path)
    assert new.told[-2:] == ["new.publish", "close"]
    assert rrd.told[-2:] == ["rrd.publish", "close"]


def test_begun_is_on_the_disk_before_the_first_effect(tmp_path: Path) -> None:
    lines: list[bytes] = []

    @dataclass
    class Looking(Folder):
        def _read(self) -> str:
            lines.append((self.root / "journal").read_bytes().splitlines()[-1])
            return super()._read()

    effects = Effects()
    journal = Journal(tmp_path / "journal", effects, lambda: 1.0)
    execute([Looking("new", tmp_path, effects)], journal, NoProgress())
    assert b'"begun"' in lines[0]
    assert b'"new.read"' in lines[0]


def failing(
    tmp_path: Path, fail: Callable[[], None], observe: Callable[[Effect], None] = lambda _: None
) -> tuple[Journal, Folder]:
    """A subject whose second step does something else."""

    @dataclass
    class Failing(Folder):
        def _make(self) -> str:
            fail()
            return super()._make()

    effects = Effects(observe)
    journal = Journal(tmp_path / "journal", effects, lambda: 1.0)
    return journal, Failing("new", tmp_path, effects)


def test_a_failure_is_noted_with_its_message(tmp_path: Path) -> None:
    def fail() -> None:
        raise ProgramFailedError("initdb ended with status 1")

    journal, subject = failing(tmp_path, fail)
    with pytest.raises(ProgramFailedError):
        execute([subject], journal, NoProgress())
    last = journal.entries[-1]
    assert (last.event, last.step) == (Event.FAILED, "new.make")
    assert last.detail["message"] == "initdb ended with status 1"
    assert subject.told == ["new.read", "new.make", "close"]
    assert attempt(tmp_path)[0][0].resumed


def test_a_disk_too_full_for_the_journal_does_not_hide_the_first_error(tmp_path: Path) -> None:
    def fail() -> None:
        raise DiskFullError("the first")

    def observe(effect: Effect) -> None:
        if b'"failed"' in (tmp_path / "journal").read_bytes():
            raise DiskFullError("the second")

    journal, subject = failing(tmp_path, fail, observe)
    with pytest.raises(DiskFullError, match="the first"):
        execute([subject], journal, NoProgress())


def test_ctrl_c_is_noted(tmp_path: Path) -> None:
    journal, subject = failing(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        execute([subject], journal, NoProgress())
    assert (journal.entries[-1].event, journal.entries[-1].step) == (Event.STOPPED, "new.make")
    assert not subject.open


def test_ctrl_c_while_one_subject_is_closed_leaves_none_open(tmp_path: Path) -> None:
    @dataclass
    class Interrupted(Folder):
        def close(self) -> None:
            was_open = self.open
            super().close()
            if was_open:
                os.kill(os.getpid(), signal.SIGINT)

        def _prove(self) -> str:
            raise ProgramFailedError("not equal")

    effects = Effects()
    journal = Journal(tmp_path / "journal", effects, lambda: 1.0)
    subjects = [Interrupted(name, tmp_path, effects) for name in ("new", "rrd")]
    with pytest.raises(KeyboardInterrupt):
        execute(subjects, journal, NoProgress())
    assert not any(one.open for one in subjects)


def test_steps_are_shown_with_their_place_among_all(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []

    class Sink:
        def emit(self, event: ProgressEvent) -> None:
            events.append(event)

    effects = Effects()
    journal = Journal(tmp_path / "journal", effects, lambda: 1.0)
    execute([Folder("new", tmp_path, effects)], journal, Sink())
    started = [one for one in events if isinstance(one, StepStarted)]
    assert [(one.number, one.of) for one in started] == [(n, 5) for n in range(1, 6)]
