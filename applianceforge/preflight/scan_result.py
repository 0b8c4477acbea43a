"""What a scan found, in bounded memory: exact counts, and a few examples of each kind."""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.formats.foreign_words import Disposition

# A list longer than this helps nobody who reads it on a screen; the counts are exact.
EXAMPLES = 20
CLUSTERS = 100


class Statement(NamedTuple):
    """What somebody who knows says of files.

    Attributes:
        pattern: A glob relative to the scanned directory: `*` and `?` within a name, `**` over
            directories. `spool/x/**` is everything below `spool/x`, and `spool/x` itself.
        reason: Why, in the words of whoever says it.
        by: Who says it, such as "answer file" or "release 2.0".
    """

    pattern: str
    disposition: Disposition
    reason: str
    by: str


class Item(NamedTuple):
    """A file, or a directory that is one thing.

    Attributes:
        path: Relative to the scanned directory, as `os.fsdecode` spells what is not UTF-8.
        size_bytes: What it takes on the disk, see `Scan`.
    """

    path: str
    size_bytes: int
    evidence: str


class Group(NamedTuple):
    """All items of one format, width, disposition and statement.

    Attributes:
        number: How many there are; a directory that is one thing counts once.
        items: The first few; none of what is plainly portable.
        statement: Who said what becomes of them; None where the bytes did.
    """

    format: str
    width_bits: int | None
    disposition: Disposition
    number: int
    size_bytes: int
    items: tuple[Item, ...]
    statement: Statement | None = None


class Cluster(NamedTuple):
    """A PostgreSQL data directory.

    Attributes:
        major: The release as PG_VERSION says it; empty where it cannot be read.
        width_bits: None where pg_control cannot be read or is none.
        size_bytes: What all files in it take on the disk, which is what a migration reads;
            tablespaces elsewhere are items of their own.
    """

    path: str
    major: str
    width_bits: int | None
    size_bytes: int
    evidence: str


class Skipped(NamedTuple):
    """Things that were not looked at: how many, and the first few with the reason."""

    number: int = 0
    examples: tuple[tuple[str, str], ...] = ()


class Special(NamedTuple):
    """What is neither file nor directory: counted, never opened or followed."""

    symlinks: int = 0
    fifos: int = 0
    sockets: int = 0
    devices: int = 0


class Scan(NamedTuple):
    """What a scan found.

    Attributes:
        directory: What was scanned, as it was given.
        files: Regular files, those inside of clusters and the like too.
        size_bytes: What they take on the disk, at most their lengths: the holes of a sparse file
            do not count, so no sum is larger than the disk. All sizes of a scan are such.
        unreadable: What could not be opened or read.
        vanished: How many entries went away or changed while the scan ran.
        elsewhere: Directories on which another file system is mounted: not entered.
        unused: Patterns of statements that matched nothing.
    """

    directory: str
    files: int
    directories: int
    size_bytes: int
    groups: tuple[Group, ...]
    clusters: tuple[Cluster, ...]
    special: Special = Special()
    unreadable: Skipped = Skipped()
    vanished: int = 0
    elsewhere: Skipped = Skipped()
    unused: tuple[str, ...] = ()

    def count(self, disposition: Disposition) -> int:
        """Return how many items have this disposition."""
        return sum(group.number for group in self.groups if group.disposition is disposition)

    @property
    def postgresql_bytes(self) -> int:
        """Return the size of all clusters and tablespaces that are to be converted."""
        return self._to_convert("postgresql", "postgresql-tablespace")

    @property
    def rrd_bytes(self) -> int:
        """Return the size of all RRDs that are to be converted."""
        return self._to_convert("rrd")

    @property
    def rrd_count(self) -> int:
        """Return how many RRDs are to be converted."""
        return sum(
            group.number
            for group in self.groups
            if group.format == "rrd" and group.disposition is Disposition.CONVERTED
        )

    def _to_convert(self, *formats: str) -> int:
        return sum(
            group.size_bytes
            for group in self.groups
            if group.format in formats and group.disposition is Disposition.CONVERTED
        )


def shown(path: str) -> str:
    r"""Return a path as a terminal may show it: what is not a letter there, as its byte \xNN.

    Bytes that `os.fsdecode` could not decode stay bytes. They are not decoded as UTF-8 here: where
    the locale knows ASCII alone, the terminal would show them as code points, as if they were
    other bytes.
    """
    return "".join(
        character if character.isprintable() else _escaped(character) for character in path
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
