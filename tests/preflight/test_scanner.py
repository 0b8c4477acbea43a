"""The scanner on real trees: every sample, all that is no plain file, and change under way."""

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import scan_reading, scanner
from applianceforge.preflight.scan_result import EXAMPLES, Group, Scan, Statement, shown
from applianceforge.preflight.scan_tally import Glob
from applianceforge.preflight.scanner import scan
from tests.formats.test_foreign import EXPECTED, FOREIGN
from tests.preflight.trees import ELF_32, ELF_64, grow

NOBODY = 65534
DATA = FOREIGN.parent
LONGS = struct.pack("<3q", 1, 2, 3)


def group(found: Scan, name: str, width_bits: int | None = None) -> Group:
    (only,) = (g for g in found.groups if g.format == name and g.width_bits == width_bits)
    return only


def formats(found: Scan) -> set[str]:
    return {g.format for g in found.groups}


def test_every_sample_is_counted_where_it_belongs() -> None:
    found = scan(FOREIGN)
    counted = {(g.format, g.width_bits, g.disposition.name): g.number for g in found.groups}
    expected: dict[tuple[str, int | None, str], int] = {("text", None, "PORTABLE"): 1}  # README.md
    for name, *sides in EXPECTED.values():
        for verdict in filter(None, sides):
            word, _, bits = verdict.partition(" ")
            key = (name, int(bits) if bits else None, word)
            expected[key] = expected.get(key, 0) + 1
    assert counted == expected
    assert found.files == sum(counted.values())
    assert found.directories == 3
    assert found.unreadable.number == found.vanished == 0
    assert found.rrd_count == 2
    assert found.rrd_bytes == sum(
        (FOREIGN / "i386" / name).stat().st_size for name in ("t.rrd", "h.rrd")
    )


def cluster(root: Path, side: str) -> Path:
    (root / "global").mkdir(parents=True)
    (root / "base" / "1").mkdir(parents=True)
    (root / "PG_VERSION").write_text("15\n")
    shutil.copy(DATA / "pg_control" / side / "pg_control", root / "global")
    for relation in range(50):
        (root / "base" / "1" / str(relation)).write_bytes(LONGS * 100)
    return root


@pytest.mark.parametrize(("side", "bits"), [("i386", 32), ("amd64", 64)])
def test_cluster_is_one_thing(tmp_path: Path, side: str, bits: int) -> None:
    root = cluster(tmp_path / "15" / "main", side)
    found = scan(tmp_path)
    size_bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    (only,) = found.clusters
    assert (only.path, only.major, only.width_bits) == ("15/main", "15", bits)
    assert only.size_bytes == size_bytes == found.size_bytes
    assert formats(found) == {"postgresql"}
    assert found.files == 52
    assert found.postgresql_bytes == (size_bytes if bits == 32 else 0)


def test_cluster_may_be_the_directory_itself(tmp_path: Path) -> None:
    found = scan(cluster(tmp_path / "main", "i386"))
    assert found.clusters[0].path == "."


def test_cluster_with_a_ruined_control_file_is_told_apart(tmp_path: Path) -> None:
    root = cluster(tmp_path / "main", "i386")
    (root / "global" / "pg_control").write_bytes(bytes(8192))
    assert formats(scan(tmp_path)) == {"postgresql-damaged"}


def test_control_file_that_is_a_fifo_does_not_block(tmp_path: Path) -> None:
    root = cluster(tmp_path / "main", "i386")
    (root / "global" / "pg_control").unlink()
    os.mkfifo(root / "global" / "pg_control")
    assert formats(scan(tmp_path)) == {"postgresql-damaged"}


def test_tablespace_counts_for_the_space(tmp_path: Path) -> None:
    place = tmp_path / "space" / "PG_15_202209061" / "5"
    place.mkdir(parents=True)
    (place / "1").write_bytes(LONGS * 1000)
    found = scan(tmp_path)
    assert formats(found) == {"postgresql-tablespace"}
    assert found.postgresql_bytes == 24000


