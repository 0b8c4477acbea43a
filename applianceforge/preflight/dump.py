"""Write all facts as a short text for a support desk, and read such texts of any kind.

    applianceforge-dump 1
    by applianceforge                        or check.sh: the same format
    kernel 5.10.0-28-686 i686                release, machine
    userland 32
    command-line nolm                        only the words that matter
    maker VMware, Inc.                       DMI
    product VMware Virtual Platform
    bios-segment E791                        hexadecimal
    xen PV
    container lxc
    route memfd works 1                      or: failed REASON, or: like ROUTE 0
    leaf 1 6F4 20800 E3BD BFEBFBFF           NUMBER[.SUBLEAF] EAX EBX ECX EDX, hexadecimal
    xcr0 7                                   or - where it was not asked
    cpuinfo vendor_id: GenuineIntel          lines of /proc/cpuinfo
    memory 1048576K                          likewise memory-available and swap
    firmware bios                            or uefi and its width: uefi64
    clock 1700000000 synchronized            or free, or unknown
    partner corosync
    boot-loader sda untouched                or changed, or unknown
    boot-evidence sector 0 is as in boot.img
    boot-environment 1024 TEXT               its size, and its text without the #s at the end
    data /data                               mount point of the file system for the migrated data
    filesystem /dev/sda4 /data ext4 rw 4194304K 1048576K errors=0 recovery=no
    disk sda 16777216K
    partition sda1 262144K root              of the disk above it
    unseen root raw DMI | permission denied  who could look, what, why
    end 30 91                                lines and words from the second line to here

Lines of `leaf` and `xcr0` belong to the route above them, which says how many they are; below
`like` they say what is different. Lines that begin with # are for people and do not count. A leaf
or a flag that got lost would pass for one that the processor lacks, hence the counts. Words and
sizes: dump_lines.py. In docs/dump-format.md this stands for vendors, too.

What is nobody's business stays out: host name, serial numbers (leaf 3 of a Pentium III is one),
the rest of the kernel's command line, and where partners are.
"""

from __future__ import annotations

from pathlib import Path
from stat import S_ISFIFO, S_ISREG
from typing import Iterator, NamedTuple

from applianceforge.cpuid import dumps, procinfo
from applianceforge.cpuid.facts import Answer
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.features import FEATURES
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import HYPERVISOR, Leaf, Registers
from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight.dump_draft import (
    DEFAULT_ORIGIN,
    MOST_ENVIRONMENT_BYTES,
    THIS_MACHINE,
    Draft,
)
from applianceforge.preflight.dump_lines import LineError, long_text, size, text, word
from applianceforge.preflight.facts import Facts

VERSION = 1
MOST_BYTES = 8192
"""A dump is never longer; 2 KB are usual."""

LONGEST_READ_BYTES = 4 * dumps.LONGEST_CHARACTERS
"""More of a file need not be given to `read`."""

_MAGIC = "applianceforge-dump"
_BLANKS = " \t\r"
_CPUINFO = ("proc", "cpuinfo")
_SERIAL_NUMBER = 3
_SWITCHES = ("nolm", "noxsave", "noefi", "clearcpuid=", "ia32_emulation=", "mem=")
_MOST_ANSWERS = 5
_MOST_LEAVES = 40
_DECIDING = (0, 1, 7, 0xD, 0x80000000, 0x80000001, 0x80000008)
_MOST_HYPERVISORS = 4
_MOST_FLAGS_BYTES = 2048
_MOST_ENVIRONMENT = 512
_DECIDING_FLAGS = frozenset(f.flag for f in FEATURES) | {"lm", "hypervisor"}


def encode(facts: Facts) -> str:
    """Return the dump of a machine; `decode` gives the same facts but for what stays out.

    What does not fit into `MOST_BYTES` is left out, and a line says so.
    """
    left_out: dict[str, int] = {}
    lines = [f"{_MAGIC} {VERSION}", *_origin(facts), *_machine(facts), *_processor(facts.processor)]
    room = MOST_BYTES - sum(len(line) + 1 for line in lines) - 200
    for group in _groups(facts):
        needed = sum(len(line) + 1 for line in group)
        if needed <= room:
            lines += group
            room -= needed
        else:
            kind = group[0].partition(" ")[0]
            left_out[kind] = left_out.get(kind, 0) + 1
    if left_out:
        what = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        lines.append(f"unseen - {text(what)} | left out to keep the dump short")
    return "\n".join((*lines, _end(lines[1:]), ""))


