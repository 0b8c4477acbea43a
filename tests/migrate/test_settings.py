"""The settings file: every mistake is named, with what to do."""

import json
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.settings import (
    LONGEST_WORK_BYTES,
    Settings,
    check_has_both_sides,
    check_has_source,
    decode,
)
from applianceforge.model.errors import SettingsError

WHOLE: dict[str, Any] = {
    "schema": 1,
    "work.directory": "/w",
    "source.tree": "/trees/i386",
    "source.postgres.data": "/old/data",
    "source.rrd.directory": "/old/rrd",
    "target.postgres.data": "/new/data",
    "target.rrd.directory": "/new/rrd",
}
KEYS = (
    *("work.directory", "work.retention_days", "work.jobs", "work.compression"),
    *("source.tree", "source.postgres.data", "source.postgres.config_file"),
    *("source.postgres.hba_file", "source.postgres.superuser", "source.postgres.passfile"),
    *("source.rrd.directory", "source.rrd.patterns", "source.rrd.rrdcached_journal"),
    *("target.tree", "target.postgres.data", "target.postgres.tablespaces"),
    *("target.postgres.major", "target.postgres.user", "target.rrd.directory"),
)


def text(changes: dict[str, Any] | None = None) -> str:
    """Return a settings file; a value of None leaves its key out."""
    keys = WHOLE | (changes or {})
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in keys.items()
        if value is not None
    )


def refusal(changes: dict[str, Any] | None = None, content: str | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        decode(text(changes) if content is None else content, "box.toml")
    assert caught.value.hint
    assert caught.value.message.startswith("box.toml")
    return caught.value


def test_a_whole_file() -> None:
    settings = decode(text({"target.postgres.tablespaces.archive": "/new/archive"}), "box.toml")
    assert settings.work.directory == Path("/w")
    assert (settings.work.jobs, settings.work.retention_days) == (2, 7.0)
    assert settings.source.postgres is not None
    assert settings.source.postgres.superuser == "postgres"
    assert settings.target.postgres is not None
    assert settings.target.postgres.tablespaces == {"archive": Path("/new/archive")}
    assert settings.source.rrd is not None
    assert settings.source.rrd.patterns == ("*.rrd",)
    assert settings.target.tree == Path("/")


def test_the_example_is_right_as_it_is_and_with_its_comments() -> None:
    example = package_files("applianceforge.migrate").joinpath("example.toml").read_text()
    decode(example, "example.toml")
    with_all = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in example.splitlines()
    ]
    settings = decode("\n".join(with_all), "example.toml")
    assert settings.source.postgres is not None
    assert settings.source.postgres.passfile == Path("/root/.pgpass")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("work.directroy", "work.directory"),
        ("work.job", "work.jobs"),
        ("source.postgres.superusr", "source.postgres.superuser"),
        ("source.rrd.pattern", "source.rrd.patterns"),
        ("target.postgres.tablespace", "target.postgres.tablespaces"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(wrong: str, near: str) -> None:
    assert f"unknown key {wrong}, did you mean {near}?" in refusal({wrong: "/x"}).message


def test_an_unknown_key_that_is_like_none_lists_the_known_ones() -> None:
    message = refusal({"work.zzz": 1}).message
    assert "unknown key work.zzz; known: directory, retention_days, jobs, compression" in message


@pytest.mark.parametrize("key", ["work.directory", "source.postgres.data", "target.rrd.directory"])
def test_a_missing_key(key: str) -> None:
    # What keeps the key's table there.
    other = {"work": "jobs", "source": "superuser", "target": "nothing"}[key.partition(".")[0]]
    changes = {key: None, f"{key.rpartition('.')[0]}.{other}": "x"}
    assert f"{key} is missing" in refusal(changes).message


def test_a_missing_table() -> None:
    assert "work is missing" in refusal({"work.directory": None}).message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("work.directory", "relative/path", "must be an absolute path"),
        ("work.directory", 7, "must be an absolute path"),
        ("source.tree", ["/a"], "must be an absolute path"),
        ("work.jobs", "two", "must be a number"),
        ("work.jobs", -1, "must be a number, 0 or more"),
        ("work.jobs", 1.5, "must be a number"),
        ("work.jobs", True, "must be a number"),
        ("work.retention_days", "a week", "must be a number"),
        ("work.retention_days", -0.5, "must be a number"),
        ("source.postgres.superuser", 5, "must be text"),
        ("source.postgres.superuser", "", "must be text"),
        ("source.rrd.patterns", "*.rrd", "must be a list of texts"),
        ("source.rrd.patterns", [], "must be a list of texts"),
        ("source.rrd.patterns", [1], "must be a list of texts"),
        ("target.postgres.tablespaces", ["/x"], "must be a table of paths"),
        ("target.postgres.tablespaces.a", 1, "target.postgres.tablespaces.a must be an absolute"),
    ],
)
def test_a_value_of_the_wrong_kind(key: str, value: Any, said: str) -> None:
    message = refusal({key: value}).message
    assert said in message
    assert key in message


