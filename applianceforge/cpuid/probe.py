"""Find out what this machine can do: all that the verdict on the processor follows from.

Changes nothing but for a temporary file without a name, where a route to CPUID needs one
(native.py).
"""

from __future__ import annotations

from pathlib import Path

from applianceforge.cpuid import machine, native, procinfo, remedies, verdict
from applianceforge.cpuid.facts import Answer, Facts
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding

_ROOT = Path("/")


def gather(root: Path = _ROOT) -> Facts:
    """Find out what can be seen of the processor and of what it runs under; never raises.

    Args:
        root: Where the kernel's files are read, for tests. CPUID is asked of this machine always.
    """
    return Facts(
        ask(native.native_code()),
        procinfo.decode(machine.text(root / "proc/cpuinfo")),
        machine.gather(root),
    )


def ask(machine_code: bytes) -> tuple[Answer, ...]:
    """Ask CPUID by every route; one answer for each, the most trusted first."""
    return tuple(
        Answer(
            found.route,
            None
            if found.failure
            else Registers(tuple(Leaf(*leaf) for leaf in found.leaves), found.xcr0),
            found.failure,
        )
        for found in native.ask_all(machine_code)
    )


def long_mode() -> Verdict:
    """Return whether this machine can run 64-bit programs."""
    return verdict.decide(gather())


def long_mode_finding() -> Finding | None:
    """Return the finding that inhibits a migration on this machine, or None if it is capable."""
    return remedies.finding(long_mode())
