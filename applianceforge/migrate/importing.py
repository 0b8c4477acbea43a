"""Import: make the target from a portable archive, prove it, publish it."""

import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.cpuid.probe import long_mode_finding
from applianceforge.migrate import archive, inventory, manifest, space
from applianceforge.migrate.engine import Phase, Step, StepResult, Subject
from applianceforge.migrate.exporting import CONFIGURATION
from applianceforge.migrate.manifest import ArchivedCluster, Manifest
from applianceforge.migrate.operation import carry_out, forget, opened
from applianceforge.migrate.outcome import Outcome, SideOutcome
from applianceforge.migrate.postgres import checks
from applianceforge.migrate.postgres.gathering import gather_target, target_programs
from applianceforge.migrate.postgres.importing import (
    DatabasePart,
    ImportPostgres,
    Template,
    target_user,
)
from applianceforge.migrate.preparation import Plan, Source, identity, new_data, target_setup
from applianceforge.migrate.rrd import subject as rrd_subject
from applianceforge.migrate.rrd.archive import restore_archive
from applianceforge.migrate.rrd.members import MemberKind, RrdMember, from_json
from applianceforge.migrate.rrd.restored import verify_restored
from applianceforge.migrate.settings import TargetPostgresSettings
from applianceforge.migrate.space import DatabaseSpace
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.model.errors import ArchiveError, SettingsError
from applianceforge.model.report import Report
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter


@dataclass
class CheckArchive:
    """The step that makes sure of an archive before anything is made from it.

    Attributes:
        path: The archive: a directory or a tar file.
        root: Where its files are then: the directory itself, or what was unpacked.
    """

    path: Path
    root: Path
    contents: Manifest
    work: Workspace
    effects: Effects
    _size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Add up what will be read."""
        self._size_bytes = sum(one.size_bytes for one in self.contents.files)

    def steps(self) -> tuple[Step, ...]:
        """Return the one step.

        A tar file is unpacked in it too: if that was found wanting, another copy of it is unpacked
        when the import goes on.
        """
        if self.root == self.path:
            title = "check every file's digest"
            return (Step("archive.check", title, Phase.EXPORT, self._size_bytes),)
        title = "unpack the archive and check every file's digest"
        return (Step("archive.check", title, Phase.EXPORT, 2 * self._size_bytes),)

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Unpack and check."""
        assert step.key == "archive.check"
        if self.root != self.path:
            files.remove_tree(self.root, self.effects)
            archive.unpack(self.path, self.root, counter)
            files.sync_tree(self.root, self.effects)
        archive.check(self.root, self.contents, counter, self.path)
        if self.contents.cluster is not None:
            files.make_directory(self.work.inventories, self.effects)
            content = inventory.encode(self.contents.cluster.inventory)
            files.write_file(self.work.inventories / "source.json", content, self.effects)
        return StepResult(f"{len(self.contents.files)} files as they were written")

    def close(self) -> None:
        """Nothing of it keeps running."""


