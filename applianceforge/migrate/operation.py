"""Carry out a plan with its lock, journal, status, space meter and outcome."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from applianceforge.migrate import inventory, lock, outcome
from applianceforge.migrate.engine import StepRecord, execute
from applianceforge.migrate.journal import Event, Journal, date
from applianceforge.migrate.outcome import Outcome, SideOutcome
from applianceforge.migrate.preparation import (
    Plan,
    Planner,
    check_finals,
    check_space,
    stop_if_inhibited,
    with_figure,
)
from applianceforge.migrate.status import StatusFile
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.model.errors import DiskFullError, JournalError
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.system import files, meter
from applianceforge.system.progress import Both

# Servers run as their own user and pass through the work directory to their sockets.
_PASS_THROUGH = 0o711


@contextmanager
def opened(around: Surroundings, operation: str) -> Iterator[Workspace]:
    """Make the work directory and hold its lock.

    Raises:
        AlreadyRunningError: Another operation is at work there.
    """
    work = Workspace(around.settings.work.directory, operation)
    for path in (work.work, work.root):
        files.make_directory(path, around.effects, mode=_PASS_THROUGH)
        # Unless it is an existing directory of somebody else's: then its mode is theirs.
        if path == work.root:
            path.chmod(_PASS_THROUGH)
    with lock.only_run(work.lock, operation):
        yield work


def show_plan(
    around: Surroundings, planner: Planner, operation: str, finals: Sequence[Path]
) -> Plan:
    """Gather, check and plan, and do nothing; the report holds every finding.

    Args:
        finals: See `carry_out`.
    """
    with opened(around, operation) as work:
        plan = planner(around, work)
        report = plan.report + check_space(work, plan, finals)
        journal = Journal(work.journal, around.effects, around.clock)
        if not journal.entries:
            report += check_finals(finals)
        return replace(plan, report=report + _check_finished(journal))


def carry_out(
    around: Surroundings,
    planner: Planner,
    operation: str,
    finals: Sequence[Path],
    *,
    restart: bool = False,
) -> Outcome:
    """Plan and do an operation, or what is left of it.

    Args:
        around: Settings, effects, progress, time.
        planner: Makes the plan.
        operation: Its name.
        finals: The final names of what it makes, each under its staging name until then; nothing
            may be there yet.
        restart: Throw away what an earlier attempt did, and begin anew.

    Returns:
        What it has to show; also written to the work directory.

    Raises:
        ForgeError: It failed; the source is as it was, and the same call continues.
        KeyboardInterrupt: It was stopped; likewise.
    """
    with opened(around, operation) as work:
        if restart:
            forget(around, work, finals)
        journal = Journal(work.journal, around.effects, around.clock)
        published = journal.first(Event.PUBLISHED)
        if published is not None and work.outcome.exists():
            _check_still_there(published.time_s, finals)
            return replace(outcome.decode(work.outcome.read_bytes()), earlier=True)
        try:
            return _attempt(around, work, planner, journal, finals)
        except KeyboardInterrupt:
            _note_stop(journal)
            raise


def _attempt(
    around: Surroundings,
    work: Workspace,
    planner: Planner,
    journal: Journal,
    finals: Sequence[Path],
) -> Outcome:
    """Plan, and do what the journal does not know as done."""
    plan = planner(around, work)
    report = plan.report + _check_clock(journal, around)
    if not journal.entries:
        report += check_finals(finals)
    report += check_space(work, plan, finals)
    stop_if_inhibited(report)
    _note_plan(journal, plan)
    peak = _Peak()
    places = [work.root, *map(staging, finals)]
    sink = Both(around.sink, StatusFile(work.status, work.operation, os.getpid(), around.clock))
    with meter.watching(places, peak.take):
        try:
            records = execute(plan.subjects, journal, sink, peak.values)
        except DiskFullError as error:
            raise with_figure(error, work, plan, finals) from error
    result = _outcome(around, work, plan, journal, records, report)
    files.write_file(work.outcome, outcome.encode(result), around.effects)
    journal.write(Event.PUBLISHED)
    return result


def _check_still_there(published_s: float, finals: Sequence[Path]) -> None:
    for path in finals:
        if not path.exists():
            raise JournalError(
                f"this was finished on {date(published_s)}, and {path}, which it made, is no longer"
                " there",
                hint="put it back, or make it again from the old data with --restart",
            )


def _check_finished(journal: Journal) -> Report:
    """Return what a plan says of an operation that is finished already."""
    published = journal.first(Event.PUBLISHED)
    if published is None:
        return Report()
    return Report(
        (
            Finding(
                "migration.finished",
                Severity.INFO,
                "This migration is finished",
                f"The new data was published on {date(published.time_s)}: `run` has nothing to do.",
            ),
        )
    )


def _note_stop(journal: Journal) -> None:
    """Note that we were asked to stop, where the step that ran has not."""
    if journal.entries and journal.entries[-1].event not in (Event.STOPPED, Event.PUBLISHED):
        journal.write(Event.STOPPED, journal.entries[-1].step)


def forget(around: Surroundings, work: Workspace, finals: Sequence[Path]) -> None:
    """Remove what an unfinished operation made: its work and its staging names.

    Raises:
        JournalError: It is finished and new data was published; there is nothing to throw away.
    """
    journal = Journal(work.journal, around.effects, around.clock)
    if finals and journal.first(Event.PUBLISHED) and all(path.exists() for path in finals):
        raise JournalError(
            "this migration is finished and published",
            hint="remove the old data with `applianceforge migrate clean`; for another migration"
            " name another work directory",
        )
    for path in map(staging, finals):
        files.remove_tree(path, around.effects)
    for path in sorted(work.root.iterdir()):
        files.remove_tree(path, around.effects)


class _Peak:
    """The most space that was seen."""

    def __init__(self) -> None:
        self._most = 0

    def take(self, size_bytes: int) -> None:
        self._most = max(self._most, size_bytes)

    def values(self) -> Mapping[str, Any]:
        return {"peak_bytes": self._most}


def _note_plan(journal: Journal, plan: Plan) -> None:
    """Write the plan's identity into a new journal, or compare it with an old one's.

    Raises:
        JournalError: It is another.
    """
    first = journal.first(Event.PLANNED)
    if first is None:
        journal.write(
            Event.PLANNED,
            plan=plan.identity,
            operation=plan.operation,
            predicted_peak_bytes=plan.peak_bytes,
            steps=[step.key for step in plan.steps],
        )
    elif first.detail.get("plan") != plan.identity:
        raise JournalError(
            "the settings or the source are others than when this migration was begun",
            hint="continue with the settings that it was begun with, or begin anew with --restart;"
            " the source is as it was",
        )
    else:
        journal.write(Event.RESUMED)


def _check_clock(journal: Journal, around: Surroundings) -> Report:
    """Return a warning if the clock went back since the journal was last written."""
    latest = max((one.time_s for one in journal.entries), default=0.0)
    behind_s = latest - around.clock()
    if behind_s <= 0:
        return Report()
    return Report(
        (
            Finding(
                "clock.went-back",
                Severity.WARNING,
                "The clock went back",
                f"The journal was last written {behind_s:.0f} s in the future. The migration goes"
                " on; the retention of the old data cannot be judged until the clock is right.",
            ),
        )
    )


def _outcome(
    around: Surroundings,
    work: Workspace,
    plan: Plan,
    journal: Journal,
    records: tuple[StepRecord, ...],
    report: Report,
) -> Outcome:
    proofs, told = outcome.proofs_of(records)
    planned = journal.first(Event.PLANNED)
    return Outcome(
        operation=plan.operation,
        began_s=journal.entries[0].time_s,
        ended_s=max(around.clock(), *(one.time_s for one in journal.entries)),
        source=_counted(plan.source, work.inventories / "source.json"),
        target=_target_side(around, work),
        steps=outcome.steps_of(records),
        proofs=proofs,
        told=told,
        warnings=tuple(one.title for one in report.findings if one.severity is Severity.WARNING),
        predicted_peak_bytes=planned.detail["predicted_peak_bytes"] if planned else 0,
        peak_bytes=max((one.values.get("peak_bytes", 0) for one in records), default=0),
        interruptions=sum(one.event is Event.RESUMED for one in journal.entries),
    )


def _counted(side: SideOutcome, path: Path) -> SideOutcome:
    """Return a side with the counts of its inventory."""
    if not path.exists():
        return side
    found = inventory.decode(path.read_bytes())
    return replace(
        side,
        postgres_major=found.major,
        width=found.width,
        databases=len(found.databases),
        tables=sum(len(one.tables) for one in found.databases),
        rows=found.rows,
    )


def _target_side(around: Surroundings, work: Workspace) -> SideOutcome:
    target = around.settings.target
    rrds, rrd_bytes = 0, 0
    if target.rrd is not None and target.rrd.directory.is_dir():
        sizes = [one.stat().st_size for one in target.rrd.directory.rglob("*") if one.is_file()]
        rrds, rrd_bytes = len(sizes), sum(sizes)
    data = target.postgres.data if target.postgres else None
    side = SideOutcome(
        label="64-bit",
        postgres_major=0,
        width=0,
        postgres_bytes=files.used_bytes(data) if data else 0,
        databases=0,
        tables=0,
        rows=0,
        rrds=rrds,
        rrd_bytes=rrd_bytes,
    )
    return _counted(side, work.inventories / "target.json")
