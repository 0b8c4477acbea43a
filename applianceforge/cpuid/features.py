"""Features by their bits, and the x86-64 levels that they make.

A level asks for all features of the levels below it too. For v3 and v4 the kernel must also have
enabled the wider registers: OSXSAVE, and in XCR0 bits 1 and 2 (SSE, AVX), for v4 also 5 to 7.

Left out on purpose: SYSCALL (leaf 80000001 EDX bit 11) of v1, as Intel clears that bit for code in
32-bit mode, and OSFXSR, which CPUID does not show. Long mode implies both.

Source: System V ABI, AMD64 supplement 1.0, section 3.1.1, table 3.1; bits: Intel SDM volume 2A,
CPUID; AMD APM volume 3, appendix E; names: Linux, arch/x86/include/asm/cpufeatures.h.
"""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Registers

_EXTENDED_FEATURES = 0x80000001


class Feature(NamedTuple):
    """One bit of CPUID, and its name in /proc/cpuinfo ("" if it has none there)."""

    level: int
    name: str
    flag: str
    leaf: int
    register: str
    bit: int


FEATURES = (
    Feature(1, "FPU", "fpu", 1, "edx", 0),
    Feature(1, "CX8", "cx8", 1, "edx", 8),
    Feature(1, "CMOV", "cmov", 1, "edx", 15),
    Feature(1, "MMX", "mmx", 1, "edx", 23),
    Feature(1, "FXSR", "fxsr", 1, "edx", 24),
    Feature(1, "SSE", "sse", 1, "edx", 25),
    Feature(1, "SSE2", "sse2", 1, "edx", 26),
    Feature(2, "SSE3", "pni", 1, "ecx", 0),
    Feature(2, "SSSE3", "ssse3", 1, "ecx", 9),
    Feature(2, "CX16", "cx16", 1, "ecx", 13),
    Feature(2, "SSE4.1", "sse4_1", 1, "ecx", 19),
    Feature(2, "SSE4.2", "sse4_2", 1, "ecx", 20),
    Feature(2, "POPCNT", "popcnt", 1, "ecx", 23),
    Feature(2, "LAHF", "lahf_lm", _EXTENDED_FEATURES, "ecx", 0),
    Feature(3, "FMA", "fma", 1, "ecx", 12),
    Feature(3, "MOVBE", "movbe", 1, "ecx", 22),
    Feature(3, "OSXSAVE", "", 1, "ecx", 27),
    Feature(3, "AVX", "avx", 1, "ecx", 28),
    Feature(3, "F16C", "f16c", 1, "ecx", 29),
    Feature(3, "BMI1", "bmi1", 7, "ebx", 3),
    Feature(3, "AVX2", "avx2", 7, "ebx", 5),
    Feature(3, "BMI2", "bmi2", 7, "ebx", 8),
    Feature(3, "LZCNT", "abm", _EXTENDED_FEATURES, "ecx", 5),
    Feature(4, "AVX512F", "avx512f", 7, "ebx", 16),
    Feature(4, "AVX512DQ", "avx512dq", 7, "ebx", 17),
    Feature(4, "AVX512CD", "avx512cd", 7, "ebx", 28),
    Feature(4, "AVX512BW", "avx512bw", 7, "ebx", 30),
    Feature(4, "AVX512VL", "avx512vl", 7, "ebx", 31),
)
_XCR0_NEEDED = {3: 0x06, 4: 0xE6}
# The kernel lists these only where it has enabled their registers.
_ENABLED_BY_FLAG = {3: "avx", 4: "avx512f"}
_HIGHEST_LEVEL = 4


class Level(NamedTuple):
    """An x86-64 level.

    Attributes:
        number: 1 to 4, or None if it is not known.
        why: What the next level lacks, or why it is not known; one fact.
        at_least: What is known of it even so; the level itself where that is known.
    """

    number: int | None
    why: str
    at_least: int = 0


def has(registers: Registers, feature: Feature) -> bool:
    """Return whether the registers show a feature; a leaf that is out of range has none."""
    if feature.leaf >= _EXTENDED_FEATURES:
        leaf = registers.extended(feature.leaf)
    else:
        head = registers.leaf(0)
        leaf = registers.leaf(feature.leaf) if head and feature.leaf <= head.eax else None
    return leaf is not None and bool(getattr(leaf, feature.register) >> feature.bit & 1)


def level(registers: Registers, procinfo: ProcInfo | None = None) -> Level:
    """Return the x86-64 level of a processor that has long mode.

    What the kernel has enabled is told by XCR0, or by /proc/cpuinfo where that was not read. Where
    the firmware limits CPUID's highest leaf, leaf 7 is hidden: the level is not known then, as
    every processor of level 2 or higher has leaves above 7.
    """
    head = registers.leaf(0)
    if head is None:
        return Level(None, "CPUID gave no answer")
    for number in range(1, _HIGHEST_LEVEL + 1):
        if number == 3 and head.eax < 7:
            why = "the firmware limits CPUID to leaves below 7, which hides the rest"
            return Level(None, why, number - 1)
        missing = [f.name for f in FEATURES if f.level == number and not has(registers, f)]
        if missing:
            return _below(number, f"v{number} needs {', '.join(missing)}")
        enabled = _enabled(registers, procinfo, number)
        if enabled is None:
            why = "what the kernel has enabled (XCR0) was not recorded"
            return Level(None, why, number - 1)
        if not enabled:
            return _below(number, f"v{number} needs registers that the kernel has not enabled")
    return Level(_HIGHEST_LEVEL, "", _HIGHEST_LEVEL)


def _below(number: int, why: str) -> Level:
    return Level(number - 1 or None, why, number - 1)


def _enabled(registers: Registers, procinfo: ProcInfo | None, number: int) -> bool | None:
    if number not in _XCR0_NEEDED:
        return True
    if registers.xcr0 is not None:
        return registers.xcr0 & _XCR0_NEEDED[number] == _XCR0_NEEDED[number]
    return None if procinfo is None else _ENABLED_BY_FLAG[number] in procinfo.flags


def level_of_flags(procinfo: ProcInfo) -> Level:
    """Return the x86-64 level by /proc/cpuinfo, which lists what the kernel has enabled."""
    for number in range(1, _HIGHEST_LEVEL + 1):
        missing = [
            f.name
            for f in FEATURES
            if f.level == number and f.flag and f.flag not in procinfo.flags
        ]
        if missing:
            return _below(number, f"v{number} needs {', '.join(missing)}")
    return Level(_HIGHEST_LEVEL, "", _HIGHEST_LEVEL)
