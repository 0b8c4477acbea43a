"""Migrate at boot, unattended, and decide what the end means: go on, try again, go back.

Power may go at any instant. What decides is written durably and in this order: that the boot began
(so that boots without an end are counted), then the tries given back, then the journal of the run,
then how it ended, then the mark of the slot. A boot that finds an end in 76 goes back at once.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.migrate import journal
from applianceforge.migrate.boot_record import BootRecord, Counts, Line, last_end
from applianceforge.migrate.boot_slots import Marks
from applianceforge.migrate.boot_status import BootState, BootStatus
from applianceforge.migrate.boot_verdict import (
    ABORTED,
    AGAIN,
    BACK,
    CRASHED,
    INTERRUPTED,
    MOST_ATTEMPTS,
    MOST_SILENT_BOOTS,
    PROVED,
    UNRECORDED,
    Verdict,
    counted,
    verdict_on,
)
from applianceforge.migrate.operation import forget, opened
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.preparation import new_data
from applianceforge.migrate.run import run
from applianceforge.migrate.settings import Settings
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, JournalError
from applianceforge.slots import reasons
from applianceforge.slots.history import Happening, History
from applianceforge.slots.places import BootPlaces, Release, read_epoch
from applianceforge.system import files
from applianceforge.system.progress import Both

_PUBLIC = 0o644
_PASS_THROUGH = 0o711
_NEW = Architecture.AMD64


@dataclass(frozen=True)
class Ending:
    """How a boot with a migration ended.

    Attributes:
        error: What went wrong, for the person at the console.
        outcome: Of the migration, if it was finished now or before.
    """

    verdict: Verdict
    error: ForgeError | None = None
    outcome: Outcome | None = None


class _Aborted(Exception):  # noqa: N818 - no error: somebody wants it so
    """A person asked for the end of the migration."""


def record_path(settings: Settings) -> Path:
    """Return the file with the record of boots."""
    return settings.work.directory / "boots.jsonl"


def steps_done(settings: Settings) -> int:
    """Return how many steps the journal knows as done; none of a journal that is damaged."""
    try:
        entries = journal.read(Workspace(settings.work.directory, "run").journal)
    except JournalError:
        return 0
    keys = {entry.step for entry in entries if entry.step}
    return sum(journal.result_of(entries, key) is not None for key in keys)


def has_old_data(settings: Settings) -> bool:
    """Tell whether there is anything to migrate."""
    source = settings.source
    if source.postgres is not None and source.postgres.data.exists():
        return True
    if source.rrd is None or not source.rrd.directory.is_dir():
        return False
    return any(path.is_file() for path in source.rrd.directory.rglob("*"))


@dataclass
class BootMigration:
    """A boot of the migration release.

    Attributes:
        around: Settings, effects, progress, time.
        places: Of the appliance.
        marks: The slot that runs.
        release: The release that runs.
        boot: The kernel's identity of this boot.
    """

    around: Surroundings
    places: BootPlaces
    marks: Marks
    release: Release
    boot: str
    _status: BootStatus = field(init=False, repr=False)
    _history: History = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Know whom to tell."""
        around, slot = self.around, self.marks.booted
        self._status = BootStatus(
            self.places.status, self.release, slot, around.effects, around.clock
        )
        self._history = History(self.places, self.release, slot, around.effects, around.clock)

    def carry_out(self) -> Ending:
        """Migrate, or do what is left of a migration that was cut; see the module.

        Raises:
            KeyboardInterrupt: The machine is being shut down; the next boot goes on.
        """
        try:
            if read_epoch(self.places) is _NEW:
                return Ending(Verdict(PROVED))
            if not self.places.source_used.exists() and not has_old_data(self.around.settings):
                self._open_gate()
                return Ending(Verdict(PROVED))
            record = self._record()
            self._leave_behind(record)
            before = last_end(record.lines)
            counts = record.begin(self.boot, self._reached())
        except ForgeError as error:
            # Without a record nothing would bound the boots.
            verdict = verdict_on(error)
            word = UNRECORDED if verdict.status == AGAIN else verdict.reason
            return self._go_back(Verdict(BACK, word), error)
        if before is not None and before.status == BACK:
            return self._go_back(Verdict(BACK, before.reason), _told_before(before))
        return self._attempt(record, counts)

    def give_up(self, error: ForgeError) -> Ending:
        """Go back for an error that came before anything could begin, such as in the settings."""
        return self._go_back(Verdict(BACK, verdict_on(error).reason), error)

    def _record(self) -> BootRecord:
        path = record_path(self.around.settings)
        files.make_directory(path.parent, self.around.effects, mode=_PASS_THROUGH)
        return BootRecord(path, self.around.effects, self.around.clock)

    def _reached(self) -> int:
        return 0 if self.places.source_used.exists() else steps_done(self.around.settings)

    def _leave_behind(self, record: BootRecord) -> None:
        """Let nothing count of attempts before the old data was used again."""
        with files.named_errors(self.places.source_used, "look at"):
            if not self.places.source_used.exists():
                return
            source = self.places.source_used.stat().st_mtime_ns
        if record.source != source:
            files.remove_tree(self.places.abort, self.around.effects)
            record.renew(source)

    def _attempt(self, record: BootRecord, counts: Counts) -> Ending:
        outcome: Outcome | None = None
        error: ForgeError | None = None
        try:
            # As soon as user space has begun: a power cut in a migration costs no try.
            self.marks.give_tries_back()
            self._stop_if_asked()
            if counts.silent >= MOST_SILENT_BOOTS:
                verdict = Verdict(BACK, INTERRUPTED)
            elif counts.failures >= MOST_ATTEMPTS:
                verdict = Verdict(BACK, CRASHED)
            else:
                outcome = self._migrate(counts)
                verdict = Verdict(PROVED)
        except ForgeError as caught:
            error = caught
            failures = self._failures(record, counts) + 1
            verdict = counted(verdict_on(caught), failures)
        except _Aborted:
            verdict = Verdict(BACK, ABORTED)
        return self._end(record, Ending(verdict, error, outcome))

    def _failures(self, record: BootRecord, counts: Counts) -> int:
        """Return the attempts that failed before, unless this one made progress."""
        most = max((line.reached for line in record.lines), default=0)
        return counts.failures if self._reached() <= most else 0

    def _migrate(self, counts: Counts) -> Outcome | None:
        self._status.begin(counts)
        if self.places.source_used.exists():
            self._forget()
        if not has_old_data(self.around.settings):
            return None
        try:
            outcome = run(self._told())
        except KeyboardInterrupt:
            self._stop_if_asked()
            self._status.tell(BootState.STOPPED)
            raise
        self._stop_if_asked()
        return outcome

    def _told(self) -> Surroundings:
        around = self.around
        return Surroundings(
            around.settings, around.effects, Both(around.sink, self._status), around.clock
        )

    def _forget(self) -> None:
        """Remove what was made of old data that was used since; it never served anybody."""
        finals = new_data(self.around.settings)
        for path in finals:
            files.remove_tree(path, self.around.effects)
        with opened(self.around, "run") as work:
            forget(self.around, work, finals)
        files.remove_tree(self.places.source_used, self.around.effects)

    def _stop_if_asked(self) -> None:
        if self.places.abort.exists():
            raise _Aborted

    def _end(self, record: BootRecord, ending: Ending) -> Ending:
        """Note how it ended, and do what follows from it."""
        verdict, error = ending.verdict, ending.error
        message, hint = _said(ending)
        try:
            evidence = error.evidence if error is not None else ()
            record.end(self._reached(), verdict.status, verdict.reason, message, hint, evidence)
        except ForgeError as unrecorded:
            if verdict.status == AGAIN:
                return self._go_back(Verdict(BACK, UNRECORDED), unrecorded)
        if verdict.status == BACK:
            return self._go_back(verdict, error)
        if verdict.status == AGAIN:
            self._status.tell(BootState.AGAIN, verdict, message, hint)
            self._tell_history(verdict, message, hint)
            return ending
        self._open_gate()
        self._status.tell(BootState.PROVED)
        if ending.outcome is not None and not ending.outcome.earlier:
            self._history.add(Happening.MIGRATED, rows=ending.outcome.target.rows)
        return ending

    def _go_back(self, verdict: Verdict, error: ForgeError | None) -> Ending:
        ending = Ending(verdict, error)
        message, hint = _said(ending)
        with contextlib.suppress(ForgeError):
            self._status.tell(BootState.BACK, verdict, message, hint)
        self._tell_history(verdict, message, hint)
        try:
            self.marks.mark_bad(verdict.reason)
            files.remove_tree(self.places.abort, self.around.effects)
        except ForgeError as unmarked:
            # The boot loader's own count of tries is what is left then.
            return Ending(verdict, error or unmarked)
        return ending

    def _tell_history(self, verdict: Verdict, message: str, hint: str) -> None:
        self._history.add(
            Happening.MIGRATION_ENDED,
            status=verdict.status,
            reason=verdict.reason,
            message=message,
            hint=hint,
        )

    def _open_gate(self) -> None:
        files.make_directory(self.places.proved.parent, self.around.effects, mode=0o755)
        content = f"{_NEW.value}\n".encode()
        files.write_file(self.places.proved, content, self.around.effects, mode=_PUBLIC)


def _told_before(line: Line) -> ForgeError:
    return JournalError(
        line.message or reasons.explain(line.reason).sentence,
        hint=line.hint or reasons.explain(line.reason).remedy,
        evidence=line.evidence,
    )


def _said(ending: Ending) -> tuple[str, str]:
    """Return the message and the hint of an ending."""
    if ending.error is not None:
        return ending.error.message, ending.error.hint
    if not ending.verdict.reason:
        return "", ""
    reason = reasons.explain(ending.verdict.reason)
    return reason.sentence, reason.remedy
