"""Facts that grow line by line while a dump is read; the format is in dump.py."""

from __future__ import annotations

from typing import Callable, ClassVar, TypeVar

from applianceforge.cpuid import dumps, procinfo
from applianceforge.cpuid.facts import Answer, Machine
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.preflight.dump_lines import (
    LineError,
    fields,
    number,
    plain,
    plain_size,
    plain_word,
)
from applianceforge.preflight.facts import (
    BootLoader,
    Clock,
    Disk,
    Facts,
    FileSystem,
    Kernel,
    Partition,
    Partner,
    Unseen,
)

THIS_MACHINE = "this machine"
DEFAULT_ORIGIN = "applianceforge"
PARTNER_UNTOLD = ("the dump", "it names the kind alone")
"""What a partner of a dump is known from: the box's own files and lines stay out of dumps."""

MOST_ENVIRONMENT_BYTES = 4096
"""GRUB's environment has 1024; what a dump says is not believed beyond this."""

_MOST_LINES_OF_A_KIND = 2000
_MOST_ROUTES = 32
_KINDS_OF_BOOT_LOADER = {"untouched": True, "changed": False, "unknown": None}
_KINDS_OF_CLOCK = {"synchronized": True, "free": False, "unknown": None}
_YES_OR_NO = {"yes": True, "no": False, "-": None}
_WRITABLE = {"rw": False, "ro": True}
_MOST_REGISTER = 0xFFFFFFFF
_MANY = frozenset(
    {
        "route",
        "leaf",
        "xcr0",
        "cpuinfo",
        "partner",
        "boot-evidence",
        "boot-environment",
        "filesystem",
        "disk",
        "partition",
        "unseen",
    }
)
_Kind = TypeVar("_Kind")


class _Route:
    """One route's answer, as far as it was read."""

    def __init__(
        self, name: str, registers: Registers | None, failure: str = "", *, like: bool = False
    ) -> None:
        self.name = name
        self.failure = failure
        self.counted = 0
        self.lines = 0
        self.seen: set[tuple[int, int] | str] = set()
        self.works = registers is not None
        self.like = like
        self.leaves = [] if registers is None else list(registers.leaves)
        self.xcr0 = None if registers is None else registers.xcr0

    def take(self, what: tuple[int, int] | str) -> None:
        """Count a line; each may be there once."""
        if what in self.seen:
            raise LineError("the route has it twice")
        self.seen.add(what)
        self.lines += 1

    def problems(self) -> list[str]:
        """Return what is wrong with the lines of it together."""
        if not self.works:
            return []
        registers = Registers(tuple(self.leaves), self.xcr0)
        found = dumps.cut_short(registers)
        if self.lines != self.counted:
            found.append(f"{self.counted} lines belong below it, here are {self.lines}")
        return [f"route {self.name[:40]}: {problem}" for problem in found]

    def answer(self) -> Answer:
        registers = Registers(tuple(self.leaves), self.xcr0) if self.works else None
        return Answer(self.name, registers, self.failure)


