"""The outcome as a person reads it on a terminal."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from applianceforge.cli.summary import (
    counted,
    duration,
    facts,
    proofs,
    rate,
    show,
    size,
    verdict,
    visible,
)
from applianceforge.migrate.outcome import Outcome, SideOutcome, StepOutcome

BEFORE = SideOutcome("32-bit", 15, 32, 211_000_000, 5, 42, 1_234_567, 200, 28_000_000)
AFTER = SideOutcome("64-bit", 15, 64, 218_000_000, 5, 42, 1_234_567, 200, 28_400_000)
PROOFS = {
    "rrds": 200,
    "databases": 5,
    "tables": 42,
    "rows": 1_234_567,
    "sequences": 1,
    "as_text": 0,
}
OUTCOME = Outcome(
    operation="run",
    began_s=1_763_800_000.0,
    ended_s=1_763_800_042.0,
    source=BEFORE,
    target=AFTER,
    steps=(
        StepOutcome(
            "postgres.dump:mail", "dump the database mail", 4.0, 160_000_000, 0, "12 parts"
        ),
        StepOutcome("postgres.create", "make the new cluster", 1.9, 0, 0, "PostgreSQL 15"),
        StepOutcome("rrd.verify", "prove the RRDs equal", 0.8, 28_000_000, 200, "200 files equal"),
    ),
    proofs=PROOFS,
    told=("materialized view mail daily.mean: its values differ",),
    warnings=("There are replication slots",),
    predicted_peak_bytes=500_000_000,
    peak_bytes=400_000_000,
    interruptions=2,
)
NO_TARGET = SideOutcome("64-bit", 0, 0, 0, 0, 0, 0, 0, 0)

PAGE_80 = """
Nothing was lost.
1,234,567 rows in 42 tables of 5 databases and 200 RRDs were compared and are
equal. 1 expected difference in what the server computes: told below.

                    before, 32-bit   now, 64-bit
─────────────────────────────────────────────────
 PostgreSQL             15, 32-bit    15, 64-bit
 data directory           211.0 MB      218.0 MB
 databases                       5             5
 tables                         42            42
 rows                    1,234,567     1,234,567
 RRDs                          200           200
 size of the RRDs          28.0 MB       28.4 MB

 step                      time      bytes        rate
───────────────────────────────────────────────────────
 dump the database mail   4.0 s   160.0 MB   40.0 MB/s
 make the new cluster     1.9 s
 prove the RRDs equal     0.8 s    28.0 MB   35.0 MB/s

 all steps                6.7 s

Proved equal
          5  databases  name and encoding
         42  tables     number of rows and SHA-256 of all rows
  1,234,567  rows       every value, as the server's binary COPY writes it
          1  sequence   where it stands
        200  RRDs       definition, state and every value, bit for bit

Told: differences that are expected
  materialized view mail daily.mean: its values differ
