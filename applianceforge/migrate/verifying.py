"""Prove source and target equal once more, after publication, reading both anew."""

from dataclasses import dataclass, replace

from applianceforge.migrate.engine import Phase, Step, StepResult, Subject
from applianceforge.migrate.journal import Event, Journal, date
from applianceforge.migrate.operation import carry_out
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.postgres.exporting import ExportPostgres
from applianceforge.migrate.postgres.importing import ImportPostgres
from applianceforge.migrate.preparation import (
    Plan,
    export_subject,
    gather,
    identity,
    import_subject,
    source_side,
)
from applianceforge.migrate.rrd.subject import prove
from applianceforge.migrate.rrd.verify import verify_trees
from applianceforge.migrate.settings import SourceRrdSettings, TargetRrdSettings
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import NotProvedError, SettingsError
from applianceforge.system.progress import Counter


@dataclass
class VerifyPostgres:
    """Takes the inventory of both clusters, and compares them."""

    source: ExportPostgres
    target: ImportPostgres

    def steps(self) -> tuple[Step, ...]:
        """Return one step for each side."""
        size = sum(one.predicted_bytes for one in self.target.databases)
        return (
            Step("postgres.inventory", "count and digest the source", Phase.VERIFY, size),
            Step("postgres.verify", "count and digest the target, and compare", Phase.VERIFY, size),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        side: Subject = self.source if step.key == "postgres.inventory" else self.target
        return side.apply(step, counter)

    def close(self) -> None:
        """Stop both servers."""
        self.source.close()
        self.target.close()


@dataclass
class VerifyRrds:
    """Compares every RRD with its original."""

    source: SourceRrdSettings
    target: TargetRrdSettings
    size_bytes: int
    jobs: int

    def steps(self) -> tuple[Step, ...]:
        """Return the one step."""
        return (Step("rrd.verify", "compare every RRD", Phase.VERIFY, self.size_bytes),)

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Compare them."""
        assert step.key == "rrd.verify"
        found = verify_trees(
            self.source.directory,
            self.target.directory,
            patterns=self.source.patterns,
            counter=counter,
            jobs=self.jobs,
        )
        return prove(found, counter.done_rows)

    def close(self) -> None:
        """Nothing of it keeps running."""


def verify(around: Surroundings) -> Outcome:
    """Compare source and target as they are now; both servers must be stopped.

    Raises:
        NotProvedError: They differ.
        SettingsError: The new data is not there.
        ForgeError: See `carry_out`.
    """
    finished = Journal(
        Workspace(around.settings.work.directory, "run").journal, around.effects, around.clock
    )
    cleaned = finished.first(Event.CLEANED)
    if cleaned is not None:
        raise SettingsError(
            f"the old data was removed by `clean` on {date(cleaned.time_s)}: there is nothing to"
            " compare with",
            hint="the inventory that the new data was proved by is in the work directory, under"
            " run/inventories",
        )
    try:
        return carry_out(around, _plan, "verify", (), restart=True)
    except NotProvedError as error:
        raise NotProvedError(
            error.message,
            hint="if one of the sides was used since the migration, that is what you see. If not:"
            " stop using the new data, keep everything, and tell the vendor",
            evidence=error.evidence,
        ) from error


def _plan(around: Surroundings, work: Workspace) -> Plan:
    settings = around.settings
    for path in (
        settings.target.postgres.data if settings.target.postgres else None,
        settings.target.rrd.directory if settings.target.rrd else None,
    ):
        if path is not None and not path.exists():
            raise SettingsError(
                f"{path} is not there, so there is nothing to verify",
                hint="the new data appears when the migration is finished: `applianceforge migrate"
                " run`",
            )
    source = gather(around, work, with_target=True)
    subjects: list[Subject] = []
    if source.cluster is not None and source.dumper is not None and settings.target.postgres:
        target = import_subject(around, work, source.cluster, source.dumper)
        target = replace(target, setup=replace(target.setup, data=settings.target.postgres.data))
        subjects.append(
            VerifyPostgres(
                export_subject(around, work, source.cluster, source.dumper, work.archive, 0),
                target,
            )
        )
    if source.rrds is not None and settings.source.rrd and settings.target.rrd:
        subjects.append(
            VerifyRrds(
                settings.source.rrd,
                settings.target.rrd,
                source.rrd_bytes,
                settings.work.jobs,
            )
        )
    return Plan(
        operation="verify",
        report=source.report,
        subjects=tuple(subjects),
        peak_bytes=0,
        identity=identity("verify", around, subjects, source),
        source=source_side(source),
    )
