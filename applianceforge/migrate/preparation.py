"""Gather, check and plan: everything that comes before the first byte is written."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from applianceforge.cpuid.probe import long_mode_finding
from applianceforge.migrate.engine import Step, Subject, ordered
from applianceforge.migrate.outcome import SideOutcome
from applianceforge.migrate.postgres import checks
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.exporting import ExportPostgres
from applianceforge.migrate.postgres.facts import ClusterFacts
from applianceforge.migrate.postgres.gathering import (
    SourceCluster,
    gather_source,
    gather_target,
    target_programs,
)
from applianceforge.migrate.postgres.importing import (
    LOADING,
    DatabasePart,
    ImportPostgres,
    Template,
    target_user,
)
from applianceforge.migrate.postgres.server import ServerSetup
from applianceforge.migrate.rrd.checks import check_journal, inspect
from applianceforge.migrate.rrd.scan import Scan, scan
from applianceforge.migrate.settings import Settings, check_has_both_sides, check_has_source
from applianceforge.migrate.space import DatabaseSpace
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.model.errors import DiskFullError, InhibitedError, SettingsError
from applianceforge.model.report import Finding, Remedy, Report, Severity
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.system import files

RESOURCES_STATUS = 23


@dataclass(frozen=True)
class Source:
    """All that was gathered of the source.

    Attributes:
        native_bytes: The size of all RRDs when they are converted.
    """

    cluster: SourceCluster | None
    dumper: Dumper | None
    rrds: Scan | None
    native_bytes: int
    report: Report

    @property
    def databases(self) -> tuple[DatabaseSpace, ...]:
        """Return what the prediction of space needs of the databases."""
        if self.cluster is None:
            return ()
        return tuple(
            DatabaseSpace(one.size_bytes, one.text_bytes, one.large_object_bytes)
            for one in self.cluster.facts.databases
        )

    @property
    def needs(self) -> tuple[ClusterNeeds, ...]:
        """Return what the clusters need of a release, for the check before an update."""
        if self.cluster is None:
            return ()
        facts = self.cluster.facts
        return (
            ClusterNeeds(
                str(self.cluster.setup.data),
                facts.major,
                tuple(sorted({name for one in facts.databases for name, _ in one.extensions})),
                tuple(sorted({name for one in facts.databases for name in one.locales})),
            ),
        )

    @property
    def rrd_bytes(self) -> int:
        """Return the size of all RRDs."""
        return self.rrds.size_bytes if self.rrds else 0

    @property
    def rrd_count(self) -> int:
        """Return the number of RRDs."""
        return len(self.rrds.files) if self.rrds else 0


@dataclass(frozen=True)
class Plan:
    """What an operation will do.

    Attributes:
        report: What the checks found.
        subjects: Who does the steps.
        peak_bytes: The most space that it will take at any moment.
        identity: Changes when the plan, the settings or the source are others.
        source: The source in figures, as far as they are known before.
        needs: What the source's clusters need of a release.
    """

    operation: str
    report: Report
    subjects: tuple[Subject, ...]
    peak_bytes: int
    identity: str
    source: SideOutcome
    needs: tuple[ClusterNeeds, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return all steps in their order."""
        return tuple(step for step, _ in ordered(self.subjects))


def stop_if_inhibited(report: Report) -> None:
    """Raise an error if the checks forbid to go on.

    Raises:
        InhibitedError: There are inhibitors; the least mendable gives the exit status.
    """
    inhibitors = report.inhibitors
    if not inhibitors:
        return
    first = inhibitors[0]
    more = f" (and {len(inhibitors) - 1} more)" if len(inhibitors) > 1 else ""
    remedy = "; or ".join(
        f"{one.text} {one.command}".strip() for finding in inhibitors for one in finding.remedies
    )
    evidence = tuple(line for one in inhibitors for line in (one.title, *one.evidence))
    raise InhibitedError(
        f"{first.title}{more}: {first.summary}",
        status=report.exit_status,
        hint=remedy,
        evidence=evidence,
    )


