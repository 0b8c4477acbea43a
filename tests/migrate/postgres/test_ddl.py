"""What pg_dump and pg_dumpall write, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.inventory import SchemaObject
from applianceforge.migrate.postgres.ddl import (
    global_objects,
    loadable_globals,
    schema_objects,
    unquoted,
)
from applianceforge.model.errors import SettingsError

# As pg_dump 15 writes it, of a server of release 15 and of one of release 13.
NEW = """--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: span; Type: TYPE; Schema: mail; Owner: mail_owner
--

CREATE TYPE mail.span AS RANGE (
    subtype = double precision,
    multirange_type_name = mail.span_multirange,
    subtype_diff = float8mi
);


--
-- Name: forget(timestamp with time zone); Type: PROCEDURE; Schema: mail; Owner: mail_owner
--

CREATE PROCEDURE mail.forget(IN before timestamp with time zone DEFAULT '-infinity', IN b integer)
    LANGUAGE sql
    AS $$
    -- Name: not_a_head; Type: TABLE
    DELETE FROM mail.delivery WHERE received_at IN (before)
$$;


--
-- Name: PROCEDURE forget(IN before timestamptz, IN b integer); Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON PROCEDURE mail.forget(IN before timestamp with time zone, IN b integer) IS 'x';


--
-- Name: Böhm; Type: TABLE; Schema: public; Owner: "Jürgen O'Neill"
--

