"""Processor models in QEMU, what the check must say of each, and why; all asked in real guests.

Every guest is a 32-bit kernel with a 32-bit Python. All routes must agree, with each other and with
the kernel; the whole check must say the same, and so must this machine of the guest's dumps. QEMU's
own emulation ("TCG") is used, never the host's processor.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applianceforge.cpuid import verdict
from applianceforge.preflight import dump
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressSink
from tests.appliance import trees
from tests.reports import report_of
from tests.vm import batch, guest
from tests.vm.batch import Said
from tests.vm.guest import Guest
from tests.vm.hardware import NARROW, WIDE

CAPABLE, INCAPABLE, MASKED = "capable", "incapable", "masked-by-hypervisor"
ROUTES = {"memfd", "file", "anonymous", "device"}
_ASKING = Path(__file__).parent / "asking.py"
_SCRIPT = guest.CHECKOUT / "applianceforge/preflight/check.sh"
_CHECK = (
    "import sys; from applianceforge.cli import standalone; sys.exit(standalone.main(sys.argv[1:]))"
)
_PYTHON = "python3 -I -S"
_COMMANDS = {
    "ask": f"{_PYTHON} /asking.py",
    "check": f"{_PYTHON} -c '{_CHECK}' check --json",
    "dump": f"{_PYTHON} -c '{_CHECK}' check --dump",
    "script": "sh /check.sh",
}
_REHEARSAL = """
import json, struct
from pathlib import Path
from applianceforge.cli import standalone
from applianceforge.cpuid import native, probe
standalone.main(["check", "--json"])
standalone.main(["check", "--dump"])
"""


@dataclass(frozen=True)
class Model:
    """One processor.

    Attributes:
        name: As QEMU's -cpu takes it.
        verdict: What must be said of it.
        why: What that follows from.
        level: The x86-64 level, if it has long mode.
        hypervisor: What must be said to run it.
        esx: Whether the firmware is that of VMware ESX 3.5.
    """

    name: str
    verdict: str
    why: str
    level: int | None = None
    program: str = WIDE
    hypervisor: str | None = "QEMU"
    environment: str = "emulated"
    esx: bool = False

    @property
    def title(self) -> str:
        """Return its name, with the program where that is not the usual one."""
        return self.name + {WIDE: "", NARROW: " in qemu-system-i386"}[self.program]


ESX = Model(
    "core2duo,-lm,-hypervisor,tcg-cpuid=off",
    MASKED,
    "a Core 2 under ESX 3.5 with its CPUID mask on: no hypervisor bit, no leaf, DMI alone tells",
    hypervisor="VMware ESX 3.5",
    environment="vm:VMware ESX 3.5",
    esx=True,
)
MODELS = (
    Model("pentium2", INCAPABLE, "family 6 model 5"),
    Model("pentium3", INCAPABLE, "family 6 model 7"),
    Model("athlon", INCAPABLE, "AMD's family 6, with extended leaves but before the K8"),
    Model("coreduo", INCAPABLE, "model Eh, the last Pentium M; has NX and SSE3, but no CX16"),
    Model("n270", INCAPABLE, "an Atom whose signature exists both ways, and no other evidence"),
    Model("qemu32", INCAPABLE, "QEMU's own, family 6 model 6"),
    Model("kvm32", MASKED, "family Fh model 6, which was never sold without long mode"),
    Model("kvm64", CAPABLE, "the same with long mode", 1),
    Model("qemu64", CAPABLE, "QEMU's default", 1),
    Model("qemu64,-lm", MASKED, "has CX16, SSE2 and SSE3"),
    Model("core2duo", CAPABLE, "Merom, before SSE4", 1),
    Model("core2duo,-lm", MASKED, "model Fh, and CX16"),
    Model("core2duo,-lm,-cx16", MASKED, "model Fh alone"),
    Model("Nehalem", CAPABLE, "the first of level 2", 2),
    Model("SandyBridge", CAPABLE, "AVX, but no AVX2", 2),
    Model("Denverton", CAPABLE, "an Atom that is always a 64-bit one", 2),
    Model("Haswell", CAPABLE, "the first of level 3", 3),
    Model("Opteron_G1", CAPABLE, "a K8 without SSE3", 1),
    Model("Opteron_G1,-lm", INCAPABLE, "a K8 with all signs hidden: family Fh was sold both ways"),
    Model("phenom", CAPABLE, "AMD's family 10h", 1),
    Model("phenom,-lm", MASKED, "family 10h was never sold without long mode"),
    Model("EPYC", CAPABLE, "Zen", 3),
    Model("max", CAPABLE, "all that QEMU can emulate", 3),
    Model("max,-lm", MASKED, "has CX16, SSE2 and SSE3"),
    Model("pentium3", INCAPABLE, "the same in either program", program=NARROW),
    Model("core2duo", MASKED, "qemu-system-i386 clears long mode for any model", program=NARROW),
    Model("max", MASKED, "qemu-system-i386 clears long mode for any model", program=NARROW),
    ESX,
)
# A few that differ in kind, for every run of the tests.
SMOKE = (
    next(model for model in MODELS if model.name == "n270"),
    next(model for model in MODELS if model.name == "max" and model.program == WIDE),
    ESX,
)


def firmware(start_segment: int) -> bytes:
    """Return an SMBIOS table of type 0; QEMU's own option leaves out where the firmware starts.

    Source: SMBIOS 3.4, section 7.1.
    """
    strings = b"Phoenix Technologies LTD\x006.00\x0001/30/2008\x00\x00"
    size = 0x18
    head = struct.pack("<BBHBBHBB", 0, size, 0, 1, 2, start_segment, 3, 0)
    # Features: PCI, and "not all are listed"; then the firmware's release, none of a controller.
    return head + struct.pack("<QHBBBB", 1 << 7, 0, 4, 6, 255, 255) + strings


def build(
    directory: Path,
    progress: ProgressSink | None = None,
    commands: Mapping[str, str] | None = None,
    files: Mapping[str, Path] | None = None,
) -> Guest:
    """Build the guest that asks its processor, and runs more commands if there are any."""
    return guest.build(
        trees.tree(guest.RECIPE, Effects(), progress),
        directory,
        _REHEARSAL,
        {**_COMMANDS, **(commands or {})},
        {"asking.py": _ASKING, "check.sh": _SCRIPT, **(files or {})},
    )


def start(model: Model, built: Guest) -> tuple[dict[str, Said], float]:
    """Start the guest on a model; return what its commands said, and how many seconds it took."""
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        options: tuple[str, ...] = ()
        if model.esx:
            table = Path(name, "smbios-0")
            table.write_bytes(firmware(0xE791))
            product = "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform"
            options = ("-smbios", f"file={table}", "-smbios", product)
        return batch.run(built, model.name, program=model.program, options=options)


def wrong(model: Model, said: Mapping[str, Any]) -> list[str]:
    """Return what is not as it must be in what the routes say."""
    long_mode = model.verdict == CAPABLE
    expected = {
        "bits": 32,
        "kernel": "i686",
        "failures": {},
        "long_mode_by": dict.fromkeys([*ROUTES, "procinfo"], long_mode),
        "lm_in_flags": long_mode,
        "verdict": model.verdict,
        "long_mode": long_mode,
        "level": model.level,
        "hypervisor": model.hypervisor,
        "environment": model.environment,
        "contradictions": [],
    }
    return _differences(model, said, expected)


def wrong_in_report(model: Model, report: Mapping[str, Any]) -> list[str]:
    """Return what is not as it must be in the report of `check --json`."""
    expected = {
        "verdict": model.verdict,
        "long_mode": model.verdict == CAPABLE,
        "level": model.level,
        "hypervisor": model.hypervisor,
        "environment": model.environment,
    }
    return _differences(model, report["processor"], expected)


def wrong_from_dump(model: Model, content: str, *, in_full: bool) -> list[str]:
    """Return what is not as it must be in the verdict on a dump.

    Args:
        in_full: Whether the dump has the registers; check.sh sees no more than /proc/cpuinfo,
            which does not tell an emulator from a virtual machine.
    """
    facts = dump.read(content.encode(), "the dump").processor
    decided = verdict.decide(facts)
    said = {
        "verdict": decided.capability.value,
        "long_mode": decided.long_mode,
        "level": decided.level,
        "hypervisor": decided.hypervisor,
        "environment": decided.environment,
        "registers": facts.registers is not None,
    }
    expected = {
        "verdict": model.verdict,
        "long_mode": model.verdict == CAPABLE,
        "level": model.level,
        "hypervisor": model.hypervisor,
        "registers": in_full,
    }
    if in_full:
        expected["environment"] = model.environment
    return _differences(model, said, expected)


def _differences(model: Model, said: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return [
        f"{model.title}: {name} is {said.get(name)!r}, expected {value!r}"
        for name, value in expected.items()
        if said.get(name) != value
    ]


def check(model: Model, built: Guest) -> tuple[list[str], dict[str, Any], float]:
    """Start the guest; return what is wrong, what it said, and how many seconds it took.

    What it said is by the name of the command.
    """
    answers, elapsed_s = start(model, built)
    problems = [
        f"{model.title}: {name} ended with status {answers[name].status}\n{answers[name].text}"
        for name, allowed in _statuses(model).items()
        if answers[name].status not in allowed
    ]
    if problems:
        return problems, {}, elapsed_s
    said = json.loads(answers["ask"].text)
    report = report_of(answers["check"].text)
    problems += wrong(model, said)
    problems += wrong_in_report(model, report)
    problems += wrong_from_dump(model, answers["dump"].text, in_full=True)
    problems += wrong_from_dump(model, answers["script"].text, in_full=False)
    return problems, {"ask": said, "check": report}, elapsed_s


def _statuses(model: Model) -> dict[str, set[int]]:
    """Return how the commands may end.

    A capable machine may lack something else (10, 23, 24): the guest is a small one.
    """
    capable = model.verdict == CAPABLE
    return {
        "ask": {0},
        "check": {0, 10, 23, 24} if capable else {verdict.Capability(model.verdict).exit_status},
        "dump": {0},
        "script": {0 if capable else 30},
    }


def run(
    models: Iterable[Model] = MODELS,
    jobs: int = 2,
    progress: ProgressSink | None = None,
    tell: Callable[[str], None] = print,
) -> list[str]:
    """Ask all models, tell of each, and return what is wrong.

    Args:
        models: Which.
        jobs: How many machines at a time.
        progress: Told of the making of the tree.
        tell: Takes one line for each model.
    """
    problems: list[str] = []
    chosen: Sequence[Model] = tuple(models)
    with tempfile.TemporaryDirectory(prefix="vm-") as name, ThreadPoolExecutor(jobs) as pool:
        built = build(Path(name), progress)
        done = pool.map(lambda model: check(model, built), chosen)
        for model, (found, said, elapsed_s) in zip(chosen, done, strict=True):
            mark = "WRONG" if found else "right"
            shown = "no answer"
            if said:
                level = said["ask"]["level"]
                shown = said["ask"]["verdict"] + (f" v{level}" if level else "")
            tell(f"{mark} {elapsed_s:5.1f} s  {model.title}: {shown}  ({model.why})")
            problems += found
    return problems
