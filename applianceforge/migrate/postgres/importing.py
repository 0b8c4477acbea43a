"""The target's part: make a cluster under a staging name, load it, prove it, publish it."""

import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.migrate import inventory
from applianceforge.migrate.compare import Difference, Weight, compare
from applianceforge.migrate.engine import Phase, Step, StepResult
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.migrate.postgres import configuration, ddl
from applianceforge.migrate.postgres.census import Census
from applianceforge.migrate.postgres.control import read_control
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.exporting import DATABASES, GLOBALS, directory_name
from applianceforge.migrate.postgres.server import OnDemand, Server, ServerSetup, clear_the_way
from applianceforge.migrate.settings import TargetPostgresSettings
from applianceforge.model.errors import NotProvedError, ProgramFailedError, SettingsError
from applianceforge.system import files, meter, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, User
from applianceforge.system.progress import Counter

# A load writes hardly any WAL with wal_level=minimal; what it does write is kept small.
LOADING = (
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "64MB"),
    ("min_wal_size", "32MB"),
    ("checkpoint_timeout", "1h"),
    ("wal_keep_size", "2GB"),
    ("wal_skip_threshold", "256kB"),
    ("synchronous_commit", "off"),
    ("maintenance_work_mem", "256MB"),
    ("max_parallel_maintenance_workers", "0"),
)


@dataclass(frozen=True)
class Template:
    """What initdb must be told so that the new cluster is made as the old one was."""

    superuser: str
    encoding: str
    collate: str
    ctype: str
    provider: str
    icu_locale: str
    checksums: bool


@dataclass(frozen=True)
class DatabasePart:
    """A database to load: its name, and about how much it will take."""

    name: str
    predicted_bytes: int


