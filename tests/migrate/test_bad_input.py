"""Bad input of the source cluster: each has its own message, remedy and exit status."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from applianceforge.migrate.postgres.server import Server, ServerSetup, find_running, running
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import ForeignClusterError
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.appliance.legacy import LegacyAppliance
from tests.migrate.boxes import NOBODY, Box, Said, applianceforge

pytestmark = pytest.mark.real
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")


def refused(box: Box, status: int, *words: str, as_user: int | None = None) -> Said:
    """Run the command and return what it said; it must refuse, and change nothing."""
    said = box.migrate("run", "--progress", "none", as_user=as_user)
    assert said.status == status, said.errors
    for word in words:
        assert word in said.errors, (word, said.errors)
    assert said.hint, said.errors
    assert not box.data.exists()
    assert not box.staged.exists()
    assert not box.rrd.exists()
    return said


@contextmanager
def served(box: Box) -> Iterator[Server]:
    with cluster.serving(box.old.tree, 15, box.old.data, Effects()) as server:
        yield server


def own(box: Box, path: Path) -> Path:
    """Give a file to the user of the old server."""
    status = box.old.data.stat()
    os.chown(path, status.st_uid, status.st_gid)
    return path


def test_the_source_server_is_still_running(tiny_box: Box) -> None:
    with served(tiny_box) as server:
        said = refused(tiny_box, 44, f"process {server.pid}", str(tiny_box.old.data))
        assert "postmaster.pid" in said.hint
        # It was not stopped by that.
        assert find_running(tiny_box.old.data) is not None


def test_the_source_server_will_not_start(tiny_box: Box) -> None:
    config = tiny_box.place / "c.conf"
    config.write_text("no_such_setting = 1\n")
    config.chmod(0o644)
    box = tiny_box.with_settings(source__postgres__config_file=config)
    said = refused(box, 43, "the source server does not start", "no_such_setting")
    assert "source.log" in said.hint


def test_the_wrong_program_tree(tiny_box: Box) -> None:
    box = tiny_box.with_settings(source__tree=tiny_box.native.root)
    said = refused(box, 45, "was written on i386", "are of amd64")
    assert "«incorrect checksum in control file», is not about damage" in said.hint
    assert "Never run pg_resetwal" in said.hint


def test_what_the_wrong_server_itself_says_is_explained(tiny_box: Box) -> None:
    setup = ServerSetup(
        side="source",
        tree=tiny_box.native,
        major=15,
        data=tiny_box.old.data,
        sockets=tiny_box.place / "s",
        log=tiny_box.place / "log",
        superuser="postgres",
    )
    wrong = "incorrect checksum in control file"
    with pytest.raises(ForeignClusterError, match=wrong) as caught, running(setup, Effects()):
        pass
    assert "looks like damage and mostly is not" in caught.value.hint
    assert "Never run pg_resetwal" in caught.value.hint


def test_another_major_version(tiny_box: Box, legacy_small_13: LegacyAppliance) -> None:
    box = tiny_box.with_settings(source__tree=legacy_small_13.tree.root)
    said = refused(box, 45, "was written by PostgreSQL 15", "has: 13")
    assert "PostgreSQL 15" in said.hint


def test_a_target_that_is_older(tiny_box: Box, i386_tree_13: ProgramTree) -> None:
    box = tiny_box.with_settings(target__tree=i386_tree_13.root)
    refused(box, 45, "PostgreSQL 15 cannot become 13")


def damage_control(data: Path) -> None:
    control = data / "global/pg_control"
    content = bytearray(control.read_bytes())
    content[60] ^= 0xFF
    control.write_bytes(content)


def zero_control(data: Path) -> None:
    (data / "global/pg_control").write_bytes(bytes(8192))


def cut_control(data: Path) -> None:
    os.truncate(data / "global/pg_control", 100)


def lose_control(data: Path) -> None:
    (data / "global/pg_control").unlink()


def zero_wal(data: Path) -> None:
    for path in (data / "pg_wal").iterdir():
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))


def empty_version(data: Path) -> None:
    (data / "PG_VERSION").write_bytes(b"")


def lose_catalog(data: Path) -> None:
    (data / "global/pg_filenode.map").unlink()


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (damage_control, "pg_control"),
        (zero_control, "pg_control"),
        (cut_control, "pg_control"),
        (lose_control, "pg_control"),
        (zero_wal, "could not locate a valid checkpoint record"),
        (empty_version, "PG_VERSION"),
        (lose_catalog, "pg_filenode.map"),
    ],
)
def test_a_damaged_data_directory(tiny_box: Box, damage: object, word: str) -> None:
    assert callable(damage)
    damage(tiny_box.old.data)
    said = refused(tiny_box, 46, word)
    assert "backup" in said.hint


def test_no_data_directory_at_all(tiny_box: Box) -> None:
    (tiny_box.old.data / "PG_VERSION").unlink()
    said = refused(tiny_box, 40, "is not a PostgreSQL data directory", "PG_VERSION")
    assert "base/ and global/" in said.hint
    box = tiny_box.with_settings(source__postgres__data=tiny_box.place / "nowhere")
    refused(box, 40, "nowhere")


@pytest.fixture
def asking(tiny_box: Box) -> Box:
    """A box whose source asks for a password."""
    with served(tiny_box) as server, server.session("postgres") as session:
        session.execute("ALTER ROLE postgres PASSWORD 'the right one'")
    hba = tiny_box.place / "hba.conf"
    hba.write_text("local all all scram-sha-256\n")
    return tiny_box.with_settings(source__postgres__hba_file=hba)


def with_password(box: Box, password: str) -> Box:
    passfile = box.place / "pgpass"
    passfile.write_text(f"*:*:*:postgres:{password}\n")
    passfile.chmod(0o600)
    return box.with_settings(source__postgres__passfile=passfile)


def test_a_wrong_password(asking: Box) -> None:
    said = refused(with_password(asking, "a wrong one"), 47, "password authentication failed")
    assert "passfile" in said.hint
    assert "a wrong one" not in said.errors


def test_no_password(asking: Box) -> None:
    assert "passfile" in refused(asking, 47, "no password supplied").hint


def test_the_right_password(asking: Box) -> None:
    box = with_password(asking, "the right one")
    said = box.migrate("run", "--progress", "none")
    assert said.status == 0, said.errors
    for path in box.work.rglob("*"):
        assert not path.is_file() or b"the right one" not in path.read_bytes(), path


def test_a_missing_role(tiny_box: Box) -> None:
    box = tiny_box.with_settings(source__postgres__superuser="nobody_here")
    said = refused(box, 47, '"nobody_here" does not exist')
    assert "superuser" in said.hint


def test_an_hba_file_that_lets_nobody_in(tiny_box: Box) -> None:
    hba = tiny_box.place / "hba.conf"
    hba.write_text("local all all reject\n")
    box = tiny_box.with_settings(source__postgres__hba_file=hba)
    assert "hba_file" in refused(box, 47, "pg_hba.conf").hint


def test_an_ordinary_role(tiny_box: Box) -> None:
    with served(tiny_box) as server, server.session("postgres") as session:
        session.execute("CREATE ROLE ordinary LOGIN")
    box = tiny_box.with_settings(source__postgres__superuser="ordinary")
    assert "superuser" in refused(box, 52, "permission denied").hint


def without_extension(native: ProgramTree, place: Path, extension: str) -> ProgramTree:
    """Return a tree of links to another's directories, but without one control file."""
    inside = Path("usr/share/postgresql/15/extension")
    root = place / "tree"
    for depth in range(len(inside.parts) + 1):
        here = Path(*inside.parts[:depth])
        (root / here).mkdir(parents=True, exist_ok=True)
        on_the_way = inside.parts[depth] if depth < len(inside.parts) else f"{extension}.control"
        for entry in (native.root / here).iterdir():
            if entry.name != on_the_way:
                (root / here / entry.name).symlink_to(entry)
    return ProgramTree(root)


