"""Decode an RRD of any version and architecture.

The layout is found from where the float cookie stands and in which order of bytes, from which
reading of the counts makes sense, and at last from the size of the file, which has to be exactly
what the header says: a longer or shorter file is another one than it claims to be. Nothing is
allocated by a number from the file before that number was held against the file's size.

Source: rrd_format.h of RRDtool 1.7.2; rrd_open.c of github.com/oetiker/rrdtool-1.x (the stored
text of commit 0033ee5d, RRDtool 1.4.3) for the order of the parts. rrd_open itself takes a file
with bytes behind the rows; we refuse it, because nothing that RRDtool does makes one.
"""

import array
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from applianceforge.formats.rrd import rpn
from applianceforge.formats.rrd.layout import (
    CDP_PREP_BYTES,
    COOKIE,
    DS_DEF_BYTES,
    FLOAT_COOKIE,
    I386,
    LAST_DS_BYTES,
    LAYOUTS,
    NAME_BYTES,
    PDP_PREP_BYTES,
    UNIVALS,
    UNIVALS_BYTES,
    VERSIONS,
    Layout,
)
from applianceforge.formats.rrd.values import (
    DEPENDENT,
    HISTORY_BYTES,
    MAX_WINDOW,
    PDP_COUNTERS,
    WINDOW,
    Archive,
    Consolidation,
    Definition,
    Header,
    PdpPrep,
    Rrd,
    Source,
    SourceType,
    State,
    counter,
)
from applianceforge.model.errors import RrdError

HEAD_BYTES = 128
"""As much of a file as `header_bytes` needs: the largest stat_head."""

_SMALLEST_BYTES = I386.stat_head_bytes
_PRINTABLE = frozenset(range(0x20, 0x7F))
_SHOWN_PROBLEMS = 20
_MOST_PROBLEMS = 1000
_LITTLE = struct.Struct(f"<{UNIVALS}Q")
_BIG = struct.Struct(f">{UNIVALS}Q")
_NO_UPPER_HALF = bytes(4)
_FOREIGN = (
    (b"SQLite format 3\0", "an SQLite database"),
    (b"<?xml", "an XML document: restore it instead of converting it"),
    (b"<!--", "an XML document: restore it instead of converting it"),
    (b"<rrd", "an XML document: restore it instead of converting it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture"),
    (b"PK\x03\x04", "a ZIP archive"),
)
_HINT = (
    "restore the file from a backup, or move it out of the RRD directories if it is not in use;"
    " `rrdtool info` of the system that wrote it says whether it was ever usable there"
)


def refuse(problems: Iterable[str]) -> NoReturn:
    """Raise the error that names every problem of one file.

    Raises:
        RrdError: Always.
    """
    found = tuple(problems)
    shown = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
    more = (f"and {len(found) - _SHOWN_PROBLEMS} more",) if len(found) > _SHOWN_PROBLEMS else ()
    raise RrdError(
        f"this is no usable RRD: {shown}", hint=_HINT, evidence=found[:_SHOWN_PROBLEMS] + more
    )


@dataclass(frozen=True)
class _Start:
    """What the first bytes say: the layouts that are possible, and the counts."""

    layouts: tuple[Layout, ...]
    version: int
    ds_count: int
    rra_count: int
    step_s: int


def _counts(head: bytes, layout: Layout) -> tuple[int, int, int]:
    letter = "I" if layout.long_bytes == 4 else "Q"
    ds, rra, step = struct.unpack_from(f"{layout.order}3{letter}", head, layout.counts_at)
    return ds, rra, step