def decode(content: str, name: str = "the dump") -> Facts:
    """Decode a dump of this toolkit.

    Raises:
        SettingsError: It is none, of a newer version, damaged or cut short; every problem (up to
            `dumps.MOST_PROBLEMS`) is in the evidence, with its line.
    """
    lines = [line.strip(_BLANKS) for line in content[: dumps.LONGEST_CHARACTERS].split("\n")]
    start = _start(lines)
    if start is None:
        raise SettingsError(
            f"{name} is not a dump of this toolkit",
            hint="write one with `applianceforge check --dump` or check.sh",
        )
    version = lines[start].split()[1:]
    if version != [str(VERSION)]:
        raise SettingsError(
            f"{name} is a dump of version {' '.join(version)[:20] or '(none)'},"
            f" and only version {VERSION} is known here",
            hint="use a newer applianceforge, or write the dump with this one's check.sh",
        )
    draft = Draft()
    problems = []
    told = []
    end = None
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if not line or line.startswith("#"):
            continue
        if end is not None:
            problems.append(f"line {number}: there is text after `end`")
            break
        if line.partition(" ")[0] == "end":
            end = " ".join(_words(line))
            continue
        told.append(line)
        try:
            draft.take(*line.partition(" ")[::2])
        except LineError as error:
            problems.append(f"line {number}: {error}")
            if len(problems) == dumps.MOST_PROBLEMS:
                break
    if end is None:
        problems.append("the last line, `end`, is not there")
    elif end != _end(told):
        problems.append(f"lines or words are lost: it says {end[:40]!r}, and it is {_end(told)!r}")
    problems = problems or draft.problems()
    if problems:
        raise SettingsError(
            f"{name} is damaged",
            hint="write it again, and send it as a file, not within a mail",
            evidence=tuple(problems[: dumps.MOST_PROBLEMS]),
        )
    return draft.facts()


def read(content: bytes, name: str) -> Facts:
    """Read a dump of this toolkit or of another tool, or a copy of /proc/cpuinfo.

    One of another tool tells of the processor alone. `origin` is then the format's name.

    Args:
        content: The first `LONGEST_READ_BYTES` of the file are enough.

    Raises:
        SettingsError: It is no dump, damaged, cut short, or of a newer version.
    """
    content = content[:LONGEST_READ_BYTES]
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    told = content.decode(encoding, "replace")[: dumps.LONGEST_CHARACTERS]
    if _start([line.strip() for line in told.split("\n")]) is not None:
        return decode(told, name)
    listed = procinfo.decode(told)
    if listed is not None:
        problems = procinfo.damage(told)
        if problems:
            # Flags that were cut off would pass for missing ones.
            raise SettingsError(
                f"{name} is a damaged copy of /proc/cpuinfo, or it was cut short",
                hint="copy all of it as a file, not within a mail, or run check.sh",
                evidence=tuple(problems[: dumps.MOST_PROBLEMS]),
            )
        return Facts(ProcessorFacts((), listed), "/proc/cpuinfo")
    dump = dumps.decode(told, name)
    return Facts(ProcessorFacts((Answer(dump.format, dump.registers),)), dump.format)


def read_file(path: Path) -> Facts:
    """Read a dump from a file, as `read` does.

    Raises:
        SettingsError: The file is not there or is not a dump that can be read.
        AccessDeniedError: This user may not read it.
    """
    try:
        kind = path.stat().st_mode
        below = path.resolve().parts[1:]
        if not (
            S_ISFIFO(kind) or (S_ISREG(kind) and (below[:1] != ("proc",) or below == _CPUINFO))
        ):
            raise SettingsError(
                f"{path} cannot be read: it is no file", hint="give the name of a dump"
            )
        with path.open("rb") as file:
            content = file.read(LONGEST_READ_BYTES)
    except PermissionError:
        raise AccessDeniedError(f"permission denied: {path}", hint="run it as its owner") from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}", hint="give the name of a dump"
        ) from None
    return read(content, str(path))


