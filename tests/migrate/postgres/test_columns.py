"""Which types a binary COPY carries unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.postgres.columns import (
    TypeFact,
    Types,
    holds_float,
    is_float,
    is_portable,
)

PG_CATALOG, PUBLIC = 11, 2200


def fact(
    oid: int,
    name: str,
    namespace: int = PG_CATALOG,
    kind: str = "b",
    *,
    has_binary: bool = True,
    element: int = 0,
    base: int = 0,
    fields: tuple[int, ...] = (),
) -> TypeFact:
    return TypeFact(oid, name, namespace, kind, has_binary, element, base, fields)


TYPES: Types = {
    one.oid: one
    for one in (
        fact(23, "int4"),
        fact(25, "text"),
        fact(700, "float4"),
        fact(701, "float8"),
        fact(1007, "_int4", element=23),
        fact(1022, "_float8", element=701),
        fact(2205, "regclass"),
        fact(2210, "_regclass", element=2205),
        fact(1033, "aclitem", has_binary=False),
        fact(3904, "int4range", kind="r", base=23),
        fact(4451, "int4multirange", kind="m", base=3904),
        fact(20001, "regclass", PUBLIC),
        fact(20002, "mood", PUBLIC, "e"),
        fact(20003, "_mood", PUBLIC, element=20002),
        fact(20004, "a_table", PUBLIC, "d", base=2205),
        fact(20005, "positive", PUBLIC, "d", base=23),
        fact(20006, "pair", PUBLIC, "c", fields=(23, 25)),
        fact(20007, "nested", PUBLIC, "c", fields=(23, 20006)),
        fact(20008, "with_table", PUBLIC, "c", fields=(23, 2205)),
        fact(20009, "moods", PUBLIC, "d", base=20003),
        fact(20010, "float_range", PUBLIC, "r", base=701),
        fact(20011, "score", PUBLIC, "d", base=701),
        fact(20012, "score of score", PUBLIC, "d", base=20011),
        fact(20013, "float8", PUBLIC),
        fact(20014, "of_floats", PUBLIC, "c", fields=(23, 1022)),
        fact(20015, "no binary", PUBLIC, has_binary=False),
        fact(20016, "over no binary", PUBLIC, "d", base=20015),
    )
}
OF = {
    one.name if one.namespace == PG_CATALOG else f"my {one.name}": one.oid for one in TYPES.values()
}


@pytest.mark.parametrize(
    ("name", "portable", "float_", "holds"),
    [
        ("int4", True, False, False),
        ("float8", True, True, True),
        ("float4", True, True, True),
        ("_int4", True, False, False),
        ("_float8", True, False, True),
        ("regclass", False, False, False),
        ("_regclass", False, False, False),
        ("aclitem", False, False, False),
        ("int4range", True, False, False),
        ("int4multirange", True, False, False),
        ("my regclass", True, False, False),
        ("my mood", True, False, False),
        ("my _mood", False, False, False),
        ("my a_table", False, False, False),
        ("my positive", True, False, False),
        ("my pair", True, False, False),
        ("my nested", False, False, False),
        ("my with_table", False, False, False),
        ("my moods", False, False, False),
        ("my float_range", True, False, True),
        ("my score", True, True, True),
        ("my score of score", True, True, True),
        ("my float8", True, False, False),
        ("my of_floats", True, False, True),
        ("my no binary", False, False, False),
        ("my over no binary", False, False, False),
    ],
)
def test_each_kind(name: str, portable: bool, float_: bool, holds: bool) -> None:
    oid = OF[name]
    assert is_portable(oid, TYPES) is portable
    assert is_float(oid, TYPES) is float_
    assert holds_float(oid, TYPES) is holds


def test_a_type_that_is_not_known_is_not_portable() -> None:
    assert not is_portable(99999, TYPES)
    assert not is_float(99999, TYPES)
    assert not holds_float(99999, TYPES)


oids = st.sampled_from(sorted(TYPES))


@given(st.lists(oids, min_size=1, max_size=5).map(tuple))
def test_what_holds_something_not_portable_is_not_portable(fields: tuple[int, ...]) -> None:
    types = {**TYPES, 30000: fact(30000, "made", PUBLIC, "c", fields=fields)}
    if not all(is_portable(one, types) for one in fields):
        assert not is_portable(30000, types)
    assert holds_float(30000, types) == any(holds_float(one, types) for one in fields)


@given(oids)
def test_a_domain_is_as_what_it_stands_for(base: int) -> None:
    types = {**TYPES, 30000: fact(30000, "made", PUBLIC, "d", base=base)}
    assert is_portable(30000, types) == is_portable(base, types)
    assert is_float(30000, types) == is_float(base, types)


@given(oids)
def test_an_array_of_a_type_made_here_is_never_portable(element: int) -> None:
    types = {**TYPES, 30000: fact(30000, "_made", PUBLIC, element=element)}
    assert is_portable(30000, types) == (element < 16384 and is_portable(element, types))
