"""Decode what other tools write of CPUID: text to registers, for the first logical processor.

    InstLatx64    CPUID 00000007: 00000002-239C27EB-98C007AC-FC18C410 [SL 00]
                  The subleaf (hexadecimal) is left out by old versions: then only the first line
                  of a leaf is sure to be subleaf 0. "------[ Logical CPU #1 ]------" or
                  "CPU#001 AffMask: 0x2" goes before the next processor. AIDA64 and EVEREST write
                  the same.
    libcpuid      basic_cpuid[7]=00000000 239c27eb 98c007ac fc18c410
                  ext_cpuid[1] is leaf 80000001; intel_fn4[1] and the like repeat subleaves.
                  Leaves out of range are there too, with whatever the processor answers.
                  "____ Logical CPU #1 ____" goes before the next processor.
    cpuid -r         0x00000007 0x00: eax=0x00000002 ebx=0x239c27eb ecx=0x98c007ac edx=0xfc18c410
                  "CPU 1:" goes before the next processor, "CPU:" before the only one (-1).
    kcpuid -r     0x00000001: EAX=0x00090672, EBX=0x00800800, ECX=0x7ffafbbf, EDX=0xbfebfbff
                  or "0x00000007: subleafs:" and below it lines such as " 0: EAX=0x00000002, ...".

Registers are in the order EAX EBX ECX EDX everywhere. Other lines are none of ours; a line that
begins as one of these does and is no such line is a problem, as is a dump that ends too early: a
leaf that is not there would be taken for one that the processor does not have.

Source: the InstLatx64 collection; libcpuid, cpuid_serialize_raw_data; Todd Allen's cpuid(1), -r;
Linux, tools/arch/x86/kcpuid.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from applianceforge.cpuid.registers import EXTENDED, HIGHEST_EXTENDED, Leaf, Registers
from applianceforge.model.errors import SettingsError

LONGEST_CHARACTERS = 1 << 20
"""What is looked at; one processor takes 10 KB, and only the first one counts."""

MOST_PROBLEMS = 20
_MOST_LEAVES = 1024
# Longer lines are text of another kind, and so are the shorter ones, at first.
_LONGEST_LINE = 400
_SHORTEST_LINE = 16
_NOTHING = (0xFFFFFFFF,) * 4
_SSE2 = 1 << 26

_FLAGS = re.IGNORECASE | re.ASCII
_HEX = "([0-9a-f]{8})"
_NAMED = r"eax=0x{0},?[ \t]+ebx=0x{0},?[ \t]+ecx=0x{0},?[ \t]+edx=0x{0}\b".format(_HEX)
_TABLES = {"basic_cpuid": 0, "ext_cpuid": EXTENDED}


class Dump(NamedTuple):
    """A decoded dump: the name of its format, and the registers of the first processor."""

    format: str
    registers: Registers


class _Format(NamedTuple):
    """One format, by regular expressions that are compiled when they are first needed.

    Attributes:
        begins: How a line of it begins, damaged or not.
        line: A whole line: leaf, subleaf (may be missing), EAX, EBX, ECX, EDX.
        processor: The line before each processor's, with its number.
    """

    name: str
    begins: str
    line: str
    processor: str


_INSTLATX64 = _Format(
    "InstLatx64",
    r"[ \t]*CPUID[ \t]+(?:[0-9a-f]{8}\b|[^\[]{0,40}[0-9a-f]{8}-[0-9a-f])",
    rf"[ \t]*CPUID[ \t]+{_HEX}[ \t]*:?[ \t]+{_HEX}-{_HEX}-{_HEX}-{_HEX}(?![0-9a-f-])",
    r"(?:-{2,}\[.{0,40}Logical CPU #|[ \t]*CPU#)0*(\d{1,9})\b",
)
_SUBLEAF_LABEL = r"\[SL[ \t]+([0-9a-f]{1,8})\]"
_LIBCPUID = _Format(
    "libcpuid",
    r"(?:basic|ext)_cpuid\[",
    rf"(basic_cpuid|ext_cpuid)\[(\d{{1,3}})\]={_HEX}[ \t]+{_HEX}[ \t]+{_HEX}[ \t]+{_HEX}[ \t]*$",
    r"_{2,}[ \t]*Logical CPU #(\d{1,9})\b",
)
_CPUID = _Format(
    "cpuid -r",
    r"[ \t]*0x[0-9a-f]{1,8}[ \t]+0x[0-9a-f]{1,8}:",
    rf"[ \t]*0x{_HEX}[ \t]+0x([0-9a-f]{{1,8}}):[ \t]*{_NAMED}",
    r"[ \t]*CPU[ \t]+(\d{1,9}):",
)
_KCPUID = _Format(
    "kcpuid -r",
    r"[ \t]*(?:0x[0-9a-f]{1,8}:[ \t]*(?:EAX|subleaf)|\d{1,9}:[ \t]*EAX)",
    rf"[ \t]*(?:0x{_HEX}|(\d{{1,9}})):[ \t]*{_NAMED}",
    r"(?!)",
)
_SUBLEAVES = r"[ \t]*0x([0-9a-f]{8}):[ \t]*subleafs?:"
_FORMATS = (_INSTLATX64, _LIBCPUID, _CPUID, _KCPUID)
FORMATS = tuple(known.name for known in _FORMATS)


def decode(text: str, name: str) -> Dump:
    """Decode a dump, and find out its format.

    Args:
        text: The first `LONGEST_CHARACTERS` of it count.
        name: Of the file, for messages.

    Raises:
        SettingsError: It is of no known format, is damaged or cut short; every problem (up to
            `MOST_PROBLEMS`) is in the evidence, with its line.
    """
    lines = [line.rstrip("\r") for line in text[:LONGEST_CHARACTERS].split("\n")]
    found = _format_of(lines)
    if found is None:
        raise SettingsError(
            f"{name} is not a dump of CPUID in a known format",
            hint="give a file written by `applianceforge check --dump`, by check.sh, or by one of "
            + ", ".join(FORMATS),
        )
    reader = _Reader(found)
    for number, line in enumerate(lines, 1):
        if not reader.read(number, line[:_LONGEST_LINE]):
            break
    registers = Registers(tuple(reader.leaves.values()))
    problems = reader.problems or cut_short(registers)
    if problems:
        raise SettingsError(
            f"{name} is a damaged dump of {found.name}",
            hint=f"write it again with {found.name}, and send it as a file, not within a mail",
            evidence=tuple(problems[:MOST_PROBLEMS]),
        )
    return Dump(found.name, registers)


def cut_short(registers: Registers) -> list[str]:
    """Return what is missing or damaged that the processor has and the verdict needs."""
    head, extended = registers.leaf(0), registers.leaf(EXTENDED)
    if head is None:
        return ["leaf 0 is not there"]
    if not any(head[3:]) or head[2:] == _NOTHING:
        return ["leaf 0 names no vendor"]
    needed = [number for number in (1, 7) if number <= head.eax]
    basic = registers.leaf(1)
    modern = basic is not None and bool(basic.edx & _SSE2)
    found = []
    if extended is None and modern:
        needed.append(EXTENDED)
    if extended is not None and extended.eax <= HIGHEST_EXTENDED:
        needed += [n for n in (EXTENDED + 1, EXTENDED + 8) if n <= extended.eax]
    if extended is not None and modern and not EXTENDED < extended.eax <= HIGHEST_EXTENDED:
        # Every processor with SSE2 has extended leaves, long mode or not.
        found.append(f"leaf {EXTENDED:X} says that the highest of its kind is {extended.eax:X}")
    return [f"leaf {n:X} is not there" for n in needed if registers.leaf(n) is None] + found


def _match(pattern: str, line: str) -> re.Match[str] | None:
    return re.match(pattern, line, _FLAGS)


def _format_of(lines: list[str]) -> _Format | None:
    for line in lines:
        if len(line) < _SHORTEST_LINE:
            continue
        for known in _FORMATS:
            if _match(known.begins, line[:_LONGEST_LINE]):
                return known
    return None


class _Reader:
    """What was read so far."""

    def __init__(self, known: _Format) -> None:
        self.leaves: dict[tuple[int, int], Leaf] = {}
        self.problems: list[str] = []
        self._format = known
        self._first_processor: str | None = None
        self._parent: int | None = None

    def read(self, number: int, line: str) -> bool:
        """Take one line; return whether the next one is wanted."""
        if not line:
            return True
        processor = _match(self._format.processor, line)
        if processor:
            if self._first_processor not in (None, processor[1]) and self.leaves:
                return False
            self._first_processor = processor[1]
            return True
        if not _match(self._format.begins, line):
            return True
        parent = _match(_SUBLEAVES, line) if self._format is _KCPUID else None
        if parent:
            self._parent = int(parent[1], 16)
            return True
        leaf = self._leaf(line)
        if leaf is None:
            self._problem(number, f"not a line of {self._format.name}: {line.strip()[:60]!r}")
            return len(self.problems) < MOST_PROBLEMS
        return self._add(number, leaf)

    def _add(self, number: int, leaf: Leaf) -> bool:
        key = (leaf.number, leaf.subleaf)
        if leaf[2:] == _NOTHING:
            # What libcpuid was not given, and what a reader of /dev/cpu could not read.
            return True
        before = self.leaves.get(key)
        if before is None:
            if len(self.leaves) == _MOST_LEAVES:
                self._problem(number, f"one processor has no more than {_MOST_LEAVES} leaves")
                return False
            self.leaves[key] = leaf
            return True
        if leaf.number == 0:
            # The next processor, in a dump without headings.
            return False
        if before != leaf and self._format is not _INSTLATX64:
            self._problem(number, f"leaf {leaf.number:X} is there twice, with other values")
        return len(self.problems) < MOST_PROBLEMS

    def _problem(self, number: int, what: str) -> None:
        self.problems.append(f"line {number}: {what}")

    def _leaf(self, line: str) -> Leaf | None:
        match = _match(self._format.line, line)
        if match is None:
            return None
        if self._format is _INSTLATX64:
            label = re.search(_SUBLEAF_LABEL, line[match.end() :], _FLAGS)
            asked = (int(match[1], 16), int(label[1], 16) if label else 0)
            values = match.groups()[1:]
        elif self._format is _LIBCPUID:
            asked = (_TABLES[match[1].lower()] + int(match[2]), 0)
            values = match.groups()[2:]
        elif match[1]:
            asked = (int(match[1], 16), int(match[2] or "0", 16))
            values = match.groups()[2:]
        elif self._parent is not None:
            asked = (self._parent, int(match[2]))
            values = match.groups()[2:]
        else:
            return None
        if self._format is _KCPUID and match[1]:
            # Subleaves stand below their own leaf only.
            self._parent = None
        return Leaf(*asked, *(int(value, 16) for value in values))
