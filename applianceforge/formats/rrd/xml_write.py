"""Write an RRD as RRDtool's XML, with the 17 digits that give back every double.

What `rrdtool dump` writes, `rrdtool restore` reads: i386 prints 10 significant digits and amd64
11, but both read as many as there are. See `xml_fields` for what the schema has no place for.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from applianceforge.formats.rrd import rpn
from applianceforge.formats.rrd.values import (
    HISTORY_BYTES,
    WINDOW,
    Archive,
    Consolidation,
    Header,
    PdpPrep,
    Rrd,
    Source,
    SourceType,
    counter,
    double,
)
from applianceforge.formats.rrd.xml_fields import (
    OURS,
    PDP_FIELDS,
    SOURCE_FIELDS,
    Field,
    cdp_fields,
    params_fields,
)

_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<!DOCTYPE rrd SYSTEM "https://oss.oetiker.ch/rrdtool/rrdtool.dtd">\n'
    "<!-- Round Robin Database Dump -->\n<rrd>\n"
)
_PIECE_ROWS = 256
_LAST_DATE = 253_402_300_799
_OLDEST_DUMPED = 3


def chunks(rrd: Rrd) -> Iterator[bytes]:
    """Yield the XML in pieces, so that a whole document is never in memory.

    Rows come in the order of time, the oldest first, as rrdtool writes them.
    """
    yield "".join(_head_lines(rrd.header)).encode()
    for number, archive in enumerate(rrd.header.definition.archives):
        yield "".join(_archive_lines(rrd.header, number, archive)).encode()
        yield from _row_chunks(rrd, number, archive)
        yield b"\t\t</database>\n\t</rra>\n"
    yield b"</rrd>\n"


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.16e}"


def _date(time_s: int) -> str:
    """Return a time as a dump's comments show it; nothing beyond the year 9999."""
    if not 0 <= time_s <= _LAST_DATE:
        return "-"
    return f"{datetime.fromtimestamp(time_s, UTC).isoformat(' ')[:19]} UTC"


def _elements(univals: bytes, fields: Sequence[Field], indent: str) -> Iterator[str]:
    for tag, index, is_counter in fields:
        text = str(counter(univals, index)) if is_counter else _number(double(univals, index))
        yield f"{indent}<{tag}>{text}</{tag}>\n"