def gather(around: Surroundings, work: Workspace, *, with_target: bool) -> Source:
    """Look at the source and at the target's programs; nothing is written but work files.

    Args:
        with_target: The data stays on this machine, so it must be able to run what comes. An
            export asks for nothing of the kind: it may well be made on a machine that cannot.

    Raises:
        ForgeError: Something cannot even be looked at.
    """
    settings, effects = around.settings, around.effects
    (check_has_both_sides if with_target else check_has_source)(settings)
    cluster = dumper = rrds = None
    native_bytes = 0
    report = Report()
    processor = long_mode_finding() if with_target else None
    if processor is not None:
        report += Report((processor,))
    if settings.source.rrd is not None:
        rrds = scan(settings.source.rrd.directory, settings.source.rrd.patterns)
        inspection = inspect(rrds, jobs=settings.work.jobs)
        native_bytes = inspection.native_bytes
        report += Report((*rrds.findings, *inspection.findings))
        if settings.source.rrd.rrdcached_journal is not None:
            report += Report(check_journal(settings.source.rrd.rrdcached_journal))
    if settings.source.postgres is not None:
        source_tree = ProgramTree(settings.source.tree)
        cluster = gather_source(settings.source.postgres, source_tree, work, effects)
        wanted = settings.target.postgres
        tree = ProgramTree(settings.target.tree)
        dumper = target_programs(tree, wanted.major if wanted else 0, work, effects)
        if wanted is not None and with_target:
            target = gather_target(dumper, wanted, effects)
            report += checks.check(cluster.facts, target)
        else:
            report += checks.check_source(cluster.facts, dumper.major)
    return Source(cluster, dumper, rrds, native_bytes, report)


