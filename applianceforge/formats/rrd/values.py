"""What an RRD holds, as values: the definition, the state between updates, and the rows.

A unival of C, eight bytes that are a counter or a double by the field that they stand for, stays
eight bytes here: little endian, a counter widened to 64 bits. Ten of them are one bytes object of
80, so that a NaN keeps its sign and payload, equality is equality of bits, and a file of a
thousand RRAs does not become a million Python objects.

Which unival is what:

    ds_def.par      0 heartbeat: counter; 1 minimum, 2 maximum: double
                    COMPUTE: all 80 bytes are nodes of its expression (see `rpn`)
    rra_def.par     0 xff: double
                    HWPREDICT, MHWPREDICT   1 alpha, 2 beta; 3 dependent RRA, 4 period: counters
                    SEASONAL, DEVSEASONAL   1 gamma, 2 smoothing window (version 4 and later);
                                            3 dependent RRA, 4 smoothing index: counters
                    FAILURES                1, 2 delta; 3 dependent RRA, 4 window, 5 threshold:
                                            counters
                    DEVPREDICT              3 dependent RRA: counter
    pdp_prep        0 unknown seconds: counter; 1 value
    cdp_prep        8 primary, 9 secondary value; and but for FAILURES 1 unknown points: counter
                    HWPREDICT, MHWPREDICT   2 to 5 intercepts and slopes; 6, 7 null counts: counters
                    SEASONAL, DEVSEASONAL   2, 3 seasonal; 6 initialization: counter
                    FAILURES                bytes 0 to 63: the history, a byte each
                    all others              0 value

Everything else is unused and kept as it is.

Source: rrd_format.h of RRDtool 1.7.2: ds_param_en, rra_par_en, pdp_par_en, cdp_par_en.
"""

import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from applianceforge.formats.rrd.layout import NATIVE, UNIVALS_BYTES, Layout

ZEROS: Final = bytes(UNIVALS_BYTES)
HISTORY_BYTES: Final = 64
MAX_WINDOW: Final = 28
"""MAX_FAILURES_WINDOW_LEN of rrd_format.h."""

XFF: Final = 0
HEARTBEAT: Final = 0
MINIMUM: Final = 1
MAXIMUM: Final = 2
DEPENDENT: Final = 3
WINDOW: Final = 4
UNKNOWN_SECONDS: Final = 0
PDP_VALUE: Final = 1


class SourceType(Enum):
    """How a data source's readings become rates (dst_en)."""

    COUNTER = "COUNTER"
    ABSOLUTE = "ABSOLUTE"
    GAUGE = "GAUGE"
    DERIVE = "DERIVE"
    COMPUTE = "COMPUTE"
    DCOUNTER = "DCOUNTER"
    DDERIVE = "DDERIVE"

    @property
    def counters(self) -> tuple[int, ...]:
        """Return which univals of ds_def.par are counters."""
        return () if self is SourceType.COMPUTE else (HEARTBEAT,)


class Consolidation(Enum):
    """How an RRA makes one point of several (cf_en)."""

    AVERAGE = "AVERAGE"
    MIN = "MIN"
    MAX = "MAX"
    LAST = "LAST"
    HWPREDICT = "HWPREDICT"
    SEASONAL = "SEASONAL"
    DEVPREDICT = "DEVPREDICT"
    DEVSEASONAL = "DEVSEASONAL"
    FAILURES = "FAILURES"
    MHWPREDICT = "MHWPREDICT"

    @property
    def counters(self) -> tuple[int, ...]:
        """Return which univals of rra_def.par are counters."""
        return _RRA_COUNTERS.get(self, ())

    @property
    def cdp_counters(self) -> tuple[int, ...]:
        """Return which univals of cdp_prep are counters."""
        return _CDP_COUNTERS.get(self, (1,))