@pytest.mark.parametrize(
    ("name", "entries", "verdict"),
    [
        ("mariadb", ("ibdata1", "mysql/db.frm", "shop/x.ibd"), Disposition.PORTABLE),
        ("mnesia", ("schema.DAT", "LATEST.LOG", "t.DCD"), Disposition.PORTABLE),
        ("python-venv", ("pyvenv.cfg", "lib/x.py"), Disposition.REBUILT),
        ("squid-cache", ("swap.state", "00/00/00000001"), Disposition.DISCARD),
    ],
)
def test_directory_that_is_one_thing(
    tmp_path: Path, name: str, entries: tuple[str, ...], verdict: Disposition
) -> None:
    for entry in entries:
        path = tmp_path / "place" / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LONGS)
    found = scan(tmp_path)
    (only,) = found.groups
    assert (only.format, only.disposition, only.number) == (name, verdict, 1)
    assert only.size_bytes == 24 * len(entries)


@pytest.mark.parametrize(
    ("files", "bits", "verdict"),
    [
        ({"lib/x.so": ELF_32}, 32, Disposition.REBUILT),
        ({"lib/python3/x.cpython-311-x86_64-linux-gnu.so": ELF_64}, 64, Disposition.PORTABLE),
        ({"lib/x.libs/liby.so.1.2": ELF_64, "lib/z.so": ELF_32}, 32, Disposition.REBUILT),
        ({"bin/python3.11": ELF_64}, 64, Disposition.PORTABLE),
        ({"bin/pip": b"#!/data/venv/bin/python\n"}, None, Disposition.REBUILT),
        ({"lib/x.so": b"INPUT(liby.so)\n"}, None, Disposition.REBUILT),
    ],
)
def test_width_of_a_virtual_environment_is_that_of_its_libraries(
    tmp_path: Path, files: dict[str, bytes], bits: int | None, verdict: Disposition
) -> None:
    grow(tmp_path, {"venv/pyvenv.cfg": "home = /usr/bin\n"})
    grow(tmp_path, {f"venv/{name}": content for name, content in files.items()})
    (only,) = scan(tmp_path).groups
    assert (only.format, only.width_bits, only.disposition) == ("python-venv", bits, verdict)
    assert ("32-bit" in only.items[0].evidence) == (bits == 32)


def test_a_fresh_virtual_environment_is_not_called_32_bit(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (only,) = scan(tmp_path).groups
    assert (only.format, only.width_bits) == ("python-venv", None)


def test_environment_of_berkeley_db_is_told_once(tmp_path: Path) -> None:
    for region in range(1, 5):
        (tmp_path / f"__db.00{region}").write_bytes(
            (FOREIGN / "amd64" / "bdb-region__db.001").read_bytes()
        )
    shutil.copy(FOREIGN / "i386" / "btree.db", tmp_path)
    found = scan(tmp_path)
    assert group(found, "berkeley-db-environment").number == 1
    assert group(found, "berkeley-db-region").disposition is Disposition.DISCARD
    assert group(found, "berkeley-db").disposition is Disposition.PORTABLE


def test_links_are_counted_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "state").write_bytes(LONGS)
    inside = tmp_path / "inside"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "b" / "up").symlink_to("../..")
    (inside / "self").symlink_to("self")
    (inside / "out").symlink_to(outside)
    (inside / "file").symlink_to(outside / "state")
    (inside / "gone").symlink_to("nowhere")
    found = scan(inside)
    assert found.special.symlinks == 5
    assert (found.files, found.directories, found.groups) == (0, 3, ())


def test_link_that_is_given_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "state").write_bytes(LONGS)
    (tmp_path / "link").symlink_to("real")
    assert scan(tmp_path / "link").files == 1


def test_fifos_sockets_and_devices_are_counted_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    devices = 0
    if os.geteuid() == 0:
        try:
            # A watchdog: to open it would reboot a machine that has one.
            os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(10, 130))
            os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 250))
            devices = 2
        except PermissionError:
            pass
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        found = scan(tmp_path)
    assert found.special == (0, 1, 1, devices)
    assert found.files == 0