def identity(operation: str, around: Surroundings, subjects: list[Subject], source: Source) -> str:
    """Return a digest of what is to be done, from where to where; how does not matter."""
    settings = around.settings
    fields = {
        "operation": operation,
        "sides": json.loads(
            json.dumps([asdict(settings.source), asdict(settings.target)], default=str)
        ),
        "steps": [step.key for step, _ in ordered(subjects)],
        "cluster": source.cluster.facts.control.system_identifier if source.cluster else 0,
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def export_subject(
    around: Surroundings,
    work: Workspace,
    cluster: SourceCluster,
    dumper: Dumper,
    archive: Path,
    compression: int,
) -> ExportPostgres:
    """Return the steps that read the source cluster."""
    return ExportPostgres(
        setup=cluster.setup,
        facts=cluster.facts,
        dumper=dumper,
        archive=archive,
        inventories=work.inventories,
        jobs=around.settings.work.jobs,
        compression=compression,
        effects=around.effects,
    )


def template_of(facts: ClusterFacts) -> Template:
    """Return what initdb must be told to make a cluster as this one was made."""
    return Template(
        superuser=facts.superuser,
        encoding=facts.template.encoding,
        collate=facts.template.collate,
        ctype=facts.template.ctype,
        provider=facts.template.provider,
        icu_locale=facts.template.icu_locale,
        checksums=facts.control.data_checksums > 0,
    )


def target_setup(work: Workspace, dumper: Dumper, data: Path, superuser: str) -> ServerSetup:
    """Return how to run the target's server on a data directory."""
    return ServerSetup(
        side="target",
        tree=dumper.tree,
        major=dumper.major,
        data=data,
        sockets=work.sockets("target"),
        log=work.log("target"),
        superuser=superuser,
        options=LOADING,
    )


def import_subject(
    around: Surroundings, work: Workspace, cluster: SourceCluster, dumper: Dumper
) -> ImportPostgres:
    """Return the steps that make the target cluster from this source's dumps."""
    target = around.settings.target.postgres
    assert target is not None
    facts = cluster.facts
    return ImportPostgres(
        setup=target_setup(work, dumper, staging(target.data), facts.superuser),
        final=target.data,
        template=template_of(facts),
        databases=tuple(DatabasePart(one.name, one.size_bytes) for one in facts.databases),
        dumper=dumper,
        archive=work.archive,
        expected=work.inventories / "source.json",
        inventories=work.inventories,
        tablespaces={name: str(path) for name, path in target.tablespaces.items()},
        old_configuration=cluster.setup.configuration,
        user=target_user(target, cluster.setup.data),
        jobs=around.settings.work.jobs,
        consume=True,
        effects=around.effects,
    )


def new_data(settings: Settings) -> tuple[Path, ...]:
    """Return the final names of the new data."""
    target = settings.target
    return (
        *((target.postgres.data,) if target.postgres is not None else ()),
        *((target.rrd.directory,) if target.rrd is not None else ()),
    )


def check_finals(finals: Sequence[Path]) -> Report:
    """Return findings about what is already where something new shall appear."""
    return Report(
        tuple(
            Finding(
                "target.exists",
                Severity.INHIBITOR,
                f"{path} is already there",
                "What is new appears under this name only when it is whole and proved; what is"
                " there is not overwritten.",
                remedies=(Remedy("Move it away, or name another place."),),
                exit_status=SettingsError.exit_status,
            )
            for path in finals
            if path.exists()
        )
    )


def check_space(work: Workspace, plan: Plan, finals: Sequence[Path]) -> Report:
    """Return a finding if there is too little space for the predicted peak."""
    places = [work.root, *(path.parent for path in finals)]
    # What an earlier attempt has published counts too.
    used = sum(files.used_bytes(path) for path in (work.root, *map(staging, finals), *finals))
    needed = max(0, plan.peak_bytes - used)
    free = min(map(files.free_bytes, places))
    if needed <= free:
        return Report()
    return Report(
        (
            Finding(
                "space.too-little",
                Severity.INHIBITOR,
                "There is too little space",
                f"At its peak {_mib(plan.peak_bytes)} are needed, {_mib(used)} of which are already"
                f" there; {_mib(free)} are free.",
                evidence=tuple(
                    f"{place}: {_mib(files.free_bytes(place))} free" for place in places
                ),
                remedies=(
                    Remedy(
                        f"Make {_mib(needed - free)} of room, or name a work directory on a file"
                        " system that has it; dumps get smaller with work.compression = 1.",
                    ),
                ),
                exit_status=RESOURCES_STATUS,
            ),
        )
    )


def with_figure(
    error: DiskFullError, work: Workspace, plan: Plan, finals: Sequence[Path]
) -> DiskFullError:
    """Return an error on the way with the space that is needed to continue."""
    used = sum(files.used_bytes(path) for path in (work.root, *map(staging, finals), *finals))
    needed = max(0, plan.peak_bytes - used)
    return DiskFullError(
        error.message,
        hint=f"{error.hint}. At most {_mib(needed)} are needed besides what is already there",
        evidence=error.evidence,
    )


def _mib(size_bytes: int) -> str:
    return f"{-(-size_bytes // (1 << 20))} MiB"


def source_side(source: Source) -> SideOutcome:
    """Return the source in figures; rows and tables are counted later."""
    cluster = source.cluster
    return SideOutcome(
        label="32-bit" if cluster is None or cluster.facts.control.width == 32 else "64-bit",
        postgres_major=cluster.facts.major if cluster else 0,
        width=cluster.facts.control.width if cluster else 0,
        postgres_bytes=files.used_bytes(cluster.setup.data) if cluster else 0,
        databases=len(cluster.facts.databases) if cluster else 0,
        tables=0,
        rows=0,
        rrds=source.rrd_count,
        rrd_bytes=source.rrd_bytes,
    )


Planner = Callable[[Surroundings, Workspace], Plan]
