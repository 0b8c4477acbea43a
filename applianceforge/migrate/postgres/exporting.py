"""The source's part: take its inventory, dump its globals and its databases.

Works on the names of the archive layout: `globals.sql`, `databases/NAME/`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from applianceforge.migrate import inventory
from applianceforge.migrate.engine import Phase, Step, StepResult
from applianceforge.migrate.postgres.census import Census
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.facts import ClusterFacts
from applianceforge.migrate.postgres.server import OnDemand, Server, ServerSetup
from applianceforge.system import files, meter, programs
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

GLOBALS = "globals.sql"
DATABASES = "databases"


def directory_name(database: str) -> str:
    """Return the name of a database's directory in an archive: no slash, no leading dot."""
    return quote(database, safe=" ").replace(".", "%2E")


@dataclass
class ExportPostgres:
    """Steps that read the source cluster.

    Attributes:
        setup: How to run its server.
        facts: What was gathered of it.
        dumper: The target's dump programs.
        archive: Where dumps go.
        inventories: Where `source.json` goes.
        jobs: Connections at the same time.
        compression: gzip level of dumps.
    """

    setup: ServerSetup
    facts: ClusterFacts
    dumper: Dumper
    archive: Path
    inventories: Path
    jobs: int
    compression: int
    effects: Effects
    _on_demand: OnDemand = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Know how to start the server."""
        self._on_demand = OnDemand(self.setup, self.effects)

    def steps(self) -> tuple[Step, ...]:
        """Return inventory, globals, and a dump of each database."""
        phase = Phase.EXPORT
        return (
            Step(
                "postgres.inventory",
                "count and digest every table of the source",
                phase,
                sum(one.text_bytes + one.large_object_bytes for one in self.facts.databases),
            ),
            Step("postgres.globals", "dump roles, grants and settings", phase),
            *(
                Step(
                    f"postgres.dump:{one.name}",
                    f"dump the database {one.name}",
                    phase,
                    one.text_bytes + one.large_object_bytes,
                )
                for one in self.facts.databases
            ),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        with self._on_demand.explaining():
            return self._apply(step, counter)

    def _apply(self, step: Step, counter: Counter) -> StepResult:
        kind, _, database = step.key.partition(":")
        if kind == "postgres.inventory":
            return self._take_inventory(counter)
        if kind == "postgres.globals":
            return self._dump_globals()
        return self._dump(database, counter)

    def close(self) -> None:
        """Stop the source server."""
        self._on_demand.stop()

    @property
    def server(self) -> Server:
        """Return the server; it is started when it is first needed."""
        return self._on_demand.server

    def _take_inventory(self, counter: Counter) -> StepResult:
        census = Census(self.server, self.dumper, self.facts.control.width, self.jobs, counter)
        found = census.take([one.name for one in self.facts.databases])
        files.make_directory(self.inventories, self.effects)
        files.write_file(self.inventories / "source.json", inventory.encode(found), self.effects)
        tables = sum(len(one.tables) for one in found.databases)
        return StepResult(f"{found.rows:,} rows in {tables} tables")

    def _dump_globals(self) -> StepResult:
        text = self.dumper.globals_text(self.server)
        files.make_directory(self.archive, self.effects)
        content = text.encode("utf-8", errors="surrogateescape")
        files.write_file(self.archive / GLOBALS, content, self.effects)
        roles = sum(line.startswith("CREATE ROLE") for line in text.splitlines())
        return StepResult(f"{roles} roles")

    def _dump(self, database: str, counter: Counter) -> StepResult:
        parent = self.archive / DATABASES
        files.make_directory(parent, self.effects)
        final = parent / directory_name(database)
        staging = final.with_name(f".{final.name}.staging")
        files.remove_tree(staging, self.effects)
        files.remove_tree(final, self.effects)
        command = self.dumper.dump_database(
            self.server, database, staging, jobs=self.jobs, compression=self.compression
        )
        with meter.watching([staging], lambda size: counter.reach(done_bytes=size, item=database)):
            programs.run(command, self.effects)
        for path in staging.iterdir():
            path.chmod(0o600)
        files.sync_tree(staging, self.effects)
        files.rename(staging, final, self.effects)
        return StepResult("")
