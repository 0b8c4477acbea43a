"""Record all that a box writes while it takes both hops of an update, from 32 bits to the newest.

The phases of the update are told apart by how long the record was when each began.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from applianceforge.formats.mbr import Partition
from applianceforge.slots.layout import Slot
from tests.release.server import Server
from tests.vm import crossing, oracles, overlays, recorder, story
from tests.vm.crash_states import epochs
from tests.vm.crossing import BOOT_S, Told
from tests.vm.hardware import Bus, Disk, Hardware, Served
from tests.vm.machine import Machine
from tests.vm.recorder import Recording
from tests.vm.write_log import Entry, WriteLog

Tell = Callable[[str], None]
BUS = Bus.VIRTIO
# Without asking, and it restarts by itself.
UPDATE = "applianceforge update --yes --reboot"
INTENT = "/data/forge/update/intent.json"
# Until an update is complete that goes on by itself.
COMPLETE_S = 2400.0
_PROCESSOR = "qemu64"
_MEMORY_MIB = 768
_CORES = 2
# Old and new data lie side by side while they are migrated, with room to spare.
_DISK_BYTES = 4 << 30


@dataclass(frozen=True)
class Phase:
    """A part of the update.

    Attributes:
        name: What goes on in it.
        log_bytes: How long the record was when it began.
        goal: Which release runs at the end if the power goes here and comes back.
    """

    name: str
    log_bytes: int
    goal: str


@dataclass(frozen=True)
class Update:
    """A whole update, recorded.

    Attributes:
        recording: What was written.
        phases: In order; the first one begins with the record.
        told: What the box held.
    """

    recording: Recording
    phases: tuple[Phase, ...]
    told: Told

    def phases_of(self, log: WriteLog) -> list[Phase]:
        """Return the phase in which the writes of each epoch were given."""
        found, last = [], self.phases[0]
        for writes in epochs(log):
            if writes:
                last = [one for one in self.phases if one.log_bytes <= writes[0].data_at][-1]
            found.append(last)
        return found


def obtain(directory: Path, server: Server, tell: Tell) -> Update:
    """Return the update that a directory holds, recorded first if it holds none."""
    document = directory / "update.json"
    if not document.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = record(directory, server, tell)
        fields = {
            "phases": [asdict(phase) for phase in made.phases],
            "rows": made.told.rows,
            "values": made.told.values,
        }
        document.write_text(json.dumps(fields))
    known = json.loads(document.read_text())
    return Update(
        Recording(directory / "disk0.raw", directory / "disk0.writes"),
        tuple(Phase(**phase) for phase in known["phases"]),
        Told(known["rows"], known["values"], b""),
    )


def record(directory: Path, server: Server, tell: Tell) -> Update:
    """Let a box take every update, and return what it wrote meanwhile."""
    settled = directory / "settled.raw"
    told = _settle(settled, server, tell)
    marks = _Marks(tell)
    with machine(Disk(settled, bus=BUS, record=True), "recorded", server) as box:
        marks.log = box.files.write_log(0)
        box.start()
        marks.enter("before", "legacy")
        story.up(box)
        _hop(box, marks, 1, "migration", Slot.B)
        _hop(box, marks, 2, "current", Slot.A)
        story.check_arrived(box, replace(told, loader=box.disk_bytes(0, 0, crossing.LOADER_BYTES)))
        box.succeed("sync")
        recording = recorder.take(box, 0, directory)
    settled.unlink()
    with recording.opened() as (disk, _, log):
        phases = with_activations(marks.phases, log, oracles.partitions_of(disk))
    return Update(recording, phases, told)


@dataclass
class _Marks:
    """How long the record is when a phase begins."""

    tell: Tell
    log: Path = Path()
    phases: list[Phase] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def enter(self, name: str, goal: str) -> None:
        at = self.log.stat().st_size if self.phases else 0
        self.phases.append(Phase(name, at, goal))
        self.tell(f"{time.monotonic() - self.began:6.0f} s  {at >> 20} MiB: {name}")


def _hop(box: Machine, marks: _Marks, number: int, goal: str, slot: Slot) -> None:
    """Take one hop, which restarts the box by itself."""
    marks.enter(f"install {number}", goal)
    before = box.wait_for_agent(timeout_s=BOOT_S)
    starts = box.console.text().count(f"Slot {slot.value} starts")
    box.succeed(f"({UPDATE}) >/dev/null 2>&1 </dev/null &")
    _await(box, lambda text: text.count(f"Slot {slot.value} starts") > starts)
    marks.enter(f"first boot {number}", goal)
    if goal == "migration":
        _await(box, lambda text: re.search(r"\[ *\d+/\d+\] ", text) is not None)
        marks.enter("migrate", goal)
    box.wait_for_agent(timeout_s=BOOT_S, after=before)
    if goal == "migration":
        box.wait_until_succeeds("grep -q migrated /data/forge/history.jsonl", timeout_s=BOOT_S)
        marks.enter("settle", goal)
    story.up(box)
    marks.enter(f"good {number}", goal)
    # What comes after: the services' own writes, and the end of what was agreed to.
    box.wait_until_succeeds(f"test ! -e {INTENT}", timeout_s=BOOT_S)
    box.succeed("sleep 20; sync", timeout_s=120)


def _await(box: Machine, seen: Callable[[str], bool]) -> None:
    until = time.monotonic() + COMPLETE_S
    while not seen(box.console.text()):
        assert box.running
        assert time.monotonic() < until, box.console.tail()
        time.sleep(0.1)


def with_activations(
    phases: Sequence[Phase], log: WriteLog, partitions: Mapping[int, Partition]
) -> tuple[Phase, ...]:
    """Part installing from what comes after the last write to the slot: letting it start."""
    found: list[Phase] = []
    for phase, after in zip(phases, [*phases[1:], None], strict=True):
        found.append(phase)
        if not phase.name.startswith("install"):
            continue
        slot = Slot.B if phase.goal == "migration" else Slot.A
        end = after.log_bytes if after else sys.maxsize
        written = [
            entry.data_at
            for entry in log.entries
            if phase.log_bytes <= entry.data_at < end
            and entry.sectors
            and _is_in(entry, partitions[slot.partition], log.sector_bytes)
        ]
        assert written, f"nothing was written to slot {slot.value}"
        name = phase.name.replace("install", "activate")
        found.append(Phase(name, written[-1] + 1, phase.goal))
    return tuple(found)


def _is_in(entry: Entry, partition: Partition, sector_bytes: int) -> bool:
    at = entry.first_sector * sector_bytes - partition.first_byte
    return 0 <= at < partition.size_bytes


def _settle(target: Path, server: Server, tell: Tell) -> Told:
    """Make the disk of a box that has been in use, and return what it holds."""
    image = crossing.images("legacy")["legacy"].raw
    with machine(Disk(image, bus=BUS, size_bytes=_DISK_BYTES), "to-record", server) as box:
        box.start()
        story.up(box)
        told = crossing.fill(box)
        tell(f"the 32-bit box holds {told.rows.partition('|')[0]} rows")
        box.shutdown()
        overlays.flatten(box.files.overlay(0), target)
    return told


def machine(disk: Disk, name: str, server: Server) -> Machine:
    """Return a box with a disk and a way to the server, not switched on yet."""
    hardware = Hardware(
        (disk,), _PROCESSOR, _MEMORY_MIB, _CORES, network="e1000", served=(Served(server.port),)
    )
    return Machine(hardware, name=name)
