"""Installing a bundle, on plain files that stand for partitions."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import zstandard

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    BootDiskError,
    DiskFullError,
    ForgeError,
    NetworkError,
    PayloadError,
    ReadBackError,
    SettingsError,
    SlotError,
    WrongBundleError,
)
from applianceforge.release import index
from applianceforge.release.index import BLOCK_BYTES
from applianceforge.release.publish import bundle
from applianceforge.slots.layout import Slot
from applianceforge.slots.sealing import SEAL_AT, SEAL_BYTES
from applianceforge.slots.states import State
from applianceforge.slots.writing import SlotWriter
from applianceforge.system.effects import Effects
from applianceforge.system.in_place import InPlace
from applianceforge.system.progress import NoProgress, ProgressEvent, StepEnded, StepStarted
from tests.release.bundled import FAST, RELEASE, SLOT_NAME, Box, box_of, bundled, noise
from tests.slots.slot_images import SIZE_MIB, slot_image

CAPABLE = Verdict(Capability.CAPABLE, True, "metal", None, 1, ())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return box_of(tmp_path)


@dataclass
class Shown:
    events: list[ProgressEvent] = field(default_factory=list)

    def emit(self, event: ProgressEvent) -> None:
        self.events.append(event)


def may_be_activated(box: Box) -> bool:
    try:
        SlotWriter(box.disk, box.loader, Effects(), NoProgress()).activate(CAPABLE)
    except SlotError:
        return False
    return True


def test_a_bundle_is_installed_and_activated(box: Box) -> None:
    shown, source = Shown(), box.source
    booted = box.booted.read_bytes()
    installed = box.install(source, shown)
    assert box.written == box.content
    assert box.booted.read_bytes() == booted
    assert (installed.slot, installed.slot_bytes) == (Slot.B, len(box.content))
    assert (installed.description.name, installed.description.version) == ("reference", "1.2")
    # What both have was copied, and no more than the frames with something new came in.
    assert installed.copied_bytes > 1_000_000
    assert installed.fetched_bytes == source.received_bytes < 0.7 * box.manifest.payload.size_bytes
    assert installed.kept_bytes == 0
    began = [event.key for event in shown.events if isinstance(event, StepStarted)]
    ended = [event for event in shown.events if isinstance(event, StepEnded)]
    assert began == [event.key for event in ended]
    assert began == ["slot.compare", "slot.copy", "slot.fetch", "slot.verify"]
    assert ended[2].done_bytes == installed.fetched_bytes
    assert box.state is State.NOT_BOOTABLE
    assert may_be_activated(box)
    assert box.loader.read().primary == "b"


def test_what_is_there_is_kept(box: Box) -> None:
    box.install()
    source = box.source
    again = box.install(source)
    assert (again.kept_bytes, again.fetched_bytes) == (again.slot_bytes, 0)
    assert source.asked == []
    assert box.written == box.content


def test_a_slot_that_lost_some_blocks(box: Box) -> None:
    box.install()
    changed = bytearray(box.target.read_bytes())
    frame = next(one for one in box.index.frames if one.size_bytes > 10_000)
    changed[frame.first_block * BLOCK_BYTES + 7] ^= 1
    box.target.write_bytes(changed)
    # Nothing is copied: the box does not know what runs.
    alone = replace(box, disk=replace(box.disk, slot_a=None))
    again = alone.install()
    assert again.fetched_bytes == frame.size_bytes
    assert again.kept_bytes == again.slot_bytes - BLOCK_BYTES
    assert box.written == box.content


def test_zeros_are_made_and_not_fetched(box: Box) -> None:
    zeros = sum(run.blocks for run in box.index.zeros)
    assert zeros > 100
    installed = box.install()
    assert installed.zeroed_bytes == zeros * BLOCK_BYTES


def test_a_slot_that_begins_empty(tmp_path: Path) -> None:
    box = box_of(tmp_path, target=bytes(SIZE_MIB << 20))
    installed = box.install()
    assert installed.kept_bytes == sum(run.blocks for run in box.index.zeros) * BLOCK_BYTES
    assert box.written == box.content


def test_blocks_are_copied_from_wherever_they_lie(box: Box, tmp_path: Path) -> None:
    """The running slot holds the same blocks in another order, and some of them twice."""
    content = box.content
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    moved = tmp_path / "moved"
    moved.write_bytes(b"".join([*reversed(blocks), *blocks[100:200], b"a part of a block"]))
    other = replace(box, disk=replace(box.disk, slot_a=moved))
    installed = other.install()
    assert installed.fetched_bytes == 0
    assert installed.kept_bytes + installed.zeroed_bytes + installed.copied_bytes == len(content)
    assert box.written == content


def _too_small(box: Box) -> Box:
    os.truncate(box.target, (SIZE_MIB << 20) - BLOCK_BYTES)
    return box


def _other_size(box: Box) -> Box:
    return replace(box, manifest=replace(box.manifest, slot_bytes=box.manifest.slot_bytes + 4096))


def _other_payload(box: Box) -> Box:
    longer = replace(box.manifest.payload, size_bytes=box.manifest.payload.size_bytes + 1)
    return replace(box, manifest=replace(box.manifest, payload=longer))


def _other_index(box: Box) -> Box:
    digests = bytes((box.index.digests[0] ^ 1,)) + box.index.digests[1:]
    return replace(box, index=replace(box.index, digests=digests))


def _bad_slot_runs(box: Box) -> Box:
    box.loader.activate(Slot.B)
    box.loader.mark_bad(Slot.A, "by-hand")
    return box


def _no_partition(box: Box) -> Box:
    return replace(box, disk=replace(box.disk, slot_b=None))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_too_small, SlotError, "release 1.2 has .* and the slot only"),
        (_other_size, WrongBundleError, "do not belong together"),
        (_other_payload, WrongBundleError, "do not belong together"),
        (_other_index, WrongBundleError, "do not belong together"),
        (_bad_slot_runs, SlotError, "slot a is not marked good"),
        (_no_partition, BootDiskError, "the partition of slot b is not known"),
    ],
)
def test_nothing_is_changed_for_what_cannot_be(
    change: Callable[[Box], Box], error: type[ForgeError], message: str, box: Box
) -> None:
    wrong = change(box)
    before, source = (box.target.read_bytes(), box.loader.copies()), box.source
    with pytest.raises(error, match=message) as caught:
        wrong.install(source)
    assert caught.value.hint
    assert (box.target.read_bytes(), box.loader.copies()) == before
    assert source.asked == []


@pytest.mark.parametrize("part", ["missing", "changed"])
def test_a_payload_that_is_not_there_costs_nobody_the_other_system(part: str, box: Box) -> None:
    box.loader.activate(Slot.B)
    before, source = (box.target.read_bytes(), box.loader.copies()), box.source
    if part == "missing":
        (box.repository / box.manifest.payload.path).unlink()
    else:
        source.changes = lambda at, chunk: bytes(len(chunk))
    with pytest.raises((FileNotFoundError, PayloadError)):
        box.install(source)
    assert len(source.asked) == 1
    assert (box.target.read_bytes(), box.loader.copies()) == before


def left_as_it_should(box: Box) -> None:
    """The slot is no system for anybody, and what runs is as it was."""
    assert box.state is State.NOT_BOOTABLE
    assert box.target.read_bytes()[SEAL_AT : SEAL_AT + SEAL_BYTES] == bytes(SEAL_BYTES)
    assert not may_be_activated(box)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_changed_payload(part: float, box: Box) -> None:
    source, struck = box.source, []
    place = int(part * box.index.frames_bytes)
    frame = next(one for one in box.index.frames if one.at_bytes + one.size_bytes > place)
    alone = replace(box, disk=replace(box.disk, slot_a=None))

    def change(at: int, chunk: bytes) -> bytes:
        if not at <= place < at + len(chunk):
            return chunk
        struck.append(at)
        offset = place - at
        return chunk[:offset] + bytes((chunk[offset] ^ 0x10,)) + chunk[offset + 1 :]

    source.changes = change
    with pytest.raises(PayloadError, match="its digest is another") as caught:
        alone.install(source)
    assert len(struck) == 1
    assert caught.value.evidence == (f"{frame.size_bytes} bytes from byte {frame.at_bytes} on",)
    left_as_it_should(box)
    # What was right is not fetched again.
    again = alone.install()
    before = [one for one in box.index.frames if one.at_bytes < frame.at_bytes]
    assert again.fetched_bytes <= box.index.frames_bytes - sum(one.size_bytes for one in before)
    assert box.written == box.content


def test_a_payload_that_is_cut_short(box: Box) -> None:
    source = box.source
    end = source.directory / box.manifest.payload.path
    content = end.read_bytes()
    end.write_bytes(content[: len(content) // 2])
    with pytest.raises(PayloadError, match="was cut short"):
        replace(box, disk=replace(box.disk, slot_a=None)).install(source)
    assert source.received_bytes > 0
    left_as_it_should(box)


def test_a_source_that_sends_more(box: Box) -> None:
    class Generous(type(box.source)):  # type: ignore[misc]
        def fetch(self, *words: object) -> Iterator[bytes]:
            yield from super().fetch(*words)
            yield b"more"

    with pytest.raises(PayloadError, match="sends more"):
        box.install(Generous(box.repository))
    left_as_it_should(box)


def test_a_source_that_goes_away(box: Box) -> None:
    def gone() -> None:
        raise NetworkError("the server went away", hint="wait")

    source = box.source
    source.limit, source.at_limit = 300_000, gone
    with pytest.raises(NetworkError):
        box.install(source)
    left_as_it_should(box)
    assert box.install().fetched_bytes > 0
    assert box.written == box.content


class Limited(InPlace):
    """A disk that is full, or fails, after some writes."""

    left = 0

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        Limited.left -= 1
        if Limited.left < 0:
            raise DiskFullError("cannot write: No space left on device", hint="make room")
        super().write(at_bytes, content)


@pytest.mark.parametrize("writes", [0, 1, 5, 12])
def test_a_disk_that_fails(writes: int, box: Box) -> None:
    Limited.left = writes
    with pytest.raises(DiskFullError):
        box.install(opening=lambda path: Limited(path, Effects()))
    assert Limited.left < 0
    assert box.state is State.NOT_BOOTABLE
    assert not may_be_activated(box)
    box.install()
    assert box.written == box.content


class Forgetful(InPlace):
    """A disk that returns other bytes than it was given, once all was written."""

    place = 0
    struck = 0
    reads = 0

    def read_from_disk(
        self, size_bytes: int, chunk_bytes: int = 1 << 20, at_bytes: int = 0
    ) -> Iterator[bytes]:
        Forgetful.reads += 1
        at = at_bytes
        for chunk in super().read_from_disk(size_bytes, chunk_bytes, at_bytes):
            if Forgetful.reads > 1 and at <= self.place < at + len(chunk):
                Forgetful.struck += 1
                offset = self.place - at
                chunk = chunk[:offset] + bytes((chunk[offset] ^ 1,)) + chunk[offset + 1 :]
            yield chunk
            at += len(chunk)


@pytest.mark.parametrize("place", [0, SEAL_AT + 100, 3 << 20, (SIZE_MIB << 20) - 1])
def test_a_disk_that_forgets(place: int, box: Box) -> None:
    Forgetful.place, Forgetful.struck, Forgetful.reads = place, 0, 0
    with pytest.raises(ReadBackError, match="does not hold what was written"):
        box.install(opening=lambda path: Forgetful(path, Effects()))
    assert Forgetful.struck >= 1
    left_as_it_should(box)


class Unreadable(InPlace):
    """A running slot with a bad sector."""

    struck = 0

    def read_from_disk(
        self, size_bytes: int, chunk_bytes: int = 1 << 20, at_bytes: int = 0
    ) -> Iterator[bytes]:
        for number, chunk in enumerate(super().read_from_disk(size_bytes, chunk_bytes, at_bytes)):
            if number == 2:
                Unreadable.struck += 1
                raise SettingsError("cannot read: Input/output error", hint="check the disk")
            yield chunk


def test_a_running_slot_that_cannot_be_read(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    Unreadable.struck = 0
    monkeypatch.setattr("applianceforge.release.update.installation.InPlace", Unreadable)
    box.install(opening=lambda path: InPlace(path, Effects()))
    assert Unreadable.struck == 1
    assert box.written == box.content


def test_a_running_slot_that_lies(box: Box) -> None:
    """What is read from it is proved like anything else: it may change, or be read wrongly."""
    lying = bytearray(box.booted.read_bytes())
    for at in range(BLOCK_BYTES, len(lying), 5 * BLOCK_BYTES):
        lying[at] ^= 1
    box.booted.write_bytes(lying)
    box.install()
    assert box.written == box.content


def test_another_system_than_the_manifest_says(box: Box, tmp_path: Path) -> None:
    release = RELEASE._replace(version="1.3")
    wrong = replace(box, manifest=replace(box.manifest, release=release))
    with pytest.raises(WrongBundleError, match="holds reference 1"):
        wrong.install()
    left_as_it_should(box)


def test_an_index_of_another_file_system(box: Box) -> None:
    """The vendor's mistake is not taken for a failing disk."""
    wrong = replace(box, manifest=replace(box.manifest, slot_sha256="0" * 64))
    with pytest.raises(WrongBundleError, match="another file system than its manifest"):
        wrong.install()
    left_as_it_should(box)


