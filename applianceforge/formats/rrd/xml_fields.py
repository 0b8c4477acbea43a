"""Which fields RRDtool's XML has for which RRA, in its order, and what it has no place for.

A field is the tag, the index of its unival, and whether that is a counter. What the schema leaves
out stands in comments of ours, which RRDtool skips:

    <!-- applianceforge: last_up_usec=250000 version=1 -->      behind lastupdate
    <!-- applianceforge: cur_row=57 params.7=0x7ff8... -->      behind the params of an RRA
    <!-- applianceforge: scratch.6=0x... -->                    behind a pdp's or cdp's fields

Lost is what RRDtool never writes and never reads: the sign and payload of a NaN, what stands behind
the end of a COMPUTE expression, and a flag in FAILURES' history that is neither 0 nor 1.

Source: the dumps of RRDtool 1.7.2 of every CF; rrd_dump.c and rrd_restore.c of
github.com/oetiker/rrdtool-1.x (the stored text of commit 018c8853, RRDtool 1.3.5).
"""

import re
from typing import Final, NamedTuple

from applianceforge.formats.rrd.values import Consolidation

OURS: Final = "applianceforge:"
NAN_BITS: Final = 0xFFF8000000000000
"""The NaN that RRDtool 1.7.2 itself writes for an unknown value, on i386 as on amd64."""

PAIR: Final = re.compile(r"([a-z_]+)(?:\.([0-9]))?=(0x[0-9a-f]{1,128}|-?[0-9]{1,20})")


class Field(NamedTuple):
    """An element that stands for one unival."""

    tag: str
    at: int
    is_counter: bool = False


_DEPENDENT = Field("dependent_rra_idx", 3, True)
_HOLT_WINTERS = (Field("hw_alpha", 1), Field("hw_beta", 2), _DEPENDENT)
_SEASONAL = (
    Field("seasonal_gamma", 1),
    Field("seasonal_smooth_idx", 4, True),
    Field("smoothing_window", 2),
    _DEPENDENT,
)
_FAILURES = (
    Field("delta_pos", 1),
    Field("delta_neg", 2),
    Field("window_len", 4, True),
    Field("failure_threshold", 5, True),
    _DEPENDENT,
)
_PARAMS: Final = {
    Consolidation.HWPREDICT: _HOLT_WINTERS,
    Consolidation.MHWPREDICT: _HOLT_WINTERS,
    Consolidation.SEASONAL: _SEASONAL,
    Consolidation.DEVSEASONAL: _SEASONAL,
    Consolidation.DEVPREDICT: (_DEPENDENT,),
    Consolidation.FAILURES: _FAILURES,
}
_SMOOTHING_SINCE = 4

_COMMON = (Field("primary_value", 8), Field("secondary_value", 9))
_CDP_HOLT_WINTERS = (
    Field("intercept", 2),
    Field("last_intercept", 3),
    Field("slope", 4),
    Field("last_slope", 5),
    Field("nan_count", 6, True),
    Field("last_nan_count", 7, True),
)
_CDP_SEASONAL = (Field("seasonal", 2), Field("last_seasonal", 3), Field("init_flag", 6, True))
_CDP: Final = {
    Consolidation.HWPREDICT: _CDP_HOLT_WINTERS,
    Consolidation.MHWPREDICT: _CDP_HOLT_WINTERS,
    Consolidation.SEASONAL: _CDP_SEASONAL,
    Consolidation.DEVSEASONAL: _CDP_SEASONAL,
    Consolidation.DEVPREDICT: (),
    Consolidation.FAILURES: (),
}
_CDP_OTHER = (Field("value", 0), Field("unknown_datapoints", 1, True))

SOURCE_FIELDS: Final = (Field("minimal_heartbeat", 0, True), Field("min", 1), Field("max", 2))
PDP_FIELDS: Final = (Field("value", 1), Field("unknown_sec", 0, True))


def params_fields(cf: Consolidation, version: int) -> tuple[Field, ...]:
    """Return the elements of an RRA's params; the smoothing window came with version 4."""
    fields = _PARAMS.get(cf, (Field("xff", 0),))
    if version < _SMOOTHING_SINCE:
        return tuple(field for field in fields if field.tag != "smoothing_window")
    return fields


def cdp_fields(cf: Consolidation) -> tuple[Field, ...]:
    """Return the elements of a cdp_prep's ds, but for the history of FAILURES."""
    return _COMMON + _CDP.get(cf, _CDP_OTHER)
