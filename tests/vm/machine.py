"""Start a small virtual machine in QEMU, without hardware virtualization, and hear what it says."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import BEGIN, END, Guest

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
    program: str = "qemu-system-x86_64",
    options: Sequence[str] = (),
    timeout_s: float = 180,
) -> tuple[dict[str, Said], float]:
    """Start the guest on a model of a processor, and wait for its end.

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
        console, answers = Path(name, "console"), Path(name, "answers")
        command = (
            *(shutil.which(program) or program, "-accel", "tcg", "-cpu", processor),
            *("-machine", "pc", "-m", str(_MEMORY_MIB), "-display", "none", "-nodefaults"),
            "-no-reboot",
            *("-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)),
            *("-append", "console=ttyS0 quiet panic=-1"),
            *("-serial", f"file:{console}", "-serial", f"file:{answers}"),
            *options,
        )
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[0] + b"\nended, as it took too long"
        finally:
            process.kill()
            process.wait()
        elapsed_s = time.monotonic() - began
        heard = _lines(answers)
        found = parse(heard)
        if process.returncode != 0 or not found or heard[-1][: len(END)] != END:
            tail = [*_lines(console)[-_TAIL_LINES:], *heard[-_TAIL_LINES:]]
            shown = [" ".join(command), f"status {process.returncode}", said.decode(), *tail]
            raise AssertionError("the guest did not come to its end\n" + "\n".join(shown))
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
