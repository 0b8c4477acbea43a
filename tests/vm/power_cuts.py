"""Cut the power everywhere while a real appliance installs a slot and marks it good.

The appliance runs its whole installation once, with its database and statistics going on, and all
that it writes and flushes is recorded. Thousands of disks that power cuts can leave are rebuilt
from that, and each is judged: what does GRUB start, and is it whole? A sample is also replayed and
repaired as Linux does it, and a few are booted. Then the record is changed as bugs would change it,
and the same judgement must see that.
"""

from __future__ import annotations

import mmap
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.formats.mbr import Partition
from applianceforge.model.architecture import Architecture
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from tests.vm import oracles, overlays, recorder
from tests.vm.crash_states import Disk as Bytes
from tests.vm.crash_states import Effort, Replay, State, epochs, states
from tests.vm.hardware import Bus, Disk, Hardware
from tests.vm.machine import Machine
from tests.vm.oracles import GrubView, System
from tests.vm.recorder import Recording
from tests.vm.write_log import Entry, Flags, Log, WriteLog

Tell = Callable[[str], None]
# Old and new data lie side by side while it is migrated.
_GROWN_BYTES = 1 << 30
_MIB = 1 << 20
_SECOND_BOOT_S = 900.0
_GOOD = "applianceforge slot status | grep -q '^b .*good.*runs'"
EFFORT = Effort(subsets=8, torn=12, prefixes=64)


@dataclass(frozen=True)
class Scene:
    """What is installed where.

    Attributes:
        image: The appliance's disk, raw.
        running: The image of the slot that it runs.
        new: The image of the slot that it installs.
        running_architecture: Of the one.
        new_architecture: Of the other.
        processor: What it runs on.
        bus: How its disk is connected.
        ends_good: Whether the new system runs on this data at once; a migration does more first,
            and marks itself good.
    """

    image: Path
    running: Path
    new: Path
    running_architecture: Architecture = Architecture.I386
    new_architecture: Architecture = Architecture.I386
    processor: str = "qemu64"
    bus: Bus = Bus.VIRTIO
    ends_good: bool = True


@dataclass(frozen=True)
class Judged:
    """What was found in many states.

    Attributes:
        states: How many there were.
        problems: Those in which nothing whole starts, with why.
        kinds: How many of each kind.
    """

    states: int
    problems: tuple[tuple[State, str], ...]
    kinds: Counter[str]


def record(scene: Scene, directory: Path, tell: Tell = print) -> Recording:
    """Install a slot on the appliance, and return what it wrote meanwhile.

    Args:
        scene: What is installed where.
        directory: Where the recording goes, with room for two disks.
        tell: Takes one line for each part.
    """
    settled = directory / "settled.raw"
    size = scene.image.stat().st_size + _GROWN_BYTES
    disk = Disk(scene.image, bus=scene.bus, size_bytes=size)
    began = time.monotonic()
    with Machine(Hardware((disk,), processor=scene.processor), name="first-boot") as machine:
        machine.start()
        machine.wait_for_unit("multi-user.target")
        machine.shutdown()
        overlays.flatten(machine.files.overlay(0), settled)
    tell(f"{time.monotonic() - began:6.1f} s  first boot, and shut down in order")
    disks = (
        Disk(settled, bus=scene.bus, record=True),
        Disk(scene.new, bus=scene.bus),
    )
    began = time.monotonic()
    with Machine(Hardware(disks, processor=scene.processor), name="installing") as machine:
        machine.start()
        machine.wait_for_unit("multi-user.target")
        with machine.subtest("install the other slot"):
            machine.succeed(f"applianceforge slot write {machine.device(1)}", timeout_s=900)
            machine.succeed("applianceforge slot activate", timeout_s=120)
        with machine.subtest("start it"):
            machine.reboot()
            assert "forge.slot=b" in machine.succeed("cat /proc/cmdline")
        with machine.subtest("mark it good"):
            if scene.ends_good:
                machine.wait_until_succeeds("applianceforge slot mark-good", timeout_s=120)
            machine.wait_for_unit("multi-user.target", timeout_s=_SECOND_BOOT_S)
            machine.wait_until_succeeds(_GOOD, timeout_s=_SECOND_BOOT_S)
            machine.succeed("sync")
        recording = recorder.take(machine, 0, directory)
    settled.unlink()
    tell(f"{time.monotonic() - began:6.1f} s  installed, started, marked good; recorded")
    return recording


def systems_of(scene: Scene) -> dict[Slot, list[System]]:
    """Return what each slot may hold, whole."""
    return {
        Slot.A: [System(scene.running_architecture, mapped(scene.running))],
        Slot.B: [System(scene.new_architecture, mapped(scene.new))],
    }


def mapped(path: Path) -> memoryview:
    """Return a file's bytes without reading them all."""
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def judge(
    disk: Bytes,
    record_bytes: Log,
    log: WriteLog,
    systems: dict[Slot, list[System]],
    effort: Effort,
    *,
    look: Callable[[State, Bytes], None] | None = None,
) -> Judged:
    """Say of each state what GRUB would start; the disk is changed.

    Args:
        disk: As it was when the recording began.
        record_bytes: The log's bytes.
        log: The log, decoded.
        systems: What each slot may hold.
        effort: How many states.
        look: Given each state, to look at more than that.
    """
    view = GrubView(disk, systems)
    replay = Replay(disk, record_bytes, log, [view.changed])
    problems: list[tuple[State, str]] = []
    kinds: Counter[str] = Counter()
    for state in states(log, effort):
        replay.take_on(state)
        kinds[state.kind.value] += 1
        problems += [(state, problem) for problem in view.problems()]
        if look is not None:
            look(state, disk)
    return Judged(kinds.total(), tuple(problems), kinds)


