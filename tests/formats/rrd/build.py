"""Another encoder of RRDs, written from rrd_format.h alone: it lays out C structures by C's rule.

It shares nothing with the package, so that both would have to be wrong in the same way.
"""

import struct
from dataclasses import dataclass, field

GARBAGE = b"\xa5\x5a\xff\x7f"
"""What the upper half of a union holds that was a double before it was a 32-bit counter."""


@dataclass(frozen=True)
class Machine:
    """What a compiler of C knows of its machine: sizes, and alignment of doubles and times."""

    order: str
    long: int
    double_align: int
    time: int

    @property
    def time_align(self) -> int:
        return min(self.time, self.double_align) if self.long == 4 else 8


AMD64 = Machine("<", 8, 8, 8)
I386 = Machine("<", 4, 4, 4)
MACHINES = {
    "amd64": AMD64,
    "i386": I386,
    "i386-time64": Machine("<", 4, 4, 8),
    "armhf": Machine("<", 4, 8, 4),
    "armhf-time64": Machine("<", 4, 8, 8),
    "s390x": Machine(">", 8, 8, 8),
    "sparc": Machine(">", 4, 8, 4),
    "mips-time64": Machine(">", 4, 8, 8),
    "aix-power": Machine(">", 4, 4, 4),
}


@dataclass(frozen=True)
class Cnt:
    """A unival that is a counter."""

    value: int


@dataclass(frozen=True)
class Raw:
    """A unival that is a double, by its bits."""

    bits: int


Unival = Cnt | Raw
ZERO = Raw(0)


def dbl(value: float) -> Raw:
    return Raw(struct.unpack("<Q", struct.pack("<d", value))[0])


@dataclass(frozen=True)
class Ds:
    name: str
    type: str = "GAUGE"
    par: tuple[Unival, ...] = (Cnt(600), dbl(0.0), dbl(float("nan")))
    nodes: tuple[tuple[int, int], ...] = ()
    last_ds: str = "U"
    scratch: tuple[Unival, ...] = (Cnt(17), dbl(1.5))


@dataclass(frozen=True)
class Rra:
    cf: str = "AVERAGE"
    rows: int = 3
    pdp: int = 1
    par: tuple[Unival, ...] = (dbl(0.5),)
    cdp: tuple[tuple[Unival, ...], ...] = ()
    history: bytes = b""
    cur_row: int = 0


@dataclass(frozen=True)
class Spec:
    """An RRD, for any machine."""

    version: int = 3
    step: int = 300
    ds: tuple[Ds, ...] = (Ds("in"),)
    rra: tuple[Rra, ...] = (Rra(),)
    last_up: int = 1_700_000_000
    usec: int = 0
    reserved: tuple[Unival, ...] = ()
    values: tuple[int, ...] = field(default=())

    @property
    def value_count(self) -> int:
        return len(self.ds) * sum(rra.rows for rra in self.rra)


class Struct:
    """A C structure in the making: each member on a multiple of its alignment, the whole too."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.content = b""
        self.align = 1

    def put(self, raw: bytes, align: int) -> None:
        self.content += bytes(-len(self.content) % align) + raw
        self.align = max(self.align, align)

    def chars(self, text: bytes, size: int) -> None:
        assert len(text) <= size
        self.put(text.ljust(size, b"\0"), 1)

    def ulong(self, value: int) -> None:
        code = "Q" if self.machine.long == 8 else "I"
        self.put(struct.pack(self.machine.order + code, value), self.machine.long)

    def univals(self, values: tuple[Unival, ...]) -> None:
        for value in (*values, *(ZERO,) * (10 - len(values))):
            self.put(self._unival(value), self.machine.double_align)

    def _unival(self, value: Unival) -> bytes:
        if isinstance(value, Raw):
            return struct.pack(self.machine.order + "Q", value.bits)
        if self.machine.long == 8:
            return struct.pack(self.machine.order + "Q", value.value)
        return struct.pack(self.machine.order + "I", value.value) + GARBAGE

    def done(self) -> bytes:
        return self.content + bytes(-len(self.content) % self.align)


def build(spec: Spec, machine: Machine) -> bytes:
    """Return the file that rrdtool on that machine would have."""
    parts = [_stat_head(spec, machine)]
    parts += [_ds_def(ds, machine) for ds in spec.ds]
    parts += [_rra_def(rra, machine) for rra in spec.rra]
    parts.append(_live_head(spec, machine))
    for ds in spec.ds:
        pdp = Struct(machine)
        pdp.chars(ds.last_ds.encode(), 30)
        pdp.univals(ds.scratch)
        parts.append(pdp.done())
    for rra in spec.rra:
        for number in range(len(spec.ds)):
            cdp = Struct(machine)
            cdp.univals(rra.cdp[number] if number < len(rra.cdp) else ())
            prepared = cdp.done()
            if rra.history:
                prepared = rra.history.ljust(64, b"\0") + prepared[64:]
            parts.append(prepared)
    for rra in spec.rra:
        pointer = Struct(machine)
        pointer.ulong(rra.cur_row)
        parts.append(pointer.done())
    values = spec.values or tuple(range(spec.value_count))
    parts.append(struct.pack(f"{machine.order}{len(values)}Q", *values))
    return b"".join(parts)


def _stat_head(spec: Spec, machine: Machine) -> bytes:
    head = Struct(machine)
    head.chars(b"RRD", 4)
    head.chars(f"{spec.version:04}".encode(), 5)
    head.put(struct.pack(machine.order + "d", 8.642135e130), machine.double_align)
    for value in (len(spec.ds), len(spec.rra), spec.step):
        head.ulong(value)
    head.univals(spec.reserved)
    return head.done()


def _ds_def(ds: Ds, machine: Machine) -> bytes:
    made = Struct(machine)
    made.chars(ds.name.encode(), 20)
    made.chars(ds.type.encode(), 20)
    if ds.nodes:
        nodes = b"".join(struct.pack(machine.order + "Bxh", *node) for node in ds.nodes)
        made.put(nodes.ljust(80, b"\0"), machine.double_align)
    else:
        made.univals(ds.par)
    return made.done()


def _rra_def(rra: Rra, machine: Machine) -> bytes:
    made = Struct(machine)
    made.chars(rra.cf.encode(), 20)
    made.ulong(rra.rows)
    made.ulong(rra.pdp)
    made.univals(rra.par)
    return made.done()


def _live_head(spec: Spec, machine: Machine) -> bytes:
    made = Struct(machine)
    time = struct.pack(machine.order + ("q" if machine.time == 8 else "i"), spec.last_up)
    made.put(time, machine.time_align)
    if spec.version >= 3:
        made.ulong(spec.usec)
    return made.done()
