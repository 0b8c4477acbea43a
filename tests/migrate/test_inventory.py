"""An inventory comes back from JSON as it was."""

import json
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from applianceforge.migrate import inventory
from applianceforge.migrate.inventory import ClusterInventory
from tests.migrate.values import CLUSTER, GATEWAY

T = TypeVar("T")

texts = st.text(max_size=20)
counts = st.integers(-1, 1 << 62)


def some(strategy: SearchStrategy[T]) -> SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


databases = st.builds(
    inventory.DatabaseInventory,
    name=texts,
    encoding=texts,
    tables=some(st.builds(inventory.TableContent, texts, counts, texts, counts, some(texts))),
    sequences=some(st.builds(inventory.SequenceState, texts, counts, st.booleans())),
    large_objects=st.just(GATEWAY.large_objects),
    schema=st.just(GATEWAY.schema),
    recomputed=some(
        st.builds(
            inventory.Recomputed,
            name=texts,
            kind=texts,
            rows=counts,
            nulls=counts,
            exact=texts,
            total=st.floats(allow_nan=False),
            magnitude=st.floats(0),
            special=st.tuples(counts, counts, counts),
        )
    ),
)
clusters = st.builds(
    ClusterInventory,
    major=st.integers(9, 30),
    width=st.sampled_from([32, 64]),
    globals=some(st.builds(inventory.SchemaObject, texts, texts, texts)),
    databases=some(databases),
)


def test_a_round_trip() -> None:
    content = inventory.encode(CLUSTER)
    assert inventory.decode(content) == CLUSTER
    assert json.loads(content)["schema"] == inventory.SCHEMA


@given(clusters)
def test_any_inventory_comes_back(found: ClusterInventory) -> None:
    assert inventory.decode(inventory.encode(found)) == found


def test_the_sums() -> None:
    assert CLUSTER.rows == 3
    assert GATEWAY.stream_bytes == 105
