"""Export: write a portable archive that any machine, of either width, can import."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from applianceforge.migrate import archive, inventory, space
from applianceforge.migrate.engine import Phase, Step, StepResult, Subject
from applianceforge.migrate.manifest import ArchivedCluster, Manifest
from applianceforge.migrate.operation import carry_out
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.postgres import configuration
from applianceforge.migrate.preparation import (
    Plan,
    Source,
    export_subject,
    gather,
    identity,
    source_side,
    template_of,
)
from applianceforge.migrate.rrd.archive import write_archive
from applianceforge.migrate.rrd.members import FOLDER, to_json
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.settings import SourceRrdSettings
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

CONFIGURATION = "config/postgresql"
RRD_RECORDS = "rrd.json"


@dataclass(frozen=True)
class ExportOptions:
    """What an export is told beside the settings.

    Attributes:
        out: The archive's final name.
        tar: Write one tar file instead of a directory.
        compression: gzip level of the dumps.
        rrd_bytes: Put the RRDs' original bytes into it, besides their XML.
    """

    out: Path
    tar: bool = False
    compression: int = 6
    rrd_bytes: bool = True


@dataclass
class ArchiveRrds:
    """The step that puts RRDs into an archive."""

    source: SourceRrdSettings
    size_bytes: int
    archive: Path
    inventories: Path
    with_bytes: bool
    jobs: int
    effects: Effects

    def steps(self) -> tuple[Step, ...]:
        """Return the one step."""
        title = "archive the RRDs, as bytes and as XML" if self.with_bytes else "archive the RRDs"
        return (Step("rrd.archive", title, Phase.EXPORT, self.size_bytes),)

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Write them anew, whatever an earlier try left."""
        assert step.key == "rrd.archive"
        files.make_directory(self.archive, self.effects)
        files.remove_tree(self.archive / FOLDER, self.effects)
        members = write_archive(
            scan(self.source.directory, self.source.patterns),
            self.archive,
            self.effects,
            counter=counter,
            jobs=self.jobs,
            with_bytes=self.with_bytes,
        )
        files.make_directory(self.inventories, self.effects)
        content = json.dumps(to_json(members)).encode()
        files.write_file(self.inventories / RRD_RECORDS, content, self.effects)
        return StepResult(f"{counter.done_rows} files", {"files": counter.done_rows})

    def close(self) -> None:
        """Nothing of it keeps running."""


@dataclass
class SealArchive:
    """Steps that make a directory of files an archive: configuration, digests, manifest, name."""

    work: Workspace
    source: Source
    options: ExportOptions
    tool: str
    around: Surroundings

    def steps(self) -> tuple[Step, ...]:
        """Return seal and publish."""
        return (
            Step("archive.seal", "digest every file and write the manifest", Phase.VERIFY),
            Step("archive.publish", f"give the archive its name {self.options.out}", Phase.PUBLISH),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        if step.key == "archive.seal":
            return self._seal(counter)
        return self._publish()

    def close(self) -> None:
        """Nothing of it keeps running."""

    def _seal(self, counter: Counter) -> StepResult:
        root, effects = staging(self.options.out), self.around.effects
        files.make_directory(root, effects)
        files.remove_tree(root / "manifest.json", effects)
        cluster = None
        if self.source.cluster is not None:
            cluster = self._cluster(root)
        records = self.work.inventories / RRD_RECORDS
        rrds = json.loads(records.read_bytes()) if records.exists() else []
        found = archive.digest_files(root, counter)
        contents = Manifest(
            created_s=self.around.clock(),
            tool=self.tool,
            digest="stream",
            cluster=cluster,
            rrds=tuple(rrds),
            files=archive.archived_files(found),
        )
        archive.write_manifest(root, contents, effects)
        return StepResult(f"{len(found)} files")

    def _cluster(self, root: Path) -> ArchivedCluster:
        assert self.source.cluster is not None
        facts, effects = self.source.cluster.facts, self.around.effects
        target = root / CONFIGURATION
        for name in configuration.CARRIED:
            path = self.source.cluster.setup.configuration / name
            if path.is_file():
                files.make_directory(target, effects)
                with files.named_errors(path, "read"):
                    content = path.read_bytes()
                files.write_file(target / name, content, effects)
        return ArchivedCluster(
            system_identifier=facts.control.system_identifier,
            template=asdict(template_of(facts)),
            loaded_bytes={one.name: one.size_bytes for one in facts.databases},
            tablespaces=facts.tablespaces,
            inventory=inventory.decode((self.work.inventories / "source.json").read_bytes()),
        )

    def _publish(self) -> StepResult:
        root, out, effects = staging(self.options.out), self.options.out, self.around.effects
        if root.exists():
            files.sync_tree(root, effects)
            if self.options.tar:
                archive.pack(root, out, effects)
                files.remove_tree(root, effects)
            else:
                files.rename(root, out, effects)
        return StepResult(str(out))


def export(
    around: Surroundings, options: ExportOptions, tool: str, *, restart: bool = False
) -> Outcome:
    """Write an archive of the source, or what is left to write of it.

    Raises:
        InhibitedError: The name is taken, among others.
        ForgeError: See `carry_out`.
    """
    work = Workspace(around.settings.work.directory, "export")

    def planner(around: Surroundings, work: Workspace) -> Plan:
        return _plan(around, work, options, tool)

    done = carry_out(around, planner, "export", (options.out,), restart=restart)
    # The archive has its name; a journal that stayed would take the next export for this one.
    for path in (work.journal, *sorted(work.root.iterdir())):
        files.remove_tree(path, around.effects)
    return done


def _plan(around: Surroundings, work: Workspace, options: ExportOptions, tool: str) -> Plan:
    source = gather(around, work, with_target=False)
    jobs = around.settings.work.jobs
    subjects: list[Subject] = []
    if source.cluster is not None and source.dumper is not None:
        subjects.append(
            export_subject(
                around,
                work,
                source.cluster,
                source.dumper,
                staging(options.out),
                options.compression,
            )
        )
    rrd = around.settings.source.rrd
    if source.rrds is not None and rrd is not None:
        subjects.append(
            ArchiveRrds(
                rrd,
                source.rrd_bytes,
                staging(options.out),
                work.inventories,
                options.rrd_bytes,
                jobs,
                around.effects,
            )
        )
    subjects.append(SealArchive(work, source, options, tool, around))
    name = identity("export", around, subjects, source)
    return Plan(
        operation="export",
        report=source.report,
        subjects=tuple(subjects),
        peak_bytes=space.archive_bytes(source.databases, source.rrd_bytes),
        identity=f"{name} {options}",
        source=replace(source_side(source), rrds=source.rrd_count),
    )
