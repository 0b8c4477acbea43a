"""Writing a slot, on plain files that stand for partitions."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    BootEnvironmentError,
    ForgeError,
    InhibitedError,
    ReadBackError,
    SettingsError,
    SlotError,
    exit_status_of,
)
from applianceforge.slots import states
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.sealing import SEAL_AT
from applianceforge.slots.states import State
from applianceforge.slots.writing import SlotWriter, describe
from applianceforge.system.effects import Effects
from applianceforge.system.in_place import InPlace
from applianceforge.system.progress import NoProgress, ProgressEvent, StepAdvanced, StepEnded
from tests.slots.power import new_ground
from tests.slots.slot_images import SIZE_MIB, slot_image

CAPABLE = Verdict(Capability.CAPABLE, True, "metal", None, 1, ())
INCAPABLE = Verdict(Capability.INCAPABLE, False, "metal", None, None, ("no lm",))
UNKNOWN = Verdict(Capability.UNKNOWN, None, "metal", None, None, ())
NOISE = random.Random(2).randbytes(1_200_000)


@dataclass
class Shown:
    events: list[ProgressEvent] = field(default_factory=list)

    def emit(self, event: ProgressEvent) -> None:
        self.events.append(event)


@dataclass
class Box:
    """An appliance that runs slot a, in files."""

    place: Path
    partition: Path
    loader: Loader
    writer: SlotWriter
    shown: Shown

    def state(self) -> State:
        return states.state_of(self.loader.read(), Slot.B)


@pytest.fixture
def box(tmp_path: Path, effects: Effects) -> Box:
    directory = new_ground(tmp_path / "boot").directory
    partition = tmp_path / "partition"
    partition.write_bytes(random.Random(1).randbytes((SIZE_MIB << 20) + 12345))
    disk = BootDisk(Slot.A, directory, slot_b=partition)
    loader = Loader(directory, effects)
    shown = Shown()
    return Box(tmp_path, partition, loader, SlotWriter(disk, loader, effects, shown), shown)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return slot_image(tmp_path / "image", Architecture.AMD64, NOISE)


def test_an_image_is_written_and_activated(box: Box, image: Path) -> None:
    written = box.writer.write(image)
    content = image.read_bytes()
    assert box.partition.read_bytes()[: len(content)] == content
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert (written.slot, written.size_bytes) == (Slot.B, len(content))
    assert box.state() is State.NOT_BOOTABLE
    ended = [event for event in box.shown.events if isinstance(event, StepEnded)]
    assert [event.key for event in ended] == ["slot.check", "slot.write", "slot.verify"]
    assert {event.done_bytes for event in ended} == {len(content)}
    assert any(isinstance(event, StepAdvanced) for event in box.shown.events)
    environment, described = box.writer.activate(CAPABLE)
    assert (environment.primary, described.name) == ("b", "reference")
    assert box.state() is State.ACTIVATED


def test_a_compressed_image_is_the_same(box: Box, image: Path) -> None:
    packed = box.place / "slot.zst"
    packed.write_bytes(zstandard.compress(image.read_bytes(), 3))
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert box.writer.write(packed, digest.upper()).sha256 == digest
    assert box.partition.read_bytes()[: SIZE_MIB << 20] == image.read_bytes()


def _not_an_image(box: Box, image: Path) -> Path:
    return Path(__file__)


def _cut_short(box: Box, image: Path) -> Path:
    os.truncate(image, (SIZE_MIB << 20) - 4096)
    return image


def _too_large(box: Box, image: Path) -> Path:
    os.truncate(box.partition, (SIZE_MIB << 20) - 512)
    return image


def _missing(box: Box, image: Path) -> Path:
    return box.place / "nowhere"


def _cut_zst(box: Box, image: Path) -> Path:
    packed = box.place / "cut.zst"
    data = zstandard.compress(image.read_bytes(), 3)
    packed.write_bytes(data[: len(data) // 2])
    return packed


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_not_an_image, SlotError, "holds no ext2 or ext4 file system"),
        (_cut_short, SlotError, "ends after"),
        (_too_large, SlotError, "and the slot only"),
        (_missing, SettingsError, "No such file"),
        (_cut_zst, SlotError, "cut.zst"),
    ],
)
def test_nothing_is_changed_for_a_wrong_image(
    change: Callable[[Box, Path], Path],
    error: type[ForgeError],
    message: str,
    box: Box,
    image: Path,
) -> None:
    path = change(box, image)
    before = box.partition.read_bytes(), box.loader.copies()
    with pytest.raises(error, match=message) as caught:
        box.writer.write(path)
    assert caught.value.hint
    assert (box.partition.read_bytes(), box.loader.copies()) == before


def test_another_digest_than_expected(box: Box, image: Path) -> None:
    before = box.partition.read_bytes(), box.loader.copies()
    with pytest.raises(SlotError, match="is not the image that was expected") as caught:
        box.writer.write(image, "0" * 64)
    assert len(caught.value.evidence) == 2
    assert (box.partition.read_bytes(), box.loader.copies()) == before


def test_the_slot_that_runs_must_be_good(box: Box, image: Path) -> None:
    box.loader.activate(Slot.B)
    box.loader.mark_bad(Slot.A, "by-hand")
    before = box.partition.read_bytes()
    with pytest.raises(SlotError, match="slot a is not marked good"):
        box.writer.write(image)
    assert box.partition.read_bytes() == before


def test_a_lost_environment(box: Box, image: Path) -> None:
    for name in ("env1", "env2"):
        (box.loader.directory / name).write_bytes(b"")
    before = box.partition.read_bytes()
    with pytest.raises(BootEnvironmentError):
        box.writer.write(image)
    assert box.partition.read_bytes() == before


class Forgetful(InPlace):
    """A disk that returns other bytes than it was given, at one place."""

    place = 3 << 20
    struck = 0

    def read_from_disk(
        self, size_bytes: int, chunk_bytes: int = 1 << 20, at_bytes: int = 0
    ) -> Iterator[bytes]:
        at = at_bytes
        for chunk in super().read_from_disk(size_bytes, chunk_bytes, at_bytes):
            if at <= self.place < at + len(chunk):
                Forgetful.struck += 1
                offset = self.place - at
                chunk = chunk[:offset] + bytes((chunk[offset] ^ 1,)) + chunk[offset + 1 :]
            yield chunk
            at += len(chunk)


@pytest.mark.parametrize("place", [0, SEAL_AT + 100, 3 << 20, (SIZE_MIB << 20) - 1])
def test_a_disk_that_forgets(place: int, box: Box, image: Path, effects: Effects) -> None:
    Forgetful.place, Forgetful.struck = place, 0
    box.writer.write(image)
    writer = SlotWriter(
        box.writer.disk,
        box.loader,
        effects,
        NoProgress(),
        lambda path: Forgetful(path, effects),
    )
    with pytest.raises(ReadBackError, match="does not hold what was written"):
        writer.write(image)
    assert Forgetful.struck == 1
    assert box.state() is State.NOT_BOOTABLE
    with pytest.raises(SlotError):
        writer.activate(CAPABLE)


def test_an_image_that_changes_meanwhile(box: Box, image: Path) -> None:
    class Changing(Shown):
        def emit(self, event: ProgressEvent) -> None:
            if isinstance(event, StepEnded) and event.key == "slot.check":
                with open(image, "r+b") as stream:
                    stream.seek(2 << 20)
                    stream.write(b"changed")

    writer = SlotWriter(box.writer.disk, box.loader, Effects(), Changing())
    with pytest.raises(SlotError, match="was changed while it was written"):
        writer.write(image)
    with pytest.raises(SlotError):
        writer.activate(CAPABLE)


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize("verdict", [CAPABLE, INCAPABLE, UNKNOWN])
def test_activating_asks_the_processor(
    architecture: Architecture, verdict: Verdict, box: Box
) -> None:
    box.writer.write(slot_image(box.place / "other", architecture))
    if architecture is Architecture.AMD64 and verdict.long_mode is False:
        with pytest.raises(InhibitedError, match="does not run those") as caught:
            box.writer.activate(verdict)
        assert exit_status_of(caught.value) == 22
        assert box.state() is State.NOT_BOOTABLE
        return
    # What is not known here, GRUB finds out before it starts it.
    box.writer.activate(verdict)
    assert box.state() is State.ACTIVATED


def test_activating_nothing(box: Box) -> None:
    with pytest.raises(SlotError, match="holds no ext2 or ext4 file system"):
        box.writer.activate(CAPABLE)
    assert box.state() is State.NOT_BOOTABLE


def test_memory_is_bounded(box: Box, tmp_path: Path) -> None:
    """An image of many chunks passes through, one chunk at a time."""
    image = slot_image(tmp_path / "large", Architecture.I386, NOISE)
    os.truncate(image, 64 << 20)
    os.truncate(box.partition, 64 << 20)
    largest = 0

    class Watched(InPlace):
        def write(self, at_bytes: int, content: bytes | memoryview) -> None:
            nonlocal largest
            largest = max(largest, len(content))
            super().write(at_bytes, content)

    effects = Effects()
    opening = lambda path: Watched(path, effects)  # noqa: E731
    SlotWriter(box.writer.disk, box.loader, effects, NoProgress(), opening).write(image)
    assert largest == 1 << 20


needs_loop = pytest.mark.skipif(
    os.getuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


@needs_loop
def test_a_real_block_device(box: Box, image: Path, effects: Effects) -> None:
    made = subprocess.run(
        ["losetup", "-f", "--show", str(box.partition)], capture_output=True, check=True
    )
    device = Path(made.stdout.decode().strip())
    point = box.place / "point"
    point.mkdir()
    try:
        disk = BootDisk(Slot.A, box.loader.directory, slot_b=device)
        writer = SlotWriter(disk, box.loader, effects, NoProgress())
        writer.write(image)
        assert describe(device, effects).name == "reference"
        # While it is mounted, the kernel lets nobody write to it.
        mount = [*("unshare", "-m", "sh", "-c", 'mount -o ro "$1" "$2" && shift 2 && "$@"', "sh")]
        program = shutil.which("python3") or "python3"
        busy = subprocess.run(
            [
                *(*mount, str(device), str(point), program, "-c"),
                "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)",
                str(device),
            ],
            capture_output=True,
        )
        assert b"busy" in busy.stderr
    finally:
        subprocess.run(["losetup", "-d", str(device)], check=True)
    assert box.partition.read_bytes()[: SIZE_MIB << 20] == image.read_bytes()