def _start(head: bytes, size_bytes: int) -> _Start:
    """Read the stat_head as far as needed to know the layout."""
    if size_bytes == 0:
        refuse(["it is empty"])
    if not head.startswith(COOKIE):
        what = next((name for magic, name in _FOREIGN if head.startswith(magic)), "")
        refuse([f"it is {what}" if what else "it does not begin with RRD and a zero byte"])
    if size_bytes < _SMALLEST_BYTES or len(head) < min(size_bytes, HEAD_BYTES):
        refuse([f"it ends after {min(size_bytes, len(head))} bytes, within its first structure"])
    text = head[4:9]
    if not (text[:4].isdigit() and text[4] == 0 and int(text[:4]) in VERSIONS):
        refuse([f"its version is {text!r}; versions 0001 to 0005 are known"])
    version = int(text[:4])
    candidates = [
        layout
        for layout in LAYOUTS
        if layout.stat_head_bytes <= len(head)
        and struct.unpack_from(layout.order + "d", head, layout.float_cookie_at)[0] == FLOAT_COOKIE
    ]
    if not candidates:
        refuse(["its float cookie is not 8.642135E130 in any known layout"])
    problems: dict[str, None] = {}
    possible = []
    for layout in candidates:
        ds, rra, step = _counts(head, layout)
        wrong = [
            name for name, n in (("DSs", ds), ("RRAs", rra), ("seconds a step", step)) if not n
        ]
        if wrong:
            problems[f"it has no {' and no '.join(wrong)}, read as {layout.name}"] = None
        elif layout.header_bytes(version, ds, rra) > size_bytes:
            problems[
                f"{ds} DSs and {rra} RRAs need a header of"
                f" {layout.header_bytes(version, ds, rra)} bytes, read as {layout.name},"
                f" and the file has {size_bytes}"
            ] = None
        else:
            possible.append((layout, ds, rra, step))
    if not possible:
        refuse(problems)
    # Layouts that differ in the width of a time_t only read the same counts.
    _, ds, rra, step = possible[0]
    same = tuple(layout for layout, *counts in possible if counts == [ds, rra, step])
    return _Start(same, version, ds, rra, step)


def header_bytes(head: bytes, size_bytes: int) -> int:
    """Return how much of a file `decode_header` needs; never more than the file has.

    Args:
        head: The first HEAD_BYTES of the file, or all of it if it is shorter.
        size_bytes: The size of the file.

    Raises:
        RrdError: It is no RRD.
    """
    start = _start(head, size_bytes)
    return max(
        layout.header_bytes(start.version, start.ds_count, start.rra_count)
        for layout in start.layouts
    )


def decode_header(head: bytes | memoryview, size_bytes: int) -> tuple[Header, int]:
    """Decode everything before the rows.

    Args:
        head: The file from its beginning, at least `header_bytes` of it.
        size_bytes: The size of the file.

    Returns:
        The header, and the offset of the first row.

    Raises:
        RrdError: It is no RRD, or it is damaged; all problems are in its evidence.
    """
    view = memoryview(head)
    start = _start(bytes(view[:HEAD_BYTES]), size_bytes)
    readers = [_Reader(view, layout, start) for layout in start.layouts]
    # All of these have the same RRAs, so the same rows; only where the rows begin differs.
    fitting = [reader for reader in readers if reader.rows_at + reader.rows_bytes == size_bytes]
    reader = fitting[0] if fitting else readers[0]
    if len(view) < reader.rows_at:
        refuse([f"it ends after {len(view)} bytes, within its header of {reader.rows_at}"])
    header = reader.header()
    need_bytes = reader.rows_at + reader.rows_bytes
    if need_bytes > size_bytes:
        reader.problems.append(f"it has {size_bytes} bytes and its header says {need_bytes}")
    elif need_bytes < size_bytes:
        reader.problems.append(
            f"{size_bytes - need_bytes} bytes stand behind the {need_bytes} that its header says"
        )
    if reader.problems or header is None:
        refuse(reader.problems)
    return header, reader.rows_at


def decode(content: bytes | memoryview) -> Rrd:
    """Decode a whole RRD; little-endian rows are not copied.

    Raises:
        RrdError: It is no RRD, or it is damaged; all problems are in its evidence.
    """
    view = memoryview(content)
    header, rows_at = decode_header(view, len(view))
    data = view[rows_at:]
    return Rrd(header, memoryview(swapped(data)) if header.layout.big_endian else data)


