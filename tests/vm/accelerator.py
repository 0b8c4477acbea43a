"""Choose what runs the guests: the fastest accelerator that really works on this machine.

An accelerator is not believed, it is tried: /dev/kvm can open, report its version, and then take
eleven seconds for a BIOS that QEMU's own translation (TCG) runs in a third of one, or never come to
its end. So each one starts an empty machine, which must say "No bootable device" in good time. The
answer is kept until this machine boots again. APPLIANCEFORGE_ACCELERATOR names one without a trial.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from tests.appliance import cache
from tests.vm.hardware import WIDE
from tests.vm.program import find

VARIABLE = "APPLIANCEFORGE_ACCELERATOR"
TCG = "tcg"
KNOWN = (TCG, "kvm")
# TCG needs 0.3 s on an idle machine, so this is slow even on a crowded one.
_LIMIT_S = 12.0
_AT_THE_END = b"No bootable device"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Trial:
    """How a trial went: seconds, or why it failed."""

    elapsed_s: float | None
    why_not: str = ""


@dataclass(frozen=True)
class Choice:
    """Which accelerator, and why."""

    name: str
    why: str


def decide(trials: Mapping[str, Trial]) -> Choice:
    """Choose from trials: the fastest that came to its end, TCG where none did."""
    worked = {name: trial.elapsed_s for name, trial in trials.items() if trial.elapsed_s}
    name = min(worked, key=lambda name: (worked[name], name != TCG), default=TCG)
    said = [
        f"{each} {trial.elapsed_s:.2f} s" if trial.elapsed_s else f"{each} {trial.why_not}"
        for each, trial in trials.items()
    ]
    return Choice(name, "an empty machine came to its end: " + ", ".join(said))


def attempt(name: str, limit_s: float = _LIMIT_S) -> Trial:
    """Start an empty machine, and wait until its BIOS finds nothing to start."""
    if name == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Trial(None, "cannot be opened here")
    with tempfile.TemporaryDirectory(prefix="vm-") as directory:
        log, errors = Path(directory, "bios"), Path(directory, "errors")
        command = Command(
            (
                *(find(WIDE), "-accel", name, "-machine", "pc", "-m", "64", "-nodefaults"),
                *("-vga", "std", "-display", "none", "-chardev", f"file,id=bios,path={log}"),
                *("-device", "isa-debugcon,iobase=0x402,chardev=bios"),
            )
        )
        began = time.monotonic()
        process = programs.start(
            command, Effects(), output=Path(directory, "said"), errors=errors, outlives_us=False
        )
        try:
            while time.monotonic() - began < limit_s:
                if log.exists() and _AT_THE_END in log.read_bytes():
                    return Trial(time.monotonic() - began)
                if process.poll() is not None:
                    last = errors.read_text(errors="replace").strip().splitlines()
                    return Trial(None, f"ended at once: {last[-1] if last else process.returncode}")
                time.sleep(0.01)
            return Trial(None, f"did not come to its end within {limit_s:g} s")
        finally:
            process.kill()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                # It hangs in the kernel; nobody can wait for it.
                print(f"QEMU with {name} (process {process.pid}) cannot be ended", file=sys.stderr)


def choose(
    environment: Mapping[str, str] | None = None,
    kept: Path | None = None,
    trying: Callable[[str], Trial] = attempt,
    known: tuple[str, ...] = KNOWN,
) -> Choice:
    """Return the accelerator for this machine.

    Args:
        environment: Where `VARIABLE` is looked up; by default this process's.
        kept: Where the answer is kept; by default in the cache.
        trying: Tries one.
        known: What is tried.
    """
    named = (os.environ if environment is None else environment).get(VARIABLE)
    if named:
        return Choice(named, f"{VARIABLE} says so")
    path = kept or cache.directory() / "accelerator.json"
    boot = _BOOT.read_text().strip()
    try:
        answer = json.loads(path.read_text())
        if answer["boot"] == boot:
            return Choice(str(answer["name"]), str(answer["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Nothing is kept, or nothing that can be read: try again.
    choice = decide({name: trying(name) for name in known})
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps({"boot": boot, "name": choice.name, "why": choice.why}))
    new.replace(path)
    return choice