def _with_frame(box: Box, number: int, packed: bytes) -> Box:
    """Return the box with a bundle that has another frame, signed and all."""
    path = box.repository / box.manifest.payload.path
    payload = path.read_bytes()
    frames, parts, at = [], [], 0
    for position, one in enumerate(box.index.frames):
        part = payload[one.at_bytes : one.at_bytes + one.size_bytes]
        if position == number:
            part = packed
        digest = hashlib.sha256(part).digest()
        frames.append(one._replace(at_bytes=at, size_bytes=len(part), sha256=digest))
        parts.append(part)
        at += len(part)
    changed = replace(box.index, frames=tuple(frames))
    path.write_bytes(b"".join(parts))
    whole = hashlib.sha256(index.encode(changed)).hexdigest()
    manifest = replace(
        box.manifest,
        index=replace(box.manifest.index, sha256=whole),
        payload=replace(box.manifest.payload, size_bytes=changed.payload_bytes),
    )
    without = replace(box.disk, slot_a=None)
    return replace(box, index=changed, manifest=manifest, disk=without)


def _packed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(content)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (lambda _size: _packed(bytes(1 << 28)), "says that it unpacks to 268435456 bytes"),
        (lambda _size: b"no frame at all", "Error|error|invalid|Unknown"),
        (lambda size: _packed(noise(9, size)), "other blocks than the index says"),
        (lambda size: _packed(noise(9, size))[:-9], "error|Error|decompress|mismatch"),
        (
            lambda size: zstandard.ZstdCompressor(write_content_size=False).compress(bytes(size)),
            "unpacks to -1 bytes",
        ),
    ],
    ids=["bomb", "none", "other", "cut", "no-size"],
)
def test_a_frame_that_is_proved_and_wrong(
    packed: Callable[[int], bytes], message: str, box: Box
) -> None:
    number = len(box.index.frames) // 2
    size = box.index.frames[number].blocks * BLOCK_BYTES
    wrong = _with_frame(box, number, packed(size))
    with pytest.raises(PayloadError, match=message):
        wrong.install()
    left_as_it_should(box)