def _end(lines: list[str]) -> str:
    """Return the last line, which counts the lines and words above it."""
    counted = [_words(line) for line in lines if not line.startswith("#")]
    return f"end {len(counted)} {sum(map(len, counted))}"


def _words(line: str) -> list[str]:
    # Apart by what a shell takes for blanks; str.split knows more of them.
    return [word for word in line.replace("\t", " ").split(" ") if word]


def _start(lines: list[str]) -> int | None:
    """Return where a dump begins; a shell may have said something before."""
    for number, line in enumerate(lines[:20]):
        if line.split(None, 1)[:1] == [_MAGIC]:
            return number
    return None


def _told(*lines: tuple[str, str]) -> list[str]:
    """Write keywords and their fields; a field that is empty leaves its line out."""
    return [f"{keyword} {rest}" for keyword, rest in lines if rest]


def _origin(facts: Facts) -> list[str]:
    return _told(("by", text(DEFAULT_ORIGIN if facts.origin == THIS_MACHINE else facts.origin)))


def _machine(facts: Facts) -> list[str]:
    kernel, machine = facts.kernel, facts.processor.machine
    known = kernel.release or kernel.machine
    switches = [w for w in kernel.command_line.split() if w.startswith(_SWITCHES)]
    segment = machine.bios_segment
    return _told(
        ("kernel", f"{word(kernel.release)} {word(kernel.machine)}" if known else ""),
        ("userland", "" if kernel.userland_bits is None else str(kernel.userland_bits)),
        ("command-line", text(" ".join(switches))),
        ("maker", text(machine.maker)),
        ("product", text(machine.product)),
        ("bios-segment", "" if segment is None else f"{segment:X}"),
        ("xen", text(machine.xen)),
        ("container", text(machine.container)),
    )


def _processor(facts: ProcessorFacts) -> list[str]:
    lines = []
    base = None
    for answer in facts.answers[:_MOST_ANSWERS]:
        if answer.registers is None:
            lines.append(f"route {word(answer.route)} failed {text(answer.failure)}".rstrip())
            continue
        shown = _Shown(word(answer.route), _decisive(answer.registers))
        problems = dumps.cut_short(shown.registers)
        if problems:
            # Whoever reads it could not tell it from a damaged dump.
            lines.append(f"route {shown.route} failed {text(', '.join(problems))}")
            lines += [f"# {line}" for line in shown.below()]
            continue
        lines += shown.lines() if base is None else shown.lines_after(base)
        base = base or shown
    if facts.procinfo is not None:
        lines += _cpuinfo(facts.procinfo)
    return lines


def _decisive(registers: Registers) -> Registers:
    """Leave out the serial number, and of very many leaves those that decide nothing."""
    first = {leaf[:2]: leaf for leaf in reversed(registers.leaves)}
    leaves = tuple(
        leaf
        for leaf in registers.leaves
        if leaf.number != _SERIAL_NUMBER and first.pop(leaf[:2], None) is not None
    )
    if len(leaves) > _MOST_LEAVES:
        wanted = [leaf for leaf in map(registers.leaf, _DECIDING) if leaf is not None]
        hypervisors = [leaf for leaf in leaves if leaf.number & 0xFFFF00FF == HYPERVISOR]
        leaves = (*wanted, *hypervisors[:_MOST_HYPERVISORS])
    return registers._replace(leaves=leaves)


class _Shown(NamedTuple):
    """One route's registers, to be written."""

    route: str
    registers: Registers

    def lines(self) -> list[str]:
        below = self.below()
        return [f"route {self.route} works {len(below)}", *below]

    def below(self) -> list[str]:
        return [
            *(_leaf(leaf) for leaf in self.registers.leaves),
            *([] if self.registers.xcr0 is None else [_xcr0(self.registers.xcr0)]),
        ]

    def lines_after(self, base: _Shown) -> list[str]:
        """Write only what is different, if it is the same leaves."""
        mine, theirs = self.registers, base.registers
        asked = [leaf[:2] for leaf in mine.leaves]
        if asked != [leaf[:2] for leaf in theirs.leaves]:
            return self.lines()
        below = [
            *(_leaf(leaf) for leaf, other in zip(mine.leaves, theirs.leaves) if leaf != other),
            *([] if mine.xcr0 == theirs.xcr0 else [_xcr0(mine.xcr0)]),
        ]
        return [f"route {self.route} like {base.route} {len(below)}", *below]


