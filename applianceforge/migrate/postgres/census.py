"""Take the inventory of a running cluster: count and digest all that it holds."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from applianceforge.migrate.inventory import (
    ClusterInventory,
    DatabaseInventory,
    LargeObject,
    Recomputed,
    SequenceState,
    TableContent,
)
from applianceforge.migrate.postgres import catalog, columns, ddl
from applianceforge.migrate.postgres.catalog import Relation
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.postgres.session import Session
from applianceforge.model.errors import ServerFailedError
from applianceforge.system.progress import Counter

# PGCOPY\n, 0xFF, \r\n, NUL; flags; length of the header's extension, which is 0 in every release.
_HEADER_BYTES = 11 + 4 + 4
_TRAILER = b"\xff\xff"
_WHOLE_OBJECT_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_BATCH = 200


@dataclass(frozen=True)
class Census:
    """Takes the inventory of one cluster.

    Attributes:
        server: The running server.
        dumper: Dumps the schema, with the same programs for both sides.
        width: 32 or 64, of the server's programs.
        jobs: Connections at the same time.
        counter: Told of bytes and rows.
        like: The other side's inventory, if there is one: what it digested as text, is digested as
            text here too, since an older release may lack a type's binary form.
    """

    server: Server
    dumper: Dumper
    width: int
    jobs: int
    counter: Counter
    like: ClusterInventory | None = None

    def take(self, databases: Sequence[str]) -> ClusterInventory:
        """Return the inventory of the whole cluster.

        Raises:
            ForgeError: The server failed or refused.
        """
        names = sorted(databases)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # Definitions are dumped by a program of its own, while tables are digested.
            dumps = [pool.submit(self.dumper.schema_text, self.server, name) for name in names]
            try:
                return ClusterInventory(
                    major=self.server.setup.major,
                    width=self.width,
                    globals=ddl.global_objects(self.dumper.globals_text(self.server)),
                    databases=tuple(map(self._database, names, dumps)),
                )
            finally:
                for dump in dumps:
                    dump.cancel()

    def _database(self, name: str, dump: "Future[str]") -> DatabaseInventory:
        with self.server.session(name) as session:
            encoding = str(
                session.value(
                    "SELECT pg_encoding_to_char(encoding) FROM pg_database"
                    " WHERE datname = current_database()"
                )
            )
            types = catalog.types(session)
            relations = [self._alike(name, one) for one in catalog.relations(session, types)]
            return DatabaseInventory(
                name=name,
                encoding=encoding,
                tables=self._tables(name, encoding, [r for r in relations if r.kind == "r"]),
                sequences=_sequences(session),
                large_objects=tuple(self._large_objects(session)),
                schema=ddl.schema_objects(dump.result()),
                recomputed=tuple(
                    one for relation in relations for one in _recomputed(session, relation, types)
                ),
            )

    def _alike(self, database: str, relation: Relation) -> Relation:
        if self.like is None:
            return relation
        columns_of = {
            table.name: table.as_text
            for one in self.like.databases
            if one.name == database
            for table in one.tables
        }
        return replace(relation, as_text=columns_of.get(relation.name, relation.as_text))

    def _tables(
        self, database: str, encoding: str, relations: Sequence[Relation]
    ) -> tuple[TableContent, ...]:
        """Digest tables side by side, the largest first."""
        stopped = threading.Event()
        waiting: SimpleQueue[Relation] = SimpleQueue()
        for relation in sorted(relations, key=lambda one: -one.size_bytes):
            waiting.put(relation)
        found: list[TableContent] = []

        def work(number: int) -> None:
            pipe = self.server.setup.sockets / f"copy-{number}"
            with self.server.session(database, encoding=encoding) as session:
                while not stopped.is_set():
                    try:
                        relation = waiting.get_nowait()
                    except Empty:
                        return
                    found.append(self._table(session, relation, pipe, stopped))

        run_side_by_side([lambda n=n: work(n) for n in range(self.jobs)], stopped)  # type: ignore[misc]
        return tuple(sorted(found, key=lambda one: one.name))

    def _table(
        self, session: Session, relation: Relation, pipe: Path, stopped: threading.Event
    ) -> TableContent:
        if relation.by_rows:
            rows, sums, size = session.rows(session.encode(relation.row_digest))[0]
            self.counter.advance(add_bytes=int(size), add_rows=rows, item=relation.name)
            return TableContent(relation.name, rows, f"rows {sums}", int(size))
        stream = _StreamDigest(relation.name, self.counter)
        rows = session.copy_blocks(relation.copy_source, pipe, stream.consume, stopped)
        self.counter.advance(add_rows=rows, item=relation.name)
        return TableContent(
            relation.name, rows, stream.finish(), stream.stream_bytes, relation.as_text
        )

    def _large_objects(self, session: Session) -> Iterator[LargeObject]:
        facts = catalog.large_objects(session)
        for batch in _batches([f for f in facts if f.size_bytes <= _WHOLE_OBJECT_BYTES], _BATCH):
            digests = dict(
                session.rows(
                    "SELECT oid::bigint, encode(sha256(lo_get(oid)), 'hex')"
                    " FROM pg_largeobject_metadata WHERE oid = ANY(%s::oid[])",
                    ([fact.oid for fact in batch],),
                )
            )
            for fact in batch:
                self.counter.advance(add_bytes=fact.size_bytes, item=f"large object {fact.oid}")
                yield LargeObject(
                    fact.oid, fact.owner, fact.grants, fact.size_bytes, digests[fact.oid]
                )
        for fact in facts:
            if fact.size_bytes > _WHOLE_OBJECT_BYTES:
                digest = hashlib.sha256()
                for offset in range(0, fact.size_bytes, _PIECE_BYTES):
                    query = "SELECT lo_get(%s, %s, %s)"
                    digest.update(session.value(query, (fact.oid, offset, _PIECE_BYTES)))
                    self.counter.advance(add_bytes=_PIECE_BYTES, item=f"large object {fact.oid}")
                yield LargeObject(
                    fact.oid, fact.owner, fact.grants, fact.size_bytes, digest.hexdigest()
                )


class _StreamDigest:
    """SHA-256 of a binary COPY stream without its header."""

    def __init__(self, name: str, counter: Counter) -> None:
        self._name = name
        self._counter = counter
        self._digest = hashlib.sha256()
        self._header = b""
        self._tail = b""
        self.stream_bytes = 0

    def consume(self, block: bytes) -> None:
        missing = _HEADER_BYTES - len(self._header)
        if missing:
            self._header += block[:missing]
            block = block[missing:]
        self._digest.update(block)
        self._tail = (self._tail + block[-2:])[-2:]
        self.stream_bytes += len(block)
        self._counter.advance(add_bytes=len(block), item=self._name)

    def finish(self) -> str:
        if self._tail != _TRAILER:
            raise ServerFailedError(
                f"the stream of {self._name} ended without its trailer: it was cut short",
                hint="look into the server's log, then run again",
            )
        return self._digest.hexdigest()


def run_side_by_side(tasks: Sequence[Callable[[], None]], stopped: threading.Event) -> None:
    """Run tasks in threads; the first failure, or Ctrl-C, stops them all and is raised.

    Args:
        tasks: Each watches `stopped`.
        stopped: Set when they shall give up.
    """
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        futures: list[Future[None]] = [pool.submit(task) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if any(not one.done() or one.exception() for one in futures):
                stopped.set()
    errors = [one.exception() for one in futures]
    for error in sorted(filter(None, errors), key=lambda one: isinstance(one, InterruptedError)):
        raise error


def _sequences(session: Session) -> tuple[SequenceState, ...]:
    found: list[SequenceState] = []
    for batch in _batches(catalog.sequence_names(session), _BATCH):
        query = " UNION ALL ".join(
            f"SELECT {number}, last_value, is_called FROM {name}"
            for number, name in enumerate(batch)
        )
        rows = session.rows(session.encode(query))
        found.extend(SequenceState(batch[number], last, called) for number, last, called in rows)
    return tuple(sorted(found, key=lambda one: one.name))


def _recomputed(session: Session, relation: Relation, types: columns.Types) -> Iterable[Recomputed]:
    """Sum up the columns that the target computes anew."""
    kind = "materialized view" if relation.kind == "m" else "generated column"
    for column in relation.columns:
        if relation.kind != "m" and not column.generated:
            continue
        name = f"{relation.name}.{column.name}"
        if relation.kind == "m" and not relation.populated:
            yield Recomputed(name, kind, -1, 0, "", 0.0, 0.0, (0, 0, 0))
            continue
        query = _summing_query(column.name, column.type_oid, relation.name, types)
        rows, nulls, exact, total, magnitude, *special = session.rows(session.encode(query))[0]
        yield Recomputed(
            name,
            kind,
            rows,
            nulls,
            str(exact),
            float(total),
            float(magnitude),
            (special[0], special[1], special[2]),
        )


def _summing_query(column: str, type_oid: int, table: str, types: columns.Types) -> str:
    if columns.is_float(type_oid, types):
        # As numeric, since a sum of doubles near the largest one overflows.
        finite = f"{column} NOT IN ('NaN', 'Infinity', '-Infinity')"
        number = f"CASE WHEN {finite} THEN {column}::numeric END"
        return (
            f"SELECT count(*), count(*) FILTER (WHERE {column} IS NULL), '',"
            f" coalesce(sum({number}), 0)::text, coalesce(sum(abs({number})), 0)::text,"
            f" count(*) FILTER (WHERE {column} = 'NaN'),"
            f" count(*) FILTER (WHERE {column} = 'Infinity'),"
            f" count(*) FILTER (WHERE {column} = '-Infinity') FROM ONLY {table}"
        )
    exact = "''"
    if not columns.holds_float(type_oid, types):
        exact = f'coalesce(sum(hashtextextended({column}::text COLLATE "C", 0)), 0)::text'
    return (
        f"SELECT count(*), count(*) FILTER (WHERE {column} IS NULL), {exact}, '0', '0', 0, 0, 0"
        f" FROM ONLY {table}"
    )


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
