"""Let the real GRUB choose in many boot environments, and compare it with the model.

One start of QEMU goes through all of them: the functions of the real grub.cfg are called for one
directory after the other, and only what starts a kernel is replaced. What GRUB says comes over the
serial line, what it wrote is read from the disk afterwards.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats.ext_files import Reader
from applianceforge.imaging import grub
from applianceforge.model.errors import SlotError
from applianceforge.slots import layout, selector
from applianceforge.slots.layout import Slot
from applianceforge.slots.selector import Way
from applianceforge.system.effects import Effects
from tests.slots import environments
from tests.slots.environments import KINDS, Case
from tests.vm.accelerator import TCG
from tests.vm.hardware import Bus, Disk, Hardware
from tests.vm.machine import Machine as VirtualMachine

_SIGNATURE = 0x5EED0001
_BOOT_BYTES = 24 << 20
_BOOT_AT = 1 << 20
# Everything above this line of grub.cfg.in defines, what is below acts.
ACTS_BELOW = "# Above this line are rules, below it is what is done.\n"
_WAYS = {
    "good": Way.GOOD,
    "last resort": Way.LAST_RESORT,
    "by the marker": Way.MARKER,
    "": Way.NOTHING,
}
_SCRIPT = """
serial --unit=0 --speed=115200
terminal_output serial
function forge_start {
  set started="$1"
}
function forge_case {
  set loader="($root)/c/$1"
  set slot_a="($root)/s/$2"
  set slot_b="($root)/s/$3"
  set started=-
  set how=
  forge_choose
  echo "CASE $1|$started|$how|$why|"
}
echo "BEGIN"
"""
_END = """
echo "END OF ALL CASES"
halt
"""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Machine:
    """What GRUB runs on."""

    processor: str
    disk: str
    long_mode: bool
    writable: bool = True

    def __str__(self) -> str:
        return f"{self.processor} {self.disk}{'' if self.writable else ' read-only'}"


MACHINES = (
    Machine("qemu64", "ide", long_mode=True),
    Machine("coreduo", "virtio", long_mode=False),
    Machine("qemu64,-lm", "ide", long_mode=False),
    Machine("qemu64", "virtio", long_mode=True),
    # The firmware refuses to write to it: no count sticks.
    Machine("qemu64", "virtio", long_mode=True, writable=False),
)


@dataclass(frozen=True)
class Seen:
    """What GRUB did with one case."""

    slot: Slot | None
    way: Way
    reason: str
    copies: tuple[bytes | None, bytes | None]
    marker: bytes | None


def _name(number: int) -> str:
    # GRUB looks through a directory from its beginning: small ones are faster.
    return f"{number // 30:02}/{number % 30:02}"


def definitions(template: Path | None = None) -> str:
    """Return the rules of grub.cfg, without what they are called for."""
    text = (
        grub.configuration(_SIGNATURE)
        if template is None
        else grub.configuration(_SIGNATURE, template)
    ).decode()
    rules, line, _ = text.partition(ACTS_BELOW)
    assert line, "grub.cfg.in has lost the line that the test cuts at"
    # What opens the serial line once more would only cost time.
    return rules[: rules.rindex("\nif serial")]


def make_disk(cases: Sequence[Case], place: Path, template: Path | None = None) -> Path:
    """Write a disk with one directory for each case."""
    tree = place / "boot"
    for kind in KINDS:
        (tree / "s" / kind / "boot").mkdir(parents=True)
        content = environments.description(kind)
        if content is not None:
            (tree / "s" / kind / layout.DESCRIPTION).write_bytes(content)
    calls = []
    for number, case in enumerate(cases):
        directory = tree / "c" / _name(number)
        directory.mkdir(parents=True)
        for name, content in zip(
            (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER),
            (case.env1, case.env2, case.marker),
            strict=True,
        ):
            if content is not None:
                (directory / name).write_bytes(content)
        calls.append(f"forge_case {_name(number)} {case.kind_a} {case.kind_b}\n")
    script = definitions(template) + _SCRIPT + "".join(calls) + _END
    (tree / layout.GRUB_CONFIGURATION).write_text(script)
    system = place / "boot.ext2"
    mke2fs = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    subprocess.run(
        [
            *(mke2fs, "-q", "-t", "ext2", "-b", "1024", "-N", "8192"),
            *("-d", str(tree), str(system), f"{_BOOT_BYTES >> 10}k"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    placed = grub.install(grub.core_image(Effects()))
    start = bytearray(_BOOT_AT)
    start[: len(placed.code)] = placed.code
    entry = (0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", _BOOT_AT >> 9, _BOOT_BYTES >> 9)
    struct.pack_into("<I2xB3sB3sII", start, 440, _SIGNATURE, *entry)
    start[510:512] = b"\x55\xaa"
    start[512 : 512 + len(placed.gap)] = placed.gap
    disk = place / "disk"
    disk.write_bytes(start + system.read_bytes())
    return disk


def boot(disk: Path, machine: Machine, *, timeout_s: float) -> list[str]:
    """Let GRUB go through all cases, and return the lines that it says."""
    bus = Bus(machine.disk)
    hardware = Hardware(
        (Disk(disk, bus=bus, own=True, read_only=not machine.writable),),
        processor=machine.processor,
        memory_mib=128,
        channel=False,
        reboots=False,
    )
    with VirtualMachine(hardware, name="agreement", run_by=TCG, watch=False) as guest:
        guest.start()
        guest.wait_for_end(timeout_s=timeout_s)
        lines = guest.console.text().split("\n")
    if not any(line.startswith("END OF ALL CASES") for line in lines):
        raise AssertionError(
            f"GRUB did not come to the end on {machine}\n" + "\n".join(lines[-30:])
        )
    # A module that is not embedded would be missed on every machine.
    assert not any("can't find command" in line for line in lines)
    return lines


def _read(reader: Reader, path: str) -> bytes | None:
    try:
        return reader.file(path, 1 << 16)
    except SlotError as error:
        assert "has no file" in error.message, error.message
        return None


def seen(disk: Path, lines: Sequence[str], count: int) -> tuple[Seen, ...]:
    """Return what GRUB did with each case, by what it said and what it wrote."""
    with open(disk, "rb") as stream:

        def read(at: int, size: int) -> bytes:
            stream.seek(_BOOT_AT + at)
            return stream.read(size)

        reader = Reader(read, str(disk))
        files = [
            [
                _read(reader, f"c/{_name(number)}/{name}")
                for name in (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER)
            ]
            for number in range(count)
        ]
    said = {}
    for line in lines:
        if line.startswith("CASE "):
            name, started, how, why, _ = line.removeprefix("CASE ").split("|")
            way = Way.TRY if how.startswith("not proved yet") else _WAYS[how]
            said[name] = (None if started == "-" else Slot(started), way, why)
    assert len(said) == count, f"GRUB told of {len(said)} of {count} cases"
    return tuple(
        Seen(*said[_name(number)], (found[0], found[1]), found[2])
        for number, found in enumerate(files)
    )


def expected(case: Case, machine: Machine) -> Seen:
    """Return what the model says of a case."""
    chosen = selector.choose(
        case.env1 or b"",
        case.env2 or b"",
        case.marker or b"",
        {Slot.A: KINDS[case.kind_a], Slot.B: KINDS[case.kind_b]},
        machine.long_mode,
        writes_stay=machine.writable,
    )
    first, second = chosen.copies
    # The model has no file that is not there: to GRUB it is the same as an empty one.
    copies = (
        None if case.env1 is None and not first else first,
        None if case.env2 is None and not second else second,
    )
    return Seen(chosen.slot, chosen.way, chosen.reason, copies, case.marker)


def differences(
    cases: Sequence[Case],
    machine: Machine,
    place: Path,
    *,
    template: Path | None = None,
    timeout_s: float = 600,
) -> list[str]:
    """Return what GRUB and the model disagree about, one text a case."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    disk = make_disk(cases, place, template)
    lines = boot(disk, machine, timeout_s=timeout_s)
    found = []
    for number, (case, real) in enumerate(zip(cases, seen(disk, lines, len(cases)), strict=True)):
        model = expected(case, machine)
        if real != model:
            found.append(f"{machine}, case {number}: {case}\n  GRUB:  {real}\n  model: {model}")
    shutil.rmtree(place)
    return found


def run(count: int, place: Path, told: Told, *, seed: int = 1) -> list[str]:
    """Compare GRUB and the model on every machine, and return the differences."""
    found: list[str] = []
    cases = environments.cases(count, seed)
    for machine in MACHINES:
        began = time.monotonic()
        here = differences(cases, machine, place / "disk")
        found += here
        told(
            f"{machine}: {count} environments, {len(here)} differences,"
            f" {time.monotonic() - began:.1f} s"
        )
    return found
