r"""Read what pg_dump and pg_dumpall write: objects of the schema, and globals.

pg_dump heads each object with three comment lines,

    --
    -- Name: message; Type: TABLE; Schema: public; Owner: mail
    --

and pg_dumpall writes one statement a line. Both write lines that differ from run to run (versions,
the key of \restrict), which are left out.

Source: PostgreSQL 15.18, src/bin/pg_dump/pg_backup_archiver.c (_printTocEntry) and pg_dumpall.c.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from applianceforge.migrate.inventory import SchemaObject
from applianceforge.model.errors import SettingsError

_HEAD = re.compile(
    r"^-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*); Owner"
)
_VOLATILE = re.compile(
    r"^(--|\\restrict |\\unrestrict |\\connect |SET |SELECT pg_catalog.set_config)"
)
_IDENTIFIER = r'("(?:[^"]|"")+"|[^\s;"]+)'
_GLOBAL = re.compile(
    rf"^(?P<kind>CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|CREATE TABLESPACE|ALTER TABLESPACE"
    rf"|COMMENT ON TABLESPACE|GRANT|REVOKE|SECURITY LABEL)\b\s+(?P<name>{_IDENTIFIER}"
    rf"(?:\s+(?:TO|ON TABLESPACE|ON|FROM)\s+{_IDENTIFIER})*)"
)
_CREATE_ROLE = re.compile(rf"^CREATE ROLE (?P<name>{_IDENTIFIER});$")
_TABLESPACE = re.compile(
    rf"^CREATE TABLESPACE (?P<name>{_IDENTIFIER}) OWNER (?P<owner>{_IDENTIFIER})"
    r" LOCATION '(?P<location>(?:[^']|'')*)';$"
)

# How releases spell the same thing. Since 14 a procedure's arguments are listed with IN; since 14 a
# range names its multirange, which is always there, and is named again wherever it is used.
_ARGUMENT_MODE = re.compile(r"([(,] ?)IN (?=\S)")
_MULTIRANGE = re.compile(r"^\s+multirange_type_name = ")


def _respelled(line: str) -> str:
    """Return a line as every release would spell it."""
    return _ARGUMENT_MODE.sub(r"\1", line) if "PROCEDURE " in line else line


def schema_objects(dump: str) -> tuple[SchemaObject, ...]:
    """Return the objects of a plain `pg_dump --schema-only` as (kind, name, digest).

    Parts of the dump under the same kind and name, as overloaded operators may be, are one object.
    """
    parts: dict[tuple[str, str], list[str]] = {}
    current: list[str] = []
    for line in dump.splitlines():
        head = _HEAD.match(line)
        if head:
            schema, name = head["schema"], _respelled(head["name"])
            full = name if schema == "-" else f"{schema}.{name}"
            current = parts.setdefault((head["kind"], full), [])
        elif line and not _VOLATILE.match(line) and not _MULTIRANGE.match(line):
            current.append(_respelled(line))
    return _digested(parts)


def global_objects(dump: str) -> tuple[SchemaObject, ...]:
    """Return roles, memberships, settings and tablespaces as (kind, name, digest).

    A tablespace's location is left out: the new one lies elsewhere.
    """
    parts: dict[tuple[str, str], list[str]] = {}
    current: list[str] = []
    for line in dump.splitlines():
        if not line or _VOLATILE.match(line):
            continue
        found = _GLOBAL.match(line)
        if found:
            current = parts.setdefault((found["kind"], found["name"]), [])
        space = _TABLESPACE.match(line)
        current.append(line if space is None else f"CREATE TABLESPACE OWNER {space['owner']}")
    return _digested({key: sorted(lines) for key, lines in parts.items()})


def _digested(parts: Mapping[tuple[str, str], list[str]]) -> tuple[SchemaObject, ...]:
    return tuple(
        SchemaObject(
            kind,
            name,
            hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest(),
        )
        for (kind, name), lines in sorted(parts.items())
    )


def unquoted(identifier: str) -> str:
    """Return the name that an SQL identifier stands for."""
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier


def loadable_globals(dump: str, *, existing_roles: set[str], tablespaces: Mapping[str, str]) -> str:
    """Return the globals as the new cluster takes them without an error.

    Args:
        dump: What `pg_dumpall --globals-only` wrote.
        existing_roles: Roles that the new cluster has already, by initdb: not created again, but
            altered like the others.
        tablespaces: For each tablespace its new directory.

    Raises:
        SettingsError: A tablespace has no new directory.
    """
    return "\n".join(_loadable_lines(dump, existing_roles, tablespaces)) + "\n"


def _loadable_lines(
    dump: str, existing_roles: set[str], tablespaces: Mapping[str, str]
) -> Iterable[str]:
    for line in dump.splitlines():
        role = _CREATE_ROLE.match(line)
        if role and unquoted(role["name"]) in existing_roles:
            continue
        space = _TABLESPACE.match(line)
        if space is None:
            yield line
            continue
        name = unquoted(space["name"])
        if name not in tablespaces:
            raise SettingsError(
                f"the tablespace {name} has no new directory",
                hint=f"name an empty one in the settings: target.postgres.tablespaces.{name}",
            )
        location = tablespaces[name].replace("'", "''")
        yield f"CREATE TABLESPACE {space['name']} OWNER {space['owner']} LOCATION '{location}';"
