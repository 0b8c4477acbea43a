"""Prove of a running process that it is of 32 bits."""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats import elf
from applianceforge.migrate.tree import read_head
from applianceforge.model.architecture import Architecture

_LIMIT = 1 << 32


@dataclass(frozen=True)
class Proof:
    """What the kernel says of a process.

    Attributes:
        pid: Which one.
        loader: What it executes; a program of a tree is started through the tree's loader.
        loader_bits: The ELF class of that.
        program: The program that the loader mapped.
        program_bits: The ELF class of that.
        architecture: Of the program.
        highest_address: Where its uppermost mapping ends, the kernel's own aside.
    """

    pid: int
    loader: str
    loader_bits: int
    program: str
    program_bits: int
    architecture: Architecture | None
    highest_address: int

    @property
    def holds(self) -> bool:
        """Return whether all of it is i386 and below 4 GiB."""
        return (
            (self.loader_bits, self.program_bits) == (32, 32)
            and self.architecture is Architecture.I386
            and self.highest_address <= _LIMIT
        )

    def __str__(self) -> str:
        what = self.architecture.value if self.architecture else "unknown"
        return (
            f"process {self.pid}: {Path(self.program).name} is ELF{self.program_bits} {what},"
            f" its loader {Path(self.loader).name} ELF{self.loader_bits},"
            f" addresses below {self.highest_address:#x}"
        )


def prove(pid: int, program: Path) -> Proof:
    """Look at a process that runs `program` of some tree.

    Raises:
        LookupError: It has not mapped that program.
    """
    process = Path(f"/proc/{pid}")
    with open(process / "exe", "rb") as stream:
        loader = elf.decode(stream.read(4096))
    ends, mapped = [], set()
    for line in (process / "maps").read_text(errors="replace").splitlines():
        words = line.split(maxsplit=5)
        name = words[5] if len(words) > 5 else ""
        mapped.add(name)
        if name != "[vsyscall]":
            ends.append(int(words[0].partition("-")[2], 16))
    if str(program.resolve()) not in mapped:
        raise LookupError(f"process {pid} has not mapped {program}")
    head = read_head(program)
    return Proof(
        pid=pid,
        loader=str((process / "exe").readlink()),
        loader_bits=loader.bits,
        program=str(program),
        program_bits=head.bits,
        architecture=head.architecture,
        highest_address=max(ends),
    )
