"""Gather what must be known of a source cluster before anything is done to it. Read only."""

from dataclasses import dataclass

from applianceforge.formats.pg_control import ControlData
from applianceforge.migrate.postgres import catalog
from applianceforge.migrate.postgres.catalog import Column
from applianceforge.migrate.postgres.columns import Types
from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.postgres.session import Session

_DATABASES = """
SELECT datname::text, pg_encoding_to_char(encoding), datcollate::text, datctype::text,
       {provider}, coalesce({icu}, ''), datallowconn, datconnlimit, pg_database_size(oid)::bigint
FROM pg_database WHERE datname <> 'template0' ORDER BY datname
"""
_EXTENSIONS = "SELECT extname::text, extversion FROM pg_extension ORDER BY 1"
_COLLATIONS = """
SELECT DISTINCT c.collcollate::text FROM pg_collation c
WHERE c.collprovider = 'c' AND c.collcollate NOT IN ('', 'C', 'POSIX')
  AND (c.oid >= 16384 OR EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid)
       OR EXISTS (SELECT FROM pg_type t WHERE t.typcollation = c.oid))
ORDER BY 1
"""
_TABLESPACES = """
SELECT spcname::text FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1
"""
# What a database's connection limit becomes when its removal begins; it lets nobody in any more.
# Source: PostgreSQL 15, src/include/catalog/pg_database.h, DATCONNLIMIT_INVALID_DB.
INVALID = -2
# A sample of about this much of each table says how long its rows are as text.
_SAMPLE_BYTES = 8 << 20
_BLOCK_BYTES = 8192
_TEXTS = frozenset({"text", "varchar", "bpchar"})


@dataclass(frozen=True)
class DatabaseFacts:
    """What is known of one database.

    Attributes:
        provider: Who collates: c (the C library) or i (ICU).
        size_bytes: On disk.
        text_bytes: Its rows as text, estimated from a sample.
        largest_table_bytes: Of the largest table alone.
        large_object_bytes: Of all large objects.
        extensions: Name and version.
        collations: C library locales that columns and collations name.
    """

    name: str
    encoding: str
    collate: str
    ctype: str
    provider: str
    icu_locale: str
    may_connect: bool
    connection_limit: int
    size_bytes: int
    text_bytes: int = 0
    large_object_bytes: int = 0
    extensions: tuple[tuple[str, str], ...] = ()
    collations: tuple[str, ...] = ()

    @property
    def locales(self) -> frozenset[str]:
        """Return the C library's locales that the database needs."""
        own = {self.collate, self.ctype} if self.provider == "c" else set()
        return frozenset(own | set(self.collations))


@dataclass(frozen=True)
class ClusterFacts:
    """What is known of the source cluster.

    Attributes:
        control: What its control file says.
        template: Of template0, which has what initdb was told.
        superuser: The role that initdb made.
        prepared: Transactions that were prepared and neither committed nor rolled back.
        slots: Replication slots.
    """

    major: int
    control: ControlData
    template: DatabaseFacts
    superuser: str
    databases: tuple[DatabaseFacts, ...]
    tablespaces: tuple[str, ...]
    prepared: tuple[str, ...]
    slots: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Return the size of all databases on disk."""
        return sum(database.size_bytes for database in self.databases)


def gather(server: Server, control: ControlData) -> ClusterFacts:
    """Ask a running source server."""
    major = server.setup.major
    query = _DATABASES.format(
        provider="datlocprovider::text" if major >= 15 else "'c'",
        icu="daticulocale" if major >= 15 else "NULL",
    )
    with server.session("template1") as session:
        rows = session.rows(query)
        template = session.rows(query.replace("<> 'template0'", "= 'template0'"))[0]
        superuser = session.value("SELECT rolname::text FROM pg_authid WHERE oid = 10")
        tablespaces = tuple(row[0] for row in session.rows(_TABLESPACES))
        prepared = tuple(
            f"{gid} in {database}"
            for gid, database in session.rows(
                "SELECT gid, database::text FROM pg_prepared_xacts ORDER BY 1"
            )
        )
        slots = tuple(
            row[0] for row in session.rows("SELECT slot_name::text FROM pg_replication_slots")
        )
    return ClusterFacts(
        major=major,
        control=control,
        template=DatabaseFacts(*template),
        superuser=superuser,
        databases=tuple(_database(server, DatabaseFacts(*row)) for row in rows),
        tablespaces=tablespaces,
        prepared=prepared,
        slots=slots,
    )


def _database(server: Server, facts: DatabaseFacts) -> DatabaseFacts:
    if not facts.may_connect or facts.connection_limit == INVALID:
        return facts
    with server.session(facts.name) as session:
        return DatabaseFacts(
            name=facts.name,
            encoding=facts.encoding,
            collate=facts.collate,
            ctype=facts.ctype,
            provider=facts.provider,
            icu_locale=facts.icu_locale,
            may_connect=True,
            connection_limit=facts.connection_limit,
            size_bytes=facts.size_bytes,
            text_bytes=_text_bytes(session),
            large_object_bytes=sum(one.size_bytes for one in catalog.large_objects(session)),
            extensions=tuple(session.rows(_EXTENSIONS)),
            collations=tuple(row[0] for row in session.rows(_COLLATIONS)),
        )


def _text_bytes(session: Session) -> int:
    """Estimate how long the rows of all tables are as COPY writes them as text."""
    total = 0.0
    known = catalog.types(session)
    for relation in catalog.relations(session, known):
        stored = [column.name for column in relation.columns if not column.generated]
        if relation.kind != "r" or not stored:
            continue
        heap = int(session.value("SELECT pg_relation_size(%s::regclass)", (relation.name,)))
        lengths = " + ".join(_length(column, known) for column in relation.columns)
        only = "" if relation.by_rows else "ONLY "
        blocks = max(1, heap // _BLOCK_BYTES)
        percent = min(100.0, 100.0 * _SAMPLE_BYTES / _BLOCK_BYTES / blocks)
        sample = f"TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)" if percent < 100 else ""
        query = f"SELECT coalesce(sum({lengths}), 0)::bigint FROM {only}{relation.name} {sample}"
        total += int(session.rows(session.encode(query))[0][0]) * 100.0 / percent
    return int(total)


def _length(column: Column, types: Types) -> str:
    """Return the SQL for the bytes that a column takes in a row that COPY writes as text.

    NULL is \\N, and each column is followed by a tab or the end of line. The length of text and
    bytea is known without reading what is stored out of line. Backslashes, which are doubled, are
    rare but for the first of each bytea.
    """
    if column.generated:
        return "0"
    name = types[column.type_oid].name
    if name == "bytea":
        return f"coalesce(2 * octet_length({column.name}) + 4, 3)"
    text = column.name if name in _TEXTS else f"{column.name}::text"
    return f"coalesce(octet_length({text}) + 1, 3)"