def test_an_extension_that_the_target_lacks(tiny_box: Box) -> None:
    with served(tiny_box) as server, server.session("mail") as session:
        session.execute("CREATE EXTENSION hstore")
    tree = without_extension(tiny_box.native, tiny_box.place, "hstore")
    box = tiny_box.with_settings(target__tree=tree.root)
    said = refused(box, 49, "lacks extensions of the database mail", "hstore")
    assert "Install their packages" in said.hint


def test_a_locale_that_the_target_lacks(
    i386_tree_german: ProgramTree, native_tree: ProgramTree, place: Path
) -> None:
    data, rrd = place / "old/data", place / "old/rrd"
    rrd.mkdir(parents=True)
    cluster.initialize(i386_tree_german, 15, data, Effects())
    old = LegacyAppliance(i386_tree_german, data, rrd, "postgres", 15)
    box = Box(place, old, native_tree)
    with served(box) as server, server.session("postgres") as session:
        session.execute("CREATE DATABASE d TEMPLATE template0 LOCALE 'de_DE.UTF-8'")
    assert "localedef" in refused(box, 50, "locales of the database d", "de_DE.UTF-8").hint
    with served(box) as server, server.session("postgres") as session:
        session.execute("DROP DATABASE d")
        session.execute("CREATE COLLATION public.german (locale = 'de_DE.UTF-8')")
        session.execute("CREATE TABLE public.t (a text COLLATE public.german)")
    refused(box, 50, "locales of the database postgres", "de_DE")