def test_file_that_turns_into_a_fifo_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(LONGS)
    open_file = scan_reading.open_quietly

    def swap(name: str, flags: int, directory: int) -> int:
        if name == "state":
            path.unlink()
            os.mkfifo(path)
        return open_file(name, flags, directory)

    monkeypatch.setattr(scan_reading, "open_quietly", swap)
    found = scan(tmp_path)
    assert (found.vanished, found.groups) == (1, ())


@pytest.mark.parametrize(("where", "vanished"), [("a", 1), ("below", 0)])
def test_directory_that_turns_into_a_link_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, vanished: int
) -> None:
    outside = tmp_path / "outside"
    (outside / "below").mkdir(parents=True)
    (outside / "below" / "state").write_bytes(LONGS)
    inside = tmp_path / "inside"
    (inside / "a" / "below").mkdir(parents=True)
    open_one = scan_reading.open_quietly

    def swap(name: str, flags: int, directory: int) -> int:
        if name == where:
            (inside / "a").rename(tmp_path / "away")
            (inside / "a").symlink_to(outside)
        return open_one(name, flags, directory)

    monkeypatch.setattr(scan_reading, "open_quietly", swap)
    found = scan(inside)
    assert (inside / "a").is_symlink()
    # Where its parent was moved, the directory itself is still the one that was listed.
    assert (found.vanished, found.files) == (vanished, 0)


