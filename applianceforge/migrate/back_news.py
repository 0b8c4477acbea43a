"""Say what came in since the crossing: tables, rows and RRD values, then and now. Pure.

What can be told of a table depends on what is known of it now. Its number of rows alone shows what
was added or removed on balance. With a digest of all rows, taken while nothing writes, a table of
as many rows shows that it was changed, but not how many rows were: an UPDATE, or a DELETE and an
INSERT, and also a rewrite (VACUUM FULL, CLUSTER) that changed nothing but the order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from applianceforge.formats.rrd.values import Header
from applianceforge.migrate.inventory import (
    ClusterInventory,
    DatabaseInventory,
    SchemaObject,
    TableContent,
)

Counts = Mapping[tuple[str, str], int]
"""The rows of each leaf table, by its database and its name."""


class Change(Enum):
    """What became of a table since the crossing, as far as that can be told."""

    SAME = "unchanged"
    MORE = "more rows"
    FEWER = "fewer rows"
    CHANGED = "rows changed, or written anew in another order"
    NEW = "new"
    GONE = "dropped"
    AS_MANY = "as many rows; whether they changed is not known"


@dataclass(frozen=True)
class TableNews:
    """One table then and now.

    Attributes:
        name: Database, schema and table.
        then: Its rows when the migration proved it; None if there was none.
        now: Its rows; None if it is gone.
    """

    name: str
    then: int | None
    now: int | None
    change: Change

    @property
    def more(self) -> int:
        """Return how many rows more there are; negative if there are fewer."""
        return (self.now or 0) - (self.then or 0)


@dataclass(frozen=True)
class RrdNews:
    """The RRDs then and now.

    Attributes:
        files: How many there are now.
        updated: How many of them have a later last update than then, or are new.
        gone: How many are no longer there.
        values: Primary data points since, of all data sources: the steps between both last
            updates, unknown ones among them.
        last_s: The latest update of all, seconds since 1970; 0 if there is none.
    """

    files: int = 0
    updated: int = 0
    gone: int = 0
    values: int = 0
    last_s: int = 0


@dataclass(frozen=True)
class News:
    """All that came in since the crossing.

    Attributes:
        tables: Every table, those that are as they were among them.
        others: Sequences, large objects, roles and definitions that are others, in words.
        rrds: The RRDs.
        exact: The tables' digests were compared, too, while nothing wrote to them.
    """

    tables: tuple[TableNews, ...]
    others: tuple[str, ...]
    rrds: RrdNews
    exact: bool

    @property
    def changed(self) -> tuple[TableNews, ...]:
        """Return the tables that are certainly not as they were."""
        return tuple(one for one in self.tables if one.change not in (Change.SAME, Change.AS_MANY))

    @property
    def rows_more(self) -> int:
        """Return how many rows the tables that grew have more."""
        return sum(max(0, one.more) for one in self.tables)

    @property
    def rows_fewer(self) -> int:
        """Return how many rows the tables that shrank have fewer."""
        return sum(max(0, -one.more) for one in self.tables)


def from_inventories(
    then: ClusterInventory | None, now: ClusterInventory | None, rrds: RrdNews
) -> News:
    """Return the news with all that can be known: nothing wrote while `now` was taken."""
    left = {one.name: one for one in then.databases} if then else {}
    right = {one.name: one for one in now.databases} if now else {}
    tables: list[TableNews] = []
    others: list[str] = []
    for name in sorted(left.keys() | right.keys()):
        old, new = left.get(name), right.get(name)
        if old is None or new is None:
            others.append(f"database {name} is {'new' if old is None else 'dropped'}")
        tables += _tables(name, old, new)
        if old is not None and new is not None:
            others += _others(old, new)
    if then is not None and now is not None:
        others += _objects("roles, grants and settings", then.globals, now.globals)
    return News(tuple(tables), tuple(others), rrds, exact=True)


def from_counts(then: ClusterInventory | None, counts: Counts, rrds: RrdNews) -> News:
    """Return the news as far as numbers of rows tell, which may grow while they are counted."""
    before = {
        (database.name, table.name): table.rows
        for database in (then.databases if then else ())
        for table in database.tables
    }
    tables = tuple(
        _table(f"{database}.{name}", before.get((database, name)), counts.get((database, name)))
        for database, name in sorted(before.keys() | counts.keys())
    )
    return News(tables, (), rrds, exact=False)


def _table(name: str, then: int | None, now: int | None) -> TableNews:
    if then is None or now is None:
        return TableNews(name, then, now, Change.NEW if then is None else Change.GONE)
    if then == now:
        return TableNews(name, then, now, Change.AS_MANY)
    return TableNews(name, then, now, Change.MORE if now > then else Change.FEWER)


def _tables(
    database: str, old: DatabaseInventory | None, new: DatabaseInventory | None
) -> Iterable[TableNews]:
    left = {one.name: one for one in old.tables} if old else {}
    right = {one.name: one for one in new.tables} if new else {}
    for name in sorted(left.keys() | right.keys()):
        then, now = left.get(name), right.get(name)
        found = _table(f"{database}.{name}", then.rows if then else None, now.rows if now else None)
        if then is not None and now is not None and found.change is Change.AS_MANY:
            found = TableNews(found.name, found.then, found.now, _by_digest(then, now))
        yield found


def _by_digest(then: TableContent, now: TableContent) -> Change:
    if then.digest == now.digest:
        return Change.SAME
    # Another release may digest a column as text that this one digests as bytes.
    kinds = {(one.as_text, one.digest.startswith("rows ")) for one in (then, now)}
    return Change.CHANGED if len(kinds) == 1 else Change.AS_MANY


def _others(old: DatabaseInventory, new: DatabaseInventory) -> Iterable[str]:
    where = f"database {old.name}"
    sequences = set(old.sequences) ^ set(new.sequences)
    names = {one.name for one in sequences}
    if names:
        yield f"{where}: sequences that stand elsewhere: {len(names)}"
    large = {one.oid for one in set(old.large_objects) ^ set(new.large_objects)}
    if large:
        yield f"{where}: large objects that are new, changed or dropped: {len(large)}"
    yield from _objects(f"{where}: definitions", old.schema, new.schema)


def _objects(
    what: str, old: tuple[SchemaObject, ...], new: tuple[SchemaObject, ...]
) -> Iterable[str]:
    names = sorted({f"{one.kind.lower()} {one.name}" for one in set(old) ^ set(new)})
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{what} that are new, changed or dropped: {', '.join(names[:3])}{more}"


def of_rrds(then: Mapping[str, Header], now: Mapping[str, Header]) -> RrdNews:
    """Compare the headers of the old RRDs, which are as they were, with those of the new.

    Args:
        then: For each path below its directory the header.
        now: Likewise.
    """
    updated = values = 0
    for path, header in now.items():
        old = then.get(path)
        began_s = old.state.last_up_s if old else header.state.last_up_s
        updated += old is None or header.state.last_up_s > began_s
        step_s = max(1, header.definition.step_s)
        steps = header.state.last_up_s // step_s - began_s // step_s
        values += max(0, steps) * len(header.definition.sources)
    return RrdNews(
        files=len(now),
        updated=updated,
        gone=len(then.keys() - now.keys()),
        values=values,
        last_s=max((one.state.last_up_s for one in now.values()), default=0),
    )
