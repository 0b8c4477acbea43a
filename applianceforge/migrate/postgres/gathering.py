"""Look at a source cluster and at the target's programs, before anything is done. Read only."""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats.pg_control import ControlData
from applianceforge.migrate.postgres import facts as cluster_facts
from applianceforge.migrate.postgres.checks import TargetFacts, normalized
from applianceforge.migrate.postgres.control import read_control
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.facts import ClusterFacts
from applianceforge.migrate.postgres.server import ServerSetup, clear_the_way, running
from applianceforge.migrate.settings import SourcePostgresSettings, TargetPostgresSettings
from applianceforge.migrate.tree import ProgramTree, prove_it_runs
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import (
    ForeignClusterError,
    ProgramMissingError,
)
from applianceforge.system import programs
from applianceforge.system.effects import Effects

# Settings of the source server besides those of every server of ours: it shall change nothing.
_READING = (("default_transaction_read_only", "on"),)


@dataclass(frozen=True)
class SourceCluster:
    """A source cluster: how to run its server, and what is known of it."""

    setup: ServerSetup
    facts: ClusterFacts


def source_setup(
    settings: SourcePostgresSettings, tree: ProgramTree, work: Workspace, effects: Effects
) -> tuple[ServerSetup, ControlData]:
    """Find out how to run the source's server.

    Raises:
        ForeignClusterError: The tree's programs are of another architecture or major version than
            the data directory.
        ProgramMissingError: The tree has no server, or this machine cannot run it.
        ForgeError: See `read_control`.
    """
    control = read_control(settings.data)
    major = int(control.major.partition(".")[0])
    if not tree.root.is_dir():
        raise ProgramMissingError(
            f"there is no program tree {tree.root}", hint="name the right one: source.tree"
        )
    if major not in tree.postgres_majors:
        have = ", ".join(map(str, tree.postgres_majors)) or "none"
        raise ForeignClusterError(
            f"{settings.data} was written by PostgreSQL {control.major}, and the tree {tree.root}"
            f" has: {have}",
            hint=f"name a program tree with PostgreSQL {control.major} of the architecture that"
            " wrote it",
        )
    server = tree.postgres_program(major, "postgres")
    architecture = tree.architecture(server)
    if architecture is not control.architecture:
        wrote = control.architecture.value if control.architecture else "another architecture"
        runs = architecture.value if architecture else "another architecture"
        raise ForeignClusterError(
            f"{settings.data} was written on {wrote}, and the programs in {tree.root} are of"
            f" {runs}",
            hint=f"name a program tree of {wrote}. The raw message of such a server, «incorrect"
            " checksum in control file», is not about damage. Never run pg_resetwal on it",
        )
    prove_it_runs(tree, server, effects)
    setup = ServerSetup(
        side="source",
        tree=tree,
        major=major,
        data=settings.data,
        sockets=work.sockets("source"),
        log=work.log("source"),
        superuser=settings.superuser,
        options=_READING,
        config_file=settings.config_file,
        hba_file=settings.hba_file,
        passfile=settings.passfile,
    )
    return setup, control


def gather_source(
    settings: SourcePostgresSettings, tree: ProgramTree, work: Workspace, effects: Effects
) -> SourceCluster:
    """Start the source's server, ask it, and stop it.

    Raises:
        ForgeError: See `source_setup` and `running`.
    """
    setup, control = source_setup(settings, tree, work, effects)
    clear_the_way(setup)
    with running(setup, effects) as server:
        return SourceCluster(setup, cluster_facts.gather(server, control))


def target_programs(
    tree: ProgramTree, wanted_major: int, work: Workspace, effects: Effects
) -> Dumper:
    """Find the target's PostgreSQL programs.

    Args:
        wanted_major: Which; 0 is the newest in the tree.

    Raises:
        ProgramMissingError: The tree has none, not this one, or this machine cannot run it.
    """
    majors = tree.postgres_majors
    major = wanted_major or (majors[-1] if majors else 0)
    if major not in majors:
        raise ProgramMissingError(
            f"the target's tree {tree.root} has no PostgreSQL {major or 'server'}",
            hint="install it there (Debian: postgresql-15), or name another tree in the settings",
        )
    prove_it_runs(tree, tree.postgres_program(major, "postgres"), effects)
    launchers = tree.launchers(major, work.launchers("target"), effects)
    return Dumper(tree, major, launchers, work.log("programs"))


def gather_target(
    dumper: Dumper, settings: TargetPostgresSettings, effects: Effects
) -> TargetFacts:
    """Look at what the target's programs can do."""
    tree = dumper.tree
    shared = tree.path(f"/usr/share/postgresql/{dumper.major}/extension")
    return TargetFacts(
        major=dumper.major,
        extensions=frozenset(path.stem for path in shared.glob("*.control")),
        locales=frozenset(map(normalized, _locales(tree, effects))),
        tablespaces={name: str(path) for name, path in settings.tablespaces.items()},
    )


def _locales(tree: ProgramTree, effects: Effects) -> set[str]:
    """Return the locales that the tree's programs find: its own, or else this system's."""
    names = {"C.UTF-8"}
    own = tree.path("/usr/lib/locale")
    if own.is_dir():
        names |= {entry.name for entry in own.iterdir() if entry.is_dir()}
    if not tree.has_own_locales:
        host = ProgramTree(Path("/"))
        said = programs.run(host.command("/usr/bin/locale", "-a"), effects)
        names |= set(said.stdout.decode(errors="replace").split())
    return names