def test_directory_that_is_moved_while_it_is_closed_is_not_mistaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tree/a/b/c/d", "tree/a/w1", "tree/a/w2", "tree/z"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other" / "w1").mkdir(parents=True)
    (tmp_path / "other" / "w1" / "state").write_bytes(LONGS)
    monkeypatch.setattr(scanner, "_OPEN_LEVELS", 1)
    open_one = scan_reading.open_quietly
    moved: list[str] = []

    def move(name: str, flags: int, directory: int) -> int:
        if name == "d":
            moved.append(name)
            (tmp_path / "tree/a/b").rename(tmp_path / "other/b")
            (tmp_path / "tree/a").rename(tmp_path / "away")
        return open_one(name, flags, directory)

    monkeypatch.setattr(scan_reading, "open_quietly", move)
    before = len(os.listdir("/proc/self/fd"))
    found = scan(tmp_path / "tree")
    assert moved
    assert found.files == 0
    # Of a's three directories the two that came after b, if they did, are away; z is not.
    assert found.directories + found.vanished == 8
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("open_levels", [1, 2, 3, 32])
def test_every_directory_is_met_however_few_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_levels: int
) -> None:
    for number in range(3**5):
        at = tmp_path.joinpath(*(str(number // 3**level % 3) for level in range(5)))
        at.mkdir(parents=True)
        (at / "state").write_bytes(LONGS)
    monkeypatch.setattr(scanner, "_OPEN_LEVELS", open_levels)
    most = 0

    def count(_files: int) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    monkeypatch.setattr(scanner, "_PROGRESS_FILES", 1)
    before = len(os.listdir("/proc/self/fd"))
    found = scan(tmp_path, progress=count)
    assert (found.files, found.directories) == (3**5, 1 + 3 + 9 + 27 + 81 + 243)
    assert (found.vanished, found.unreadable.number) == (0, 0)
    # The levels, the root, the directory that is listed, and the file that is read.
    assert most <= before + open_levels + 3


PEAK = """
import sys, tracemalloc
from pathlib import Path
from applianceforge.preflight import scan_reading, scanner
opened = 0
open_one = scan_reading.open_quietly
def count(name, flags, directory):
    global opened
    opened += 1
    return open_one(name, flags, directory)
scan_reading.open_quietly = count
tracemalloc.start()
found = scanner.scan(Path(sys.argv[1]))
print(found.directories, tracemalloc.get_traced_memory()[1], opened)
"""


def test_deep_trees_take_little_memory_and_few_steps(tmp_path: Path) -> None:
    name, levels, beside = "d" * 250, 700, 3
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(levels):
            for number in range(beside):
                os.mkdir(f"{number}{name[1:]}", dir_fd=here)
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
    finally:
        os.close(here)
    try:
        said = subprocess.check_output(
            [sys.executable, "-c", PEAK, tmp_path], text=True, cwd=DATA.parent.parent
        )
    finally:
        subprocess.run(["rm", "-rf", tmp_path / name], check=True)
    directories, peak_bytes, opened = map(int, said.split())
    assert directories == 1 + levels * (1 + beside)
    # Each once, and those on the way once more when they were closed meanwhile.
    assert opened <= directories + levels
    # Their paths alone are 245 MB.
    assert peak_bytes < 4 << 20


def test_a_very_long_path_is_told_without_its_middle(tmp_path: Path) -> None:
    names = ["top", *(f"{number:0200}" for number in range(60)), "last"]
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in names:
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        with open("x.state", "wb", opener=lambda p, f: os.open(p, f, dir_fd=here)) as stream:
            stream.write(LONGS)
    finally:
        os.close(here)
    (item,) = group(scan(tmp_path), "unknown-structure", 64).items
    assert item.path.startswith(f"top/{names[1]}/")
    assert item.path.endswith(f"/{names[-2]}/last/x.state")
    assert "/.../" in item.path
    assert len(item.path) < 9000
    for pattern in ("top/**", "**/*.state"):
        assert scan(tmp_path, (statement(pattern),)).count(Disposition.DISCARD) == 1
    shutil.rmtree(tmp_path / "top")


def test_files_that_vanish_are_counted(tmp_path: Path) -> None:
    for name in range(scanner._PROGRESS_FILES + 500):
        (tmp_path / f"file{name}").write_bytes(b"text\n")
    (tmp_path / "below").mkdir()
    removed: list[Path] = []

    def remove(files: int) -> None:
        if not removed:
            for path in tmp_path.iterdir():
                removed.append(path)
                path.unlink() if path.is_file() else path.rmdir()

    found = scan(tmp_path, progress=remove)
    assert removed
    assert found.vanished > 0
    assert found.unreadable.number == 0


def test_huge_and_sparse_files(tmp_path: Path) -> None:
    for name, at, content in (
        ("holes", 1 << 40, b""),
        ("state", 3 << 30, LONGS * 20),
        ("text", 5 << 30, b"plain words and nothing else\n" * 200),
    ):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(1 << 40)
            stream.seek(at)
            stream.write(content)
    found = scan(tmp_path)
    assert group(found, "zeros").number == 1
    assert group(found, "unknown-structure", 64).items[0].path == "state"
    assert group(found, "text").number == 1
    written = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert found.size_bytes == written < 1 << 20


def test_holes_count_neither_for_clusters_nor_for_rrds(tmp_path: Path) -> None:
    root = cluster(tmp_path / "main", "i386")
    shutil.copy(FOREIGN / "i386" / "t.rrd", tmp_path)
    before = scan(tmp_path)
    for path in (root / "base" / "1" / "0", tmp_path / "t.rrd"):
        with path.open("r+b") as stream:
            stream.truncate(1 << 36)
    after = scan(tmp_path)
    assert before.rrd_bytes <= after.rrd_bytes < 1 << 20
    assert before.postgresql_bytes <= after.postgresql_bytes < 1 << 20
    assert after.clusters[0].size_bytes == after.postgresql_bytes


def test_zeros_that_are_written_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(bytes(20000) + LONGS * 40)
    assert formats(scan(tmp_path)) == {"unknown-structure"}


def test_names_of_any_bytes(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"\xff\xfe", b"two\nlines", b"\x1b[31mred", "日本".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(LONGS)
    (tmp_path / os.fsdecode(b"dir\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"dir\xe9/x")).write_bytes(LONGS)
    found = scan(tmp_path, (Statement("caf*", Disposition.DISCARD, "a cache", "release 2.0"),))
    paths = {g.disposition: {shown(item.path) for item in g.items} for g in found.groups}
    assert paths == {
        Disposition.SUSPECT: {r"\xff\xfe", r"two\nlines", r"\x1b[31mred", "日本", r"dir\xe9/x"},
        Disposition.DISCARD: {r"caf\xe9"},
    }


SHOW = """
import sys
from pathlib import Path
from applianceforge.preflight.scan_result import shown
from applianceforge.preflight.scanner import scan
for group in scan(Path(sys.argv[1])).groups:
    print(*(shown(item.path) for item in group.items))
"""


@pytest.mark.parametrize(("utf8", "name"), [("0", r"\xc3\xa4 foo.bin"), ("1", "ä foo.bin")])
def test_names_are_shown_as_bytes_where_the_locale_has_no_letters(
    tmp_path: Path, utf8: str, name: str
) -> None:
    (tmp_path / "ä foo.bin").write_bytes(LONGS)
    said = subprocess.check_output(
        [sys.executable, "-c", SHOW, tmp_path],
        env={"LC_ALL": "C", "PYTHONUTF8": utf8},
        cwd=DATA.parent.parent,
    )
    assert said.decode() == f"{name}\n"


def test_deeper_than_a_path_can_be(tmp_path: Path) -> None:
    name = "d" * 200
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(60):
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        with open("state", "wb", opener=lambda p, f: os.open(p, f, dir_fd=here)) as stream:
            stream.write(LONGS)
    finally:
        os.close(here)
    found = scan(tmp_path)
    assert (found.directories, found.files) == (61, 1)
    assert found.unreadable.number == 0
    assert found.vanished == 0
    shutil.rmtree(tmp_path / name)


def test_neither_time_of_access_nor_descriptors_change(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    paths = [tmp_path, tmp_path / "below", tmp_path / "below" / "state"]
    paths[2].write_bytes(LONGS)
    for path in reversed(paths):
        os.utime(path, ns=(10**18, 2 * 10**18))
    before = len(os.listdir("/proc/self/fd"))
    scan(tmp_path)
    assert [path.stat().st_atime_ns for path in paths] == [10**18] * 3
    assert len(os.listdir("/proc/self/fd")) == before


SCAN_AS_NOBODY = """
import os, sys
from pathlib import Path
from applianceforge.preflight.scanner import scan
os.setgroups([]); os.setgid(65534); os.setuid(65534)
found = scan(Path(sys.argv[1]))
print(found.files, found.unreadable.number, *(f"{p}:{r}" for p, r in found.unreadable.examples))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become nobody")
def test_what_must_not_be_read_is_told(tmp_path: Path) -> None:
    # pytest's own directories are closed to others.
    root = Path(subprocess.check_output(["mktemp", "-d", "/tmp/scan.XXXXXX"], text=True).strip())
    try:
        root.chmod(0o755)
        for name, mode in (("open", 0o644), ("closed", 0o600)):
            (root / name).write_bytes(b"text\n")
            (root / name).chmod(mode)
        (root / "shut").mkdir(mode=0o700)
        (root / "shut" / "x").write_bytes(LONGS)
        said = subprocess.check_output(
            [sys.executable, "-c", SCAN_AS_NOBODY, str(root)], text=True, cwd=DATA.parent.parent
        )
    finally:
        shutil.rmtree(root)
    assert said.split(" ", 2)[:2] == ["2", "2"]
    assert "closed:Permission denied" in said
    assert "shut:Permission denied" in said


def test_failing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad").write_bytes(LONGS)

    def fail(*_arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert scan(tmp_path).unreadable == (1, (("bad", "Input/output error"),))


def test_examples_are_few_and_counts_exact(tmp_path: Path) -> None:
    for name in range(100):
        (tmp_path / f"state{name}").write_bytes(LONGS)
    only = group(scan(tmp_path), "unknown-structure", 64)
    assert (only.number, len(only.items), only.size_bytes) == (100, EXAMPLES, 2400)


def test_other_file_systems_are_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnt" / "below").mkdir(parents=True)
    mounts = {"/": "ext4", str(tmp_path.resolve() / "mnt"): "nfs"}
    monkeypatch.setattr(scan_reading, "mounts", lambda: mounts)
    found = scan(tmp_path)
    assert found.elsewhere.examples == (("mnt", "another file system is mounted there"),)
    assert found.directories == 1


def test_real_mounts_are_known_and_proc_is_refused() -> None:
    assert scan_reading.mounts()["/proc"] == "proc"
    with pytest.raises(SettingsError, match="holds no data"):
        scan(Path("/proc"))
    with pytest.raises(SettingsError, match="holds no data"):
        scan(Path("/proc/self/task"))


@pytest.mark.parametrize("name", ["missing", "file", "with\0zero"])
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="cannot be scanned"):
        scan(tmp_path / name)


def test_a_directory_that_was_removed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SettingsError, match="cannot be scanned: No such file") as caught:
        scan(Path())
    assert caught.value.exit_status == 40


def test_progress_ends_with_all_files(tmp_path: Path) -> None:
    for name in range(3):
        (tmp_path / str(name)).write_text("x")
    told: list[int] = []
    scan(tmp_path, progress=told.append)
    assert told == [3]


# Statements.


def statement(pattern: str, disposition: Disposition = Disposition.DISCARD) -> Statement:
    return Statement(pattern, disposition, "a cache", "answer file")


def test_statement_outweighs_the_bytes(tmp_path: Path) -> None:
    for name in ("spool/a/x.state", "spool/y.state", "other/x.state"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(LONGS)
    said = (statement("spool/**"), statement("never/*"))
    found = scan(tmp_path, said)
    taken = next(g for g in found.groups if g.statement)
    assert (taken.number, taken.disposition, taken.statement) == (2, Disposition.DISCARD, said[0])
    assert found.count(Disposition.SUSPECT) == 1
    assert found.unused == ("never/*",)


def test_first_statement_counts(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(LONGS)
    said = (statement("x", Disposition.PORTABLE), statement("*"))
    found = scan(tmp_path, said)
    assert found.count(Disposition.PORTABLE) == 1
    assert found.unused == ("*",)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a/*.db", "a/x.db", True),
        ("a/*.db", "a/b/x.db", False),
        ("a/**/x.db", "a/x.db", True),
        ("a/**/x.db", "a/b/c/x.db", True),
        ("**/x.db", "x.db", True),
        ("**/x.db", "a/x.db", True),
        ("**/x.db", "a/yx.db", False),
        ("a/**", "a", True),
        ("a/**", "a/b/c", True),
        ("a/**", "ab", False),
        ("**", "any/thing", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("a[1]", "a[1]", True),
        ("*", "two\nlines", True),
        ("/a/", "a", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert Glob(pattern).matches(path) == matches


def slow_match(pattern: str, path: str) -> bool:
    """Try everything, letter by letter."""
    if pattern == "/**":
        return not path or path.startswith("/")
    if pattern.startswith("**/"):
        starts = [0, *(at + 1 for at, letter in enumerate(path) if letter == "/")]
        return any(slow_match(pattern[3:], path[at:]) for at in starts)
    if pattern.startswith("**"):
        return any(slow_match(pattern[2:], path[at:]) for at in range(len(path) + 1))
    if pattern.startswith("*"):
        name = path.partition("/")[0]
        return any(slow_match(pattern[1:], path[at:]) for at in range(len(name) + 1))
    if not pattern or not path:
        return pattern == path
    same = path[0] != "/" if pattern[0] == "?" else path[0] == pattern[0]
    return same and slow_match(pattern[1:], path[1:])


PIECES = ("a", "b", "/", "*", "?", "**/", "/**", "a*b", "/**/")


@settings(max_examples=1000)
@given(
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
    st.text("ab/", max_size=8),
)
def test_patterns_agree_with_a_slow_matcher(pattern: str, path: str) -> None:
    plain = pattern
    while "***" in plain or "**/**" in plain:
        plain = plain.replace("***", "**").replace("**/**", "**")
    assert Glob(pattern).matches(path) == slow_match(plain.strip("/"), path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 100 + "*b", "a" * 250),
        ("**/" * 300 + "b", "a/" * 2000 + "a"),
        ("**a" * 300 + "**b", "a/" * 2000 + "a"),
        ("**/*a*/" * 140 + "b", "aa/" * 1000 + "a"),
    ],
)
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    # With backtracking none of these ends; a test that hangs fails.
    assert not Glob(pattern).matches(path)
    assert Glob(pattern[:-1] + "a").matches(path)


def test_a_pattern_that_nobody_wrote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"answer file: the pattern .* longer than 1000"):
        scan(tmp_path, (statement("a" * 1001),))
