"""Boxes: old data in a place of its own, with the settings of its migration."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from applianceforge.migrate.tree import ProgramTree
from applianceforge.system.effects import Effects
from tests.appliance import cluster, rrds
from tests.appliance.legacy import LegacyAppliance
from tests.migrate.boxes import Box


@pytest.fixture
def box(legacy_small: LegacyAppliance, native_tree: ProgramTree, place: Path) -> Box:
    """The appliance of 5 MB, from PostgreSQL 15 to 15."""
    return Box(place, legacy_small.copy_to(place / "old"), native_tree)


@pytest.fixture(scope="session")
def tiny(i386_tree: ProgramTree) -> Iterator[LegacyAppliance]:
    """A cluster with one database of a few rows, and three RRDs; for copies."""
    with cluster.short_directory() as directory:
        data, rrd = directory / "data", directory / "rrd"
        cluster.initialize(i386_tree, 15, data, Effects())
        with cluster.serving(i386_tree, 15, data, Effects()) as server:
            with server.session("postgres") as session:
                session.execute("CREATE DATABASE mail")
            with server.session("mail") as session:
                session.execute("CREATE TABLE public.message (id integer PRIMARY KEY, note text)")
                session.execute(
                    "INSERT INTO public.message SELECT n, repeat('n', 500)"
                    " FROM generate_series(1, 4000) AS n"
                )
        rrd.mkdir()
        rrds.build(i386_tree, rrd, 3, 1, Effects())
        yield LegacyAppliance(i386_tree, data, rrd, cluster.SUPERUSER, 15)


@pytest.fixture
def tiny_box(tiny: LegacyAppliance, native_tree: ProgramTree, place: Path) -> Box:
    """A box that is quickly made and quickly migrated."""
    return Box(place, tiny.copy_to(place / "old"), native_tree)
