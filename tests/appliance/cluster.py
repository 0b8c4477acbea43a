"""Fill a PostgreSQL cluster as the reference appliance would, with the SQL in images/reference."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.migrate.postgres.server import Server, ServerSetup, running
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User
from tests.appliance.cache import CHECKOUT

SQL = CHECKOUT / "images/reference"
SUPERUSER = "postgres"

# What a value of each part takes on disk, indexes included; measured, and good to some percent.
_MESSAGE_BYTES = 1_310
_ITEM_BYTES = 11_900
_OBJECT_BYTES = 53_000
_ITEMS_SHARE = 0.2
_OBJECTS_SHARE = 0.08

# In this order, each beginning in the database named beside it.
_SCRIPTS = (
    ("globals.sql", "postgres"),
    ("gateway.sql", "gateway"),
    ("gateway-fill.sql", "gateway"),
    ("gateway-finish.sql", "gateway"),
    ("corners.sql", "gateway"),
    ("others.sql", "postgres"),
)
# Nothing is lost if the build is cut: it begins anew.
_WHILE_FILLING = (
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "512MB"),
    ("checkpoint_timeout", "1h"),
    ("maintenance_work_mem", "128MB"),
)
_CONFIGURATION = """
# As the vendor shipped it.
listen_addresses = 'localhost'
max_connections = 60
shared_buffers = 64MB
timezone = 'Europe/Vienna'
datestyle = 'ISO, DMY'
log_timezone = 'UTC'
bytea_output = 'escape'
password_encryption = 'scram-sha-256'
log_min_duration_statement = 500
work_mem = 8MB
min_wal_size = 32MB
max_wal_size = 256MB
"""
_ACCESS = """
host  gateway  mail_app  127.0.0.1/32  scram-sha-256
host  gateway  mail_web  127.0.0.1/32  md5
"""


@dataclass(frozen=True)
class Amounts:
    """How many rows of the kinds that grow with the size."""

    messages: int
    items: int
    objects: int


def amounts(size_bytes: int) -> Amounts:
    """Return how much makes databases of `size_bytes`, empty ones aside."""
    items = round(size_bytes * _ITEMS_SHARE / _ITEM_BYTES)
    objects = round(size_bytes * _OBJECTS_SHARE / _OBJECT_BYTES)
    rest = size_bytes * (1 - _ITEMS_SHARE - _OBJECTS_SHARE)
    return Amounts(max(500, round(rest / _MESSAGE_BYTES)), max(30, items), max(10, objects))


def server_user() -> User | None:
    """Return whom a server runs as: ourselves, or for root `postgres`, or else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise LookupError("this system has neither a user postgres nor nobody")


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory that servers can reach and whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="forge-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def serving(
    tree: ProgramTree,
    major: int,
    data: Path,
    effects: Effects,
    options: tuple[tuple[str, str], ...] = (),
) -> Iterator[Server]:
    """Run the server of a cluster while the block runs."""
    with short_directory() as place:
        setup = ServerSetup(
            side="source",
            tree=tree,
            major=major,
            data=data,
            sockets=place / "s",
            log=place / "log",
            superuser=SUPERUSER,
            options=options,
        )
        with running(setup, effects) as server:
            yield server


def add_tablespace(server: Server, directory: Path) -> None:
    """Give a running cluster the tablespace `archive`, with a table and an index in it.

    Args:
        server: Of an appliance's own copy; the default one has none, so that it can be copied.
        directory: Made; the user who runs the server must be able to reach it.
    """
    directory.mkdir(mode=0o700)
    owner = server.setup.data.stat()
    files.change_owner(directory, owner.st_uid, owner.st_gid)
    location = str(directory).replace("'", "''")
    with server.session("gateway") as session:
        session.execute(f"CREATE TABLESPACE archive OWNER mail_owner LOCATION '{location}'")
        session.execute("COMMENT ON TABLESPACE archive IS 'The slow disk'")
        session.execute("GRANT CREATE ON TABLESPACE archive TO mail_app")
        session.execute(
            "CREATE TABLE mail.kept (id integer PRIMARY KEY USING INDEX TABLESPACE archive,"
            " note text) TABLESPACE archive"
        )
        session.execute("INSERT INTO mail.kept SELECT n, 'n' || n FROM generate_series(1, 500) n")


def build(
    tree: ProgramTree,
    major: int,
    data: Path,
    size: Amounts,
    seed: int,
    effects: Effects,
    tell: Callable[[str], None],
) -> None:
    """Make and fill a cluster.

    Args:
        tree: Whose programs write it.
        major: Its major version.
        data: Its data directory; must not exist.
        size: How much of everything.
        seed: What the content follows from.
        effects: Told of programs and writes.
        tell: Given the name of each script before it runs.

    Raises:
        ProgramFailedError: A statement fails; the evidence says which.
    """
    initialize(tree, major, data, effects)
    with serving(tree, major, data, effects, _WHILE_FILLING) as server:
        for script, database in _SCRIPTS:
            tell(script)
            _run(server, database, script, size, seed)
    # A cluster at rest, without the log that filling it left behind.
    with (
        serving(tree, major, data, effects, (("fsync", "off"),)) as server,
        server.session("postgres") as session,
    ):
        session.execute("SELECT pg_catalog.pg_switch_wal()")
        session.execute("CHECKPOINT")


def initialize(tree: ProgramTree, major: int, data: Path, effects: Effects) -> None:
    """Make an empty cluster, as its vendor configured it; `data` must not exist."""
    user = server_user()
    data.mkdir(mode=0o700)
    if user is not None:
        files.change_owner(data, user.uid, user.gid)
    with short_directory() as place:
        launchers = tree.launchers(major, place / "bin", effects)
        command = launchers.command(
            "initdb",
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            "--data-checksums",
            "--no-sync",
            user=user,
        )
        programs.run(command, effects)
    for name, more in (("postgresql.conf", _CONFIGURATION), ("pg_hba.conf", _ACCESS)):
        with open(data / name, "a") as stream:
            stream.write(more)


def _run(server: Server, database: str, script: str, size: Amounts, seed: int) -> None:
    """Have the tree's psql run one script."""
    setup = server.setup
    variables = {
        "ON_ERROR_STOP": 1,
        "seed": seed,
        "messages": size.messages,
        "items": size.items,
        "objects": size.objects,
        "at_least_14": int(setup.major >= 14),
        "at_least_15": int(setup.major >= 15),
    }
    command = setup.tree.command(
        setup.tree.postgres_program(setup.major, "psql"),
        "--no-psqlrc",
        "--quiet",
        f"--dbname={database}",
        *(f"--set={name}={value}" for name, value in variables.items()),
        f"--file={SQL / script}",
        environment=server.environment,
    )
    programs.run(command, server.effects)
