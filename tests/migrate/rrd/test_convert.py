"""Converting files and trees: what is kept, what is refused, and what is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.migrate.rrd import convert, reading
from applianceforge.migrate.rrd.convert import convert_file, convert_tree
from applianceforge.migrate.rrd.reading import OpenRrd, until_unchanged
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.rrd.verify import verify_trees
from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    ProgramFailedError,
    RrdError,
    SettingsError,
)
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.formats.rrd.build import AMD64, I386, MACHINES, Rra, Spec, build
from tests.migrate.rrd.places import NOBODY, WHEN_NS, as_nobody, put, spec, tree

LARGE_ROWS = 200_000
"""1.6 MB of rows: more than one piece, and more than is read with the header."""


def test_a_file_keeps_values_mode_times_and_owner(tmp_path: Path) -> None:
    source = put(tmp_path / "a.rrd", 3, mode=0o604)
    if os.geteuid() == 0:
        os.chown(source, NOBODY, NOBODY)
    target = tmp_path / "b.rrd"
    size = convert_file(source, target)
    status = target.stat()
    assert target.read_bytes() == build(spec(3), AMD64)
    assert size == status.st_size
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o604, WHEN_NS + 3)
    assert (status.st_uid, status.st_gid) == (source.stat().st_uid, source.stat().st_gid)
    assert source.read_bytes() == build(spec(3), I386)


@pytest.mark.parametrize("name", MACHINES)
def test_large_files_of_every_machine(name: str, tmp_path: Path) -> None:
    made = Spec(rra=(Rra(rows=LARGE_ROWS),))
    tmp_path.joinpath("a.rrd").write_bytes(build(made, MACHINES[name]))
    convert_file(tmp_path / "a.rrd", tmp_path / "b.rrd")
    assert tmp_path.joinpath("b.rrd").read_bytes() == build(made, AMD64)


def test_large_headers(tmp_path: Path) -> None:
    made = Spec(rra=tuple(Rra(rows=1) for _ in range(2000)))
    tmp_path.joinpath("a.rrd").write_bytes(build(made, I386))
    convert_file(tmp_path / "a.rrd", tmp_path / "b.rrd")
    assert tmp_path.joinpath("b.rrd").read_bytes() == build(made, AMD64)


def test_sparse_files_are_read_as_they_are(tmp_path: Path) -> None:
    made = Spec(rra=(Rra(rows=LARGE_ROWS),), values=(0,) * LARGE_ROWS)
    content = build(made, I386)
    with open(tmp_path / "a.rrd", "wb") as stream:
        stream.write(content[:4096])
        stream.truncate(len(content))
    assert tmp_path.joinpath("a.rrd").stat().st_blocks * 512 < len(content)
    convert_file(tmp_path / "a.rrd", tmp_path / "b.rrd")
    assert tmp_path.joinpath("b.rrd").read_bytes() == build(made, AMD64)


def test_an_existing_target_is_kept(tmp_path: Path) -> None:
    source, target = put(tmp_path / "a.rrd"), tmp_path / "b.rrd"
    target.write_text("precious")
    with pytest.raises(SettingsError):
        convert_file(source, target)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("content", [b"", b"hello", build(Spec(), I386)[:-1]])
def test_a_refused_file_is_named_and_leaves_nothing(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "bad.rrd"
    source.write_bytes(content)
    with pytest.raises(RrdError) as raised:
        convert_file(source, tmp_path / "b.rrd")
    assert str(source) in raised.value.message
    assert raised.value.hint
    assert raised.value.evidence
    assert not tmp_path.joinpath("b.rrd").exists()


def test_links_and_pipes_put_there_since_the_scan_are_not_opened(tmp_path: Path) -> None:
    put(tmp_path / "a.rrd")
    tmp_path.joinpath("link.rrd").symlink_to("a.rrd")
    with pytest.raises(SettingsError):
        convert_file(tmp_path / "link.rrd", tmp_path / "b.rrd")
    os.mkfifo(tmp_path / "pipe.rrd")
    with pytest.raises(RrdError, match="is not a file"):
        convert_file(tmp_path / "pipe.rrd", tmp_path / "b.rrd")
    assert not tmp_path.joinpath("b.rrd").exists()


# Files that change while they are read


class Writer:
    """Change a file after each of the first `times` reads of it."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times, self.reads = path, times, 0

    def __call__(self, rrd: OpenRrd) -> bytes:
        self.reads += 1
        content = rrd.content()
        if self.reads <= self.times:
            put(self.path, self.reads)
        return content


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path / "a.rrd")
    writer = Writer(path, 2)
    content = until_unchanged(str(path), writer)
    assert writer.reads == 3
    assert content == build(spec(2), I386)


