"""The recorded registers as values."""

import json
from pathlib import Path
from typing import NamedTuple

from applianceforge.cpuid.facts import Answer, Facts, Machine
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers

_TABLE = Path(__file__).parent.parent / "data" / "cpuid" / "registers.json"


class Row(NamedTuple):
    name: str
    long_mode: bool
    registers: Registers
    stated_by: str = "synthetic"


def leaf(
    number: int, eax: int = 0, ebx: int = 0, ecx: int = 0, edx: int = 0, *, subleaf: int = 0
) -> Leaf:
    return Leaf(number, subleaf, eax, ebx, ecx, edx)


def _leaf(asked: str, values: str) -> Leaf:
    number, _, subleaf = asked.partition("/")
    return leaf(
        int(number, 16), *(int(v, 16) for v in values.split()), subleaf=int(subleaf or "0", 16)
    )


def rows() -> tuple[Row, ...]:
    processors = json.loads(_TABLE.read_text())["processors"]
    return tuple(
        Row(
            name,
            row["long_mode"],
            Registers(tuple(_leaf(asked, values) for asked, values in row["leaves"].items())),
            row["stated_by"],
        )
        for name, row in processors.items()
    )


ROWS = rows()
BY_NAME = {row.name: row.registers for row in ROWS}


def named(words: str) -> Registers:
    """Return the registers of the one processor whose name ends so."""
    (found,) = (row.registers for row in ROWS if row.name.endswith(words))
    return found


def facts(
    registers: Registers | None,
    procinfo: ProcInfo | None = None,
    machine: Machine | None = None,
) -> Facts:
    """Return what one route found, on a machine that says this of itself."""
    return Facts((Answer("memfd", registers),), procinfo, machine or Machine())


def altered(registers: Registers, number: int, **changes: int) -> Registers:
    """Return the registers with one leaf changed: NAME=value, or clear_NAME=bits to take away."""

    def change(old: Leaf) -> Leaf:
        if (old.number, old.subleaf) != (number, 0):
            return old
        values: dict[str, int] = {}
        for name, value in changes.items():
            register = name.removeprefix("clear_").removeprefix("set_")
            before = values.get(register, getattr(old, register))
            if name.startswith("clear_"):
                value = before & ~value
            elif name.startswith("set_"):
                value = before | value
            values[register] = value
        return old._replace(**values)

    return registers._replace(leaves=tuple(change(old) for old in registers.leaves))


def hidden(registers: Registers) -> Registers:
    """Clear long mode's bit, and nothing else."""
    return altered(registers, 0x80000001, clear_edx=1 << 29)


def without_linear_bits(registers: Registers) -> Registers:
    """Say 32 bits of linear address, as QEMU does for a model without long mode."""
    return altered(registers, 0x80000008, clear_eax=0xFF00, set_eax=0x2000)


def without_cx16(registers: Registers) -> Registers:
    return altered(registers, 1, clear_ecx=0x2000)


def under(registers: Registers, *signatures: str) -> Registers:
    """Put the processor under a hypervisor that shows these signatures."""
    leaves = []
    for index, signature in enumerate(signatures):
        padded = signature.encode().ljust(12, b"\0")
        words = (int.from_bytes(padded[at : at + 4], "little") for at in (0, 4, 8))
        leaves.append(leaf(0x40000000 + 0x100 * index, 0x40000001, *words))
    inside = altered(registers, 1, set_ecx=1 << 31)
    return inside._replace(leaves=(*inside.leaves, *leaves))
