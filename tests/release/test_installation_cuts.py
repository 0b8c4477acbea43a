"""Power cuts while a bundle is installed: never half a system, and it goes on to the same bytes."""

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
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.states import State
from applianceforge.system.effects import Effect, Effects
from applianceforge.system.in_place import InPlace
from tests.release.bundled import Box, box_of
from tests.slots.power import NAMES, SECTOR, Entry, Flush, Log, Write, choose
from tests.slots.slot_images import SIZE_MIB

SLOT_BYTES = SIZE_MIB << 20


class PowerCut(BaseException):
    """The machine stops here."""


@dataclass(frozen=True)
class Recording:
    """All that an installation handed to the disk, and what was there before it."""

    before: dict[str, bytes]
    slot: bytes
    entries: tuple[Entry, ...]
    image: bytes
    name: str


def tempting(place: Path) -> Box:
    """Return a box whose slot b is good and primary, and holds a system that GRUB would start."""
    box = box_of(place)
    box.target.write_bytes(box.booted.read_bytes() + bytes(8192))
    for name in layout.ENVIRONMENT_COPIES:
        path = box.loader.directory / name
        found = bootenv.complete(path.read_bytes())
        assert found is not None
        path.write_bytes(bootenv.encode(found._replace(primary="b", b=bootenv.KNOWN_GOOD)))
    (box.loader.directory / layout.GOOD_MARKER).write_bytes(bootenv.encode_marker("b"))
    # All that is new comes by frames, as nothing is known of the running slot.
    return replace(box, disk=replace(box.disk, slot_a=None))


def environment(box: Box) -> dict[str, bytes]:
    return {name: (box.loader.directory / name).read_bytes() for name in NAMES}


def record(box: Box) -> Recording:
    before, slot = environment(box), box.target.read_bytes()
    log = Log()
    logged = replace(box, loader=Loader(box.loader.directory, Effects(), log.opening))
    logged.install(opening=log.opening)
    return Recording(before, slot, tuple(log.entries), box.content, box.target.name)


def put(slot: bytearray, write: Write, arrived: int | None = None) -> None:
    content = write.content[: arrived if arrived is None else arrived * SECTOR]
    slot[write.at : write.at + len(content)] = content


def states(recording: Recording, source: random.Random) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """Return what the disk may hold at each instant: of what was not flushed, a sample."""
    files, slot = dict(recording.before), bytearray(recording.slot)
    pending: list[Write] = []
    for entry in recording.entries:
        name = getattr(entry, "name", "")
        if isinstance(entry, Write) and name != recording.name:
            old = files[name]
            files[name] = old[: entry.at] + entry.content + old[entry.at + len(entry.content) :]
        elif isinstance(entry, Write):
            pending.append(entry)
        elif isinstance(entry, Flush) and name == recording.name:
            for write in pending:
                put(slot, write)
            pending.clear()
        yield files, bytes(slot)
        for how in range(3 if pending else 0):
            state = bytearray(slot)
            for write in pending:
                sectors = len(write.content) // SECTOR
                # Old, new, or cut at any sector; all but the first or the last one.
                arrived = source.choice((0, source.randint(0, sectors), sectors))
                if how == 1:
                    arrived = 0 if write is pending[0] else sectors
                if how == 2:
                    arrived = 0 if write is pending[-1] else sectors
                put(state, write, arrived)
            yield files, bytes(state)


def is_read(slot: bytes) -> bool:
    try:
        images.look_at(lambda at, size: slot[at : at + size], "slot")
    except SlotError:
        return False
    return True


def problems(recording: Recording) -> tuple[list[str], int]:
    found, cases = [], 0
    old = recording.slot[:SLOT_BYTES]
    archs = {Slot.A: Architecture.I386, Slot.B: Architecture.AMD64}
    for files, slot in states(recording, random.Random(1)):
        whole = slot[:SLOT_BYTES] in (recording.image, old)
        if not whole and is_read(slot):
            found.append("a slot that is half written can be read")
        for lost in ("", *layout.ENVIRONMENT_COPIES):
            cases += 1
            left = {name: b"" if name == lost else files[name] for name in NAMES}
            chosen = choose(left, archs, True)
            if chosen.slot is None or (chosen.slot is Slot.B and not whole):
                found.append(f"without {lost!r} GRUB takes {chosen.slot} ({chosen.way.value})")
    return found, cases


