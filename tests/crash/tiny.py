"""An appliance that is migrated in a few seconds, and yet has data of every kind."""

from pathlib import Path

from applianceforge.imaging import store
from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink
from tests.appliance import cache, cluster, rrds, trees
from tests.appliance.legacy import LegacyAppliance

MAJOR = 15
RRDS = 12
_SEED = 7
_SQL = Path(__file__).parent / "tiny.sql"
_WHILE_FILLING = (("fsync", "off"), ("min_wal_size", "32MB"))


def tiny(progress: ProgressSink | None = None) -> LegacyAppliance:
    """Return the smallest appliance, built first if the cache lacks it; only a copy may change."""
    effects = Effects()
    recipe = trees.wanted(trees.LEGACY)
    tree = trees.tree(recipe, effects, progress or NoProgress())
    parts = [recipe.name, str((MAJOR, RRDS, _SEED, cluster.server_user()))]
    sources = [_SQL, Path(__file__), Path(cluster.__file__), Path(rrds.__file__)]
    key = store.key_of([*parts, *(path.read_bytes() for path in sources)])

    def make(directory: Path) -> None:
        data, rrd = directory / "data", directory / "rrd"
        cluster.initialize(tree, MAJOR, data, effects)
        with cluster.serving(tree, MAJOR, data, effects, _WHILE_FILLING) as server:
            _fill(tree, server, effects)
        rrd.mkdir()
        rrd.chmod(0o755)
        rrds.build(tree, rrd, RRDS, _SEED, effects)

    entry = store.obtain(cache.directory(), f"appliance-tiny-{key}", make, effects)
    return LegacyAppliance(tree, entry / "data", entry / "rrd", cluster.SUPERUSER, MAJOR)


def native(progress: ProgressSink | None = None) -> ProgramTree:
    """Return the tree of the 64-bit programs."""
    return trees.tree(trees.NATIVE, Effects(), progress or NoProgress())


def _fill(tree: ProgramTree, server: Server, effects: Effects) -> None:
    words = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
    psql = tree.postgres_program(MAJOR, "psql")
    command = tree.command(psql, *words, f"--file={_SQL}", environment=server.environment)
    programs.run(command, effects)
