"""What a cluster holds, in values that can be compared and kept in a manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class TableContent:
    """The content of one leaf table.

    Attributes:
        name: Schema and table, quoted as SQL does where needed.
        rows: Its row count.
        digest: SHA-256 of its binary COPY stream in physical order without the header, in hex; or
            "rows" and two sums of the rows' hashes, where the order cannot be kept.
        stream_bytes: The length of that stream, or of the rows as text.
        as_text: Columns that went into the stream as text, since their binary form holds numbers
            that differ from cluster to cluster.
    """

    name: str
    rows: int
    digest: str
    stream_bytes: int
    as_text: tuple[str, ...] = ()


@dataclass(frozen=True)
class SequenceState:
    """Where a sequence stands."""

    name: str
    last_value: int
    is_called: bool


@dataclass(frozen=True)
class LargeObject:
    """One large object: its number, owner, grants, and content."""

    oid: int
    owner: str
    grants: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class SchemaObject:
    """One object of the schema, or of the globals: what it is, and a digest of its definition."""

    kind: str
    name: str
    digest: str


@dataclass(frozen=True)
class Recomputed:
    """What the target computes anew: a generated column, or a column of a materialized view.

    Attributes:
        name: Table and column.
        kind: "generated column" or "materialized view".
        rows: How many rows there are.
        nulls: How many of them are NULL.
        exact: A digest that does not depend on the order of rows; empty for floats.
        total: The sum of all finite values of a float column, else 0.
        magnitude: The sum of their absolute values, to judge a difference by.
        special: How many are NaN, infinity and minus infinity.
    """

    name: str
    kind: str
    rows: int
    nulls: int
    exact: str
    total: float
    magnitude: float
    special: tuple[int, int, int]


@dataclass(frozen=True)
class DatabaseInventory:
    """What one database holds."""

    name: str
    encoding: str
    tables: tuple[TableContent, ...]
    sequences: tuple[SequenceState, ...]
    large_objects: tuple[LargeObject, ...]
    schema: tuple[SchemaObject, ...]
    recomputed: tuple[Recomputed, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows in all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def stream_bytes(self) -> int:
        """Return the bytes of all tables' streams and large objects."""
        return sum(t.stream_bytes for t in self.tables) + sum(
            one.size_bytes for one in self.large_objects
        )


@dataclass(frozen=True)
class ClusterInventory:
    """What a cluster holds: its globals (roles, grants, settings, tablespaces) and databases."""

    major: int
    width: int
    globals: tuple[SchemaObject, ...]
    databases: tuple[DatabaseInventory, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows in all databases."""
        return sum(database.rows for database in self.databases)


def encode(inventory: ClusterInventory) -> bytes:
    """Return the inventory as JSON."""
    fields = {"schema": SCHEMA} | asdict(inventory)
    return json.dumps(fields, ensure_ascii=True, indent=1).encode()


def to_json(inventory: ClusterInventory) -> dict[str, Any]:
    """Return the inventory as the values of a JSON object."""
    return asdict(inventory)


def from_json(fields: Mapping[str, Any]) -> ClusterInventory:
    """Return the inventory that `to_json` turned into JSON values.

    Raises:
        KeyError, TypeError, ValueError: They are not such values.
    """
    return ClusterInventory(
        major=int(fields["major"]),
        width=int(fields["width"]),
        globals=tuple(SchemaObject(**one) for one in fields["globals"]),
        databases=tuple(_database(one) for one in fields["databases"]),
    )


def decode(content: bytes) -> ClusterInventory:
    """Return the inventory that `encode` wrote."""
    return from_json(json.loads(content))


def _database(fields: Mapping[str, Any]) -> DatabaseInventory:
    return DatabaseInventory(
        name=fields["name"],
        encoding=fields["encoding"],
        tables=tuple(
            TableContent(**one | {"as_text": tuple(one["as_text"])}) for one in fields["tables"]
        ),
        sequences=tuple(SequenceState(**one) for one in fields["sequences"]),
        large_objects=tuple(LargeObject(**one) for one in fields["large_objects"]),
        schema=tuple(SchemaObject(**one) for one in fields["schema"]),
        recomputed=tuple(
            Recomputed(
                **one | {"special": (one["special"][0], one["special"][1], one["special"][2])}
            )
            for one in fields["recomputed"]
        ),
    )