@only_root
def test_a_data_directory_that_we_may_not_read(tiny_box: Box) -> None:
    tiny_box.work.mkdir()
    os.chown(tiny_box.work, NOBODY, NOBODY)
    said = refused(tiny_box, 52, "ermission denied", str(tiny_box.old.data), as_user=NOBODY)
    assert "root" in said.hint


@only_root
def test_a_work_directory_that_we_may_not_write(tiny_box: Box) -> None:
    refused(tiny_box, 52, "ermission denied", str(tiny_box.work), as_user=NOBODY)


@only_root
def test_an_rrd_that_we_may_not_read(tiny_box: Box) -> None:
    tiny_box.work.mkdir()
    os.chown(tiny_box.work, NOBODY, NOBODY)
    one = sorted(tiny_box.old.rrd.rglob("*.rrd"))[0]
    one.chmod(0o600)
    box = tiny_box.with_settings(source__postgres__data=None, target__postgres__data=None)
    refused(box, 51, "May not be read", one.name, as_user=NOBODY)


@only_root
def test_a_data_directory_that_root_owns(tiny_box: Box) -> None:
    os.chown(tiny_box.old.data, 0, 0)
    assert "chown" in refused(tiny_box, 52, "belongs to root").hint


def test_a_data_directory_that_is_open_to_all(tiny_box: Box) -> None:
    tiny_box.old.data.chmod(0o755)
    assert "0700" in refused(tiny_box, 52, "invalid permissions").hint


def test_a_tree_without_a_server(tiny_box: Box) -> None:
    empty = tiny_box.place / "empty"
    empty.mkdir()
    refused(tiny_box.with_settings(target__tree=empty), 41, "has no PostgreSQL")
    refused(tiny_box.with_settings(source__tree=empty), 45, "has: none")


def test_something_is_already_where_the_new_data_shall_appear(tiny_box: Box) -> None:
    tiny_box.data.mkdir(parents=True)
    said = tiny_box.migrate("run", "--progress", "none")
    assert said.status == 40, said.errors
    assert f"{tiny_box.data} is already there" in said.errors
    assert said.hint
    shutil.rmtree(tiny_box.data)


def test_prepared_transactions(tiny_box: Box) -> None:
    with open(tiny_box.old.data / "postgresql.conf", "a") as stream:
        stream.write("max_prepared_transactions = 5\n")
    with served(tiny_box) as server, server.session("mail") as session:
        session.execute(
            "BEGIN; INSERT INTO public.message VALUES (0, ''); PREPARE TRANSACTION 'left'"
        )
    said = refused(tiny_box, 24, "prepared transactions", "left in mail")
    assert "COMMIT PREPARED" in said.hint


def test_a_database_that_lets_nobody_in(tiny_box: Box) -> None:
    with served(tiny_box) as server, server.session("postgres") as session:
        session.execute("ALTER DATABASE mail ALLOW_CONNECTIONS false")
    said = refused(tiny_box, 24, "The database mail lets nobody in")
    assert "ALLOW_CONNECTIONS true" in said.hint


def test_a_database_whose_removal_was_interrupted(tiny_box: Box) -> None:
    with served(tiny_box) as server, server.session("postgres") as session:
        session.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'mail'")
    assert "DROP DATABASE" in refused(tiny_box, 24, "The database mail is invalid").hint


def test_a_tablespace_without_a_new_place(tiny_box: Box) -> None:
    directory = tiny_box.place / "space"
    directory.mkdir(mode=0o700)
    own(tiny_box, directory)
    with served(tiny_box) as server, server.session("postgres") as session:
        session.execute(f"CREATE TABLESPACE archive LOCATION '{directory}'")
    said = refused(tiny_box, 40, "Tablespaces have no new place", "archive")
    assert "target.postgres.tablespaces" in said.hint
    relative = tiny_box.with_settings(target__postgres__tablespaces__archive="not/absolute")
    refused(relative, 40, "target.postgres.tablespaces.archive")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("work.directory", "work.directroy", "did you mean work.directory?"),
        ("source.tree = ", "schema = 2\nsource.tree = ", "schema 2"),
        ("work.directory = ", "work.directory ", "is not TOML"),
        ('/work"', f'/{"w" * 100}"', "too long a path"),
        ('/new/data"', '/old/data"', "lie within each other"),
    ],
)
def test_settings_that_are_wrong(tiny_box: Box, old: str, new: str, word: str) -> None:
    assert old in tiny_box.text
    config = tiny_box.place / "wrong.toml"
    config.write_text(tiny_box.text.replace(old, new))
    said = applianceforge("migrate", "run", "-c", config)
    assert said.status == 40, said.errors
    assert word in said.errors
    assert said.hint


def test_settings_that_are_not_there(tiny_box: Box) -> None:
    said = applianceforge("migrate", "plan", "-c", tiny_box.place / "nowhere.toml")
    assert said.status == 40
    assert "nowhere.toml" in said.errors
    assert said.hint