def swapped(doubles: bytes | memoryview) -> bytes:
    """Return eight-byte words with their bytes in the opposite order."""
    words = array.array("Q")
    words.frombytes(doubles)
    words.byteswap()
    return words.tobytes()


class _Reader:
    """Read the parts of one header, taking down every problem."""

    def __init__(self, view: memoryview, layout: Layout, start: _Start) -> None:
        self.view = view
        self.layout = layout
        self.start = start
        self.problems: list[str] = []
        self.rras_at = layout.stat_head_bytes + start.ds_count * DS_DEF_BYTES
        self.live_at = self.rras_at + start.rra_count * layout.rra_def_bytes
        self.rows_at = layout.header_bytes(start.version, start.ds_count, start.rra_count)
        self.longs = struct.Struct(layout.order + ("2I" if layout.long_bytes == 4 else "2Q"))
        self.rows_bytes = 0
        if len(view) >= self.live_at:
            at = range(self.rras_at, self.live_at, layout.rra_def_bytes)
            rows = sum(self.longs.unpack_from(view, rra + layout.rows_at)[0] for rra in at)
            self.rows_bytes = 8 * rows * start.ds_count

    def header(self) -> Header | None:
        """Return the header, or None if a part of it has no value; see `problems`."""
        start = self.start
        sources = [self._source(number) for number in range(start.ds_count)]
        archives = [self._archive(number) for number in range(start.rra_count)]
        names = Counter(source.name for source in sources if source)
        self.problems += [f"two DSs have the name {name}" for name, n in names.items() if n > 1]
        known_sources = tuple(source for source in sources if source)
        known_archives = tuple(archive for archive in archives if archive)
        complete = len(known_sources) == len(sources) and len(known_archives) == len(archives)
        state = self._state([archive.cf if archive else None for archive in archives])
        for number, (row, archive) in enumerate(zip(state.current_rows, archives, strict=True)):
            if archive and row >= max(archive.rows, 1):
                self.problems.append(
                    f"RRA {number} has {archive.rows} rows, and its current row is {row}"
                )
        if not complete:
            return None
        reserved = self._univals(self.layout.stat_par_at, ())
        definition = Definition(
            start.version, start.step_s, known_sources, known_archives, reserved
        )
        return Header(definition, state, self.layout)

    def _give_up(self) -> None:
        """Refuse at once what has so many problems that listing them costs more than the file."""
        if len(self.problems) > _MOST_PROBLEMS:
            refuse(self.problems)

    def _univals(self, at: int, counters: tuple[int, ...]) -> bytes:
        """Return ten univals as little-endian words, the counters widened to 64 bits."""
        raw = bytes(self.view[at : at + UNIVALS_BYTES])
        if self.layout.big_endian:
            words = list(_BIG.unpack(raw))
            if self.layout.long_bytes == 4:
                for index in counters:
                    words[index] >>= 32
            return _LITTLE.pack(*words)
        if self.layout.long_bytes == 8 or not counters:
            return raw
        widened = bytearray(raw)
        for index in counters:
            widened[8 * index + 4 : 8 * index + 8] = _NO_UPPER_HALF
        return bytes(widened)

    def _text(self, at: int, size_bytes: int, what: str) -> str:
        field = bytes(self.view[at : at + size_bytes])
        text, zero, _ = field.partition(b"\0")
        if not zero:
            self.problems.append(f"{what} does not end within its {size_bytes} bytes")
        if not _PRINTABLE.issuperset(text):
            self.problems.append(f"{what} is {text!r}, which is not printable")
        return text.decode("ascii", "replace")

    def _source(self, number: int) -> Source | None:
        at = self.layout.stat_head_bytes + number * DS_DEF_BYTES
        before = len(self.problems)
        name = self._text(at, NAME_BYTES, f"the name of DS {number}")
        type_text = self._text(at + NAME_BYTES, NAME_BYTES, f"the type of DS {number}")
        self._give_up()
        if not name or " " in name:
            self.problems.append(f"the name of DS {number} is {name!r}")
        try:
            kind = SourceType(type_text)
        except ValueError:
            self.problems.append(f"DS {number} ({name}) has the unknown type {type_text!r}")
            return None
        params_at = at + 2 * NAME_BYTES
        if kind is SourceType.COMPUTE:
            params = bytes(self.view[params_at : params_at + UNIVALS_BYTES])
            if self.layout.big_endian:
                params = _swap_nodes(params)
            wrong = rpn.problems(params, self.start.ds_count)
            self.problems += [f"DS {number} ({name}): {problem}" for problem in wrong]
        else:
            params = self._univals(params_at, kind.counters)
        return Source(name, kind, params) if len(self.problems) == before else None

    def _archive(self, number: int) -> Archive | None:
        layout = self.layout
        at = self.rras_at + number * layout.rra_def_bytes
        before = len(self.problems)
        cf_text = self._text(at, NAME_BYTES, f"the CF of RRA {number}")
        self._give_up()
        rows, pdp_per_row = self.longs.unpack_from(self.view, at + layout.rows_at)
        if not rows:
            self.problems.append(f"RRA {number} has no rows")
        if not pdp_per_row:
            self.problems.append(f"RRA {number} makes a row of 0 primary data points")
        try:
            cf = Consolidation(cf_text)
        except ValueError:
            self.problems.append(f"RRA {number} has the unknown CF {cf_text!r}")
            return None
        params = self._univals(at + layout.rra_par_at, cf.counters)
        if DEPENDENT in cf.counters and counter(params, DEPENDENT) >= self.start.rra_count:
            self.problems.append(
                f"RRA {number} ({cf_text}) depends on RRA {counter(params, DEPENDENT)}"
                f" of {self.start.rra_count}"
            )
        if cf is Consolidation.FAILURES and counter(params, WINDOW) > MAX_WINDOW:
            self.problems.append(
                f"RRA {number} (FAILURES) has a window of {counter(params, WINDOW)};"
                f" {MAX_WINDOW} is the most"
            )
        if len(self.problems) > before:
            return None
        return Archive(cf, rows, pdp_per_row, params)

    def _state(self, cfs: list[Consolidation | None]) -> State:
        view, layout, start = self.view, self.layout, self.start
        time = layout.order + ("i" if layout.time_bytes == 4 else "q")
        (last_up,) = struct.unpack_from(time, view, self.live_at)
        micro = 0
        if start.version >= 3:
            long = layout.order + ("i" if layout.long_bytes == 4 else "q")
            (micro,) = struct.unpack_from(long, view, self.live_at + layout.time_bytes)
            if not 0 <= micro < 1_000_000:
                self.problems.append(f"its last update has {micro} microseconds")
        at = self.live_at + layout.live_head_bytes(start.version)
        pdps = []
        for number in range(start.ds_count):
            last_ds = self._text(at, LAST_DS_BYTES, f"the last reading of DS {number}")
            pdps.append(PdpPrep(last_ds, self._univals(at + 32, PDP_COUNTERS)))
            at += PDP_PREP_BYTES
        cdps = []
        for cf in cfs:
            counters = cf.cdp_counters if cf else ()
            for _ in range(start.ds_count):
                if cf is Consolidation.FAILURES:
                    history = bytes(view[at : at + HISTORY_BYTES])
                    cdps.append(history + self._univals(at, ())[HISTORY_BYTES:])
                else:
                    cdps.append(self._univals(at, counters))
                at += CDP_PREP_BYTES
        letter = "I" if layout.long_bytes == 4 else "Q"
        current = struct.unpack_from(f"{layout.order}{start.rra_count}{letter}", view, at)
        return State(last_up, micro, tuple(pdps), tuple(cdps), current)


def _swap_nodes(nodes: bytes) -> bytes:
    """Return the nodes of an expression with their 16-bit values in the opposite order."""
    turned = bytearray(nodes)
    turned[2::4], turned[3::4] = nodes[3::4], nodes[2::4]
    return bytes(turned)