CREATE TABLE public."Böhm" (
    a integer
);
"""
OLD = (
    NEW.replace("    multirange_type_name = mail.span_multirange,\n", "")
    .replace("IN before", "before")
    .replace("IN b", "b")
    .replace("15.18", "13.21")
    .replace("\\restrict abc", "\\restrict xyz")
)
GLOBALS = '''--
-- Roles
--

\\restrict abc
SET default_transaction_read_only = off;

CREATE ROLE auditor;
ALTER ROLE auditor WITH NOSUPERUSER INHERIT LOGIN;
CREATE ROLE "Jürgen ""two""";
ALTER ROLE "Jürgen ""two""" WITH NOSUPERUSER PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
COMMENT ON ROLE auditor IS 'two
lines';
ALTER ROLE auditor SET work_mem TO '1MB';
ALTER ROLE auditor SET search_path TO 'a';
GRANT mail_readers TO auditor GRANTED BY postgres;
CREATE TABLESPACE archive OWNER mail_owner LOCATION '/old/it''s slow';
COMMENT ON TABLESPACE archive IS 'The slow disk';
'''


def names(found: tuple[SchemaObject, ...]) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in found]


def test_the_objects_of_a_schema() -> None:
    assert names(schema_objects(NEW)) == [
        ("COMMENT", "PROCEDURE forget(before timestamptz, b integer)"),
        ("PROCEDURE", "mail.forget(timestamp with time zone)"),
        ("TABLE", "public.Böhm"),
        ("TYPE", "mail.span"),
    ]


def test_releases_spell_the_same_thing_alike() -> None:
    assert OLD != NEW
    assert schema_objects(OLD) == schema_objects(NEW)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("DEFAULT '-infinity'", "DEFAULT 'infinity'", "mail.forget(timestamp with time zone)"),
        ("a integer", "a bigint", "public.Böhm"),
        ("double precision", "real", "mail.span"),
        ("DELETE FROM mail.delivery", "DELETE FROM mail.message", "mail.forget"),
        ("received_at IN (before)", "received_at NOT IN (before)", "mail.forget"),
        ("IS 'x'", "IS 'y'", "PROCEDURE forget"),
        ("    -- Name: not", "\n    -- Name: not", "mail.forget"),
        ("    -- Name: not", "-- a comment\n    -- Name: not", "mail.forget"),
        ("    -- Name: not", "SET work_mem = '1MB';\n    -- Name: not", "mail.forget"),
        ("    -- Name: not", "    -- Name:\u2028not", "mail.forget"),
        ('Owner: "Jürgen O\'Neill"', "Owner: x; Tablespace: archive", "public.Böhm"),
        ("IN b integer)\n    LANGUAGE", "INOUT b integer)\n    LANGUAGE", "mail.forget"),
    ],
)
def test_a_changed_definition_changes_one_digest(old: str, new: str, what: str) -> None:
    before, after = schema_objects(NEW), schema_objects(NEW.replace(old, new))
    changed = [b.name for a, b in zip(after, before, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0].startswith(what)


def test_a_table_of_another_access_method_differs() -> None:
    head = "--\n-- Name: {}; Type: TABLE; Schema: s; Owner: o\n--\n\nCREATE TABLE s.{}{};\n\n\n"
    tables = head.format("a", "a", "()"), head.format("b", "b", "() PARTITION BY x")
    heap, other = (f"SET default_table_access_method = {one};\n\n" for one in ("heap", "other"))
    before = schema_objects(heap + "".join(tables))
    assert schema_objects(tables[0] + heap + tables[1])[0] != before[0]
    assert schema_objects(other + "".join(tables))[0] != before[0]
    partitioned = head.format("b", "b", "()\nPARTITION BY x")
    assert schema_objects(heap + partitioned) == schema_objects(other + partitioned)


def test_what_is_written_between_objects_does_not_matter() -> None:
    between = "SET default_tablespace = '';\n\nSET row_security = off;\n\n--\n-- Name: Böhm"
    assert schema_objects(NEW.replace("--\n-- Name: Böhm", between)) == schema_objects(NEW)


def test_the_globals() -> None:
    assert names(global_objects(GLOBALS)) == [
        ("ALTER ROLE", '"Jürgen ""two"""'),
        ("ALTER ROLE", "auditor"),
        ("ALTER ROLE", "postgres"),
        ("COMMENT ON ROLE", "auditor"),
        ("COMMENT ON TABLESPACE", "archive"),
        ("CREATE ROLE", '"Jürgen ""two"""'),
        ("CREATE ROLE", "auditor"),
        ("CREATE ROLE", "postgres"),
        ("CREATE TABLESPACE", "archive"),
        ("GRANT", "mail_readers TO auditor"),
    ]


def test_a_tablespace_may_lie_elsewhere_but_not_belong_to_another() -> None:
    same = GLOBALS.replace("/old/it''s slow", "/new")
    assert global_objects(same) == global_objects(GLOBALS)
    other = GLOBALS.replace("OWNER mail_owner", "OWNER postgres")
    assert global_objects(other) != global_objects(GLOBALS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCRAM-SHA-256$4096:c2FsdA==$a:b", "SCRAM-SHA-256$4096:c2FsdA==$a:c"),
        ("GRANT mail_readers TO auditor GRANTED BY postgres;\n", ""),
        ("work_mem TO '1MB'", "work_mem TO '2MB'"),
        ("ALTER ROLE postgres WITH SUPERUSER", "ALTER ROLE postgres WITH NOSUPERUSER"),
        ("two\nlines", "two\nother lines"),
        ("two\nlines", "lines\ntwo"),
        ("two\nlines", "two\n\nlines"),
        ("two\nlines", "two\n-- more\nlines"),
        ("two\nlines", "two\nSET more\nlines"),
        ("two\nlines", "two\u2028lines"),
    ],
)
def test_a_changed_global_is_seen(old: str, new: str) -> None:
    assert global_objects(GLOBALS.replace(old, new)) != global_objects(GLOBALS)


def test_the_order_of_settings_does_not_matter() -> None:
    lines = GLOBALS.splitlines()
    one = lines.index("ALTER ROLE auditor SET work_mem TO '1MB';")
    lines[one], lines[one + 1] = lines[one + 1], lines[one]
    assert global_objects("\n".join(lines)) == global_objects(GLOBALS)


def test_globals_to_load() -> None:
    loadable = loadable_globals(
        GLOBALS, existing_roles={"postgres"}, tablespaces={"archive": "/new/it's quick"}
    )
    assert "CREATE ROLE postgres;" not in loadable
    assert "ALTER ROLE postgres WITH SUPERUSER;" in loadable
    assert "CREATE TABLESPACE archive OWNER mail_owner LOCATION '/new/it''s quick';" in loadable
    kept = set(GLOBALS.splitlines()) - set(loadable.splitlines())
    assert len(kept) == 2


def test_a_text_in_the_globals_is_loaded_as_it_is() -> None:
    text = "a\u2028b\x85c\x0cd\r\nCREATE ROLE postgres;\n-- it''s no \"comment\nSET x"
    dump = GLOBALS.replace("two\nlines", text)
    loadable = loadable_globals(dump, existing_roles={"postgres"}, tablespaces={"archive": "/n"})
    assert f"COMMENT ON ROLE auditor IS '{text}';\n" in loadable
    assert names(global_objects(dump)) == names(global_objects(GLOBALS))


def test_a_role_of_initdb_with_quotes() -> None:
    loadable = loadable_globals(
        GLOBALS, existing_roles={'Jürgen "two"'}, tablespaces={"archive": "/n"}
    )
    assert 'CREATE ROLE "Jürgen ""two""";' not in loadable
    assert 'ALTER ROLE "Jürgen ""two"""' in loadable


def test_a_tablespace_without_a_place_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="archive") as caught:
        loadable_globals(GLOBALS, existing_roles=set(), tablespaces={})
    assert "target.postgres.tablespaces.archive" in caught.value.hint


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_a_quoted_identifier_comes_back(name: str) -> None:
    assert unquoted('"' + name.replace('"', '""') + '"') == name


@given(st.text())
def test_any_text_is_taken_apart(text: str) -> None:
    schema_objects(text)
    global_objects(text)


identifiers = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(st.lists(st.tuples(identifiers, identifiers), min_size=1, max_size=6))
def test_arguments_are_respelled_whatever_they_are_called(
    arguments: list[tuple[str, str]],
) -> None:
    new = ", ".join(f"IN {name} {kind}" for name, kind in arguments)
    old = ", ".join(f"{name} {kind}" for name, kind in arguments)
    head = "-- Name: p(); Type: PROCEDURE; Schema: s; Owner: o\n"
    assert schema_objects(f"{head}CREATE PROCEDURE s.p({new})") == schema_objects(
        f"{head}CREATE PROCEDURE s.p({old})"
    )