def without_flushes(log: WriteLog) -> WriteLog:
    """Return what would be recorded if nobody had flushed: the bug of a missing fsync."""
    kept = [replace(e, flags=e.flags & ~(Flags.FLUSH | Flags.FUA)) for e in log.entries]
    return replace(log, entries=tuple(kept))


def activated_first(log: WriteLog, boot: Partition, slot: Partition) -> WriteLog:
    """Return the record with the writes to the boot partition before those to a slot.

    That is the bug of letting a slot start before it is whole.
    """

    def is_in(entry: Entry, partition: Partition) -> bool:
        at = entry.first_sector * log.sector_bytes
        return entry.sectors > 0 and partition.first_byte <= at < (
            partition.first_byte + partition.size_bytes
        )

    entries = list(log.entries)
    first = next(place for place, entry in enumerate(entries) if is_in(entry, slot))
    last = max(place for place, entry in enumerate(entries) if is_in(entry, slot))
    # One write after the slot is whole is enough: that of activate; and flushes go with it.
    moved = [entry for entry in entries[last:] if is_in(entry, boot)]
    flush = Entry(0, 0, Flags.FLUSH, 0, 0)
    return replace(log, entries=(*entries[:first], *moved, flush, *entries[first:]))


def boot_problems(scene: Scene, disk: Path, name: str) -> list[str]:
    """Boot a disk; return what is wrong."""
    hardware = Hardware((Disk(disk, bus=scene.bus),), processor=scene.processor)
    try:
        with Machine(hardware, name=name) as machine:
            machine.start()
            # It may have to go on with a migration first.
            machine.wait_for_unit("forge-gate.service", timeout_s=_SECOND_BOOT_S)
            machine.succeed("applianceforge slot status", timeout_s=120)
    except AssertionError as error:
        return [f"{name}: {error}"]
    return []


def run(
    scene: Scene,
    *,
    effort: Effort = EFFORT,
    repaired: int = 12,
    booted: int = 2,
    seed: int = 1,
    tell: Tell = print,
    kept: Recording | None = None,
) -> list[str]:
    """Record, cut everywhere, judge, plant bugs; return what is wrong.

    Args:
        scene: What is installed where.
        effort: How many states.
        repaired: How many of them are replayed and repaired by e2fsck.
        booted: How many of them are booted.
        seed: Which ones.
        tell: Takes one line for each part.
        kept: A recording that was made before; it stays.
    """
    with tempfile.TemporaryDirectory(prefix="vm-cuts-") as name:
        place = Path(name)
        recording = kept or record(scene, place, tell)
        systems = systems_of(scene)
        wrong: list[str] = []
        with recording.opened() as (disk, record_bytes, log):
            wrong += _judge_all(
                scene, disk, record_bytes, log, systems, place, effort, repaired, booted, seed, tell
            )
        for title, changed in (("nobody flushes", without_flushes), ("activated first", None)):
            with recording.opened() as (disk, record_bytes, log):
                found = oracles.partitions_of(disk)
                boot, slot = found[layout.BOOT_PARTITION], found[Slot.B.partition]
                planted = activated_first(log, boot, slot) if changed is None else changed(log)
                small = replace(effort, subsets=3, torn=2, prefixes=6)
                judged = judge(disk, record_bytes, planted, systems, small)
                tell(f"planted bug, {title}: {len(judged.problems)} of {judged.states} states")
                if not judged.problems:
                    wrong.append(f"the planted bug was not found: {title}")
        return wrong


def _judge_all(
    scene: Scene,
    disk: Bytes,
    record_bytes: Log,
    log: WriteLog,
    systems: dict[Slot, list[System]],
    place: Path,
    effort: Effort,
    repaired: int,
    booted: int,
    seed: int,
    tell: Tell,
) -> list[str]:
    all_states = sum(1 for _ in states(log, effort))
    draw = random.Random(seed)
    sample = set(draw.sample(range(all_states), min(repaired, all_states)))
    to_boot = set(draw.sample(sorted(sample), min(booted, len(sample))))
    count = 0
    wrong: list[str] = []
    disks: list[Path] = []
    linux_s = 0.0

    def look(state: State, seen: Bytes) -> None:
        nonlocal count, linux_s
        if count in sample:
            since = time.monotonic()
            found = oracles.linux_problems(seen)
            wrong.extend(f"{state}: {problem}" for problem in found)
            linux_s += time.monotonic() - since
        if count in to_boot:
            path = place / f"state{count}.raw"
            oracles.extract(seen, 0, len(seen), path)
            disks.append(path)
        count += 1

    began = time.monotonic()
    judged = judge(disk, record_bytes, log, systems, effort, look=look)
    elapsed_s = time.monotonic() - began - linux_s
    written = sum(entry.data_bytes for entry in log.entries)
    tell(
        f"{elapsed_s:6.1f} s  {judged.states} states ({_counted(judged.kinds.items())}) of"
        f" {len(log.entries)} entries, {len(epochs(log))} flushes, {written // _MIB} MiB:"
        f" {len(judged.problems)} start nothing whole"
    )
    tell(f"{linux_s:6.1f} s  {len(sample)} of them replayed and repaired: {len(wrong)} wrong")
    wrong += [f"{state}: {problem}" for state, problem in judged.problems[:20]]
    for number, path in enumerate(disks):
        began = time.monotonic()
        problems = boot_problems(scene, path, f"cut-{number}")
        tell(f"{time.monotonic() - began:6.1f} s  {path.stem} booted: {len(problems)} wrong")
        wrong += problems
        path.unlink()
    return wrong


def _counted(kinds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds)
