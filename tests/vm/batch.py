"""Run a small guest to its end, and hear what its commands said."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.accelerator import TCG
from tests.vm.guest import BEGIN, END, Guest
from tests.vm.hardware import WIDE, Hardware, Kernel
from tests.vm.machine import Machine, MachineError

_MEMORY_MIB = 160
_TAIL_LINES = 40


@dataclass(frozen=True)
class Said:
    """What one command said."""

    text: str
    status: int


def run(
    guest: Guest,
    processor: str,
    *,
    program: str = WIDE,
    options: Sequence[str] = (),
    timeout_s: float = 180,
) -> tuple[dict[str, Said], float]:
    """Start the guest on a model of a processor, and wait for its end.

    Always by QEMU's own translation: a host's processor would shine through.

    Args:
        guest: What it runs.
        processor: As QEMU's -cpu takes it.
        program: Which QEMU.
        options: More of its options.
        timeout_s: After so long it is ended.

    Returns:
        What each command said, by its name, and how many seconds it all took.

    Raises:
        AssertionError: The guest did not come to its end; the message has its console.
    """
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        answers = Path(name, "answers")
        hardware = Hardware(
            processor=processor,
            memory_mib=_MEMORY_MIB,
            kernel=Kernel(guest.kernel, guest.initramfs, "console=ttyS0 quiet panic=-1"),
            program=program,
            channel=False,
            reboots=False,
            options=("-serial", f"file:{answers}", *options),
        )
        began = time.monotonic()
        with Machine(hardware, name=f"guest-{processor}", run_by=TCG) as machine:
            machine.start()
            try:
                machine.wait_for_end(timeout_s=timeout_s)
                problem = ""
            except MachineError as error:
                problem = str(error)
            elapsed_s = time.monotonic() - began
            heard = _lines(answers)
            found = parse(heard)
            if problem or not found or heard[-1][: len(END)] != END:
                tail = "\n".join(heard[-_TAIL_LINES:])
                raise MachineError(f"the guest did not come to its end: {problem}\n{tail}")
        return found, elapsed_s


def _lines(path: Path) -> list[str]:
    text = path.read_text(errors="replace") if path.exists() else ""
    return [line for line in text.replace("\r", "").split("\n") if line]


def parse(lines: Sequence[str]) -> dict[str, Said]:
    """Return what each command said; one that did not end is left out."""
    found: dict[str, Said] = {}
    inside: list[str] = []
    for line in lines:
        if line.startswith(BEGIN):
            inside = []
        elif line.startswith(END):
            name, status = line[len(END) :].split()
            found[name] = Said("\n".join(inside), int(status))
        else:
            inside.append(line)
    return found
