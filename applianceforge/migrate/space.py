"""Predict how much space a migration needs, before its first byte is written.

What is predicted is the highest sum, at any moment, of the work directory and of the new data. It
must never be below what is used, and should be little above.
"""

from dataclasses import dataclass

MIB = 1 << 20
# Of a new cluster what no database of ours accounts for: template0 and what is shared.
CLUSTER_BYTES = 8 * MIB
# With wal_level=minimal, max_wal_size=64MB and no checksums yet, loads of 5 MB and of 200 MB kept
# two to five segments of 16 MiB: how many depends on when the checkpointer gets its turn.
WAL_BYTES = 96 * MIB
# Each database starts as a copy of template0.
DATABASE_BYTES = 8 * MIB
# The i386 server aligns tuples to 4 bytes, the amd64 server to 8; growth seen: 0 to 5 %.
GROWTH = 1.05
# A sample's estimate of rows as text was within 2 % on mail data; backslashes come on top.
TEXT_MARGIN = 1.04
# A file's last block, and its share of its directory.
RRD_FILE_BYTES = 4096 + 64
JOURNAL_BYTES = 2 * MIB


@dataclass(frozen=True)
class DatabaseSpace:
    """What the prediction needs of one database."""

    size_bytes: int
    text_bytes: int
    large_object_bytes: int

    @property
    def dump_bytes(self) -> int:
        """Return the size of its dump without compression."""
        return int(self.text_bytes * TEXT_MARGIN) + self.large_object_bytes

    @property
    def loaded_bytes(self) -> int:
        """Return its size on the target."""
        return max(DATABASE_BYTES, int(self.size_bytes * GROWTH))


def archive_bytes(databases: tuple[DatabaseSpace, ...], rrd_bytes: int) -> int:
    """Return the upper bound of a portable archive: dumps, and RRDs in both of their forms.

    An RRD's bytes do not grow when compressed, and its XML compresses to no more than they take.
    """
    return sum(one.dump_bytes for one in databases) + 2 * rrd_bytes + JOURNAL_BYTES


def run_peak_bytes(
    databases: tuple[DatabaseSpace, ...], rrd_bytes: int, rrd_count: int
) -> tuple[int, int]:
    """Return the peak of a run and what remains of it at the end, both in bytes.

    Dumps are all written first; each is removed when its database is loaded; RRDs come last.
    """
    if not databases:
        return _rrd(rrd_bytes, rrd_count) + JOURNAL_BYTES, _rrd(rrd_bytes, rrd_count)
    dumps = sum(one.dump_bytes for one in databases)
    loaded = CLUSTER_BYTES + WAL_BYTES + JOURNAL_BYTES
    peak = dumps + loaded
    for one in databases:
        loaded += one.loaded_bytes
        peak = max(peak, dumps + loaded)
        dumps -= one.dump_bytes
    loaded += _rrd(rrd_bytes, rrd_count)
    return max(peak, loaded), loaded


def _rrd(size_bytes: int, count: int) -> int:
    return size_bytes + RRD_FILE_BYTES * count