def test_few_frames_are_fetched_for_scattered_changes(tmp_path: Path) -> None:
    """One block in thirty is new: frames of equal length would all have to be fetched."""
    box = box_of(tmp_path, size_mib=32, filling=12_000_000)
    old = bytearray(box.content)
    for number in range(40, len(old) // BLOCK_BYTES, 30):
        at = number * BLOCK_BYTES
        if any(old[at : at + BLOCK_BYTES]):
            old[at : at + 64] = noise(number, 64)
    earlier = tmp_path / "earlier"
    earlier.write_bytes(old)
    blind = replace(box, disk=replace(box.disk, slot_a=earlier))
    manifest, decoded = bundled(box.image, box.repository)
    much = replace(blind, manifest=manifest, index=decoded).install().fetched_bytes
    assert much > 0.7 * manifest.payload.size_bytes
    box.target.write_bytes(noise(4, 32 << 20))
    manifest, decoded = bundled(box.image, box.repository, earlier)
    few = replace(blind, manifest=manifest, index=decoded).install().fetched_bytes
    assert few < 0.15 * manifest.payload.size_bytes
    assert box.written == box.content


needs_loop = pytest.mark.skipif(
    os.getuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


@needs_loop
def test_a_real_block_device(box: Box) -> None:
    made = subprocess.run(
        ["losetup", "-f", "--show", str(box.target)], capture_output=True, check=True
    )
    device = Path(made.stdout.decode().strip())
    try:
        installed = replace(box, disk=replace(box.disk, slot_b=device)).install()
        assert installed.zeroed_bytes > 0
    finally:
        subprocess.run(["losetup", "-d", str(device)], check=True)
    assert box.written == box.content


def test_what_no_system_is(box: Box, tmp_path: Path) -> None:
    """A bundle can only be made of what can be installed; its maker may have been another."""
    image = slot_image(tmp_path / "none", Architecture.AMD64, without="boot/vmlinuz")
    with pytest.raises(SlotError):
        bundle.make(*(image, RELEASE, SLOT_NAME, (), tmp_path, Effects(), NoProgress()), level=FAST)
