"""Where the fields of an RRD stand, for every C layout that RRDtool wrote files with.

An RRD is a dump of C structures, so its layout follows the compiler: how wide a `long` and a
`time_t` are, on what multiple a double starts within a structure, and in what order bytes stand.

                    ILP32, align 4    ILP32, align 8    LP64
                    (i386)            (ARM, MIPS ...)   (amd64 ...)
    stat_head       112               120               128
      float_cookie   12                16                16
      ds_cnt         20                24                24
      rra_cnt        24                28                32
      pdp_step       28                32                40
      par[10]        32                40                48
    ds_def          120               120               120
    rra_def         108               112               120
      row_cnt        20                20                24
      pdp_cnt        24                24                32
      par[10]        28                32                40
    live_head         8 or 12           8 or 16          16      (before version 3: a time_t only)
    pdp_prep        112               112               112
    cdp_prep         80                80                80
    rra_ptr           4                 4                 8

in this order: one stat_head, ds_cnt ds_def, rra_cnt rra_def, one live_head, ds_cnt pdp_prep,
rra_cnt * ds_cnt cdp_prep, rra_cnt rra_ptr, and then, per RRA, row_cnt rows of ds_cnt doubles.
The larger live_head of a 32-bit layout is that of systems with a 64-bit time_t.

Source: rrd_format.h of RRDtool 1.7.2 ("RRDtool 1.7.2 Copyright by Tobi Oetiker", as Debian 12
installs it), structures stat_head_t to rra_ptr_t; rrd_open.c for the order and for live_head
before version 3; the System V ABI supplements for i386 and amd64 and the AAPCS for alignment.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

FLOAT_COOKIE: Final = 8.642135e130
COOKIE: Final = b"RRD\0"
UNIVALS: Final = 10
UNIVALS_BYTES: Final = 8 * UNIVALS
NAME_BYTES: Final = 20
LAST_DS_BYTES: Final = 30
DS_DEF_BYTES: Final = 2 * NAME_BYTES + UNIVALS_BYTES
PDP_PREP_BYTES: Final = 32 + UNIVALS_BYTES
CDP_PREP_BYTES: Final = UNIVALS_BYTES
VERSIONS: Final = range(1, 6)
_VERSION_END = 9


def _up(offset: int, multiple: int) -> int:
    return -(-offset // multiple) * multiple


@dataclass(frozen=True)
class Layout:
    """One way in which a compiler laid out RRDtool's structures.

    Attributes:
        name: For people.
        big_endian: The order of bytes.
        long_bytes: The size of a C long: 4 or 8.
        align_bytes: What a double is aligned to within a structure: 4 or 8.
        time_bytes: The size of a time_t: 4 or 8.
    """

    name: str
    big_endian: bool
    long_bytes: int
    align_bytes: int
    time_bytes: int

    @property
    def order(self) -> str:
        """Return struct's character for the order of bytes."""
        return ">" if self.big_endian else "<"

    @cached_property
    def float_cookie_at(self) -> int:
        """Return the offset of stat_head.float_cookie."""
        return _up(_VERSION_END, self.align_bytes)

    @cached_property
    def counts_at(self) -> int:
        """Return the offset of stat_head.ds_cnt; rra_cnt and pdp_step follow it."""
        return self.float_cookie_at + 8

    @cached_property
    def stat_par_at(self) -> int:
        """Return the offset of stat_head.par."""
        return _up(self.counts_at + 3 * self.long_bytes, self.align_bytes)

    @cached_property
    def stat_head_bytes(self) -> int:
        """Return the size of a stat_head."""
        return self.stat_par_at + UNIVALS_BYTES

    @cached_property
    def rows_at(self) -> int:
        """Return the offset of rra_def.row_cnt; pdp_cnt follows it."""
        return _up(NAME_BYTES, self.long_bytes)

    @cached_property
    def rra_par_at(self) -> int:
        """Return the offset of rra_def.par."""
        return _up(self.rows_at + 2 * self.long_bytes, self.align_bytes)

    @cached_property
    def rra_def_bytes(self) -> int:
        """Return the size of an rra_def."""
        return self.rra_par_at + UNIVALS_BYTES

    def live_head_bytes(self, version: int) -> int:
        """Return the size of a live_head; before version 3 it is a time_t."""
        if version < 3:
            return self.time_bytes
        widest = max(self.long_bytes, min(self.time_bytes, self.align_bytes))
        return _up(self.time_bytes + self.long_bytes, widest)

    def header_bytes(self, version: int, ds_count: int, rra_count: int) -> int:
        """Return the size of everything before the rows."""
        return (
            self.stat_head_bytes
            + ds_count * (DS_DEF_BYTES + PDP_PREP_BYTES)
            + rra_count * (self.rra_def_bytes + self.long_bytes + ds_count * CDP_PREP_BYTES)
            + self.live_head_bytes(version)
        )


NATIVE: Final = Layout("amd64", False, 8, 8, 8)
"""What rrdtool on amd64 opens, and what `encode` writes."""

I386: Final = Layout("i386", False, 4, 4, 4)

LAYOUTS: Final = (
    NATIVE,
    I386,
    Layout("i386 with 64-bit time", False, 4, 4, 8),
    Layout("32-bit little endian, doubles on 8", False, 4, 8, 4),
    Layout("32-bit little endian, doubles on 8, 64-bit time", False, 4, 8, 8),
    Layout("64-bit big endian", True, 8, 8, 8),
    Layout("32-bit big endian, doubles on 8", True, 4, 8, 4),
    Layout("32-bit big endian, doubles on 8, 64-bit time", True, 4, 8, 8),
    Layout("32-bit big endian, doubles on 4", True, 4, 4, 4),
)