"""


def shown(outcome: Outcome, width: int = 80, *, terminal: bool = False) -> str:
    stream = StringIO()
    show(outcome, Console(file=stream, width=width, force_terminal=terminal, highlight=False))
    return stream.getvalue()


def plain(outcome: Outcome, width: int = 80) -> str:
    return "".join(line.rstrip() + "\n" for line in shown(outcome, width).splitlines())


def test_all_of_it_in_80_columns() -> None:
    assert plain(OUTCOME).startswith(PAGE_80)
    rest = " ".join(plain(OUTCOME)[len(PAGE_80) :].split())
    for words in (
        "x87",
        "SSE2",
        "Warnings There are replication slots",
        "6.7 s in all: 239.0 MB at 35.7 MB/s",
        "at its peak 400.0 MB were used, 80% of the 500.0 MB predicted",
        "stopped or cut 2 times",
    ):
        assert words in rest, words


@pytest.mark.parametrize("width", [20, 40, 59, 80, 120, 200])
def test_no_line_is_too_wide(width: int) -> None:
    assert all(len(line) <= width for line in plain(OUTCOME, width).splitlines())


def test_wide_terminals_show_results_and_shares_and_pipes_no_colour() -> None:
    assert "12 parts" not in plain(OUTCOME)
    assert "12 parts" in plain(OUTCOME, 200)
    assert "█" in shown(OUTCOME, 200, terminal=True)
    assert "█" not in plain(OUTCOME, 200)
    assert "\x1b" in shown(OUTCOME, terminal=True)
    assert "\x1b" not in shown(OUTCOME)


def test_hostile_names_are_inert() -> None:
    bad = "\x1b[2J[red]<b>\n\u202e"
    outcome = replace(
        OUTCOME,
        steps=(StepOutcome("k", bad, 1.0, 0, 0, bad),),
        told=(bad,),
        warnings=(bad,),
        proofs={"tables": 1, bad: 3},
    )
    assert shown(outcome, 200).count(r"\x1b[2J[red]<b>\n\u202e") == 5
    assert "\x1b[2J" not in shown(outcome, 200, terminal=True)


def test_nothing_is_claimed_that_was_not_proved() -> None:
    whole = verdict(OUTCOME)
    assert (whole.proved, whole.headline) == (True, "Nothing was lost.")
    no_rrds = verdict(replace(OUTCOME, proofs={"tables": 42, "rows": 7, "databases": 1}))
    assert not no_rrds.proved
    assert no_rrds.headline == "Of the databases nothing was lost."
    assert "Not compared: the RRDs." in no_rrds.sentence
    assert "200" not in no_rrds.sentence
    no_rows = verdict(replace(OUTCOME, proofs={"rrds": 200}))
    assert no_rows.headline == "Of the RRDs nothing was lost."
    nothing = verdict(replace(OUTCOME, proofs={}))
    assert (nothing.proved, nothing.headline) == (False, "Nothing was proved.")


def test_export_promises_nothing_and_has_one_side() -> None:
    outcome = replace(OUTCOME, operation="export", target=NO_TARGET, proofs={}, told=())
    assert not verdict(outcome).proved
    text = plain(outcome)
    assert "It is proved when it is imported" in " ".join(text.split())
    assert "now, 64-bit" not in text
    assert "lost" not in text
    assert "Proved equal" not in text
    assert "x87" not in text


@pytest.mark.parametrize("operation", ["import", "verify"])
def test_import_and_verification_are_shown_like_a_run(operation: str) -> None:
    assert plain(replace(OUTCOME, operation=operation)).startswith(PAGE_80)


def test_only_rrds() -> None:
    outcome = replace(
        OUTCOME,
        source=replace(NO_TARGET, label="32-bit", rrds=3, rrd_bytes=300),
        target=replace(NO_TARGET, rrds=3, rrd_bytes=310),
        proofs={"rrds": 3},
    )
    assert verdict(outcome).proved
    assert [one.label for one in facts(outcome)] == ["RRDs", "size of the RRDs"]


def test_empty_outcome_can_be_shown() -> None:
    outcome = Outcome("run", 0.0, 0.0, NO_TARGET, NO_TARGET, (), {}, (), (), 0, 0, 0)
    assert "Nothing was proved." in plain(outcome)


def test_unknown_proofs_are_shown_after_the_known() -> None:
    found = proofs(replace(OUTCOME, proofs={"new_things": 2, "rows": 1, "tables": 0}))
    assert [(one.count, one.what) for one in found] == [(1, "row"), (2, "new things")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 s"),
        (-1.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185.4, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380.0, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_figures() -> None:
    assert [size(n) for n in (0, 1, 999, 1000, 12_345_678)] == [
        "0 B",
        "1 byte",
        "999 B",
        "1.0 kB",
        "12.3 MB",
    ]
    assert rate(10_000_000, 4) == "2.5 MB/s"
    assert rate(0, 4) == rate(5, 0) == ""
    assert counted(1, "row", "rows") == "1 row"
    assert counted(1000, "row", "rows") == "1,000 rows"
    assert visible("größe °C 日本\t\x00") == r"größe °C 日本\t\x00"
