"""Old configuration files, as far as they still mean something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate.postgres.configuration import filtered

KNOWN = frozenset({"work_mem", "listen_addresses", "data_directory", "timezone"})


@pytest.mark.parametrize(
    ("line", "aside"),
    [
        ("work_mem = 8MB", ""),
        ("WORK_MEM 8MB", ""),
        ("  timezone='Europe/Vienna'  # here", ""),
        ("# stats_temp_directory = 'x'", ""),
        ("", ""),
        ("include_if_exists = 'local.conf'", ""),
        ("pg_stat_statements.max = 100", ""),
        ("stats_temp_directory = '/run/x'", "stats_temp_directory"),
        ("vacuum_cleanup_index_scale_factor = 0.1", "vacuum_cleanup_index_scale_factor"),
        ("data_directory = '/var/lib/postgresql/13/main'", "data_directory"),
        ("external_pid_file='/run/x.pid'", "external_pid_file"),
        ("unix_socket_directories = '/run'", "unix_socket_directories"),
    ],
)
def test_a_line(line: str, aside: str) -> None:
    text, names = filtered(line + "\n", KNOWN, 15)
    assert names == ((aside,) if aside else ())
    assert text.endswith(line + "\n")
    assert text.startswith("#") == (bool(aside) or line.startswith("#"))


def test_it_says_why() -> None:
    text, names = filtered("gone = 1\ndata_directory = '/x'\nwork_mem = 1MB\n", KNOWN, 15)
    assert text.splitlines() == [
        "# unknown to PostgreSQL 15: gone = 1",
        "# a place of the old side: data_directory = '/x'",
        "work_mem = 1MB",
    ]
    assert names == ("gone", "data_directory")


def test_a_line_ends_at_its_end_alone() -> None:
    text = "# one\u2028gone = 1\x0cdata_directory = '/x'\r\nwork_mem = 1MB\n"
    assert filtered(text, KNOWN, 15) == (text, ())


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_no_line_is_lost_and_twice_is_once(text: str) -> None:
    once, _ = filtered(text, KNOWN, 15)
    assert once.count("\n") == max(1, text.count("\n") + (not text.endswith("\n")))
    again, aside = filtered(once, KNOWN, 15)
    assert (again, aside) == (once, ())