def test_a_table_where_a_value_is_given() -> None:
    content = 'source = 5\n[work]\ndirectory = "/w"\n'
    assert "source must be a table" in refusal(content=content).message


def test_all_mistakes_are_named_at_once() -> None:
    message = refusal({"work.jobs": "x", "work.directroy": "/w", "source.tree": "relative"}).message
    assert {"work.jobs", "work.directroy", "source.tree"} <= set(message.replace(",", "").split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"work.jobs": 0}, "work.jobs must be from 1 to 64"),
        ({"work.jobs": 65}, "work.jobs must be from 1 to 64"),
        ({"work.compression": 10}, "work.compression must be from 0 to 9"),
        ({"target.postgres.data": "/old/data"}, "lie within each other"),
        ({"target.postgres.data": "/old/data/new"}, "lie within each other"),
        ({"target.rrd.directory": "/old"}, "lie within each other"),
        ({"work.directory": "/old/rrd/work"}, "lie within each other"),
        ({"work.directory": "/" + "w" * LONGEST_WORK_BYTES}, "too long a path"),
        ({"work.directory": "/" + "ü" * (LONGEST_WORK_BYTES // 2 + 1)}, "too long a path"),
    ],
)
def test_values_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(changes).message


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (("target.rrd.directory",), "the settings name source.rrd but not target.rrd"),
        (("source.postgres.data",), "the settings name target.postgres but not source.postgres"),
        (("source.postgres.data", "source.rrd.directory"), "there is nothing to read"),
    ],
)
def test_a_run_needs_both_sides(left_out: tuple[str, ...], said: str) -> None:
    settings = decode(text(dict.fromkeys(left_out)), "box.toml")
    with pytest.raises(SettingsError, match=said) as caught:
        check_has_both_sides(settings)
    assert caught.value.hint


def test_an_export_needs_no_target() -> None:
    left_out = dict.fromkeys(("target.postgres.data", "target.rrd.directory"))
    check_has_source(decode(text(left_out), "box.toml"))


def test_the_longest_work_directory_is_taken() -> None:
    longest = "/" + "w" * (LONGEST_WORK_BYTES - 1)
    assert decode(text({"work.directory": longest}), "x").work.directory == Path(longest)


@pytest.mark.parametrize("content", ["work = ", "[work\n", "a = 'b\n", "\0"])
def test_what_is_not_toml(content: str) -> None:
    assert "is not TOML" in refusal(content=content).message


@pytest.mark.parametrize("content", [f"a = {'9' * 5000}", f"a = {'[' * 20_000}"])
def test_what_python_itself_gives_up(content: str) -> None:
    assert "cannot be read" in refusal(content=content).message


@pytest.mark.parametrize("schema", [2, 0, "1", 1.5, [1]])
def test_another_schema(schema: Any) -> None:
    error = refusal({"schema": schema})
    assert f"schema {schema!r}" in error.message
    assert "newer" in error.hint


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-5, 100),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12),
            st.sampled_from(["/a", "/a/b", "/old/rrd", "/c"]),
            st.lists(st.sampled_from(["*.rrd", "x"]), max_size=2),
        ),
    )
)
def test_whatever_is_said_is_taken_or_refused_by_name(changes: dict[str, Any]) -> None:
    try:
        settings = decode(text(changes), "box.toml")
    except SettingsError as error:
        assert error.message.startswith("box.toml: ")
        return
    assert isinstance(settings, Settings)
    assert 1 <= settings.work.jobs <= 64
    assert settings.work.directory.is_absolute()


@given(st.text())
def test_any_text_is_refused_or_settings(content: str) -> None:
    try:
        decode(content, "box.toml")
    except SettingsError as error:
        assert error.hint
