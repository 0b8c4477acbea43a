"""The head of an ELF file: its width, its machine, and the loader that it asks for.

    e_ident  magic 7F 45 4C 46, class (1 = 32-bit, 2 = 64-bit), data (1 = little endian), ...
    16       e_type u16, e_machine u16 (3 = i386, 62 = x86-64)
    28 | 32  e_phoff            (32-bit | 64-bit)
    42 | 54  e_phentsize u16, e_phnum u16
    program header: p_type u32 (3 = PT_INTERP), p_offset at 4 | 8, p_filesz at 16 | 32

Source: System V ABI, chapter 4 and 5, edition 4.1; psABI supplements for i386 and x86-64.
"""

import struct
from dataclasses import dataclass

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ProgramMissingError

_MACHINES = {3: Architecture.I386, 62: Architecture.AMD64}
_PT_INTERP = 3
# More than any loader's path; longer ones are refused rather than believed.
_LONGEST_INTERPRETER = 4096


@dataclass(frozen=True)
class Elf:
    """What the head of an ELF file says.

    Attributes:
        bits: 32 or 64, the ELF class.
        architecture: None where the machine is neither i386 nor amd64.
        interpreter: The absolute path of the dynamic loader; empty for a static program.
    """

    bits: int
    architecture: Architecture | None
    interpreter: str


def decode(head: bytes) -> Elf:
    """Decode the first bytes of a file; 4 KiB hold all that is looked at.

    Raises:
        ProgramMissingError: These are not the first bytes of a little-endian ELF program.
    """
    if head[:4] != b"\x7fELF" or len(head) < 52 or head[4] not in (1, 2) or head[5] != 1:
        raise ProgramMissingError(
            "this is not a little-endian ELF program", hint="name a program of i386 or amd64"
        )
    wide = head[4] == 2
    if wide and len(head) < 64:
        raise ProgramMissingError("this ELF program is cut short", hint="install it again")
    (machine,) = struct.unpack_from("<H", head, 18)
    (offset,) = struct.unpack_from("<Q" if wide else "<I", head, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", head, 54 if wide else 42)
    return Elf(
        bits=64 if wide else 32,
        architecture=_MACHINES.get(machine),
        interpreter=_interpreter(head, wide=wide, offset=offset, size=size, count=count),
    )


def _interpreter(head: bytes, *, wide: bool, offset: int, size: int, count: int) -> str:
    if size < (56 if wide else 32):
        return ""
    for start in range(offset, offset + size * count, size):
        if start + size > len(head):
            break
        (kind,) = struct.unpack_from("<I", head, start)
        if kind != _PT_INTERP:
            continue
        (at,) = struct.unpack_from("<Q" if wide else "<I", head, start + (8 if wide else 4))
        (length,) = struct.unpack_from("<Q" if wide else "<I", head, start + (32 if wide else 16))
        if length > _LONGEST_INTERPRETER or at + length > len(head):
            break
        return head[at : at + length].rstrip(b"\0").decode("ascii", errors="replace")
    return ""
