r"""Read what pg_dump and pg_dumpall write: objects of the schema, and globals.

pg_dump heads each object with three comment lines,

    --
    -- Name: message; Type: TABLE; Schema: public; Owner: mail; Tablespace: archive
    --

and pg_dumpall writes one statement a line; a text in it may go over several. Between objects both
write marks of this run (versions, the key of \restrict) and settings of the session that loads,
which are left out; what stands inside an object's definition never is.

Source: PostgreSQL 15.18, src/bin/pg_dump/pg_backup_archiver.c (_printTocEntry,
_doSetFixedOutputState, _selectTableAccessMethod) and pg_dumpall.c.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from applianceforge.migrate.inventory import SchemaObject
from applianceforge.model.errors import SettingsError

_HEAD = re.compile(
    r"^-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*); Owner: "
    r".*?(?:; Tablespace: (?P<space>.*))?$"
)
_METHOD = re.compile(r"^SET default_table_access_method = (?P<method>.*);$")
_WITH_METHOD = frozenset({"TABLE", "MATERIALIZED VIEW"})
_SESSION = (
    "statement_timeout|lock_timeout|idle_in_transaction_session_timeout|transaction_timeout"
    "|client_encoding|standard_conforming_strings|check_function_bodies|xmloption"
    "|client_min_messages|row_security|default_tablespace"
)
_BETWEEN = re.compile(
    r"^(--( PostgreSQL database dump( complete)?| Dumped (from|by) .*)?$"
    r"|\\(restrict|unrestrict|connect) "
    rf"|SET ({_SESSION}) = .*;$"
    r"|SELECT pg_catalog\.set_config\('search_path', '', false\);$)"
)
_NO_STATEMENT = re.compile(r"^(--|\\restrict |\\unrestrict |\\connect |SET |$)")
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
_USING = "-- USING "
_MULTIRANGE = re.compile(r"^\s+multirange_type_name = ")


def _respelled(line: str) -> str:
    """Return a line as every release would spell it."""
    return _ARGUMENT_MODE.sub(r"\1", line) if "PROCEDURE " in line else line


def schema_objects(dump: str) -> tuple[SchemaObject, ...]:
    """Return the objects of a plain `pg_dump --schema-only` as (kind, name, digest).

    Parts of the dump under the same kind and name, as overloaded operators may be, are one object.
    """
    parts: dict[tuple[str, str], list[list[str]]] = {}
    current: list[str] = []
    method = ""
    for line in dump.split("\n"):
        head, chosen = _HEAD.match(line), _METHOD.match(line)
        if head:
            schema, name = head["schema"], _respelled(head["name"])
            full = name if schema == "-" else f"{schema}.{name}"
            current = [f"TABLESPACE {head['space']}"] if head["space"] else []
            if head["kind"] in _WITH_METHOD:
                current.append(f"{_USING}{method}")
            parts.setdefault((head["kind"], full), []).append(current)
        elif chosen:
            # Written before the head of the table that it is for, and of all that follow.
            method = chosen["method"]
        elif not _BETWEEN.match(line) and not _MULTIRANGE.match(line):
            current.append(_respelled(line))
    return _digested(
        {key: ["\n".join(_trimmed(part)) for part in found] for key, found in parts.items()}
    )


def _trimmed(lines: list[str]) -> list[str]:
    """Return an object's lines without the empty ones at its end."""
    if any(line.startswith("PARTITION BY ") for line in lines):
        # It has no rows of its own, so no access method either: the one named is another's.
        lines = [line for line in lines if not line.startswith(_USING)]
    last = max((number for number, line in enumerate(lines, start=1) if line), default=0)
    return lines[:last]


def _statements(dump: str) -> Iterable[str]:
    """Yield what pg_dumpall wrote: each statement, with the lines that its texts go over."""
    lines: list[str] = []
    quote = ""
    for line in dump.split("\n"):
        lines.append(line)
        if quote or not line.startswith("--"):
            quote = _open_quote(line, quote)
        if not quote:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _open_quote(line: str, quote: str) -> str:
    """Return the quote that is open after a line, given what was open before it.

    A quote inside of a text or name is written twice, which closes and opens it again.
    """
    for character in line:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return quote


def global_objects(dump: str) -> tuple[SchemaObject, ...]:
    """Return roles, memberships, settings and tablespaces as (kind, name, digest).

    A tablespace's location is left out: the new one lies elsewhere.
    """
    parts: dict[tuple[str, str], list[str]] = {}
    for statement in _statements(dump):
        if _NO_STATEMENT.match(statement):
            continue
        found, space = _GLOBAL.match(statement), _TABLESPACE.match(statement)
        key = (found["kind"], found["name"]) if found else ("STATEMENT", statement)
        text = statement if space is None else f"CREATE TABLESPACE OWNER {space['owner']}"
        parts.setdefault(key, []).append(text)
    return _digested({key: sorted(statements) for key, statements in parts.items()})


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
    for line in _statements(dump):
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
