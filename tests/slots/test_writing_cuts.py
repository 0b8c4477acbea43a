"""Power cuts while a slot is written: what is half written is never taken for a system."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from applianceforge.formats import bootenv
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError
from applianceforge.slots import images, layout
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.writing import SlotWriter
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.slots.power import NAMES, SECTOR, Entry, Flush, Log, Write, choose, new_ground, put
from tests.slots.slot_images import slot_image

PARTITION = "partition"


@dataclass(frozen=True)
class Recording:
    """Everything that writing and activating a slot handed to the disk, and what was there."""

    before: dict[str, bytes]
    entries: tuple[Entry, ...]
    image: bytes


def record(place: Path, writer_type: type[SlotWriter] = SlotWriter) -> Recording:
    """Write an amd64 image over an i386 one that GRUB would start, and activate it."""
    ground = new_ground(place / "boot")
    old = slot_image(place / "old", Architecture.I386, b"old" * 300_000)
    new = slot_image(place / "new", Architecture.AMD64, b"new" * 200_000)
    partition = place / PARTITION
    partition.write_bytes(old.read_bytes() + bytes(8192))
    # The slot is good and primary, though the other one runs: only what is withdrawn is safe.
    for name in layout.ENVIRONMENT_COPIES:
        path = ground.directory / name
        found = bootenv.complete(path.read_bytes())
        assert found is not None
        path.write_bytes(bootenv.encode(found._replace(primary="b", b=bootenv.KNOWN_GOOD)))
    (ground.directory / layout.GOOD_MARKER).write_bytes(bootenv.encode_marker("b"))
    before = {**ground.files(), PARTITION: partition.read_bytes()}
    log = Log()
    disk = BootDisk(Slot.A, ground.directory, slot_b=partition)
    loader = Loader(ground.directory, Effects(), log.opening)
    writer = writer_type(disk, loader, Effects(), NoProgress(), log.opening)
    writer.write(new)
    loader.activate(Slot.B)
    return Recording(before, tuple(log.entries), new.read_bytes())


def _whole(files: dict[str, bytes], recording: Recording) -> dict[Slot, bool]:
    size = len(recording.image)
    old = recording.before[PARTITION]
    return {Slot.A: True, Slot.B: files[PARTITION][:size] in (recording.image, old[:size])}


def _is_read(files: dict[str, bytes]) -> bool:
    data = files[PARTITION]
    try:
        images.look_at(lambda at, size: data[at : at + size], PARTITION)
    except SlotError:
        return False
    return True


def states(recording: Recording, source: random.Random) -> Iterator[dict[str, bytes]]:
    """Return what the disk may hold at each instant, a sample where there is too much of it."""
    durable = recording.before
    pending: list[Write] = []
    for entry in recording.entries:
        if isinstance(entry, Write):
            pending.append(entry)
        elif isinstance(entry, Flush):
            for write in [write for write in pending if write.name == entry.name]:
                durable = put(durable, write.name, write.at, write.content)
                pending.remove(write)
        yield durable
        for _ in range(8 if pending else 0):
            state = durable
            for write in pending:
                # Old, new, or cut at any sector.
                sectors = len(write.content) // SECTOR
                arrived = source.choice((0, source.randint(0, sectors), sectors))
                state = put(state, write.name, write.at, write.content[: arrived * SECTOR])
            yield state
        # All that was not flushed has arrived but one.
        for left_out in pending:
            state = durable
            for write in pending:
                if write is not left_out:
                    state = put(state, write.name, write.at, write.content)
            yield state


def problems(recording: Recording) -> tuple[list[str], int]:
    """Return what GRUB would do wrong, and in how many states it was asked.

    The environment alone must keep GRUB from a slot that is not whole, also if one copy is lost;
    and so must the content of the slot.
    """
    found, cases = [], 0
    for files in states(recording, random.Random(1)):
        whole = _whole(files, recording)
        if not whole[Slot.B] and _is_read(files):
            found.append("a slot that is half written can be read")
        archs = {Slot.A: Architecture.I386, Slot.B: Architecture.AMD64}
        for lost in ("", *layout.ENVIRONMENT_COPIES):
            cases += 1
            left = {name: b"" if name == lost else files[name] for name in NAMES}
            chosen = choose(left, archs, True)
            if chosen.slot is None or not whole[chosen.slot]:
                found.append(f"without {lost!r} GRUB takes {chosen.slot} ({chosen.way.value})")
    return found, cases


def test_a_half_written_slot_is_never_read(tmp_path: Path) -> None:
    recording = record(tmp_path)
    found, cases = problems(recording)
    assert found == []
    assert cases > 60
    # It came to its end, and the end is what was meant.
    last = list(states(recording, random.Random(1)))[-1]
    assert last[PARTITION].startswith(recording.image)
    assert choose(last, dict.fromkeys(Slot, Architecture.AMD64), True).slot is Slot.B


def _without(entries: tuple[Entry, ...], name: str) -> tuple[Entry, ...]:
    return tuple(one for one in entries if not (isinstance(one, Flush) and one.name == name))


def test_missing_flushes_are_found(tmp_path: Path) -> None:
    recording = record(tmp_path)
    for name in (*layout.ENVIRONMENT_COPIES, PARTITION):
        planted = replace(recording, entries=_without(recording.entries, name))
        assert len(planted.entries) < len(recording.entries)
        assert problems(planted)[0] != [], name


def test_a_wrong_order_is_found(tmp_path: Path) -> None:
    recording = record(tmp_path)
    environment = [one for one in recording.entries if getattr(one, "name", "") != PARTITION]
    content = [one for one in recording.entries if getattr(one, "name", "") == PARTITION]
    activation, withdrawal = environment[-2:], environment[:-2]
    for order in (
        [*withdrawal, *activation, *content],
        [*content, *withdrawal, *activation],
        [*activation, *content],
    ):
        assert problems(replace(recording, entries=tuple(order)))[0] != []


def test_the_sector_of_the_file_system_first_is_found(tmp_path: Path) -> None:
    recording = record(tmp_path)
    entries = list(recording.entries)
    heads = [n for n, one in enumerate(entries) if isinstance(one, Write) and one.name == PARTITION]
    first, last = heads[0], heads[-1]
    entries[first], entries[last] = entries[last], entries[first]
    assert problems(replace(recording, entries=tuple(entries)))[0] != []


@pytest.mark.parametrize("name", ["env1", "env2", "good", PARTITION])
def test_every_part_is_written(name: str, tmp_path: Path) -> None:
    assert any(isinstance(e, Write) and e.name == name for e in record(tmp_path).entries)
