"""Which columns a binary COPY carries from cluster to cluster unchanged.

Most types' binary form is the same everywhere. Not so where it holds a number of this one cluster's
catalog: the reg* types are raw OIDs; arrays and composites name the OIDs of their elements' types,
which are fixed for built-in types only (below 16384). Such columns are digested as text.

Source: PostgreSQL 15.18: regproc.c (regprocsend), arrayfuncs.c (array_send), rowtypes.c
(record_send), access/transam.h (FirstNormalObjectId).
"""

from collections.abc import Mapping
from dataclasses import dataclass

_FIRST_NORMAL_OID = 16384
_PG_CATALOG = 11
_REG_TYPES = frozenset(
    {
        "regproc",
        "regprocedure",
        "regoper",
        "regoperator",
        "regclass",
        "regtype",
        "regrole",
        "regnamespace",
        "regconfig",
        "regdictionary",
        "regcollation",
    }
)
_FLOATS = frozenset({"float4", "float8"})


@dataclass(frozen=True)
class TypeFact:
    """What pg_type says of one type.

    Attributes:
        kind: typtype: b base, c composite, d domain, e enum, r range, m multirange, p pseudo.
        element: typelem of a true array, else 0.
        base: The base type of a domain, the subtype of a range, the range of a multirange, else 0.
        fields: The types of a composite's columns.
    """

    oid: int
    name: str
    namespace: int
    kind: str
    has_binary: bool
    element: int
    base: int
    fields: tuple[int, ...]


Types = Mapping[int, TypeFact]


def is_portable(oid: int, types: Types) -> bool:
    """Tell whether a binary COPY of this type is the same in every cluster."""
    fact = types.get(oid)
    if fact is None or not fact.has_binary:
        return False
    if fact.namespace == _PG_CATALOG and fact.name in _REG_TYPES:
        return False
    if fact.element:
        return fact.element < _FIRST_NORMAL_OID and is_portable(fact.element, types)
    if fact.kind == "c":
        return all(one < _FIRST_NORMAL_OID and is_portable(one, types) for one in fact.fields)
    if fact.base:
        return is_portable(fact.base, types)
    return True


def is_float(oid: int, types: Types) -> bool:
    """Tell whether a type is float4 or float8, or a domain over one."""
    fact = types.get(oid)
    if fact is None:
        return False
    if fact.kind == "d":
        return is_float(fact.base, types)
    return fact.namespace == _PG_CATALOG and fact.name in _FLOATS


def holds_float(oid: int, types: Types) -> bool:
    """Tell whether values of a type hold floats anywhere inside."""
    fact = types.get(oid)
    if fact is None:
        return False
    if is_float(oid, types):
        return True
    inner = (*fact.fields, fact.element, fact.base)
    return any(holds_float(one, types) for one in inner if one)


def hashes_differ(oid: int, types: Types) -> bool:
    """Tell whether a value's hash differs from cluster to cluster: an enum's is that of its OID."""
    fact = types.get(oid)
    if fact is None:
        return False
    inner = (*fact.fields, fact.element, fact.base)
    return fact.kind == "e" or any(hashes_differ(one, types) for one in inner if one)