def test_a_file_that_always_changes_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_PAUSE_S", 0.0)
    path = put(tmp_path / "busy.rrd")
    writer = Writer(path, 99)
    with pytest.raises(RrdError, match=r"busy\.rrd changed each of the 5 times") as raised:
        until_unchanged(str(path), writer)
    assert writer.reads == 5
    assert "stop what updates it" in raised.value.hint


def test_a_file_replaced_or_half_written_meanwhile_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path / "a.rrd")
    calls = []

    def read(rrd: OpenRrd) -> bytes:
        calls.append(1)
        if len(calls) == 1:
            put(tmp_path / "new", 5).rename(path)
        if len(calls) == 2:
            path.write_bytes(path.read_bytes()[:200])
            with pytest.raises(RrdError):
                until_unchanged(str(path), lambda short: short.content())
            put(path, 6)
            raise RrdError("half written")
        return rrd.content()

    assert until_unchanged(str(path), read) == build(spec(6), I386)
    assert len(calls) == 3


def test_the_conversion_writes_the_last_reading_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.rrd", 1)
    content = OpenRrd.pieces
    reads = []

    def pieces(rrd: OpenRrd) -> object:
        reads.append(1)
        if len(reads) == 1:
            # The next reading is shorter: what was written of this one must not stay behind it.
            tmp_path.joinpath("new").write_bytes(build(Spec(), I386))
            yield from content(rrd)
            tmp_path.joinpath("new").rename(path)
            return
        yield from content(rrd)

    monkeypatch.setattr(OpenRrd, "pieces", pieces)
    convert_file(path, tmp_path / "b.rrd")
    assert len(reads) == 2
    assert tmp_path.joinpath("b.rrd").read_bytes() == build(Spec(), AMD64)


# Trees


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tree_keeps_its_shape(tmp_path: Path, jobs: int, effects: Effects) -> None:
    source, target = tree(tmp_path / "old", 80), tmp_path / "new"
    counter = Counter("rrd", NoProgress())
    done = convert_tree(scan(source), target, effects, counter=counter, jobs=jobs)
    assert done.files == counter.done_rows == 81
    assert done.source_bytes == counter.done_bytes == scan(source).size_bytes
    assert done.target_bytes == scan(target).size_bytes
    assert effects.count == 1
    for number in range(80):
        path = f"host{number % 3}/größe {number}.rrd"
        assert target.joinpath(path).read_bytes() == build(spec(number), AMD64)
    assert target.joinpath("host0/größe 0.rrd").samefile(target / "host1/again.rrd")
    assert str(target.joinpath("latest.rrd").readlink()) == "host2/größe 2.rrd"
    # An absolute link would lead back to the old files.
    assert str(target.joinpath("host2/absolute.rrd").readlink()) == "../host0/größe 3.rrd"
    assert target.joinpath("alias/again.rrd").is_file()
    assert not target.joinpath("host0/notes.txt").exists()
    assert target.joinpath("host1").stat().st_mode & 0o7777 == 0o750
    assert target.joinpath("host1").stat().st_mtime_ns == WHEN_NS
    assert verify_trees(source, target) == ()


