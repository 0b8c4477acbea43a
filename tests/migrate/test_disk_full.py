"""A disk that is full: refused before, stopped at any point, and continued when there is room."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from applianceforge.migrate.journal import Event, Journal
from applianceforge.migrate.postgres.server import find_running
from applianceforge.model.errors import DiskFullError
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressEvent, StepStarted
from tests.migrate.boxes import Box

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]
_ROOMY_MIB = 400
_PATIENCE_S = 60


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size, in memory."""
    directory.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        directory.rmdir()


def fill(disk: Path, keep_bytes: int = 0) -> None:
    """Take all the space but some."""
    with open(disk / "filler", "wb") as stream:
        for _ in range(100):
            # Others may be writing meanwhile.
            size_bytes = stream.seek(0, os.SEEK_END)
            more_bytes = _free(disk) - keep_bytes
            if more_bytes <= 0:
                return
            with contextlib.suppress(OSError):
                os.posix_fallocate(stream.fileno(), size_bytes, more_bytes)
    raise AssertionError(f"{disk} does not become full")


def _free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


@dataclass
class Filling:
    """Fills the disk when a step begins."""

    disk: Path
    step: str
    keep_bytes: int
    filled: bool = False

    def emit(self, event: ProgressEvent) -> None:
        if isinstance(event, StepStarted) and event.key == self.step and not self.filled:
            fill(self.disk, self.keep_bytes)
            self.filled = True


def moved(box: Box, disk: Path, *, work: bool = True, target: bool = True) -> Box:
    """Put the work directory, or the new data, or both, onto a disk."""
    if work:
        box = box.with_settings(work__directory=disk / "work")
    if target:
        box = box.with_settings(
            target__postgres__data=disk / "new/data", target__rrd__directory=disk / "new/rrd"
        )
    return box


@pytest.mark.parametrize(("work", "target"), [(True, False), (False, True), (True, True)])
def test_too_little_space_is_refused_before(tiny_box: Box, work: bool, target: bool) -> None:
    with small_disk(tiny_box.place / "disk", "20m") as disk:
        box = moved(tiny_box, disk, work=work, target=target)
        said = box.migrate("run", "--progress", "none")
        assert said.status == 23, said.errors
        needed, free = (
            re.findall(r"(\d+) MiB", said.errors)[0],
            re.findall(r"(\d+) MiB free", said.errors),
        )
        assert int(needed) > 20 >= int(min(free, key=int))
        assert re.search(r"Make \d+ MiB of room", said.hint)
        assert str(disk) in said.errors
        assert not box.staged.exists()
        assert box.migrate("plan").status == 23


# Where it happens, and how much is left then: nothing for the journal itself, or enough to begin.
POINTS = (
    ("postgres.inventory", 0),
    ("postgres.globals", 0),
    ("postgres.dump:mail", 64 << 10),
    ("postgres.dump:mail", 1 << 20),
    ("postgres.create", 8 << 10),
    ("postgres.create", 10 << 20),
    ("postgres.create", 36 << 20),
    ("postgres.load:mail", 256 << 10),
    ("postgres.load:mail", 6 << 20),
    ("postgres.load:postgres", 0),
    # The server fails while it drops template1, which it then lets nobody into.
    ("postgres.load:template1", 0),
    ("postgres.finish", 0),
    ("rrd.convert", 20 << 10),
    ("postgres.verify", 0),
)


def test_a_run_that_finds_no_room_again_and_again_comes_to_its_end(tiny_box: Box) -> None:
    with small_disk(tiny_box.place / "disk", f"{_ROOMY_MIB}m") as disk:
        box = moved(tiny_box, disk)
        for step, keep_bytes in POINTS:
            filling = Filling(disk, step, keep_bytes)
            with pytest.raises(DiskFullError) as caught:
                box.run(sink=filling)
            assert filling.filled, (step, keep_bytes, caught.value)
            assert "room" in caught.value.hint, (step, keep_bytes)
            assert re.search(r"At most \d+ MiB are needed", caught.value.hint), (step, keep_bytes)
            assert not box.data.exists()
            assert find_running(box.staged) is None
            assert find_running(box.old.data) is None
            (disk / "filler").unlink()
        done = box.run()
        assert done.proofs["rows"] == 4000
        assert done.proofs["rrds"] == 3
        assert box.data.exists()
        assert box.migrate("verify", "--progress", "none").status == 0


def wait_for(path: Path, content: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not (path.exists() and content in path.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_command_says_so_and_continues(tiny_box: Box) -> None:
    with small_disk(tiny_box.place / "disk", f"{_ROOMY_MIB}m") as disk:
        box = moved(tiny_box, disk)
        running = box.start("run", "--progress", "none")
        try:
            wait_for(box.workspace.journal, b'"begun"')
            fill(disk)
            assert running.wait(_PATIENCE_S) == 48
        finally:
            running.terminate()
            running.wait()
        (disk / "filler").unlink()
        said = box.migrate("run", "--progress", "none")
        assert said.status == 0, said.errors
        assert box.data.exists()


def test_a_journal_that_finds_no_room_is_whole(place: Path) -> None:
    with small_disk(place / "disk", "16k") as disk:
        journal = Journal(disk / "journal.jsonl", Effects(), lambda: 1.0)
        written = 0
        with pytest.raises(DiskFullError):
            while True:
                journal.write(Event.BEGUN, f"step {written}", padding="x" * 100)
                written += 1
                assert written < 1000
        # In its last page there may be room for a shorter line: it must not follow half a line.
        assert len(journal.entries) == written > 10
        assert (disk / "journal.jsonl").read_bytes().endswith(b"\n")
        again = Journal(disk / "journal.jsonl", Effects(), lambda: 1.0)
        assert again.entries == journal.entries