def _xcr0(value: int | None) -> str:
    return "xcr0 -" if value is None else f"xcr0 {value:X}"


def _leaf(leaf: Leaf) -> str:
    asked = f"{leaf.number:X}.{leaf.subleaf:X}" if leaf.subleaf else f"{leaf.number:X}"
    return f"leaf {asked} {leaf.eax:X} {leaf.ebx:X} {leaf.ecx:X} {leaf.edx:X}"


def _cpuinfo(listed: ProcInfo) -> Iterator[str]:
    # As the kernel says it where CPUID names none.
    yield f"cpuinfo vendor_id: {text(listed.vendor) or 'unknown'}"
    yield f"cpuinfo cpu family: {min(listed.family, procinfo.MOST_NUMBER)}"
    yield f"cpuinfo model: {min(listed.model, procinfo.MOST_NUMBER)}"
    flags = sorted(listed.flags)
    if len(" ".join(flags)) > _MOST_FLAGS_BYTES:
        # No flag at all would stand for a processor that the kernel does not tell of.
        flags = [flag for flag in flags if flag in _DECIDING_FLAGS] or ["..."]
    yield f"cpuinfo flags: {long_text(' '.join(flags))}"
    if listed.linear_bits:
        yield f"cpuinfo address sizes: {listed.linear_bits} bits virtual"


def _groups(facts: Facts) -> Iterator[list[str]]:
    """Give lines that stay or go together, the most telling ones first."""
    for keyword, size_bytes in (
        ("memory", facts.memory_bytes),
        ("memory-available", facts.memory_available_bytes),
        ("swap", facts.swap_bytes),
    ):
        if size_bytes is not None:
            yield [f"{keyword} {size(size_bytes)}"]
    if facts.uefi_bits is not None:
        yield [f"firmware uefi{facts.uefi_bits}" if facts.uefi_bits else "firmware bios"]
    if facts.clock is not None:
        state = {True: "synchronized", False: "free", None: "unknown"}[facts.clock.synchronized]
        yield [f"clock {facts.clock.now_s} {state}"]
    for partner in facts.partners:
        yield [f"partner {word(partner.kind)}"]
    loader = facts.boot_loader
    if loader is not None:
        state = {True: "untouched", False: "changed", None: "unknown"}[loader.untouched]
        yield [
            f"boot-loader {word(loader.device)} {state}",
            *(f"boot-evidence {text(line)}".rstrip() for line in loader.evidence),
        ]
    for environment in facts.boot_environments:
        yield [_environment(environment)]
    if facts.data_mount_point:
        yield [f"data {text(facts.data_mount_point)}"]
    for fs in facts.file_systems:
        errors = "-" if fs.errors is None else fs.errors
        recovery = {True: "yes", False: "no", None: "-"}[fs.needs_recovery]
        yield [
            f"filesystem {word(fs.device)} {word(fs.mount_point)} {word(fs.kind)}"
            f" {'ro' if fs.read_only else 'rw'} {size(fs.size_bytes)} {size(fs.free_bytes)}"
            f" errors={errors} recovery={recovery}"
        ]
    for disk in facts.disks:
        yield [
            f"disk {word(disk.name)} {size(disk.size_bytes)}",
            *(
                f"partition {word(part.name)} {size(part.size_bytes)} {text(part.label)}".rstrip()
                for part in disk.partitions
            ),
        ]
    for unseen in facts.unseen:
        what, why = (text(value).replace("|", "\\174") for value in (unseen.what, unseen.why))
        yield [f"unseen {word(unseen.who)} {what} | {why}".rstrip()]


def _environment(content: bytes) -> str:
    """Write a copy of the boot environment without the #s that fill it up."""
    told = long_text(content.rstrip(b"#").decode("latin-1"))
    if len(told) > _MOST_ENVIRONMENT or len(content) > MOST_ENVIRONMENT_BYTES:
        return "unseen - a boot environment | too long for a dump"
    return f"boot-environment {len(content)} {told}".rstrip()
