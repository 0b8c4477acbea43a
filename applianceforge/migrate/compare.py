"""Compare what two clusters hold, and name every difference.

Rows, sequences, large objects, roles, grants and the schema must be equal to the last bit. What the
target computes anew from equal rows (generated columns, materialized views) is compared with a
tolerance: the x87 of a 32-bit server and the SSE2 of a 64-bit one round differently.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from applianceforge.migrate.inventory import (
    ClusterInventory,
    DatabaseInventory,
    Recomputed,
    SchemaObject,
)

# A double has 53 bits (1.1e-16); x87 and SSE2 differ in the last few of one operation. Sums of a
# million values in another order were seen to differ by 1e-13 of the sum of magnitudes.
RELATIVE_TOLERANCE = 1e-9


class Weight(Enum):
    """Whether a difference forbids publication, or is told."""

    FATAL = "difference"
    TOLD = "told"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same on both sides.

    Attributes:
        what: The object: "table mail.public.message".
        detail: How the sides differ.
    """

    what: str
    detail: str
    weight: Weight = Weight.FATAL

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"


def compare(source: ClusterInventory, target: ClusterInventory) -> tuple[Difference, ...]:
    """Return every difference between two clusters; none means that they hold the same."""
    found = list(_compare_objects("cluster", source.globals, target.globals))
    left = {one.name: one for one in source.databases}
    right = {one.name: one for one in target.databases}
    found.extend(_presence("database", left, right))
    for name in left.keys() & right.keys():
        found.extend(_compare_databases(left[name], right[name]))
    return tuple(sorted(found, key=lambda one: (one.weight.value, one.what, one.detail)))


def _presence(
    what: str, left: Mapping[Any, object], right: Mapping[Any, object]
) -> Iterable[Difference]:
    for key in sorted(left.keys() - right.keys(), key=str):
        yield Difference(f"{what} {key}", "is missing on the target")
    for key in sorted(right.keys() - left.keys(), key=str):
        yield Difference(f"{what} {key}", "is on the target only")


def _compare_objects(
    where: str, source: tuple[SchemaObject, ...], target: tuple[SchemaObject, ...]
) -> Iterable[Difference]:
    left = {(one.kind, one.name): one.digest for one in source}
    right = {(one.kind, one.name): one.digest for one in target}
    for kind, name in sorted(left.keys() | right.keys()):
        what = f"{where} {kind.lower()} {name}"
        if (kind, name) not in right:
            yield Difference(what, "is missing on the target")
        elif (kind, name) not in left:
            yield Difference(what, "is on the target only")
        elif left[kind, name] != right[kind, name]:
            yield Difference(what, "is defined differently")


def _compare_databases(
    source: DatabaseInventory, target: DatabaseInventory
) -> Iterable[Difference]:
    where = source.name
    if source.encoding != target.encoding:
        yield Difference(
            f"database {where}", f"encoding {source.encoding} became {target.encoding}"
        )
    yield from _compare_objects(where, source.schema, target.schema)
    yield from _compare_tables(where, source, target)
    states = {one.name: one for one in source.sequences}
    others = {one.name: one for one in target.sequences}
    yield from _presence(f"sequence {where}", states, others)
    for name in states.keys() & others.keys():
        state, other = states[name], others[name]
        if state != other:
            yield Difference(
                f"sequence {where} {name}",
                f"stands at {state.last_value} (called: {state.is_called}) and on the target at"
                f" {other.last_value} (called: {other.is_called})",
            )
    objects = {one.oid: one for one in source.large_objects}
    copies = {one.oid: one for one in target.large_objects}
    yield from _presence(f"large object {where}", objects, copies)
    for oid in objects.keys() & copies.keys():
        one, copy = objects[oid], copies[oid]
        for label, old, new in (
            ("size", one.size_bytes, copy.size_bytes),
            ("content", one.digest, copy.digest),
            ("owner", one.owner, copy.owner),
            ("grants", one.grants, copy.grants),
        ):
            if old != new:
                yield Difference(f"large object {where} {oid}", f"{label}: {old} became {new}")
    yield from _compare_recomputed(where, source, target)


def _compare_tables(
    where: str, source: DatabaseInventory, target: DatabaseInventory
) -> Iterable[Difference]:
    left = {one.name: one for one in source.tables}
    right = {one.name: one for one in target.tables}
    yield from _presence(f"table {where}", left, right)
    for name in left.keys() & right.keys():
        old, new = left[name], right[name]
        if old.rows != new.rows:
            yield Difference(f"table {where} {name}", f"{old.rows} rows became {new.rows}")
        elif (old.digest, old.stream_bytes) != (new.digest, new.stream_bytes):
            yield Difference(
                f"table {where} {name}",
                f"its {old.rows} rows differ: digest {old.digest[:16]}… ({old.stream_bytes} bytes)"
                f" became {new.digest[:16]}… ({new.stream_bytes} bytes)",
            )


def _compare_recomputed(
    where: str, source: DatabaseInventory, target: DatabaseInventory
) -> Iterable[Difference]:
    left = {f"{one.kind} {where} {one.name}": one for one in source.recomputed}
    right = {f"{one.kind} {where} {one.name}": one for one in target.recomputed}
    for what in sorted(left.keys() | right.keys()):
        if what not in right:
            yield Difference(what, "is missing on the target")
        elif what not in left:
            yield Difference(what, "is on the target only")
        elif detail := _recomputed_differs(left[what], right[what]):
            # A materialized view that was not refreshed for a while differs from its own query.
            weight = Weight.TOLD if left[what].kind == "materialized view" else Weight.FATAL
            yield Difference(what, detail, weight)


def _recomputed_differs(old: Recomputed, new: Recomputed) -> str:
    """Return how two recomputed columns differ beyond the tolerance, or nothing."""
    for label, before, after in (
        ("rows", old.rows, new.rows),
        ("NULLs", old.nulls, new.nulls),
        ("NaN and infinities", old.special, new.special),
    ):
        if before != after:
            return f"{label}: {before} became {after}"
    if old.exact != new.exact:
        return "its values differ"
    room = RELATIVE_TOLERANCE * max(old.magnitude, new.magnitude)
    if math.fabs(old.total - new.total) > room:
        return (
            f"its values differ: sum {old.total!r} became {new.total!r}, more than"
            f" {RELATIVE_TOLERANCE:g} of their magnitude"
        )
    return ""
