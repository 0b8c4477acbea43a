"""Ask a server's catalogs what there is."""

from collections import defaultdict
from dataclasses import dataclass

from applianceforge.migrate.postgres.columns import TypeFact, Types, hashes_differ, is_portable
from applianceforge.migrate.postgres.session import Session

# Not an extension's own table, unless the extension says that it holds configuration of the user's.
_RELATIONS = """
SELECT c.oid::bigint, c.relkind::text,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       c.relispopulated, pg_total_relation_size(c.oid)::bigint,
       coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.relkind IN ('r', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)'
  AND (d.objid IS NULL OR c.oid = ANY (e.extconfig))
ORDER BY 3
"""
# Each table that is partitioned by hash, with the types of its key and all tables below it.
_HASHED = """
WITH RECURSIVE below (root, member) AS (
    SELECT partrelid, partrelid FROM pg_partitioned_table WHERE partstrat = 'h'
    UNION ALL SELECT b.root, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.member
)
SELECT p.partrelid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       pg_relation_size(p.partrelid)::bigint,
       ARRAY(SELECT a.atttypid::bigint FROM pg_attribute a
             WHERE a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs)),
       ARRAY(SELECT b.member::bigint FROM below b WHERE b.root = p.partrelid)
FROM pg_partitioned_table p
JOIN pg_class c ON c.oid = p.partrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.partstrat = 'h' ORDER BY 2
"""
_COLUMNS = """
SELECT attrelid::bigint, quote_ident(attname), atttypid::bigint, attgenerated <> ''
FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid = ANY (%s::oid[])
ORDER BY attrelid, attnum
"""
_TYPES = """
SELECT t.oid::bigint, t.typname::text, t.typnamespace::bigint, t.typtype::text, t.typsend <> 0,
       CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END::bigint,
       coalesce(nullif(t.typbasetype, 0), r.rngsubtype, {multirange}, 0)::bigint
FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid
"""
_MULTIRANGE = "(SELECT m.rngtypid FROM pg_range m WHERE m.rngmultitypid = t.oid)"
_COMPOSITES = """
SELECT c.reltype::bigint, a.atttypid::bigint
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0 ORDER BY c.reltype, a.attnum
"""
_SEQUENCES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.relkind = 'S' AND n.nspname !~ '^pg_temp' AND (d.objid IS NULL OR c.oid = ANY (e.extconfig))
ORDER BY 1
"""
_LARGE_OBJECTS = """
SELECT m.oid::bigint, pg_get_userbyid(m.lomowner)::text,
       (SELECT string_agg(x::text, ',' ORDER BY x::text)
        FROM unnest(coalesce(m.lomacl, acldefault('L', m.lomowner))) x),
       coalesce(s.size, 0)::bigint
FROM pg_largeobject_metadata m
LEFT JOIN (SELECT loid, max(pageno::bigint * 2048 + octet_length(data)) AS size
           FROM pg_largeobject GROUP BY loid) s ON s.loid = m.oid
ORDER BY 1
"""


@dataclass(frozen=True)
class Column:
    """A column: its quoted name, its type, and whether it is a stored generated one."""

    name: str
    type_oid: int
    generated: bool


@dataclass(frozen=True)
class Relation:
    """A table that holds rows of its own, or a materialized view.

    Attributes:
        name: Schema and name, quoted.
        kind: relkind: r or m.
        populated: False for a materialized view that was never refreshed.
        size_bytes: On disk, with indexes and TOAST.
        condition: WHERE clause of an extension's configuration table, which says what is the
            user's.
        columns: In their order.
        as_text: Columns whose binary form means nothing in another cluster.
        by_rows: Its rows are compared whatever their order: it stands for all its partitions, since
            the hash by which they were distributed differs from cluster to cluster.
    """

    name: str
    kind: str
    populated: bool
    size_bytes: int
    condition: str
    columns: tuple[Column, ...]
    as_text: tuple[str, ...]
    by_rows: bool = False

    @property
    def row_digest(self) -> str:
        """Return the query for the number of rows, and two sums of their hashes as one text."""
        stored = ", ".join(one.name for one in self.columns if not one.generated)
        text = f'ROW({stored})::text COLLATE "C"'
        sums = " || ' ' || ".join(
            f"coalesce(sum(hashtextextended({text}, {seed})), 0)" for seed in (1, 2)
        )
        return f"SELECT count(*), {sums}, coalesce(sum(octet_length({text})), 0) FROM {self.name}"

    @property
    def copy_source(self) -> str:
        """Return what COPY reads: the table itself, or a query where columns must be converted."""
        if not self.as_text and not self.condition:
            return self.name
        stored = [one.name for one in self.columns if not one.generated]
        chosen = ", ".join(f"{name}::text" if name in self.as_text else name for name in stored)
        return f"(SELECT {chosen} FROM ONLY {self.name} {self.condition})"


@dataclass(frozen=True)
class LargeObjectFact:
    """A large object without its content."""

    oid: int
    owner: str
    grants: str
    size_bytes: int


def types(session: Session) -> Types:
    """Return all types of a database by OID."""
    fields: dict[int, list[int]] = defaultdict(list)
    for oid, field in session.rows(_COMPOSITES):
        fields[oid].append(field)
    version = int(session.value("SELECT current_setting('server_version_num')"))
    query = _TYPES.format(multirange=_MULTIRANGE if version >= 140000 else "0")
    return {
        row[0]: TypeFact(*(*row, tuple(fields[row[0]]) if row[3] == "c" else ()))
        for row in session.rows(query)
    }


def relations(session: Session, known: Types) -> tuple[Relation, ...]:
    """Return the tables with rows of their own, partitions among them, and materialized views."""
    rows = session.rows(_RELATIONS)
    hashed = [
        row
        for row in session.rows(_HASHED)
        if any(hashes_differ(type_oid, known) for type_oid in row[3])
    ]
    covered = {member for row in hashed for member in row[4]}
    # Of nested ones the outermost stands for all.
    roots = [row for row in hashed if sum(row[0] in other[4] for other in hashed) == 1]
    oids = [row[0] for row in (*rows, *roots)]
    found: dict[int, list[Column]] = defaultdict(list)
    for oid, name, type_oid, generated in session.rows(_COLUMNS, (oids,)):
        found[oid].append(Column(name, type_oid, generated))
    leaves = tuple(
        Relation(
            name=name,
            kind=kind,
            populated=populated,
            size_bytes=size,
            condition=condition,
            columns=tuple(found[oid]),
            as_text=tuple(
                one.name
                for one in found[oid]
                if not one.generated and not is_portable(one.type_oid, known)
            ),
        )
        for oid, kind, name, populated, size, condition in rows
        if oid not in covered
    )
    return leaves + tuple(
        Relation(name, "r", True, size, "", tuple(found[oid]), (), by_rows=True)
        for oid, name, size, _, _ in roots
    )


def sequence_names(session: Session) -> list[str]:
    """Return the sequences' names, quoted."""
    return [row[0] for row in session.rows(_SEQUENCES)]


def large_objects(session: Session) -> list[LargeObjectFact]:
    """Return the large objects without their content."""
    return [LargeObjectFact(*row) for row in session.rows(_LARGE_OBJECTS)]
