"""How much of an installation a power cut takes back, counted at a disk that is slow."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ReadBackError
from applianceforge.release.index import BLOCK_BYTES
from applianceforge.release.update import underway
from applianceforge.release.update.underway import Flushing
from applianceforge.system.effects import Effects
from applianceforge.system.in_place import InPlace
from tests.release.bundled import Box, box_of, noise
from tests.slots.slot_images import slot_image

MIB = 1 << 20
SIZE_MIB = 40
# An image holds it twice.
CONTENT = 14 * MIB


class Slow(InPlace):
    """A partition whose flushes take their time, and which counts what they would save.

    Attributes:
        lost_bytes: The most that a power cut would have taken back so far.
    """

    lost_bytes = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path, Effects())
        self._lock = threading.Lock()
        self._written_bytes = self._flushed_bytes = 0

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        super().write(at_bytes, content)
        with self._lock:
            self._written_bytes += len(content)
            Slow.lost_bytes = max(Slow.lost_bytes, self._written_bytes - self._flushed_bytes)

    def flush(self) -> None:
        with self._lock:
            written_bytes = self._written_bytes
        super().flush()
        time.sleep(0.2)
        with self._lock:
            self._flushed_bytes = max(self._flushed_bytes, written_bytes)


def text(size_bytes: int) -> bytes:
    """Return what packs very well, and has no block twice."""
    return b"".join(b"%063d\n" % number for number in range(size_bytes // 64))


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """Return a box that has nothing of the new release, with windows for a slot of its size."""
    monkeypatch.setattr(underway, "FLUSHED_BYTES", 3 * MIB)
    monkeypatch.setattr(underway, "UNFLUSHED_BYTES", 4 * MIB)
    monkeypatch.setattr(underway, "UNPACKED_BYTES", MIB)
    Slow.lost_bytes = 0
    made = box_of(tmp_path, size_mib=SIZE_MIB)
    return replace(made, disk=replace(made.disk, slot_a=None))


def larger(box: Box, content: bytes) -> Box:
    image = slot_image(box.place / "large", Architecture.AMD64, content, size_mib=SIZE_MIB)
    return box.with_bundle_of(image)


@pytest.mark.parametrize(
    "content", [noise(7, CONTENT), noise(7, MIB) + text(CONTENT - MIB)], ids=["noise", "text"]
)
def test_what_is_not_flushed_is_bounded(box: Box, content: bytes) -> None:
    box = larger(box, content)
    box.install(opening=Slow)
    assert box.written == box.content
    frame_bytes = max(frame.blocks for frame in box.index.frames) * BLOCK_BYTES
    most = 2 * (underway.UNFLUSHED_BYTES + frame_bytes) + max(underway.UNPACKED_BYTES, frame_bytes)
    # More than one window: it writes on while the disk flushes.
    assert underway.UNFLUSHED_BYTES < Slow.lost_bytes <= most


def test_a_slow_proof_holds_no_flush_back() -> None:
    flushes: list[int] = []
    proofs: list[int] = []
    slow = threading.Event()

    def prove(whole_bytes: int) -> None:
        assert slow.wait(30)
        proofs.append(whole_bytes)

    with ThreadPoolExecutor(2) as pool:
        flushing = Flushing(pool, lambda: flushes.append(1), prove, lambda: len(flushes))
        for _ in range(5):
            flushing.wrote(underway.UNFLUSHED_BYTES)
        assert len(flushes) >= 5
        assert proofs == []
        slow.set()
        flushing.end()
    # Of what the flush before it had.
    assert proofs == [0]


class Failing(InPlace):
    """A partition whose nth flush fails."""

    left = 0

    def flush(self) -> None:
        Failing.left -= 1
        if Failing.left == 0:
            raise ReadBackError("the disk does not flush", hint="none")
        super().flush()


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_flush_that_fails_ends_it(box: Box, number: int) -> None:
    box = larger(box, noise(7, CONTENT))
    Failing.left = number
    threads = threading.active_count()
    with pytest.raises(ReadBackError, match="does not flush"):
        box.install(opening=lambda path: Failing(path, Effects()))
    assert threading.active_count() == threads
    # And it goes on where it was.
    Failing.left = 0
    assert box.install().kept_bytes > 0
    assert box.written == box.content
