from pathlib import Path

import pytest

from applianceforge.formats import pg_control
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.appliance import cluster, legacy, proof, rrds
from tests.appliance.legacy import LegacyAppliance

pytestmark = pytest.mark.real

# Statistics of the planner are sampled; what a table holds is not.
_TABLES = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND c.relispopulated AND c.relpersistence <> 't' ORDER BY 1
"""
_OBJECTS = """
SELECT pg_catalog.md5(pg_catalog.string_agg(l.oid || ':' || pg_catalog.encode(
    pg_catalog.sha256(pg_catalog.lo_get(l.oid)), 'hex'), ',' ORDER BY l.oid))
FROM pg_catalog.pg_largeobject_metadata AS l
"""


def digests(appliance: LegacyAppliance, effects: Effects) -> dict[tuple[str, str], str]:
    """Digest every table of every database, in the order in which its rows lie on the disk."""
    found = {}
    with cluster.serving(appliance.tree, appliance.major, appliance.data, effects) as server:
        with server.session("postgres") as session:
            names = session.rows("SELECT datname FROM pg_database WHERE datname <> 'template0'")
        for (database,) in names:
            with server.session(database) as session:
                for (table,) in session.rows(_TABLES):
                    # In the server, as one of the databases holds bytes in no encoding.
                    digest = session.value(
                        "SELECT pg_catalog.md5(pg_catalog.string_agg(t::pg_catalog.text, '|'))"
                        f" FROM {table} AS t"
                    )
                    found[database, table] = str(digest)
                found[database, "large objects"] = str(session.value(_OBJECTS))
    return found


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*.rrd")}


def dumps(tree: ProgramTree, directory: Path, effects: Effects) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): programs.run(
            tree.command("/usr/bin/rrdtool", "dump", str(path)), effects
        ).stdout
        for path in sorted(directory.rglob("*.rrd"))
    }


def test_the_server_is_a_32_bit_process(
    legacy_small: LegacyAppliance, place: Path, effects: Effects
) -> None:
    copy = legacy_small.copy_to(place / "copy", effects)
    program = copy.tree.path(copy.tree.postgres_program(copy.major, "postgres"))
    with cluster.serving(copy.tree, copy.major, copy.data, effects) as server:
        shown = proof.prove(server.pid, program)
        assert shown.holds, shown
        with pytest.raises(LookupError):
            proof.prove(server.pid, copy.tree.path("/usr/bin/rrdtool"))


def test_a_64_bit_server_is_told_apart(native_tree: ProgramTree) -> None:
    shown = proof.prove(_myself(), Path("/proc/self/exe").resolve())
    assert not shown.holds


def _myself() -> int:
    return int(Path("/proc/self").readlink().name)


def test_the_control_file_is_of_32_bits(legacy_small: LegacyAppliance) -> None:
    content = (legacy_small.data / "global/pg_control").read_bytes()
    assert pg_control.decode(content).architecture is Architecture.I386


def test_a_copy_keeps_owner_and_mode(
    legacy_small: LegacyAppliance, place: Path, effects: Effects
) -> None:
    copy = legacy_small.copy_to(place / "copy", effects)
    for original, copied in ((legacy_small.data, copy.data), (legacy_small.rrd, copy.rrd)):
        before = {p.relative_to(original): _status(p) for p in original.rglob("*")}
        assert {p.relative_to(copied): _status(p) for p in copied.rglob("*")} == before


def _status(path: Path) -> tuple[int, ...]:
    status = path.stat()
    size = 0 if path.is_dir() else status.st_size
    return (status.st_uid, status.st_gid, status.st_mode, size, status.st_mtime_ns)


def test_a_second_call_does_nothing(legacy_small: LegacyAppliance, effects: Effects) -> None:
    assert legacy.legacy(legacy.SMALL_BYTES, effects=effects) == legacy_small
    assert effects.count == 0
    assert legacy_small.facts().rows["gateway"] > 10_000


def test_the_same_seed_gives_the_same_content(
    legacy_small: LegacyAppliance, place: Path, effects: Effects
) -> None:
    first = legacy_small.copy_to(place / "first", effects)
    second = legacy.legacy(legacy.SMALL_BYTES, effects=effects, store_directory=place / "store")
    assert second.data != legacy_small.data
    mine = digests(first, effects)
    assert mine == digests(second, effects)
    assert len(mine) > 80
    written = contents(second.rrd)
    assert contents(first.rrd) == written
    assert len(written) == legacy.SMALL_RRDS


def test_release_13_has_the_same_but_what_is_newer(
    legacy_small_13: LegacyAppliance, place: Path, effects: Effects
) -> None:
    copy = legacy_small_13.copy_to(place / "copy", effects)
    program = copy.tree.path(copy.tree.postgres_program(13, "postgres"))
    with cluster.serving(copy.tree, 13, copy.data, effects) as server:
        assert proof.prove(server.pid, program).holds
        with server.session("gateway") as session:
            assert session.value("SHOW server_version_num").startswith("13")
            assert session.value("SELECT to_regclass('corner.multiranges')") is None
            assert session.value("SELECT count(*) FROM mail.message") > 1000


def test_another_seed_gives_other_values(
    i386_tree: ProgramTree, tmp_path: Path, effects: Effects
) -> None:
    found = []
    for number, seed in enumerate((1, 2)):
        directory = tmp_path / str(number)
        directory.mkdir()
        rrds.build(i386_tree, directory, 3, seed, effects)
        found.append(dumps(i386_tree, directory, effects))
    assert found[0].keys() == found[1].keys()
    assert all(found[0][name] != found[1][name] for name in found[0])


def test_rrds_hold_every_kind(legacy_small: LegacyAppliance, effects: Effects) -> None:
    said = b"".join(dumps(legacy_small.tree, legacy_small.rrd, effects).values())
    for kind in ["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "COMPUTE", "DCOUNTER", "DDERIVE"]:
        assert f"<type> {kind} </type>".encode() in said, kind
    for function in (
        *("AVERAGE", "MIN", "MAX", "LAST", "HWPREDICT", "MHWPREDICT"),
        *("SEASONAL", "DEVSEASONAL", "DEVPREDICT", "FAILURES"),
    ):
        assert f"<cf>{function}</cf>".encode() in said, function
    for version in (b"0003", b"0004", b"0005"):
        assert b"<version>" + version + b"</version>" in said, version
    assert b"NaN" in said
    names = [str(path) for path in legacy_small.rrd.rglob("*.rrd")]
    assert any("ß" in name for name in names)
    assert any(" " in name for name in names)
    assert any(path.stat().st_mode & 0o777 == 0o640 for path in legacy_small.rrd.rglob("*.rrd"))


def test_a_copy_can_have_a_tablespace(
    legacy_small: LegacyAppliance, place: Path, effects: Effects
) -> None:
    copy = legacy_small.copy_to(place / "copy", effects)
    with cluster.serving(copy.tree, copy.major, copy.data, effects) as server:
        cluster.add_tablespace(server, place / "slow disk")
        with server.session("gateway") as session:
            assert session.value("SELECT count(*) FROM mail.kept") == 500
    assert any((place / "slow disk").rglob("*"))


def test_a_tree_can_have_a_locale_that_another_lacks(
    i386_tree_german: ProgramTree, native_tree: ProgramTree, place: Path, effects: Effects
) -> None:
    data = place / "data"
    cluster.initialize(i386_tree_german, 15, data, effects)
    with cluster.serving(i386_tree_german, 15, data, effects) as server:
        with server.session("postgres") as session:
            session.execute(
                "CREATE DATABASE deutsch TEMPLATE template0 LOCALE 'de_DE.UTF-8' ENCODING 'UTF8'"
            )
        with server.session("deutsch") as session:
            ordered = "SELECT string_agg(w, '' ORDER BY w) FROM unnest('{z,ä,a,B}'::text[]) AS w"
            assert session.value(ordered) == "aäBz"
    locales = native_tree.root / "usr/lib/locale"
    assert not list(locales.glob("de_DE*"))
