"""The whole migration on one machine: export, import, verify, publish."""

from applianceforge.migrate import space
from applianceforge.migrate.engine import Subject
from applianceforge.migrate.operation import carry_out, show_plan
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.preparation import (
    Plan,
    export_subject,
    gather,
    identity,
    import_subject,
    new_data,
    source_side,
)
from applianceforge.migrate.rrd.subject import ConvertRrds
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace


def run(around: Surroundings, *, restart: bool = False) -> Outcome:
    """Migrate, or do what is left of a migration that was cut.

    Raises:
        ForgeError: See `carry_out`.
    """
    return carry_out(around, plan_run, "run", new_data(around.settings), restart=restart)


def show(around: Surroundings) -> Plan:
    """Check everything and plan, and do nothing.

    Raises:
        ForgeError: Something cannot even be looked at.
    """
    return show_plan(around, plan_run, "run", new_data(around.settings))


def plan_run(around: Surroundings, work: Workspace) -> Plan:
    """Plan a whole migration on this machine."""
    source = gather(around, work, with_target=True)
    settings = around.settings
    subjects: list[Subject] = []
    if source.cluster is not None and source.dumper is not None:
        subjects += [
            export_subject(
                around, work, source.cluster, source.dumper, work.archive, settings.work.compression
            ),
            import_subject(around, work, source.cluster, source.dumper),
        ]
    if source.rrds is not None and settings.source.rrd and settings.target.rrd:
        subjects.append(
            ConvertRrds(
                settings.source.rrd,
                source.rrds,
                settings.target.rrd.directory,
                settings.work.jobs,
                around.effects,
            )
        )
    peak, _ = space.run_peak_bytes(source.databases, source.native_bytes, source.rrd_count)
    return Plan(
        operation="run",
        report=source.report,
        subjects=tuple(subjects),
        peak_bytes=peak,
        identity=identity("run", around, subjects, source),
        source=source_side(source),
        needs=source.needs,
    )
