"""Decide whether this machine can run 64-bit programs, and if not, who is in the way.

The rule for long mode (registers.py) was right on all of 481 distinct processors with recorded
registers. Where it says no, a 64-bit processor may be hidden behind a hypervisor's or a firmware's
setting. That is taken as shown by any of

- linear addresses of 48 bits or more,
- CX16 with SSE2 and SSE3, in family 6 or higher,
- a signature that was never sold without long mode (`_always_64_bit`),

which never spoke up on 115 real 32-bit processors and found 360 of 360 whose bit 29 was cleared.

What could not be probed is unknown, and so is what two routes contradict each other about. Unknown
is never incapable.

Source: registers of the InstLatx64 collection; vendors' revision guides for the signatures.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from applianceforge.cpuid import features, hypervisors
from applianceforge.cpuid.facts import Answer, Facts
from applianceforge.cpuid.features import Level
from applianceforge.cpuid.hypervisors import Hypervisor, Platform
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import EXTENDED, Registers

_FULL_LINEAR_BITS = 48
# Family 6: Tolapai and the Atoms that exist without long mode.
_INTEL_BOTH_WAYS = frozenset({0x15, 0x1C, 0x26, 0x27, 0x35, 0x36, 0x4A, 0x5A})


class Capability(Enum):
    """Whether this machine can run 64-bit programs, and what is in the way."""

    CAPABLE = "capable"
    MASKED_BY_HYPERVISOR = "masked-by-hypervisor"
    MASKED_BY_FIRMWARE = "masked-by-firmware"
    INCAPABLE = "incapable"
    UNKNOWN = "unknown"

    @property
    def exit_status(self) -> int:
        """Return the status that the check ends with."""
        return _EXIT_STATUSES[self]


_EXIT_STATUSES = {
    Capability.CAPABLE: 0,
    Capability.MASKED_BY_HYPERVISOR: 20,
    Capability.MASKED_BY_FIRMWARE: 21,
    Capability.INCAPABLE: 22,
    Capability.UNKNOWN: 30,
}


class Verdict(NamedTuple):
    """Whether it can, and what shows that.

    Attributes:
        long_mode: Whether the processor shows long mode; None if that is not known.
        environment: `metal`, `vm:NAME`, `container` or `emulated`.
        hypervisor: The name of what runs the machine, as far as that was seen; in a container too.
        level: The x86-64 level, 1 to 4; None if it is not known, or without long mode.
        evidence: One fact a line.
        contradictions: What the routes to CPUID disagree about, one a line.
        platform: Whose remedies apply; None without a hypervisor.
        level_at_least: What is known of the level even where it is not known.
    """

    capability: Capability
    long_mode: bool | None
    environment: str
    hypervisor: str | None
    level: int | None
    evidence: tuple[str, ...]
    contradictions: tuple[str, ...] = ()
    platform: Platform | None = None
    level_at_least: int = 0


def decide(facts: Facts) -> Verdict:
    """Return the verdict on the facts."""
    hypervisor = hypervisors.find(facts)
    contradictions = _contradictions(facts)
    capability, long_mode, masks = _capability(facts, hypervisor)
    level = _level(facts) if long_mode else Level(None, "")
    return Verdict(
        capability,
        long_mode,
        hypervisors.environment(facts),
        hypervisor.name if hypervisor else None,
        level.number,
        (*_evidence(facts), *masks, *_level_evidence(level)),
        contradictions,
        hypervisor.platform if hypervisor else None,
        level.at_least,
    )


def _capability(
    facts: Facts, hypervisor: Hypervisor | None
) -> tuple[Capability, bool | None, tuple[str, ...]]:
    shown = {answer.registers.long_mode for answer in facts.answers if answer.registers} - {None}
    listed = None if facts.procinfo is None else facts.procinfo.long_mode
    if len(shown) > 1 or (shown == {False} and listed):
        return Capability.UNKNOWN, None, ("the routes contradict each other about long mode",)
    if shown == {True} and listed is False and facts.machine.xen == "PV":
        # A 32-bit paravirtual guest executes CPUID itself, past what Xen allows it.
        return (
            Capability.MASKED_BY_HYPERVISOR,
            False,
            ("the processor has long mode, but Xen keeps it from a 32-bit paravirtual guest",),
        )
    if shown == {True} or (not shown and listed):
        return Capability.CAPABLE, True, ()
    if facts.registers is None and facts.procinfo is None:
        return Capability.UNKNOWN, None, ()
    masks = _masks(facts)
    if not masks:
        return Capability.INCAPABLE, False, ()
    by_hypervisor = hypervisor is not None
    return (
        Capability.MASKED_BY_HYPERVISOR if by_hypervisor else Capability.MASKED_BY_FIRMWARE,
        False,
        masks,
    )


def _evidence(facts: Facts) -> tuple[str, ...]:
    found = []
    if facts.registers is None:
        found += [f"{answer.route}: {answer.failure}" for answer in facts.answers] or [
            "CPUID could not be asked"
        ]
    else:
        shows = "shows" if facts.registers.long_mode else "does not show"
        found.append(f"CPUID of {_who(facts.registers)} {shows} long mode")
    if facts.procinfo is None and facts.registers is None:
        found.append("/proc/cpuinfo does not tell")
    elif facts.procinfo is not None:
        lists = "lists" if facts.procinfo.long_mode else "does not list"
        found.append(f"/proc/cpuinfo {lists} lm")
    return tuple(found)


def _who(source: Registers | ProcInfo) -> str:
    return f"{source.vendor.strip()} family {source.family:X}h model {source.model:X}h"


def _masks(facts: Facts) -> tuple[str, ...]:
    """Return what shows by any source that a 64-bit processor is hidden; empty if nothing does."""
    sources: list[Registers | ProcInfo] = [
        answer.registers for answer in facts.answers if answer.registers is not None
    ]
    if facts.procinfo is not None:
        sources.append(facts.procinfo)
    return tuple(dict.fromkeys(line for source in sources for line in _masks_of(source)))


def _masks_of(source: Registers | ProcInfo) -> list[str]:
    found = []
    if source.linear_bits >= _FULL_LINEAR_BITS:
        found.append(f"linear addresses have {source.linear_bits} bits, as with long mode only")
    if source.family >= 6 and source.has_cx16_sse:
        found.append("it has CX16, SSE2 and SSE3, as processors with long mode do")
    if _always_64_bit(source.vendor, source.family, source.model):
        found.append(
            f"family {source.family:X}h model {source.model:X}h was never sold without long mode"
        )
    return found


def _always_64_bit(vendor: str, family: int, model: int) -> bool:
    if vendor == "GenuineIntel":
        return (family == 6 and model >= 0x0F and model not in _INTEL_BOTH_WAYS) or (
            family == 0xF and model == 6
        )
    if vendor in ("AuthenticAMD", "HygonGenuine"):
        return family >= 0x10
    return vendor == "CentaurHauls" and ((family == 6 and model >= 0xF) or family == 7)


def _level(facts: Facts) -> Level:
    if facts.registers is not None:
        return features.level(facts.registers, facts.procinfo)
    if facts.procinfo is not None:
        return features.level_of_flags(facts.procinfo)
    return Level(None, "")


def _level_evidence(level: Level) -> tuple[str, ...]:
    if level.number is not None:
        name = f"x86-64-v{level.number}"
    elif level.at_least:
        name = f"at least x86-64-v{level.at_least}"
    else:
        name = "the x86-64 level is not known"
    return (f"{name}: {level.why}",) if level.why else (name,) * bool(level.at_least)


def _contradictions(facts: Facts) -> tuple[str, ...]:
    """Compare every route with the first that worked, and that with /proc/cpuinfo."""
    found: list[str] = []
    worked = [answer for answer in facts.answers if answer.registers and answer.registers.leaf(0)]
    for answer in worked[1:]:
        found += _differences(worked[0], answer)
    first = facts.registers
    listed = facts.procinfo
    if first is not None and listed is not None:
        if _who(first) != _who(listed):
            found.append(f"{worked[0].route} says {_who(first)}, /proc/cpuinfo says {_who(listed)}")
        if first.long_mode != listed.long_mode:
            says = ("no long mode", "long mode")
            found.append(
                f"{worked[0].route} says {says[bool(first.long_mode)]},"
                f" /proc/cpuinfo says {says[listed.long_mode]}"
            )
    return tuple(found)


def _differences(one: Answer, other: Answer) -> list[str]:
    """Return what two routes say differently that no two cores of one machine do."""
    mine, theirs = one.registers, other.registers
    assert mine is not None and theirs is not None
    told = (
        ("processor", _who(mine), _who(theirs)),
        ("long mode", mine.long_mode, theirs.long_mode),
        ("highest extended leaf", _highest(mine), _highest(theirs)),
        ("hypervisor", mine.hypervisor_signatures, theirs.hypervisor_signatures),
    )
    return [
        f"{what}: {one.route} says {a}, {other.route} says {b}" for what, a, b in told if a != b
    ]


def _highest(registers: Registers) -> str:
    leaf = registers.leaf(EXTENDED)
    return "nothing" if leaf is None else f"{leaf.eax:08X}"