@dataclass
class RestoreRrds:
    """Steps that make native RRDs of an archive: from the bytes, or else from the XML."""

    root: Path
    members: tuple[RrdMember, ...]
    target: Path
    jobs: int
    effects: Effects

    def steps(self) -> tuple[Step, ...]:
        """Return restore, verify and publish."""
        size = sum(one.size_bytes for one in self.members)
        return (
            Step("rrd.restore", "make the RRDs native", Phase.IMPORT, size),
            Step("rrd.verify", "prove the RRDs equal", Phase.VERIFY, size),
            Step("rrd.publish", "give the new RRDs their name", Phase.PUBLISH),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        new = staging(self.target)
        if step.key == "rrd.restore":
            files.remove_tree(new, self.effects)
            files.make_directory(new.parent, self.effects, mode=0o755)
            count = restore_archive(
                self.root, self.members, new, self.effects, counter=counter, jobs=self.jobs
            )
            return StepResult(f"{count} files", {"files": count})
        if step.key == "rrd.verify":
            found = verify_restored(self.root, self.members, new, counter=counter, jobs=self.jobs)
            return rrd_subject.prove(found, counter.done_rows)
        return rrd_subject.publish(self.target, self.effects)

    def close(self) -> None:
        """Nothing of it keeps running."""


def import_archive(around: Surroundings, path: Path, *, restart: bool = False) -> Outcome:
    """Make the target from an archive, or what is left to make.

    Raises:
        ArchiveError: The archive was changed, was cut short, or is none.
        ForgeError: See `carry_out`.
    """

    def planner(around: Surroundings, work: Workspace) -> Plan:
        return _plan(around, work, path)

    finals = new_data(around.settings)
    try:
        return carry_out(around, planner, "import", finals, restart=restart)
    except ArchiveError:
        # Nothing may be made of it, so nothing of it is kept: another copy begins anew.
        with opened(around, "import") as work:
            forget(around, work, finals)
        raise


def read_contents(path: Path) -> Manifest:
    """Read an archive's manifest, from its directory or from the beginning of its tar file.

    Raises:
        ArchiveError: There is none, or it was changed.
    """
    if not archive.is_tar(path):
        return archive.read_manifest(path)
    try:
        with tarfile.open(path, mode="r|") as tar:
            first = tar.next()
            stream = tar.extractfile(first) if first is not None and first.isfile() else None
            if first is None or first.name != manifest.NAME or stream is None:
                raise ArchiveError(
                    f"{path} is not an archive of ours: it does not begin with {manifest.NAME}",
                    hint="take another copy of the archive, or export it again",
                )
            return manifest.decode(stream.read(), f"{manifest.NAME} in {path}")
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(
            f"{path} is not a whole tar file: {error}",
            hint="take another copy of the archive, or export it again",
        ) from error


def _plan(around: Surroundings, work: Workspace, path: Path) -> Plan:
    contents = read_contents(path)
    target, effects = around.settings.target, around.effects
    root = work.archive if archive.is_tar(path) else path
    processor = long_mode_finding()
    report = Report((processor,) if processor is not None else ())
    subjects: list[Subject] = [CheckArchive(path, root, contents, work, effects)]
    databases: tuple[DatabaseSpace, ...] = ()
    if contents.cluster is not None:
        if target.postgres is None:
            raise _no_place("a PostgreSQL cluster", "target.postgres.data")
        subject, found = _cluster(around, work, contents.cluster, root, target.postgres)
        subjects.append(subject)
        report += found
        databases = tuple(
            DatabaseSpace(size, 0, 0) for size in contents.cluster.loaded_bytes.values()
        )
    members = from_json(contents.rrds)
    if members:
        if target.rrd is None:
            raise _no_place("RRDs", "target.rrd.directory")
        subjects.append(
            RestoreRrds(root, members, target.rrd.directory, around.settings.work.jobs, effects)
        )
    rrd_bytes = sum(one.size_bytes for one in members)
    count = sum(one.kind is not MemberKind.DIRECTORY for one in members)
    peak, _ = space.run_peak_bytes(databases, int(rrd_bytes * 1.05), count)
    if root != path:
        peak += sum(one.size_bytes for one in contents.files)
    name = identity("import", around, subjects, Source(None, None, None, 0, report))
    return Plan(
        operation="import",
        report=report,
        subjects=tuple(subjects),
        peak_bytes=peak,
        identity=f"{name} {path} {contents.created_s}",
        source=_side(contents, rrd_bytes, count),
    )


def _no_place(what: str, key: str) -> SettingsError:
    return SettingsError(
        f"the archive holds {what}, and the settings name no place for it",
        hint=f"add {key} to the settings",
    )


def _cluster(
    around: Surroundings,
    work: Workspace,
    cluster: ArchivedCluster,
    root: Path,
    target: TargetPostgresSettings,
) -> tuple[ImportPostgres, Report]:
    tree = ProgramTree(around.settings.target.tree)
    dumper = target_programs(tree, target.major, work, around.effects)
    template = Template(**cluster.template)
    facts = gather_target(dumper, target, around.effects)
    report = checks.check_archive(cluster, template.collate, template.ctype, facts)
    subject = ImportPostgres(
        setup=target_setup(work, dumper, staging(target.data), template.superuser),
        final=target.data,
        template=template,
        databases=tuple(DatabasePart(name, size) for name, size in cluster.loaded_bytes.items()),
        dumper=dumper,
        archive=root,
        expected=work.inventories / "source.json",
        inventories=work.inventories,
        tablespaces={name: str(place) for name, place in target.tablespaces.items()},
        old_configuration=root / CONFIGURATION,
        user=target_user(target),
        jobs=around.settings.work.jobs,
        consume=False,
        effects=around.effects,
    )
    return subject, report


def _side(contents: Manifest, rrd_bytes: int, rrds: int) -> SideOutcome:
    cluster = contents.cluster
    return SideOutcome(
        label="archive",
        postgres_major=cluster.inventory.major if cluster else 0,
        width=cluster.inventory.width if cluster else 0,
        postgres_bytes=sum(cluster.loaded_bytes.values()) if cluster else 0,
        databases=len(cluster.inventory.databases) if cluster else 0,
        tables=0,
        rows=0,
        rrds=rrds,
        rrd_bytes=rrd_bytes,
    )
