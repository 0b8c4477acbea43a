"""Every kind of difference is found and named, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.compare import RELATIVE_TOLERANCE, Weight, compare
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.migrate.postgres.importing import prove
from applianceforge.model.errors import NotProvedError
from tests.migrate.values import (
    CLUSTER,
    GATEWAY,
    INDEX,
    MONTHLY,
    OBJECT,
    ROLE,
    SEQUENCE,
    SHOWN,
    TABLE,
    WAVE,
)


def changed(**parts: Any) -> ClusterInventory:
    return replace(CLUSTER, databases=(replace(GATEWAY, **parts),))


def recomputed(one: Any, **parts: Any) -> ClusterInventory:
    others = tuple(x for x in GATEWAY.recomputed if x is not one)
    return changed(recomputed=(*others, replace(one, **parts)))


# Each: the target, and what is said of it, beginning with the name of the thing.
TABLES = [
    (replace(CLUSTER, globals=()), "cluster alter role mail: is missing on the target"),
    (
        replace(CLUSTER, globals=(ROLE, replace(ROLE, name="extra"))),
        "cluster alter role extra: is on the target only",
    ),
    (
        replace(CLUSTER, globals=(replace(ROLE, digest="0"),)),
        "cluster alter role mail: is defined differently",
    ),
    (replace(CLUSTER, databases=()), "database gateway: is missing on the target"),
    (
        replace(CLUSTER, databases=(GATEWAY, replace(GATEWAY, name="other"))),
        "database other: is on the target only",
    ),
    (changed(encoding="LATIN1"), "database gateway: encoding UTF8 became LATIN1"),
    (changed(schema=()), "gateway index mail.message_client: is missing on the target"),
    (
        changed(schema=(replace(INDEX, digest="0"),)),
        "gateway index mail.message_client: is defined differently",
    ),
    (changed(tables=()), "table gateway mail.message: is missing on the target"),
    (
        changed(tables=(replace(TABLE, rows=2),)),
        "table gateway mail.message: 3 rows became 2",
    ),
    (
        changed(tables=(replace(TABLE, digest="00" * 32),)),
        "table gateway mail.message: its 3 rows differ",
    ),
    (
        changed(tables=(replace(TABLE, stream_bytes=101),)),
        "table gateway mail.message: its 3 rows differ",
    ),
    (changed(sequences=()), "sequence gateway mail.message_id: is missing on the target"),
    (
        changed(sequences=(replace(SEQUENCE, last_value=40),)),
        "sequence gateway mail.message_id: stands at 41 (called: True) and on the target at 40",
    ),
    (
        changed(sequences=(replace(SEQUENCE, is_called=False),)),
        "sequence gateway mail.message_id: stands at 41 (called: True) and on the target at 41"
        " (called: False)",
    ),
    (changed(large_objects=()), "large object gateway 16500: is missing on the target"),
    (
        changed(large_objects=(replace(OBJECT, size_bytes=4),)),
        "large object gateway 16500: size: 5 became 4",
    ),
    (
        changed(large_objects=(replace(OBJECT, digest="x"),)),
        "large object gateway 16500: content:",
    ),
    (
        changed(large_objects=(replace(OBJECT, owner="x"),)),
        "large object gateway 16500: owner: mail became x",
    ),
    (
        changed(large_objects=(replace(OBJECT, grants="x"),)),
        "large object gateway 16500: grants: mail=rw/mail became x",
    ),
    (recomputed(WAVE, rows=9), "generated column gateway corner.computed.wave: rows: 10 became 9"),
    (recomputed(WAVE, nulls=0), "generated column gateway corner.computed.wave: NULLs: 1 became 0"),
    (
        recomputed(WAVE, special=(0, 1, 0)),
        "generated column gateway corner.computed.wave: NaN and infinities",
    ),
    (
        recomputed(WAVE, total=100.001),
        "generated column gateway corner.computed.wave: its values differ: sum 100.0",
    ),
    (
        recomputed(SHOWN, exact="78"),
        "generated column gateway corner.computed.shown: its values differ",
    ),
]


def test_equal_clusters_have_no_difference() -> None:
    assert compare(CLUSTER, CLUSTER) == ()
    assert compare(CLUSTER, replace(CLUSTER, major=16, width=64)) == ()
    proofs = prove(CLUSTER, CLUSTER).values["proved"]
    assert proofs == {
        "databases": 1,
        "tables": 1,
        "rows": 3,
        "sequences": 1,
        "large_objects": 1,
        "schema_objects": 1,
        "globals": 1,
        "recomputed": 3,
        "as_text": 1,
    }


@pytest.mark.parametrize(("target", "said"), TABLES, ids=[said for _, said in TABLES])
def test_a_difference_is_named_and_forbids_publication(target: ClusterInventory, said: str) -> None:
    (found,) = compare(CLUSTER, target)
    assert str(found).startswith(said)
    assert found.weight is Weight.FATAL
    with pytest.raises(NotProvedError) as caught:
        prove(CLUSTER, target)
    assert said in caught.value.message
    assert caught.value.evidence == (str(found),)


@pytest.mark.parametrize(
    "parts", [{"rows": 11}, {"total": 10.0}, {"nulls": 1}, {"exact": "1"}, {"special": (1, 0, 0)}]
)
def test_a_materialized_view_that_differs_is_told(parts: dict[str, Any]) -> None:
    target = recomputed(MONTHLY, **parts)
    (found,) = compare(CLUSTER, target)
    assert found.weight is Weight.TOLD
    assert prove(CLUSTER, target).values["told"] == [str(found)]


def test_a_column_that_is_not_recomputed_any_more_is_a_difference() -> None:
    target = changed(recomputed=(SHOWN, MONTHLY))
    assert [str(one) for one in compare(CLUSTER, target)] == [
        "generated column gateway corner.computed.wave: is missing on the target"
    ]


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.floats(-3, 3))
def test_the_tolerance_is_of_the_sum_of_magnitudes(
    total: float, magnitude: float, part: float
) -> None:
    off = part * RELATIVE_TOLERANCE * magnitude
    source = recomputed(WAVE, total=total, magnitude=magnitude)
    target = recomputed(WAVE, total=total + off, magnitude=magnitude)
    real = abs((total + off) - total)
    assert bool(compare(source, target)) == (real > RELATIVE_TOLERANCE * magnitude)


def test_many_differences_are_all_in_the_evidence() -> None:
    target = changed(tables=(), sequences=(), large_objects=(), schema=())
    with pytest.raises(NotProvedError) as caught:
        prove(CLUSTER, target)
    assert len(caught.value.evidence) == 4
    assert "and 3 more" in caught.value.message
