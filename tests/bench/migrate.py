"""Ours against pg_dump | pg_restore, and against rrdtool dump | restore, on the same data."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from applianceforge.migrate.postgres import ddl
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.server import Server, ServerSetup, running
from applianceforge.migrate.rrd.convert import convert_tree
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.rrd.verify import verify_trees
from applianceforge.migrate.run import run as run_migration
from applianceforge.migrate.settings import (
    Settings,
    SourcePostgresSettings,
    SourceSettings,
    TargetPostgresSettings,
    TargetSettings,
    WorkSettings,
)
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User
from tests.appliance import cluster, legacy, trees
from tests.appliance.legacy import LegacyAppliance
from tests.appliance.lines import Lines
from tests.bench.meters import Measured, measure

_JOBS = 2
_BEST_SERVER = (
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "1h"),
    ("synchronous_commit", "off"),
    ("maintenance_work_mem", "256MB"),
    ("shared_buffers", "512MB"),
)
_PLAIN_SERVER = (("autovacuum", "on"), ("shared_buffers", "128MB"))


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    name: str
    measured: Measured
    note: str


def run(size_bytes: int, rrd_count: int) -> None:
    """Build the appliance if need be, measure everything in one run, print the ratios."""
    effects, lines = Effects(), Lines()
    target = trees.tree(trees.NATIVE, effects, lines)
    appliance = legacy.legacy(size_bytes, rrd_count=rrd_count, effects=effects, progress=lines)
    console = Console(width=150)
    with cluster.short_directory() as place:
        copy = appliance.copy_to(place / "old", effects)
        rows = _databases(copy, target, place, effects)
        _print(console, f"PostgreSQL, {_mb(files.used_bytes(copy.data))} MB cluster", rows)
    with cluster.short_directory() as place:
        rows = _rrds(appliance, target, place, effects)
        _print(console, f"RRDs, {rrd_count} files", rows)


def _mb(size_bytes: int) -> int:
    return round(size_bytes / 1e6)


def _print(console: Console, title: str, rows: list[Row]) -> None:
    ours = rows[0].measured
    table = Table(title=title, title_justify="left")
    table.add_column("way")
    for heading in ("time", "times the first", "temporary disk", "memory, all", "memory, own"):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for row in rows:
        one = row.measured
        table.add_row(
            row.name,
            f"{one.elapsed_s:.1f} s",
            f"{one.elapsed_s / ours.elapsed_s:.2f}",
            f"{_mb(one.temporary_bytes)} MB",
            f"{_mb(one.memory_bytes)} MB",
            f"{_mb(one.own_bytes)} MB",
            row.note,
        )
    console.print(table)


def _databases(
    appliance: LegacyAppliance, target: ProgramTree, place: Path, effects: Effects
) -> list[Row]:
    ways: list[tuple[str, Callable[[Path], None], str]] = [
        (
            "applianceforge migrate run",
            lambda where: _ours(appliance, target, where),
            "with checks, proof, statistics",
        ),
        (
            "pg_dump -Fd -j2, pg_restore -j2, defaults",
            lambda where: _theirs(appliance, target, where, effects, 6, _PLAIN_SERVER),
            "no proof, no statistics",
        ),
        (
            "the same at its best",
            lambda where: _theirs(appliance, target, where, effects, 0, _BEST_SERVER),
            "-Z0, wal_level=minimal, more memory",
        ),
    ]
    rows = []
    # Once over the source, so that all find it in the page cache.
    _read_all(appliance.data)
    for number, (name, way, note) in enumerate(ways):
        where = place / str(number)
        files.make_directory(where, effects, mode=0o755)
        rows.append(Row(name, measure(lambda w=way, p=where: w(p), [where]), note))  # type: ignore[misc]
        print(f"{name}: {rows[-1].measured.elapsed_s:.1f} s", flush=True)
        shutil.rmtree(where)
    return rows


def _read_all(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            with open(path, "rb") as stream:
                while stream.read(1 << 20):
                    pass


def _ours(appliance: LegacyAppliance, target: ProgramTree, where: Path) -> None:
    settings = Settings(
        WorkSettings(where / "work", jobs=_JOBS),
        SourceSettings(appliance.tree.root, SourcePostgresSettings(appliance.data)),
        TargetSettings(target.root, TargetPostgresSettings(where / "new")),
    )
    run_migration(Surroundings(settings))


def _theirs(
    appliance: LegacyAppliance,
    target: ProgramTree,
    where: Path,
    effects: Effects,
    compression: int,
    options: tuple[tuple[str, str], ...],
) -> None:
    """Do what an administrator would do by hand, in the quickest order."""
    dumper = Dumper(target, 15, target.launchers(15, where / "launchers", effects), where / "log")
    status = appliance.data.stat()
    user = User(status.st_uid, status.st_gid)
    data = where / "data"
    files.make_directory(data, effects)
    files.change_owner(data, user.uid, user.gid)
    making = (f"--pgdata={data}", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8")
    programs.run(dumper.launchers.command("initdb", *making, user=user), effects)
    source = ServerSetup(
        "source",
        appliance.tree,
        appliance.major,
        appliance.data,
        where / "source",
        where / "source.log",
        "postgres",
    )
    new = replace(
        source,
        side="target",
        tree=target,
        major=15,
        data=data,
        sockets=where / "target",
        log=where / "target.log",
        options=options,
    )
    with running(source, effects) as old, running(new, effects) as server:
        script = where / "globals.sql"
        text = ddl.loadable_globals(
            dumper.globals_text(old), existing_roles={"postgres"}, tablespaces={}
        )
        script.write_text(text)
        _client(dumper, server, "psql", "-Xq", "-d", "template1", stdin=script)
        with old.session("template1") as session:
            rows = session.rows("SELECT datname::text FROM pg_database WHERE datname<>'template0'")
        for number, (name,) in enumerate(rows):
            dump = where / f"dump{number}"
            command = dumper.dump_database(old, name, dump, jobs=_JOBS, compression=compression)
            programs.run(command, effects)
            other = "postgres" if name == "template1" else "template1"
            words = ("--create", "--clean", "--if-exists", f"--jobs={_JOBS}", f"--dbname={other}")
            _client(dumper, server, "pg_restore", *words, str(dump))
    for dump in where.glob("dump*"):
        shutil.rmtree(dump)


def _client(
    dumper: Dumper, server: Server, name: str, *words: str, stdin: Path | None = None
) -> None:
    program = dumper.tree.postgres_program(dumper.major, name)
    command = dumper.tree.command(program, *words, environment=server.environment)
    programs.run(command, server.effects, stdin=stdin)


def _rrds(
    appliance: LegacyAppliance, target: ProgramTree, place: Path, effects: Effects
) -> list[Row]:
    found = scan(appliance.rrd)
    _read_all(appliance.rrd)
    ours = place / "ours"

    def convert() -> None:
        convert_tree(found, ours, effects, jobs=_JOBS)

    def prove() -> None:
        assert verify_trees(appliance.rrd, ours, jobs=_JOBS) == ()

    converted = measure(convert, [ours])
    proved = measure(prove, [ours])
    both = replace(converted, elapsed_s=converted.elapsed_s + proved.elapsed_s)
    names = [file.path for file in found.files]
    # A part is enough of what takes a hundred times as long; its time is scaled.
    part = names[:: max(1, len(names) // 200)]
    theirs = measure(lambda: _through_xml(appliance, target, part, place, effects), [place])
    scaled = replace(theirs, elapsed_s=theirs.elapsed_s * len(names) / len(part))
    rate = len(names) / both.elapsed_s
    return [
        Row("applianceforge, flushed to the disk", converted, f"{found.size_bytes / 1e6:.0f} MB"),
        Row("applianceforge, and every value compared", both, f"{rate:.0f} files/s"),
        Row(
            "i386 rrdtool dump | amd64 rrdtool restore",
            scaled,
            f"{len(part)} files measured, {_JOBS} workers",
        ),
    ]


def _through_xml(
    appliance: LegacyAppliance,
    target: ProgramTree,
    names: list[str],
    place: Path,
    effects: Effects,
) -> None:
    theirs = place / "theirs"
    theirs.mkdir()

    def one(numbered: tuple[int, str]) -> None:
        number, name = numbered
        xml, new = theirs / f"{number}.xml", theirs / f"{number}.rrd"
        dump = appliance.tree.command("/usr/bin/rrdtool", "dump", str(appliance.rrd / name))
        programs.run(dump, effects, output=xml)
        restore = target.command("/usr/bin/rrdtool", "restore", str(xml), str(new))
        programs.run(restore, effects)
        xml.unlink()

    with ThreadPoolExecutor(_JOBS) as pool:
        list(pool.map(one, enumerate(names)))
