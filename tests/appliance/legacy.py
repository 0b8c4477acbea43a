"""Build the 32-bit appliance: a PostgreSQL cluster and RRDs, once for each size and seed."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from applianceforge.imaging import store
from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.progress import (
    NoProgress,
    ProgressSink,
    StepAdvanced,
    StepEnded,
    StepStarted,
)
from tests.appliance import cache, cluster, proof, rrds, trees

SMALL_BYTES = 5_000_000
DEFAULT_BYTES = 200_000_000
BENCHMARK_BYTES = 1_000_000_000
BENCHMARK_RRDS = 2000
SMALL_RRDS = 30
_DEFAULT_RRDS = 200
_RECIPES = {13: trees.LEGACY_13, 15: trees.LEGACY}
MAJORS = tuple(_RECIPES)
_GENERATORS = ("cluster.py", "legacy.py", "rrds.py")


@dataclass(frozen=True)
class Facts:
    """What was put into an appliance, counted when it was built.

    Attributes:
        rows: In the tables of each database, by its name.
        database_bytes: Of all databases, as the server says.
        rrd_count: How many RRDs.
        rrd_bytes: Their size.
        proof: That a 32-bit server holds it, in words.
        built_s: How long the build took.
    """

    rows: dict[str, int]
    database_bytes: int
    rrd_count: int
    rrd_bytes: int
    proof: str
    built_s: float


@dataclass(frozen=True)
class LegacyAppliance:
    """A 32-bit appliance's data, with the programs that wrote it.

    The one in the cache is shared: only a copy may be started or changed.

    Attributes:
        tree: The i386 programs.
        data: The data directory of its PostgreSQL cluster, which is shut down.
        rrd: All RRDs are below it.
        superuser: The cluster's.
        major: PostgreSQL's major version.
    """

    tree: ProgramTree
    data: Path
    rrd: Path
    superuser: str
    major: int

    def copy_to(self, directory: Path, effects: Effects | None = None) -> "LegacyAppliance":
        """Copy the data into a directory, with owners, modes, times and holes.

        Args:
            directory: Made if needed. As root, the user who runs servers must be able to reach it.
            effects: Told of the copies.
        """
        effects = effects or Effects()
        store.make_public_directory(directory, effects)
        words = ("/usr/bin/cp", "--archive", "--reflink=auto", "--sparse=auto")
        for source in (self.data, self.rrd):
            programs.run(Command((*words, str(source), str(directory / source.name))), effects)
        return LegacyAppliance(
            self.tree,
            directory / self.data.name,
            directory / self.rrd.name,
            self.superuser,
            self.major,
        )

    def facts(self) -> Facts:
        """Return what was counted when it was built; only the one in the cache knows."""
        return Facts(**json.loads((self.data.parent / "facts.json").read_text()))


def legacy(
    size_bytes: int = DEFAULT_BYTES,
    *,
    seed: int = 1,
    major: int = 15,
    rrd_count: int | None = None,
    effects: Effects | None = None,
    progress: ProgressSink | None = None,
    store_directory: Path | None = None,
) -> LegacyAppliance:
    """Return an appliance, built first if the cache lacks it.

    Args:
        size_bytes: Of what its databases hold, roughly; empty ones, indexes of the catalogs and
            the write-ahead log come to another 100 MB.
        seed: What all content follows from.
        major: PostgreSQL's major version, 15 or 13.
        rrd_count: How many RRDs; by default in proportion to the size.
        effects: Told of programs and writes.
        progress: Told of the build while it runs.
        store_directory: Where it is kept; the cache by default.

    Raises:
        ForgeError: A program is missing or fails, or the disk is full.
    """
    effects, sink = effects or Effects(), progress or NoProgress()
    if rrd_count is None:
        rrd_count = default_rrd_count(size_bytes)
    recipe = trees.wanted(_RECIPES[major])
    name = name_of(recipe.name, size_bytes, seed, major, rrd_count)
    tree = trees.tree(recipe, effects, progress)

    def make(directory: Path) -> None:
        _fill(tree, directory, name, size_bytes, seed, major, rrd_count, effects, sink)

    entry = store.obtain(store_directory or cache.directory(), name, make, effects)
    return LegacyAppliance(tree, entry / "data", entry / "rrd", cluster.SUPERUSER, major)


def default_rrd_count(size_bytes: int) -> int:
    """Return how many RRDs an appliance of that size has: one for each MB, and never few."""
    if size_bytes >= BENCHMARK_BYTES:
        return BENCHMARK_RRDS
    return max(SMALL_RRDS, size_bytes * _DEFAULT_RRDS // DEFAULT_BYTES)


def name_of(tree: str, size_bytes: int, seed: int, major: int, rrd_count: int) -> str:
    """Return the appliance's name in the cache; it digests all that its content follows from."""
    here = Path(__file__).parent
    sources = [*sorted(cluster.SQL.glob("*.sql")), *(here / name for name in _GENERATORS)]
    user = cluster.server_user()
    parts: list[bytes | str] = [tree, str((size_bytes, seed, major, rrd_count)), str(user)]
    for path in sources:
        parts += [path.name, path.read_bytes()]
    return f"appliance-{major}-{size_bytes // 1_000_000}MB-seed{seed}-{store.key_of(parts)}"


def _fill(
    tree: ProgramTree,
    directory: Path,
    name: str,
    size_bytes: int,
    seed: int,
    major: int,
    rrd_count: int,
    effects: Effects,
    sink: ProgressSink,
) -> None:
    began_s = time.monotonic()
    data, rrd = directory / "data", directory / "rrd"
    title = f"build an appliance: PostgreSQL {major}, {size_bytes / 1e6:.0f} MB, {rrd_count} RRDs"
    sink.emit(StepStarted(name, title, 1, 1, size_bytes))

    def tell(doing: str) -> None:
        sink.emit(StepAdvanced(name, files.used_bytes(directory), 0, doing))

    cluster.build(tree, major, data, cluster.amounts(size_bytes), seed, effects, tell)
    tell("rrdtool")
    rrd.mkdir(mode=0o755)
    rrd.chmod(0o755)
    paths = rrds.build(tree, rrd, rrd_count, seed, effects)
    with cluster.serving(tree, major, data, effects) as server:
        shown = proof.prove(server.pid, tree.path(tree.postgres_program(major, "postgres")))
        rows, database_bytes = _count(server)
    facts = Facts(
        rows=rows,
        database_bytes=database_bytes,
        rrd_count=len(paths),
        rrd_bytes=sum(path.stat().st_size for path in paths),
        proof=str(shown),
        built_s=round(time.monotonic() - began_s, 1),
    )
    files.write_file(
        directory / "facts.json", json.dumps(asdict(facts)).encode(), effects, mode=0o644
    )
    used = files.used_bytes(directory)
    sink.emit(StepEnded(name, facts.built_s, used, sum(rows.values()), str(directory)))


def _count(server: Server) -> tuple[dict[str, int], int]:
    """Count the rows of all ordinary tables, by database, and the bytes of all databases."""
    rows = {}
    with server.session("postgres") as session:
        databases = session.rows("SELECT datname FROM pg_database WHERE datallowconn")
        size_bytes = session.value("SELECT sum(pg_database_size(oid)) FROM pg_database")
    for (database,) in databases:
        if database == "template0":
            continue
        with server.session(database) as session:
            tables = session.rows(
                "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c"
                " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                " WHERE c.relkind = 'r' AND c.relpersistence <> 't'"
                " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            )
            rows[database] = sum(
                session.value(f"SELECT count(*) FROM ONLY {table}") for (table,) in tables
            )
    return rows, int(size_bytes)
