"""Compare two RRDs, bit for bit, and name what differs."""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from applianceforge.formats.rrd.values import Header, Rrd

_PIECE_BYTES = 8192


@dataclass(frozen=True)
class ValueDifference:
    """One value that two RRDs do not have in common.

    Attributes:
        what: The field, by RRDtool's name of it: `row`, `cdp_prep`, `rra_def.rows` ...
        source: Its value in the first RRD.
        target: Its value in the second.
        rra: The number of the RRA it belongs to, from 0.
        ds: The name of the DS it belongs to.
        row: The row of the RRA as it stands in the file, from 0.
    """

    what: str
    source: str
    target: str
    rra: int | None = None
    ds: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        where = [
            text
            for text, known in (
                (f"RRA {self.rra}", self.rra is not None),
                (f"DS {self.ds}", self.ds is not None),
                (f"row {self.row}", self.row is not None),
            )
            if known
        ]
        return f"{', '.join([*where, self.what])}: source {self.source}, target {self.target}"


def _shown(value: object) -> str:
    """Return bytes as hexadecimal words, and anything else as text."""
    if not isinstance(value, bytes):
        return str(getattr(value, "value", value))
    return value.hex(" ", -8)


def _double(word: bytes) -> str:
    return f"{struct.unpack('<d', word)[0]:.17g} ({word[::-1].hex()})"


def _univals(
    what: str, left: bytes, right: bytes, rra: int | None = None, ds: str | None = None
) -> Iterator[ValueDifference]:
    """Yield what differs between two times ten univals, each by its index."""
    if left == right:
        return
    for index in range(0, len(left), 8):
        mine, theirs = left[index : index + 8], right[index : index + 8]
        if mine != theirs:
            name = f"{what}[{index // 8}]"
            yield ValueDifference(name, _double(mine), _double(theirs), rra, ds)


def _fields(
    prefix: str,
    left: object,
    right: object,
    names: Sequence[str],
    rra: int | None = None,
    ds: str | None = None,
) -> Iterator[ValueDifference]:
    for name in names:
        mine, theirs = getattr(left, name), getattr(right, name)
        if mine != theirs:
            yield ValueDifference(f"{prefix}.{name}", _shown(mine), _shown(theirs), rra, ds)


def header_differences(left: Header, right: Header) -> Iterator[ValueDifference]:
    """Yield what differs between two headers; their layouts do not count."""
    mine, theirs = left.definition, right.definition
    yield from _fields("stat_head", mine, theirs, ("version", "step_s"))
    yield from _univals("stat_head.par", mine.reserved, theirs.reserved)
    for what, ours, others in (
        ("ds_cnt", len(mine.sources), len(theirs.sources)),
        ("rra_cnt", len(mine.archives), len(theirs.archives)),
    ):
        if ours != others:
            yield ValueDifference(f"stat_head.{what}", str(ours), str(others))
    for source, other in zip(mine.sources, theirs.sources, strict=False):
        yield from _fields("ds_def", source, other, ("name", "type"), ds=source.name)
        yield from _univals("ds_def.par", source.params, other.params, ds=source.name)
    for number, (archive, twin) in enumerate(zip(mine.archives, theirs.archives, strict=False)):
        yield from _fields("rra_def", archive, twin, ("cf", "rows", "pdp_per_row"), rra=number)
        yield from _univals("rra_def.par", archive.params, twin.params, rra=number)
    yield from _state_differences(left, right)


def _state_differences(left: Header, right: Header) -> Iterator[ValueDifference]:
    mine, theirs = left.state, right.state
    names = [source.name for source in left.definition.sources]
    yield from _fields("live_head", mine, theirs, ("last_up_s", "last_up_us"))
    for name, pdp, other in zip(names, mine.pdp_prep, theirs.pdp_prep, strict=False):
        yield from _fields("pdp_prep", pdp, other, ("last_ds",), ds=name)
        yield from _univals("pdp_prep.scratch", pdp.scratch, other.scratch, ds=name)
    for number, (cdp, prepared) in enumerate(zip(mine.cdp_prep, theirs.cdp_prep, strict=False)):
        rra, source = divmod(number, len(names))
        yield from _univals("cdp_prep.scratch", cdp, prepared, rra, names[source])
    for rra, (row, current) in enumerate(zip(mine.current_rows, theirs.current_rows, strict=False)):
        if row != current:
            yield ValueDifference("rra_ptr.cur_row", str(row), str(current), rra)


def row_differences(
    header: Header, left: memoryview, right: memoryview, *, start_bytes: int = 0
) -> Iterator[ValueDifference]:
    """Yield the doubles that differ between two pieces of the same place of two RRDs' rows.

    Args:
        header: That of both: the same DSs, and RRAs of the same length.
        left: Whole doubles of the first, little endian.
        right: As many of the second.
        start_bytes: Where the pieces stand behind the first row; a multiple of 8.
    """
    if same_bytes(left, right):
        return
    names = [source.name for source in header.definition.sources]
    ends = list(accumulate(archive.rows * len(names) for archive in header.definition.archives))
    for at in range(0, left.nbytes, _PIECE_BYTES):
        mine, theirs = bytes(left[at : at + _PIECE_BYTES]), bytes(right[at : at + _PIECE_BYTES])
        if mine == theirs:
            continue
        for word in range(0, len(mine), 8):
            if mine[word : word + 8] != theirs[word : word + 8]:
                number = (start_bytes + at + word) // 8
                rra = bisect_right(ends, number)
                row, column = divmod(number - (ends[rra - 1] if rra else 0), len(names))
                values = _double(mine[word : word + 8]), _double(theirs[word : word + 8])
                yield ValueDifference("value", *values, rra, names[column], row)


def same_bytes(left: memoryview, right: memoryview) -> bool:
    """Return whether two views hold the same bytes."""
    if left.nbytes != right.nbytes:
        return False
    if left.nbytes % 8 == 0:
        return left.cast("Q") == right.cast("Q")
    return left == right


def same_shape(left: Header, right: Header) -> bool:
    """Return whether both have as many DSs, and RRAs of the same length."""
    mine, theirs = left.definition, right.definition
    return len(mine.sources) == len(theirs.sources) and [rra.rows for rra in mine.archives] == [
        rra.rows for rra in theirs.archives
    ]


def differences(left: Rrd, right: Rrd) -> Iterator[ValueDifference]:
    """Yield every value that differs, those of the header first.

    Rows are compared only where both have the same DSs and as many rows.
    """
    yield from header_differences(left.header, right.header)
    if same_shape(left.header, right.header):
        yield from row_differences(left.header, left.data, right.data)