class Draft:
    """What was read of a dump so far."""

    def __init__(self) -> None:
        self._origin = DEFAULT_ORIGIN
        self._kernel = Kernel()
        self._machine = Machine()
        self._routes: list[_Route] = []
        self._cpuinfo: dict[str, str] = {}
        self._memory: dict[str, int] = {}
        self._data_mount_point = ""
        self._uefi_bits: int | None = None
        self._clock: Clock | None = None
        self._boot_loader: BootLoader | None = None
        self._boot_environments: list[bytes] = []
        self._file_systems: list[FileSystem] = []
        self._disks: list[Disk] = []
        self._partners: list[Partner] = []
        self._unseen: list[Unseen] = []
        self._counts: dict[str, int] = {}

    def take(self, keyword: str, rest: str) -> None:
        """Take one line.

        Raises:
            LineError: There is no such keyword, or the line is not what it asks for.
        """
        reader = self._readers.get(keyword)
        if reader is None:
            raise LineError(f"there is no line {keyword[:40]!r}")
        self._counts[keyword] = self._counts.get(keyword, 0) + 1
        if self._counts[keyword] > _MOST_LINES_OF_A_KIND:
            raise LineError(f"there are more than {_MOST_LINES_OF_A_KIND} lines {keyword!r}")
        if self._counts[keyword] > 1 and keyword not in _MANY:
            raise LineError(f"there is another line {keyword!r}")
        reader(self, rest.strip())

    def problems(self) -> list[str]:
        """Return what is wrong with the lines together, though each one is right."""
        return [problem for route in self._routes for problem in route.problems()]

    def facts(self) -> Facts:
        """Return what was read."""
        return Facts(
            processor=ProcessorFacts(
                tuple(route.answer() for route in self._routes),
                procinfo.of_fields(self._cpuinfo),
                self._machine,
            ),
            origin=self._origin,
            kernel=self._kernel,
            memory_bytes=self._memory.get("memory"),
            memory_available_bytes=self._memory.get("memory-available"),
            swap_bytes=self._memory.get("swap"),
            data_mount_point=self._data_mount_point,
            file_systems=tuple(self._file_systems),
            disks=tuple(self._disks),
            uefi_bits=self._uefi_bits,
            boot_loader=self._boot_loader,
            boot_environments=tuple(self._boot_environments),
            clock=self._clock,
            partners=tuple(self._partners),
            unseen=tuple(self._unseen),
        )

    def _by(self, rest: str) -> None:
        told = plain(rest)
        # A dump is never of this machine, whatever it says.
        self._origin = DEFAULT_ORIGIN if told in ("", THIS_MACHINE) else told

    def _kernel_line(self, rest: str) -> None:
        release, machine = map(plain_word, fields(rest, 2, 2))
        self._kernel = self._kernel._replace(release=release, machine=machine)

    def _userland(self, rest: str) -> None:
        bits = number(rest, "the width")
        self._kernel = self._kernel._replace(userland_bits=bits)

    def _command_line(self, rest: str) -> None:
        self._kernel = self._kernel._replace(command_line=plain(rest))

    def _maker(self, rest: str) -> None:
        self._machine = self._machine._replace(maker=plain(rest))

    def _product(self, rest: str) -> None:
        self._machine = self._machine._replace(product=plain(rest))

    def _bios_segment(self, rest: str) -> None:
        self._machine = self._machine._replace(bios_segment=number(rest, "the segment", 16))

    def _xen(self, rest: str) -> None:
        self._machine = self._machine._replace(xen=plain(rest))

    def _container(self, rest: str) -> None:
        self._machine = self._machine._replace(container=plain(rest))

    def _route(self, rest: str) -> None:
        if len(self._routes) == _MOST_ROUTES:
            raise LineError(f"there are more than {_MOST_ROUTES} routes")
        name, state, *more = fields(rest, 2, 3)
        if state == "failed":
            route = _Route(plain_word(name), None, plain("".join(more)))
        elif state == "works" and more:
            route = _Route(plain_word(name), Registers(()))
            route.counted = number(more[0], "the count of lines")
        elif state == "like" and more:
            other, count = fields(more[0], 2, 2)
            route = _Route(plain_word(name), self._registers_of(plain_word(other)), like=True)
            route.counted = number(count, "the count of lines")
        else:
            raise LineError("a route works, failed, or is like another one")
        self._routes.append(route)

    def _registers_of(self, name: str) -> Registers:
        for route in self._routes:
            registers = route.answer().registers
            if route.name == name and registers is not None:
                return registers
        raise LineError(f"there is no route {name[:40]!r} above that works")

    def _working(self) -> _Route:
        if not self._routes or not self._routes[-1].works:
            raise LineError("it belongs below a route that works")
        return self._routes[-1]

    def _leaf(self, rest: str) -> None:
        route = self._working()
        asked, *values = fields(rest, 5, 6)
        if len(values) != 4:
            raise LineError("a leaf has four registers")
        leaf_number, dot, subleaf = asked.partition(".")
        numbers = [number(leaf_number, "the leaf", 16)]
        numbers += [number(subleaf, "the subleaf", 16) if dot else 0]
        numbers += [number(value, "a register", 16) for value in values]
        if max(numbers) > _MOST_REGISTER:
            raise LineError("a register has 32 bits")
        leaf = Leaf(*numbers)
        route.take(leaf[:2])
        if not route.like:
            route.leaves.append(leaf)
            return
        for at, other in enumerate(route.leaves):
            if other[:2] == leaf[:2]:
                route.leaves[at] = leaf
                return
        raise LineError(f"the other route has no leaf {asked[:40]}")

    def _xcr0(self, rest: str) -> None:
        route = self._working()
        value = None if rest == "-" else number(rest, "XCR0", 16)
        route.take("xcr0")
        route.xcr0 = value

    def _cpuinfo_line(self, rest: str) -> None:
        name, colon, value = rest.partition(":")
        if not colon:
            raise LineError("a line of /proc/cpuinfo has a colon")
        name = plain(name.strip())
        if name in self._cpuinfo:
            raise LineError("there is another line of that name")
        self._cpuinfo[name] = plain(value.strip()).strip()

    def _memory_line(self, rest: str) -> None:
        self._memory["memory"] = plain_size(rest, "the memory")

    def _memory_available(self, rest: str) -> None:
        self._memory["memory-available"] = plain_size(rest, "the memory")

    def _swap(self, rest: str) -> None:
        self._memory["swap"] = plain_size(rest, "the swap")

    def _data(self, rest: str) -> None:
        self._data_mount_point = plain(rest)

    def _firmware(self, rest: str) -> None:
        if rest != "bios" and not rest.startswith("uefi"):
            raise LineError("the firmware is bios, or uefi and its width")
        self._uefi_bits = 0 if rest == "bios" else number(rest[len("uefi") :], "the width")

    def _clock_line(self, rest: str) -> None:
        now, state = fields(rest, 2, 2)
        sign = -1 if now.startswith("-") else 1
        seconds = number(now.lstrip("-") if sign < 0 else now, "the time")
        self._clock = Clock(sign * seconds, _one_of(_KINDS_OF_CLOCK, state))

    def _partner(self, rest: str) -> None:
        kind = plain_word(fields(rest, 1, 1)[0])
        if not kind:
            raise LineError("a partner has a kind")
        self._partners.append(Partner(kind, *PARTNER_UNTOLD))

    def _boot_loader_line(self, rest: str) -> None:
        device, state = fields(rest, 2, 2)
        untouched = _one_of(_KINDS_OF_BOOT_LOADER, state)
        self._boot_loader = BootLoader(plain_word(device), untouched)

    def _boot_evidence(self, rest: str) -> None:
        loader = self._boot_loader
        if loader is None:
            raise LineError("it belongs below a boot loader")
        self._boot_loader = loader._replace(evidence=(*loader.evidence, plain(rest)))

    def _boot_environment(self, rest: str) -> None:
        length, *told = fields(rest, 1, 2)
        size_bytes = number(length, "the size")
        try:
            content = plain("".join(told)).encode("latin-1")
        except UnicodeEncodeError:
            raise LineError("the boot environment is not of single bytes") from None
        if not len(content) <= size_bytes <= MOST_ENVIRONMENT_BYTES:
            raise LineError(f"a boot environment is not of {length[:20]} bytes")
        self._boot_environments.append(content.ljust(size_bytes, b"#"))

    def _filesystem(self, rest: str) -> None:
        device, mount_point, kind, mode, *more = fields(rest, 8, 9)
        size_bytes = plain_size(more[0], "the size")
        free_bytes = plain_size(more[1], "the free space")
        values = []
        for written, name in zip(more[2:], ("errors", "recovery")):
            if not written.startswith(name + "="):
                raise LineError(f"{name}= is wanted")
            values.append(written[len(name) + 1 :])
        if len(more) != 4:
            raise LineError("a file system has eight fields")
        self._file_systems.append(
            FileSystem(
                device=plain_word(device),
                mount_point=plain_word(mount_point),
                kind=plain_word(kind),
                size_bytes=size_bytes,
                free_bytes=free_bytes,
                read_only=_one_of(_WRITABLE, mode),
                errors=None if values[0] == "-" else number(values[0], "the errors"),
                needs_recovery=_one_of(_YES_OR_NO, values[1]),
            )
        )

    def _disk(self, rest: str) -> None:
        name, size = fields(rest, 2, 2)
        self._disks.append(Disk(plain_word(name), plain_size(size, "the size")))

    def _partition(self, rest: str) -> None:
        name, size, *label = fields(rest, 2, 3)
        if not self._disks:
            raise LineError("it belongs below a disk")
        partition = Partition(plain_word(name), plain_size(size, "the size"), plain("".join(label)))
        disk = self._disks[-1]
        self._disks[-1] = disk._replace(partitions=(*disk.partitions, partition))

    def _unseen_line(self, rest: str) -> None:
        who, told = fields(rest, 2, 2)
        what, bar, why = told.partition("|")
        if not bar:
            raise LineError("what and why are told apart by |")
        self._unseen.append(Unseen(plain(what.strip()), plain(why.strip()), plain_word(who)))

    _readers: ClassVar[dict[str, Callable[[Draft, str], None]]] = {
        "by": _by,
        "kernel": _kernel_line,
        "userland": _userland,
        "command-line": _command_line,
        "maker": _maker,
        "product": _product,
        "bios-segment": _bios_segment,
        "xen": _xen,
        "container": _container,
        "route": _route,
        "leaf": _leaf,
        "xcr0": _xcr0,
        "cpuinfo": _cpuinfo_line,
        "memory": _memory_line,
        "memory-available": _memory_available,
        "swap": _swap,
        "data": _data,
        "firmware": _firmware,
        "clock": _clock_line,
        "partner": _partner,
        "boot-loader": _boot_loader_line,
        "boot-evidence": _boot_evidence,
        "boot-environment": _boot_environment,
        "filesystem": _filesystem,
        "disk": _disk,
        "partition": _partition,
        "unseen": _unseen_line,
    }


def _one_of(kinds: dict[str, _Kind], written: str) -> _Kind:
    if written not in kinds:
        raise LineError(f"{written[:40]!r} is none of {', '.join(kinds)}")
    return kinds[written]
