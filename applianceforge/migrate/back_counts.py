"""Count what the old and the new data hold, before anybody goes back from one to the other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from applianceforge.formats.rrd.values import Header
from applianceforge.migrate import back_news
from applianceforge.migrate.back_news import Counts, RrdNews
from applianceforge.migrate.back_way import Way
from applianceforge.migrate.operation import opened
from applianceforge.migrate.postgres.counting import count
from applianceforge.migrate.postgres.gathering import source_setup
from applianceforge.migrate.postgres.server import Server, find_running, running
from applianceforge.migrate.rrd.reading import until_unchanged
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.settings import (
    Settings,
    SourcePostgresSettings,
    SourceRrdSettings,
    SourceSettings,
    TargetSettings,
)
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import NoWayBackError

OPERATION = "back"
_SHOWN = 20


def of_the_new(settings: Settings) -> Settings:
    """Return the settings by which the 64-bit data is the source, and nothing the target."""
    source, target = settings.source, settings.target
    postgres = rrd = None
    if target.postgres is not None:
        old = source.postgres
        superuser = SourcePostgresSettings(Path("/")).superuser if old is None else old.superuser
        postgres = SourcePostgresSettings(target.postgres.data, superuser=superuser)
    if target.rrd is not None:
        directory = target.rrd.directory
        rrd = (
            SourceRrdSettings(directory, source.rrd.patterns)
            if source.rrd is not None
            else SourceRrdSettings(directory)
        )
    return Settings(
        settings.work,
        SourceSettings(target.tree, postgres, rrd),
        TargetSettings(target.tree),
    )


def rows_now(around: Surroundings, way: Way) -> Counts:
    """Count the rows of the 64-bit data, by the server that serves it or by one of our own.

    Raises:
        ForgeError: It does not let us in, or does not start.
    """
    settings = of_the_new(way.settings)
    if settings.source.postgres is None:
        return {}
    with opened(around, OPERATION) as work:
        serving = find_running(settings.source.postgres.data)
        if serving is None:
            return _by_own_server(around, settings, work)
        tree = ProgramTree(settings.source.tree)
        setup, _ = source_setup(settings.source.postgres, tree, work, around.effects)
        setup = replace(setup, sockets=Path(serving.sockets))
        return count(Server(setup, serving.pid, around.effects))


def _by_own_server(around: Surroundings, settings: Settings, work: Workspace) -> Counts:
    assert settings.source.postgres is not None
    tree = ProgramTree(settings.source.tree)
    setup, _ = source_setup(settings.source.postgres, tree, work, around.effects)
    with running(setup, around.effects) as server:
        return count(server)


def check_old(around: Surroundings, way: Way) -> None:
    """Make sure that the old data serves: its own server starts, and all its rows are there.

    Raises:
        NoWayBackError: They are not.
        ForgeError: The old server does not start.
    """
    postgres = way.settings.source.postgres
    if postgres is None or way.proved is None:
        return
    with opened(around, OPERATION) as work:
        tree = ProgramTree(way.settings.source.tree)
        setup, _ = source_setup(postgres, tree, work, around.effects)
        with running(setup, around.effects) as server:
            news = back_news.from_counts(way.proved, count(server), RrdNews())
    if news.changed:
        raise NoWayBackError(
            "the old 32-bit data is not what it was at the crossing",
            hint="the 64-bit release stays; keep everything, and tell the vendor",
            evidence=tuple(
                f"{one.name}: {one.then} rows then, {one.now} now" for one in news.changed[:_SHOWN]
            ),
        )


def rrds_now(way: Way) -> RrdNews:
    """Compare the last updates of old and new RRDs, which may be written meanwhile."""
    old, new = way.settings.source.rrd, way.settings.target.rrd
    if old is None or new is None:
        return RrdNews()
    return back_news.of_rrds(
        _headers(old.directory, old.patterns), _headers(new.directory, old.patterns)
    )


def _headers(directory: Path, patterns: tuple[str, ...]) -> Mapping[str, Header]:
    if not directory.is_dir():
        return {}
    return {
        one.path: until_unchanged(f"{directory}/{one.path}", lambda rrd: rrd.header)
        for one in scan(directory, patterns).files
    }