_RRA_COUNTERS: Final = {
    Consolidation.HWPREDICT: (3, 4),
    Consolidation.MHWPREDICT: (3, 4),
    Consolidation.SEASONAL: (3, 4),
    Consolidation.DEVSEASONAL: (3, 4),
    Consolidation.DEVPREDICT: (3,),
    Consolidation.FAILURES: (3, 4, 5),
}
_CDP_COUNTERS: Final = {
    Consolidation.HWPREDICT: (1, 6, 7),
    Consolidation.MHWPREDICT: (1, 6, 7),
    Consolidation.SEASONAL: (1, 6),
    Consolidation.DEVSEASONAL: (1, 6),
    Consolidation.FAILURES: (),
}
PDP_COUNTERS: Final = (UNKNOWN_SECONDS,)


def counter(univals: bytes, index: int) -> int:
    """Return a unival that is a counter."""
    return int.from_bytes(univals[8 * index : 8 * index + 8], "little")


def double(univals: bytes, index: int) -> float:
    """Return a unival that is a double."""
    (value,) = struct.unpack_from("<d", univals, 8 * index)
    return float(value)


@dataclass(frozen=True, slots=True)
class Source:
    """A data source (DS): ds_def.

    Attributes:
        name: Up to 19 characters.
        type: How readings become rates.
        params: Ten univals, or COMPUTE's nodes.
    """

    name: str
    type: SourceType
    params: bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """A round robin archive (RRA): rra_def.

    Attributes:
        cf: The consolidation function.
        rows: How many rows it holds.
        pdp_per_row: How many primary data points make one row.
        params: Ten univals.
    """

    cf: Consolidation
    rows: int
    pdp_per_row: int
    params: bytes


@dataclass(frozen=True, slots=True)
class PdpPrep:
    """A primary data point (PDP) in the making: pdp_prep.

    Attributes:
        last_ds: The last reading, as it was given.
        scratch: Ten univals.
    """

    last_ds: str
    scratch: bytes


@dataclass(frozen=True)
class Definition:
    """What `rrdtool create` fixes: stat_head, ds_def and rra_def.

    Attributes:
        version: 1 to 5.
        step_s: Seconds between primary data points.
        reserved: stat_head.par: ten univals that no version uses.
    """

    version: int
    step_s: int
    sources: tuple[Source, ...]
    archives: tuple[Archive, ...]
    reserved: bytes = ZEROS

    def rows_bytes(self) -> int:
        """Return the size of all rows of all RRAs."""
        return 8 * len(self.sources) * sum(archive.rows for archive in self.archives)


@dataclass(frozen=True)
class State:
    """What changes with each update: live_head, pdp_prep, cdp_prep and rra_ptr.

    Attributes:
        last_up_s: The time of the last update.
        last_up_us: Its microseconds; 0 before version 3.
        pdp_prep: One per DS.
        cdp_prep: One per RRA and DS, all of one RRA together: ten univals each.
        current_rows: Per RRA, the row that was written last.
    """

    last_up_s: int
    last_up_us: int
    pdp_prep: tuple[PdpPrep, ...]
    cdp_prep: tuple[bytes, ...]
    current_rows: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """Everything before the rows.

    Attributes:
        layout: How the file it was read from is laid out; not part of what the header says.
    """

    definition: Definition
    state: State
    layout: Layout = field(default=NATIVE, compare=False)


@dataclass(frozen=True)
class Rrd:
    """A whole RRD.

    Attributes:
        data: The rows of all RRAs in the order of the file, little-endian doubles.
    """

    header: Header
    data: memoryview

    def rows(self, archive: int) -> memoryview:
        """Return the rows of one RRA, in the order of the file."""
        width = 8 * len(self.header.definition.sources)
        counts = [rra.rows for rra in self.header.definition.archives]
        start = width * sum(counts[:archive])
        return self.data[start : start + width * counts[archive]]


def odd_times(header: Header) -> tuple[str, ...]:
    """Return what is odd about the time of the last update, for a person to judge.

    A signed 32-bit time ends at 2038-01-19; what a 32-bit clock wrote after that is negative.
    """
    last = header.state.last_up_s
    if last < 0:
        text = f"the last update has the negative time {last}"
        if header.layout.time_bytes == 4:
            text += f", which is {last + 2**32} if the 32-bit clock had run over"
        return (text,)
    if last >= 2**31:
        return (f"the last update, at {last}, is beyond 2038-01-19",)
    return ()
