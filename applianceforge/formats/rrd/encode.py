"""Encode an RRD as rrdtool on amd64 lays it out; see `layout` for the table.

Every double, and every unused unival, goes over bit for bit; a counter is 64 bits wide. The
version stays what it was: RRDtool 1.7.2 opens and updates all of 0001 to 0005.
"""

import struct

from applianceforge.formats.rrd.layout import (
    COOKIE,
    FLOAT_COOKIE,
    LAST_DS_BYTES,
    NAME_BYTES,
    NATIVE,
    VERSIONS,
)
from applianceforge.formats.rrd.values import Header, Rrd
from applianceforge.model.errors import RrdError

_STAT_HEAD = struct.Struct("<4s5s7xdQQQ80s")
_DS_DEF = struct.Struct(f"<{NAME_BYTES}s{NAME_BYTES}s80s")
_RRA_DEF = struct.Struct(f"<{NAME_BYTES}s4xQQ80s")
_PDP_PREP = struct.Struct(f"<{LAST_DS_BYTES}s2x80s")


def encode_header(header: Header) -> bytes:
    """Return everything before the rows, in amd64's layout.

    Raises:
        RrdError: A value does not fit its field, or the state is that of another definition.
    """
    definition, state = header.definition, header.state
    ds_count, rra_count = len(definition.sources), len(definition.archives)
    if (len(state.pdp_prep), len(state.cdp_prep), len(state.current_rows)) != (
        ds_count,
        ds_count * rra_count,
        rra_count,
    ):
        raise RrdError("the state of this RRD does not belong to its definition")
    if definition.version not in VERSIONS:
        raise RrdError(f"there is no RRD version {definition.version}")
    parts = [
        _STAT_HEAD.pack(
            COOKIE,
            b"%04d\0" % definition.version,
            FLOAT_COOKIE,
            ds_count,
            rra_count,
            definition.step_s,
            definition.reserved,
        )
    ]
    parts += [
        _DS_DEF.pack(
            _text(source.name, NAME_BYTES), _text(source.type.value, NAME_BYTES), source.params
        )
        for source in definition.sources
    ]
    parts += [
        _RRA_DEF.pack(
            _text(archive.cf.value, NAME_BYTES), archive.rows, archive.pdp_per_row, archive.params
        )
        for archive in definition.archives
    ]
    live = (state.last_up_s, state.last_up_us)[: 1 if definition.version < 3 else 2]
    parts.append(struct.pack(f"<{len(live)}q", *live))
    parts += [
        _PDP_PREP.pack(_text(pdp.last_ds, LAST_DS_BYTES), pdp.scratch) for pdp in state.pdp_prep
    ]
    parts += state.cdp_prep
    parts.append(struct.pack(f"<{rra_count}Q", *state.current_rows))
    return b"".join(parts)


def encode(rrd: Rrd) -> bytes:
    """Return the whole file in amd64's layout.

    Raises:
        RrdError: A value does not fit its field, or the rows are not as many as defined.
    """
    if rrd.data.nbytes != rrd.header.definition.rows_bytes():
        raise RrdError("the rows of this RRD do not belong to its definition")
    return b"".join((encode_header(rrd.header), rrd.data))


def native_bytes(header: Header) -> int:
    """Return the size of the file that `encode` makes."""
    definition = header.definition
    return definition.rows_bytes() + NATIVE.header_bytes(
        definition.version, len(definition.sources), len(definition.archives)
    )


def _text(text: str, size_bytes: int) -> bytes:
    encoded = text.encode("ascii", "replace")
    if len(encoded) >= size_bytes:
        raise RrdError(f"{text!r} is longer than {size_bytes - 1} characters")
    return encoded