def test_half_an_installation_is_never_read(tmp_path: Path) -> None:
    recording = record(tempting(tmp_path))
    assert sum(isinstance(entry, Write) for entry in recording.entries) > 20
    found, cases = problems(recording)
    assert found == []
    assert cases > 200
    *_, (files, slot) = states(recording, random.Random(1))
    assert slot.startswith(recording.image)
    assert choose(files, dict.fromkeys(Slot, Architecture.I386), True).slot is Slot.A


def test_missing_flushes_are_found(tmp_path: Path) -> None:
    recording = record(tempting(tmp_path))
    left = tuple(
        one
        for one in recording.entries
        if not (isinstance(one, Flush) and one.name == recording.name)
    )
    assert len(left) < len(recording.entries)
    assert problems(replace(recording, entries=left))[0] != []


def test_a_wrong_order_is_found(tmp_path: Path) -> None:
    recording = record(tempting(tmp_path))
    environment = [one for one in recording.entries if getattr(one, "name", "") != recording.name]
    content = [one for one in recording.entries if getattr(one, "name", "") == recording.name]
    late = replace(recording, entries=(*content, *environment))
    assert problems(late)[0] != []
    # Sealed first, and then filled.
    seal = max(number for number, one in enumerate(content) if isinstance(one, Write))
    early = [content[seal], Flush(recording.name), *content[:seal], *content[seal + 1 :]]
    assert problems(replace(recording, entries=(*environment, *early)))[0] != []


def test_it_goes_on_from_what_a_power_cut_left(tmp_path: Path) -> None:
    """Every state of a sample is installed upon again, and gives the same bytes."""
    box = tempting(tmp_path)
    recording = record(box)
    source = random.Random(2)
    every = list(states(recording, random.Random(1)))
    for files, slot in source.sample(every, 25):
        for name, content in files.items():
            (box.loader.directory / name).write_bytes(content)
        box.target.write_bytes(slot)
        box.install()
        assert box.written == recording.image
        assert box.state is State.NOT_BOOTABLE


class Cutting(InPlace):
    """A partition that loses its power before a write, zeroing or flush."""

    left = 0

    def _operate(self) -> None:
        Cutting.left -= 1
        if Cutting.left < 0:
            raise PowerCut

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        self._operate()
        super().write(at_bytes, content)

    def zero(self, at_bytes: int, size_bytes: int) -> None:
        self._operate()
        super().zero(at_bytes, size_bytes)

    def flush(self) -> None:
        self._operate()
        super().flush()


def test_cut_at_every_write(tmp_path: Path) -> None:
    """It stops at write n, for every n, in whichever thread that is, and goes on afterwards."""
    box = tempting(tmp_path)
    first = box.target.read_bytes()
    cuts = 0
    while True:
        box.target.write_bytes(first)
        Cutting.left = cuts
        try:
            box.install(opening=lambda path: Cutting(path, Effects()))
        except PowerCut:
            cuts += 1
        else:
            break
        assert box.state is State.NOT_BOOTABLE
        # Nothing was done before the first, and all but the last flush before the last.
        if is_read(box.target.read_bytes()):
            assert cuts == 1 or box.written == box.content
        if cuts % 4 == 0:
            box.install()
            assert box.written == box.content
    assert cuts > 20
    assert box.written == box.content


def test_cut_at_every_effect(tmp_path: Path) -> None:
    box = tempting(tmp_path)
    first, before = box.target.read_bytes(), environment(box)
    total = Effects()
    shared = replace(box, loader=Loader(box.loader.directory, total))
    shared.install(effects=total)
    assert total.count >= 6
    for number in range(1, total.count + 1):
        box.target.write_bytes(first)
        for name, content in before.items():
            (box.loader.directory / name).write_bytes(content)

        def cut(effect: Effect, number: int = number) -> None:
            if effect.number == number:
                raise PowerCut

        effects = Effects(cut)
        with pytest.raises(PowerCut):
            replace(box, loader=Loader(box.loader.directory, effects)).install(effects=effects)
        assert effects.count >= number
        slot = box.target.read_bytes()
        archs = {Slot.A: Architecture.I386, Slot.B: Architecture.I386 if is_read(slot) else None}
        chosen = choose(environment(box), archs, True)
        assert chosen.slot is Slot.A or slot == first
        box.install()
        assert box.written == box.content
