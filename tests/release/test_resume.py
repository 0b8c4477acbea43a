"""An installation that is killed goes on where it was: what that costs, by real kills."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from applianceforge.release.update.installation import Installed
from applianceforge.slots.states import State
from tests.release.bundled import Box, Files, box_of, kill_after, noise

POINTS = 50
MOST = 1.02


class Meter:
    """Counts bytes over all processes that were made after it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        return int.from_bytes(self._memory[:8], "little")

    def add(self, size: int) -> None:
        self._memory[:8] = (self.count + size).to_bytes(8, "little")


class Metered(Files):
    """A source that tells a meter of what leaves it, and kills its process at a point."""

    meter: Meter
    kill_at: int | None = None

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        for chunk in super().fetch(path, largest_bytes, at_bytes, size_bytes):
            for first in range(0, len(chunk), 4096):
                part = chunk[first : first + 4096]
                self.meter.add(len(part))
                if self.kill_at is not None and self.meter.count >= self.kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield part


def source_of(box: Box, meter: Meter, kill_at: int | None = None) -> Metered:
    source = Metered(box.repository, chunk_bytes=1 << 16)
    source.meter, source.kill_at = meter, kill_at
    return source


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box that has nothing of the new release: all of the payload must come."""
    box = box_of(tmp_path_factory.mktemp("resume"), size_mib=24, filling=8_000_000)
    return replace(box, disk=replace(box.disk, slot_a=None))


@pytest.fixture
def box(made: Box) -> Box:
    made.target.write_bytes(noise(4, 24 << 20))
    return made


def test_killed_at_each_of_fifty_points(made: Box, box: Box) -> None:
    size = box.manifest.payload.size_bytes
    lost = []
    for point in range(1, POINTS + 1):
        box.target.write_bytes(noise(4, 24 << 20))
        meter = Meter()
        killed = source_of(box, meter, point * box.index.frames_bytes // (POINTS + 1))
        assert kill_after(partial(box.install, killed)) == signal.SIGKILL
        assert box.state is State.NOT_BOOTABLE
        installed = box.install(source_of(box, meter))
        assert installed.kept_bytes > 0 or point == 1
        assert box.written == box.content
        assert meter.count <= MOST * size
        lost.append(meter.count - box.index.frames_bytes)
    assert max(lost) <= max(frame.size_bytes for frame in box.index.frames)
    # It is not that nothing was ever lost: some kills hit the middle of a frame.
    assert max(lost) > 0


def test_killed_at_all_fifty_in_turn(box: Box) -> None:
    meter = Meter()
    step = box.index.frames_bytes // (POINTS + 1)
    largest = max(frame.size_bytes for frame in box.index.frames)
    kills = 0
    for _ in range(POINTS):
        source = source_of(box, meter, meter.count + step)
        kills += kill_after(partial(box.install, source)) == signal.SIGKILL
    assert kills == POINTS
    box.install(source_of(box, meter))
    assert box.written == box.content
    assert meter.count <= box.index.frames_bytes + POINTS * largest


def test_killed_while_it_copies(tmp_path: Path) -> None:
    """Blocks of the running slot that were copied before a kill are kept."""
    box = box_of(tmp_path, size_mib=8, filling=2_000_000)
    whole = box_of(tmp_path / "other", size_mib=8, filling=2_000_000).install()

    def killing(event: object) -> None:
        if getattr(event, "key", "") == "slot.copy" and getattr(event, "done_bytes", 0) > 900_000:
            os.kill(os.getpid(), signal.SIGKILL)

    class Sink:
        def emit(self, event: object) -> None:
            killing(event)

    assert kill_after(lambda: box.install(sink=Sink())) == signal.SIGKILL
    again = box.install()
    assert again.kept_bytes > 900_000
    assert again.copied_bytes < whole.copied_bytes
    assert box.written == box.content


def test_killed_before_the_seal_and_after(box: Box) -> None:
    """Nothing is fetched again for what comes at the end."""

    def at(key: str) -> Callable[[], Installed]:
        class Sink:
            def emit(self, event: object) -> None:
                if getattr(event, "key", "") == key:
                    os.kill(os.getpid(), signal.SIGKILL)

        return lambda: box.install(sink=Sink())

    assert kill_after(at("slot.verify")) == signal.SIGKILL
    again = box.install()
    assert again.fetched_bytes == 0
    assert box.written == box.content