def test_a_target_that_is_not_empty_is_refused(tmp_path: Path, effects: Effects) -> None:
    source = tree(tmp_path / "old")
    put(tmp_path / "new/a.rrd")
    with pytest.raises(SettingsError, match="not empty"):
        convert_tree(scan(source), tmp_path / "new", effects)
    assert effects.count == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_refused_files_are_named_at_once(tmp_path: Path, jobs: int, effects: Effects) -> None:
    source = tree(tmp_path / "old", 80)
    for number in (1, 40, 79):
        source.joinpath(f"host0/bad{number}.rrd").write_bytes(b"nothing")
    with pytest.raises(RrdError, match="3 of 84") as raised:
        convert_tree(scan(source), tmp_path / "new", effects, jobs=jobs)
    assert [line.split(":")[0] for line in raised.value.evidence] == [
        f"{source}/host0/bad{number}.rrd" for number in (1, 40, 79)
    ]


def test_an_unreadable_file_stops_with_its_name(tmp_path: Path, effects: Effects) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    source = tree(tmp_path / "old", 80)
    found = scan(source)
    new = tmp_path / "new"
    new.mkdir(mode=0o777)
    new.chmod(0o777)
    for path in source.rglob("*.rrd"):
        path.chmod(0o600)
    with as_nobody(), pytest.raises(AccessDeniedError, match=r"\.rrd"):
        convert_tree(found, new, effects)


def test_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effects: Effects
) -> None:
    full = []

    def write(_handle: int, _content: object) -> int:
        full.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("applianceforge.migrate.rrd.convert.os.write", write)
    with pytest.raises(DiskFullError):
        convert_tree(scan(tree(tmp_path / "old")), tmp_path / "new", effects, jobs=1)
    assert full


def test_a_killed_worker_is_an_error(tmp_path: Path, effects: Effects) -> None:
    # A file that kills whoever reads it; only workers are forked from here.
    source = scan(tree(tmp_path / "old", 80))
    us, killed = os.getpid(), tmp_path / "killed"

    def header(_rrd: object) -> bytes:
        if os.getpid() != us:
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(convert, "encode_header", header)
        with pytest.raises(ProgramFailedError, match="a worker process was killed"):
            convert_tree(source, tmp_path / "new", effects)
    assert killed.exists()


PROGRAM = """
import sys, time
from pathlib import Path
from applianceforge.migrate.rrd import convert
from applianceforge.migrate.rrd.scan import scan
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

def slowly(task, work=convert._convert_some):
    time.sleep(0.2)
    return work(task)

class Told:
    def emit(self, event):
        print("going", flush=True)

convert._convert_some = slowly
source, target = map(Path, sys.argv[1:])
try:
    convert.convert_tree(scan(source), target, Effects(), counter=Counter("rrd", Told()))
except KeyboardInterrupt:
    sys.exit(130)
"""


def children_of(process: int) -> list[int]:
    return [
        int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_run_leaves_no_process(
    how: signal.Signals, status: int, tmp_path: Path
) -> None:
    source = tree(tmp_path / "old", 1000)
    command = [sys.executable, "-c", PROGRAM, str(source), str(tmp_path / "new")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        workers = children_of(process.pid)
        assert len(workers) == 2
        process.send_signal(how)
        assert process.wait(timeout=10) == status
    until = time.monotonic() + 5
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_running, workers))


def test_what_was_converted_converts_to_itself(tmp_path: Path, effects: Effects) -> None:
    source, once, twice = tree(tmp_path / "old"), tmp_path / "once", tmp_path / "twice"
    convert_tree(scan(source), once, effects)
    convert_tree(scan(once), twice, effects)
    assert verify_trees(once, twice) == ()
    for file in scan(twice).files:
        content = twice.joinpath(file.path).read_bytes()
        assert content == once.joinpath(file.path).read_bytes() == encode(decode(content))
