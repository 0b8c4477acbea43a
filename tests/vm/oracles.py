"""What a disk is worth after a power cut: as GRUB sees it, and as Linux does.

GRUB reads the file systems as they lie there and replays no journal: from the raw boot partition
come both copies of the environment and the marker, the selector (a model of grub.cfg that is held
against the real GRUB) says which slot starts, and that slot must be whole, to the byte.

Linux replays and repairs: e2fsck must come to its end with all repaired, and then the environment
must still have a complete copy, and every file of data that was acknowledged must be there.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats import bootenv, mbr
from applianceforge.formats.ext_files import Reader
from applianceforge.formats.mbr import SECTOR_BYTES, Partition
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError
from applianceforge.slots import layout, selector
from applianceforge.slots.layout import Slot
from applianceforge.slots.selector import Choice
from tests.vm.crash_states import Disk
from tests.vm.region import Region

_FILE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20
# e2fsck(8): 0 no errors, 1 corrected; 2 corrected, and a mounted system should be rebooted.
_REPAIRED = (0, 1, 2)


@dataclass(frozen=True)
class System:
    """What a slot may hold.

    Attributes:
        architecture: Of the whole system.
        image: Its bytes.
    """

    architecture: Architecture
    image: bytes | memoryview


def partitions_of(disk: Disk) -> dict[int, Partition]:
    """Return a disk's partitions by their numbers."""
    found = mbr.decode(bytes(disk[0:SECTOR_BYTES])).partitions
    return {partition.number: partition for partition in found}


class GrubView:
    """What GRUB starts; told of each change of the disk.

    Args:
        disk: The whole disk.
        systems: What each slot may hold; one of them must be there, whole, if the slot starts.
        long_mode: Whether the processor has it.
    """

    def __init__(
        self, disk: Disk, systems: Mapping[Slot, Sequence[System]], *, long_mode: bool = True
    ) -> None:
        self._disk = disk
        self._long_mode = long_mode
        found = partitions_of(disk)
        self._boot = found[layout.BOOT_PARTITION]
        self._systems = systems
        self._regions = {
            slot: [Region(disk, found[slot.partition].first_byte, system.image) for system in held]
            for slot, held in systems.items()
        }
        self._files: tuple[bytes, bytes, bytes] | None = None

    def changed(self, at: int, size_bytes: int) -> None:
        """Take note of a change of the disk."""
        end = self._boot.first_byte + self._boot.size_bytes
        if at < end and at + size_bytes > self._boot.first_byte:
            self._files = None
        for regions in self._regions.values():
            for region in regions:
                region.changed(at, size_bytes)

    def problems(self) -> list[str]:
        """Return what keeps this disk from starting a whole system."""
        if self._files is None:
            self._files = read_environment(self._disk, self._boot)
        env1, env2, marker = self._files
        # A description may be readable in a slot that is half written: so for the selector it is
        # always, with what the slot holds or would hold, and must not be what saves it.
        problems = []
        for choice in self._choices(env1, env2, marker):
            if choice.slot is None:
                problems.append(f"nothing starts: {choice.reason}")
            elif not any(region.complete for region in self._regions[choice.slot]):
                wrong = min(region.wrong_sectors for region in self._regions[choice.slot])
                problems.append(
                    f"slot {choice.slot.value} starts ({choice.way.value}), and {wrong} of its"
                    " sectors are wrong"
                )
        return problems

    def _choices(self, env1: bytes, env2: bytes, marker: bytes) -> list[Choice]:
        kinds = [
            {Slot.A: a, Slot.B: b}
            for a in dict.fromkeys(system.architecture for system in self._systems[Slot.A])
            for b in dict.fromkeys(system.architecture for system in self._systems[Slot.B])
        ]
        return [selector.choose(env1, env2, marker, archs, self._long_mode) for archs in kinds]


def read_environment(disk: Disk, boot: Partition) -> tuple[bytes, bytes, bytes]:
    """Return both copies and the marker from the raw boot partition; b"" for what is not there."""

    def read(at: int, size: int) -> bytes:
        start = boot.first_byte + at
        return bytes(disk[start : min(start + size, boot.first_byte + boot.size_bytes)])

    names = (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER)
    try:
        reader = Reader(read, "the boot partition")
    except SlotError:
        return b"", b"", b""
    found = []
    for name in names:
        try:
            found.append(reader.file(name, _FILE_BYTES))
        except SlotError:
            found.append(b"")
    return found[0], found[1], found[2]


def linux_problems(disk: Disk, mounted: Callable[[Path], list[str]] | None = None) -> list[str]:
    """Return what is wrong after replay and repair of the boot and the data partition.

    Args:
        disk: The whole disk; copies of its partitions are repaired.
        mounted: Looks at the repaired data partition's image, for what must be in it.
    """
    problems = []
    found = partitions_of(disk)
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        for number in (layout.BOOT_PARTITION, layout.DATA_PARTITION):
            image = Path(name, f"partition{number}")
            extract(disk, found[number].first_byte, found[number].size_bytes, image)
            problems += fsck_problems(image)
        with Path(name, f"partition{layout.BOOT_PARTITION}").open("rb") as stream:
            content = stream.read()
        copies = _copies(content)
        if bootenv.newest(copies) is None:
            problems.append("no copy of the boot environment is complete after the repair")
        if mounted is not None:
            problems += mounted(Path(name, f"partition{layout.DATA_PARTITION}"))
    return problems


def _copies(boot: bytes) -> list[bytes]:
    reader = Reader(lambda at, size: boot[at : at + size], "the repaired boot partition")
    return [reader.file(name, _FILE_BYTES) for name in layout.ENVIRONMENT_COPIES]


def extract(disk: Disk, first_byte: int, size_bytes: int, target: Path) -> None:
    """Write a part of a disk, or all of it, as a sparse file of its own."""
    with target.open("wb") as stream:
        stream.truncate(size_bytes)
        for at in range(0, size_bytes, _CHUNK_BYTES):
            start = first_byte + at
            part = disk[start : start + min(_CHUNK_BYTES, size_bytes - at)]
            if part.count(0) != len(part):
                stream.seek(at)
                stream.write(part)


def fsck_problems(image: Path) -> list[str]:
    """Replay the journal of a file system and repair it; return what does not come right.

    A second look must find nothing: what was repaired, was repaired for good. With a journal,
    there must be nothing to repair once it is replayed.
    """
    problems = []
    status, said = _e2fsck("-fy", image)
    if status not in _REPAIRED:
        problems.append(f"e2fsck -fy ended with status {status}: {said}")
    again, said = _e2fsck("-fn", image)
    if again != 0:
        problems.append(f"e2fsck -fn after the repair ended with status {again}: {said}")
    return problems


def _e2fsck(option: str, image: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["/usr/sbin/e2fsck", option, str(image)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, " / ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
