"""Carry out a plan step by step, with a journal, so that any cut can be resumed.

The engine knows nothing of PostgreSQL or RRDs. A subject knows its steps and how to apply one; a
step works on staging names, so that one which was begun and not finished is simply done again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from applianceforge.migrate.journal import Event, Journal
from applianceforge.model.errors import DiskFullError, ForgeError
from applianceforge.system.progress import Counter, ProgressSink, StepEnded, StepStarted
from applianceforge.system.signals import deferred


class Phase(Enum):
    """The parts of an operation, in their order."""

    EXPORT = 1
    IMPORT = 2
    VERIFY = 3
    PUBLISH = 4


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    Attributes:
        key: Names it in the journal; never changes.
        title: What it does, for people, as an imperative.
        predicted_bytes: About how much it will move; 0 if that is not known.
    """

    key: str
    title: str
    phase: Phase
    predicted_bytes: int = 0


@dataclass(frozen=True)
class StepResult:
    """What came out of a step.

    Attributes:
        detail: In a few words, for people.
        values: What later steps and the report need of it, as JSON values.
    """

    detail: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepRecord:
    """A step that is done: how long it took and how much it moved."""

    step: Step
    elapsed_s: float
    done_bytes: int
    done_rows: int
    detail: str
    values: Mapping[str, Any]
    resumed: bool


class Subject(Protocol):
    """One kind of data: what has to be done for it, and how."""

    def steps(self) -> tuple[Step, ...]:
        """Return its steps; pure."""

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one step; raises a ForgeError if that fails."""

    def close(self) -> None:
        """Stop what its steps left running, such as a server; also after a failure."""


def ordered(subjects: Sequence[Subject]) -> tuple[tuple[Step, Subject], ...]:
    """Return all steps with their subjects: phase by phase, in each the subjects in order."""
    return tuple(
        (step, subject)
        for phase in Phase
        for subject in subjects
        for step in subject.steps()
        if step.phase is phase
    )


def execute(
    subjects: Sequence[Subject],
    journal: Journal,
    sink: ProgressSink,
    around: Callable[[], Mapping[str, Any]] = dict,
) -> tuple[StepRecord, ...]:
    """Do every step that the journal does not know as done.

    Args:
        subjects: What has to be done.
        journal: Says how far an earlier run came, and is told of this one.
        sink: Shows progress.
        around: Called after each step; what it returns goes into the journal with the result.

    Returns:
        A record of each step, those of earlier runs among them.

    Raises:
        ForgeError: A step failed; the journal says so, and the next run begins with it.
        KeyboardInterrupt: We were asked to stop; likewise.
    """
    plan = ordered(subjects)
    last_step = {id(subject): step for step, subject in plan}
    records: list[StepRecord] = []
    try:
        for number, (step, subject) in enumerate(plan, start=1):
            known = journal.result_of(step.key)
            if known is not None:
                records.append(_record(step, known, resumed=True))
            else:
                sink.emit(
                    StepStarted(step.key, step.title, number, len(plan), step.predicted_bytes)
                )
                records.append(_apply(step, subject, journal, sink, around))
            if last_step[id(subject)] is step:
                subject.close()
    finally:
        with deferred():
            for _, subject in plan:
                subject.close()
    return tuple(records)


def _apply(
    step: Step,
    subject: Subject,
    journal: Journal,
    sink: ProgressSink,
    around: Callable[[], Mapping[str, Any]],
) -> StepRecord:
    counter = Counter(step.key, sink)
    began = time.monotonic()
    journal.write(Event.BEGUN, step.key)
    try:
        result = subject.apply(step, counter)
    except KeyboardInterrupt:
        journal.write(Event.STOPPED, step.key)
        raise
    except ForgeError as error:
        _note_failure(journal, step, error)
        raise
    elapsed_s = time.monotonic() - began
    outcome = {
        "elapsed_s": round(elapsed_s, 3),
        "bytes": counter.done_bytes,
        "rows": counter.done_rows,
        "detail": result.detail,
        "values": dict(result.values) | dict(around()),
    }
    journal.write(Event.DONE, step.key, result=outcome)
    sink.emit(StepEnded(step.key, elapsed_s, counter.done_bytes, counter.done_rows, result.detail))
    return _record(step, outcome, resumed=False)


def _note_failure(journal: Journal, step: Step, error: ForgeError) -> None:
    try:
        journal.write(Event.FAILED, step.key, message=error.message)
    except DiskFullError:
        return  # `begun` without `done` says enough; the first error is the one to tell.


def _record(step: Step, outcome: Mapping[str, Any], *, resumed: bool) -> StepRecord:
    return StepRecord(
        step=step,
        elapsed_s=outcome["elapsed_s"],
        done_bytes=outcome["bytes"],
        done_rows=outcome["rows"],
        detail=outcome["detail"],
        values=outcome["values"],
        resumed=resumed,
    )