@dataclass
class ImportPostgres:
    """Steps that make the target cluster from an archive's files.

    Attributes:
        setup: How to run its server; `data` is the staging directory.
        final: The data directory's final name.
        template: What to tell initdb.
        databases: What to load.
        dumper: The target's programs.
        archive: Where the dumps are.
        expected: The file with the inventory of the source.
        inventories: Where `target.json` goes.
        tablespaces: For each tablespace its new directory.
        old_configuration: The directory of the source's configuration files, if there is one.
        user: Who owns the new data directory; None is ourselves.
        consume: Remove each dump when it is loaded.
    """

    setup: ServerSetup
    final: Path
    template: Template
    databases: tuple[DatabasePart, ...]
    dumper: Dumper
    archive: Path
    expected: Path
    inventories: Path
    tablespaces: dict[str, str]
    old_configuration: Path | None
    user: User | None
    jobs: int
    consume: bool
    effects: Effects
    _on_demand: OnDemand = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Know how to start the server."""
        self._on_demand = OnDemand(self.setup, self.effects)

    def steps(self) -> tuple[Step, ...]:
        """Return create, load, finish, verify and publish."""
        loads: list[Step] = []
        for one in self.databases:
            title = f"load the database {one.name}"
            loads.append(
                Step(f"postgres.load:{one.name}", title, Phase.IMPORT, one.predicted_bytes)
            )
            if self.consume:
                title = f"remove the dump of {one.name}"
                loads.append(Step(f"postgres.discard:{one.name}", title, Phase.IMPORT))
        size = sum(one.predicted_bytes for one in self.databases)
        checksums = Step("postgres.checksums", "write the pages' checksums", Phase.IMPORT, size)
        return (
            Step("postgres.create", "make the new cluster", Phase.IMPORT),
            *loads,
            Step("postgres.finish", "gather statistics for the planner", Phase.IMPORT),
            *((checksums,) if self.template.checksums else ()),
            Step("postgres.verify", "prove the clusters equal", Phase.VERIFY, size),
            Step("postgres.publish", "give the new cluster its name", Phase.PUBLISH),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        with self._on_demand.explaining():
            return self._apply(step, counter)

    def _apply(self, step: Step, counter: Counter) -> StepResult:
        kind, _, database = step.key.partition(":")
        if kind == "postgres.create":
            return self._create()
        if kind == "postgres.load":
            return self._load(database, counter)
        if kind == "postgres.discard":
            files.remove_tree(self._dump_of(database), self.effects)
            return StepResult("")
        if kind == "postgres.finish":
            return self._finish()
        if kind == "postgres.checksums":
            return self._enable_checksums()
        if kind == "postgres.verify":
            return self._verify(counter)
        return self._publish()

    def close(self) -> None:
        """Stop the target server."""
        self._on_demand.stop()

    @property
    def server(self) -> Server:
        """Return the server; it is started when it is first needed."""
        return self._on_demand.server

    def _dump_of(self, database: str) -> Path:
        return self.archive / DATABASES / directory_name(database)

    def _create(self) -> StepResult:
        data = self.setup.data
        clear_the_way(self.setup)
        files.remove_tree(data, self.effects)
        for space in self.tablespaces.values():
            # What an earlier try of ours left: initdb's cluster alone makes such names there.
            for left in Path(space).glob(f"PG_{self.dumper.major}_*"):
                files.remove_tree(left, self.effects)
            self._own(Path(space))
        files.make_directory(data.parent, self.effects, mode=0o755)
        files.make_directory(data, self.effects)
        self._own(data)
        programs.run(self._initdb(data), self.effects)
        carried = self._carry_configuration()
        self._load_globals()
        # A commit is asynchronous here: without this, a crash right after takes the roles along.
        with self.server.session("template1") as session:
            session.execute("CHECKPOINT")
        files.sync_tree(data, self.effects)
        made = f"encoding {self.template.encoding}, locale {self.template.collate}"
        return StepResult("; ".join((made, *carried)))

    def _carry_configuration(self) -> tuple[str, ...]:
        """Take over the old configuration before anything is computed under it."""
        if self.old_configuration is None:
            return ()
        known = configuration.known_settings(self.server)
        self.close()
        return configuration.carry_over(
            self.old_configuration, self.setup.data, known, self.user, self.effects
        )

    def _own(self, path: Path) -> None:
        if self.user is not None:
            files.change_owner(path, self.user.uid, self.user.gid)

    def _initdb(self, data: Path) -> Command:
        template = self.template
        words = [
            f"--pgdata={data}",
            f"--username={template.superuser}",
            f"--encoding={template.encoding}",
            f"--lc-collate={template.collate}",
            f"--lc-ctype={template.ctype}",
            *("--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions"),
        ]
        if template.provider == "i":
            words += ["--locale-provider=icu", f"--icu-locale={template.icu_locale}"]
        return self.dumper.launchers.command("initdb", *words, user=self.user)

    def _load_globals(self) -> None:
        path = self.archive / GLOBALS
        with files.named_errors(path, "read"):
            # Not as text: that would take a carriage return in a comment for an end of line.
            text = path.read_bytes().decode("utf-8", errors="surrogateescape")
        loadable = ddl.loadable_globals(
            text, existing_roles={self.template.superuser}, tablespaces=self.tablespaces
        )
        script = self.inventories / "globals-to-load.sql"
        files.make_directory(self.inventories, self.effects)
        content = loadable.encode("utf-8", errors="surrogateescape")
        files.write_file(script, content, self.effects)
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "template1", stdin=script)
        files.remove_tree(script, self.effects)

    def _run(self, name: str, *arguments: str, stdin: Path | None = None) -> None:
        program = self.dumper.tree.postgres_program(self.dumper.major, name)
        command = self.dumper.tree.command(program, *arguments, environment=self.server.environment)
        programs.run(command, self.effects, stdin=stdin)

    def _load(self, database: str, counter: Counter) -> StepResult:
        dump = self._dump_of(database)
        # A database cannot be made anew through a connection to itself.
        other = "postgres" if database == "template1" else "template1"
        base = self.setup.data / "base"
        before = files.used_bytes(base)
        with meter.watching(
            [base], lambda size: counter.reach(done_bytes=max(0, size - before), item=database)
        ):
            self._restore(dump, other)
            with self.server.session(database) as session:
                session.execute("CHECKPOINT")
        return StepResult("")

    def _restore(self, dump: Path, other: str) -> None:
        """Make a database anew from its dump, through a connection to another one.

        Two workers, of which one attaches a partition's index while the other creates one of the
        same tree, can lock each other out; a single one cannot.
        """
        words = ("--create", "--clean", "--if-exists", "--exit-on-error", f"--dbname={other}")
        try:
            self._run("pg_restore", *words, f"--jobs={self.jobs}", str(dump))
        except ProgramFailedError as error:
            if not any("deadlock detected" in line for line in error.evidence):
                raise
            self._run("pg_restore", *words, "--jobs=1", str(dump))

    def _finish(self) -> StepResult:
        if "postgres" not in {one.name for one in self.databases}:
            # Not before: template1 was made anew through a connection to it.
            with self.server.session("template1") as session:
                session.execute("DROP DATABASE IF EXISTS postgres")
        self._run("vacuumdb", "--analyze-only", "--all", "--quiet", f"--jobs={self.jobs}")
        with self.server.session("template1") as session:
            session.execute("CHECKPOINT")
        return StepResult("statistics gathered")

    def _enable_checksums(self) -> StepResult:
        """Write checksums now: with them, a load logs a whole page for each hint bit that it sets.

        The WAL of a load was four times as large with them, and its peak hard to predict.
        """
        # Started and stopped once, so that a server that was killed has recovered.
        with self.server.session("template1"):
            self.close()
        if read_control(self.setup.data).data_checksums:
            return StepResult("were there")
        program = self.dumper.tree.postgres_program(self.dumper.major, "pg_checksums")
        words = ("--enable", "--no-sync", f"--pgdata={self.setup.data}")
        programs.run(self.dumper.tree.command(program, *words, user=self.user), self.effects)
        files.sync_tree(self.setup.data, self.effects)
        return StepResult("on every page")

    def _verify(self, counter: Counter) -> StepResult:
        with files.named_errors(self.expected, "read"):
            expected = inventory.decode(self.expected.read_bytes())
        found = self.take_inventory(counter, expected)
        files.write_file(self.inventories / "target.json", inventory.encode(found), self.effects)
        return prove(expected, found)

    def take_inventory(self, counter: Counter, like: ClusterInventory) -> ClusterInventory:
        """Return what the target cluster holds now, digested as `like` was."""
        with self.server.session("template1") as session:
            names = session.rows(
                "SELECT datname::text FROM pg_database WHERE datname <> 'template0'"
            )
        architecture = self.setup.tree.architecture(self._postgres)
        width = architecture.width if architecture else 0
        census = Census(self.server, self.dumper, width, self.jobs, counter, like)
        return census.take([row[0] for row in names])

    @property
    def _postgres(self) -> str:
        return self.setup.tree.postgres_program(self.setup.major, "postgres")

    def _publish(self) -> StepResult:
        self.close()
        # A run that was killed while it verified may have left its server on the staging name.
        clear_the_way(self.setup)
        data = self.setup.data
        if data.exists():
            files.sync_tree(data, self.effects)
            for space in self.tablespaces.values():
                files.sync_tree(Path(space), self.effects)
            files.rename(data, self.final, self.effects)
        identifier = read_control(self.final).system_identifier
        return StepResult(str(self.final), {"system_identifier": identifier})


def prove(expected: ClusterInventory, found: ClusterInventory) -> StepResult:
    """Compare two inventories.

    Raises:
        NotProvedError: They differ; the evidence names each difference.
    """
    differences = compare(expected, found)
    fatal = [one for one in differences if one.weight is Weight.FATAL]
    if fatal:
        raise differ("the clusters", fatal)
    told = [str(one) for one in differences]
    proofs = {
        "databases": len(expected.databases),
        "tables": sum(len(one.tables) for one in expected.databases),
        "rows": expected.rows,
        "sequences": sum(len(one.sequences) for one in expected.databases),
        "large_objects": sum(len(one.large_objects) for one in expected.databases),
        "schema_objects": sum(len(one.schema) for one in expected.databases),
        "globals": len(expected.globals),
        "recomputed": sum(len(one.recomputed) for one in expected.databases),
        "as_text": sum(len(t.as_text) for one in expected.databases for t in one.tables),
    }
    return StepResult(
        f"{proofs['rows']:,} rows in {proofs['tables']} tables equal",
        {"proved": proofs, "told": told},
    )


def differ(what: str, differences: list[Difference] | tuple[Difference, ...]) -> NotProvedError:
    """Return the error for sides that are not equal."""
    lines = tuple(str(one) for one in differences)
    more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
    return NotProvedError(
        f"{what} are not equal: {lines[0]}{more}",
        hint="the new data keeps its staging name and is not used; the source is as it was. Keep"
        " the work directory for the vendor",
        evidence=lines,
    )


def target_user(target: TargetPostgresSettings, old_data: Path | None = None) -> User | None:
    """Return who shall own the new data, or None for ourselves: only root can give files away.

    Raises:
        SettingsError: There is no such user, or it is root.
    """
    if os.geteuid() != 0:
        return None
    if not target.user and old_data is not None:
        status = old_data.stat()
        return User(status.st_uid, status.st_gid)
    name = target.user or "postgres"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = None
    if entry is None or entry.pw_uid == 0:
        raise SettingsError(
            f"the user {name} cannot run a PostgreSQL server: "
            + ("there is no such user" if entry is None else "it is root"),
            hint="make that user, or name another in the settings: target.postgres.user",
        )
    return User(entry.pw_uid, entry.pw_gid)
