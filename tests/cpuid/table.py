"""The recorded registers as values."""

import json
from dataclasses import dataclass
from pathlib import Path

from applianceforge.cpuid.registers import Leaf, Registers

_TABLE = Path(__file__).parent.parent / "data" / "cpuid" / "registers.json"


@dataclass(frozen=True)
class Row:
    name: str
    long_mode: bool
    registers: Registers


def leaf(number: int, eax: int = 0, ebx: int = 0, ecx: int = 0, edx: int = 0) -> Leaf:
    return Leaf(number, 0, eax, ebx, ecx, edx)


def rows() -> tuple[Row, ...]:
    processors = json.loads(_TABLE.read_text())["processors"]
    return tuple(
        Row(
            name,
            row["long_mode"],
            Registers(
                tuple(
                    leaf(int(number, 16), *(int(value, 16) for value in values.split()))
                    for number, values in row["leaves"].items()
                )
            ),
        )
        for name, row in processors.items()
    )


ROWS = rows()
BY_NAME = {row.name: row.registers for row in ROWS}


def altered(registers: Registers, number: int, **changes: int) -> Registers:
    """Return the registers with one leaf changed: NAME=value, or clear_NAME=bits to take away."""

    def change(old: Leaf) -> Leaf:
        if old.number != number:
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

    return Registers(tuple(change(old) for old in registers.leaves))


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
    return Registers((*inside.leaves, *leaves))