def _left_over(name: str, univals: bytes, fields: Sequence[Field], *, skip: int = 0) -> list[str]:
    """Return the univals from number `skip` on that are not zero and have no element."""
    shown = {field.at for field in fields}
    return [
        f"{name}.{index}={counter(univals, index):#x}"
        for index in range(skip, len(univals) // 8)
        if index not in shown and counter(univals, index)
    ]


def _comment(pairs: Sequence[str], indent: str) -> str:
    return f"{indent}<!-- {OURS} {' '.join(pairs)} -->\n" if pairs else ""


def _head_lines(header: Header) -> Iterator[str]:
    definition, state = header.definition, header.state
    yield _HEAD
    yield f"\t<version>{max(definition.version, _OLDEST_DUMPED):04}</version>\n"
    yield f"\t<step>{definition.step_s}</step> <!-- Seconds -->\n"
    date = _date(state.last_up_s)
    yield f"\t<lastupdate>{state.last_up_s}</lastupdate> <!-- {date} -->\n"
    ours = [f"last_up_usec={state.last_up_us}"] if state.last_up_us else []
    if definition.version < _OLDEST_DUMPED:
        ours.append(f"version={definition.version}")
    yield _comment([*ours, *_left_over("reserved", definition.reserved, ())], "\t")
    names = [source.name for source in definition.sources]
    for source, pdp in zip(definition.sources, state.pdp_prep, strict=True):
        yield from _source_lines(source, pdp, names)
    yield "\n\t<!-- Round Robin Archives -->\n"


def _source_lines(source: Source, pdp: PdpPrep, names: Sequence[str]) -> Iterator[str]:
    yield f"\n\t<ds>\n\t\t<name> {escape(source.name)} </name>\n"
    yield f"\t\t<type> {source.type.value} </type>\n"
    ours = []
    if source.type is SourceType.COMPUTE:
        yield f"\t\t<cdef> {escape(rpn.to_text(source.params, names))} </cdef>\n"
    else:
        yield from _elements(source.params, SOURCE_FIELDS, "\t\t")
        ours = _left_over("params", source.params, SOURCE_FIELDS)
    yield "\n\t\t<!-- PDP Status -->\n"
    yield f"\t\t<last_ds>{escape(pdp.last_ds)}</last_ds>\n"
    yield from _elements(pdp.scratch, PDP_FIELDS, "\t\t")
    yield _comment([*ours, *_left_over("scratch", pdp.scratch, PDP_FIELDS)], "\t\t")
    yield "\t</ds>\n"


def _archive_lines(header: Header, number: int, archive: Archive) -> Iterator[str]:
    definition, state = header.definition, header.state
    seconds = archive.pdp_per_row * definition.step_s
    yield f"\t<rra>\n\t\t<cf>{archive.cf.value}</cf>\n"
    yield f"\t\t<pdp_per_row>{archive.pdp_per_row}</pdp_per_row> <!-- {seconds} seconds -->\n\n"
    fields = params_fields(archive.cf, definition.version)
    yield "\t\t<params>\n"
    yield from _elements(archive.params, fields, "\t\t")
    yield "\t\t</params>\n"
    ours = _left_over("params", archive.params, fields)
    yield _comment([f"cur_row={state.current_rows[number]}", *ours], "\t\t")
    yield "\t\t<cdp_prep>\n"
    count = len(definition.sources)
    for scratch in state.cdp_prep[number * count : (number + 1) * count]:
        yield "\t\t\t<ds>\n"
        yield from _cdp_lines(archive, scratch)
        yield "\t\t\t</ds>\n"
    yield "\t\t</cdp_prep>\n\t\t<database>\n"


def _cdp_lines(archive: Archive, scratch: bytes) -> Iterator[str]:
    fields = cdp_fields(archive.cf)
    yield from _elements(scratch, fields, "\t\t\t")
    if archive.cf is not Consolidation.FAILURES:
        yield _comment(_left_over("scratch", scratch, fields), "\t\t\t")
        return
    window = counter(archive.params, WINDOW)
    digits = "".join("1" if byte else "0" for byte in scratch[:window])
    yield f"\t\t\t<history>{digits}</history>\n"
    rest = scratch[window:HISTORY_BYTES]
    ours = [f"history_rest=0x{rest.hex()}"] if any(rest) else []
    yield _comment(ours, "\t\t\t")


def _row_chunks(rrd: Rrd, number: int, archive: Archive) -> Iterator[bytes]:
    definition, state = rrd.header.definition, rrd.header.state
    count = len(definition.sources)
    rows = rrd.rows(number)
    seconds = archive.pdp_per_row * definition.step_s
    # Python's remainder is never negative, C's is; the comment only has to be the same sane times.
    time_s = state.last_up_s - state.last_up_s % seconds - (archive.rows - 1) * seconds
    line = "\t\t\t<!-- %s / %d --> <row>" + "<v>%.16e</v>" * count + "</row>\n"
    oldest = state.current_rows[number] + 1
    for start, end in ((oldest, archive.rows), (0, oldest)):
        for first in range(start, end, _PIECE_ROWS):
            piece = rows[8 * count * first : 8 * count * min(first + _PIECE_ROWS, end)]
            lines = []
            for values in struct.iter_unpack(f"<{count}d", piece):
                lines.append(line % (_date(time_s), time_s, *values))
                time_s += seconds
            yield "".join(lines).replace("<v>nan<", "<v>NaN<").encode()
