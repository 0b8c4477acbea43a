"""What a tired administrator reads."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Finding, Remedy, Report, Severity, hardest_first
from applianceforge.preflight import render
from applianceforge.preflight.render import Style, lines, printable
from tests import snapshots
from tests.preflight import reports
from tests.preflight.reports import (
    CAPABLE,
    CLOCK,
    DATA,
    INCAPABLE,
    MASKED,
    MEMORY,
    SPACE,
    UNKNOWN,
    VERDICTS,
    WHOLE,
)

ANSI = re.compile("\033\\[[0-9;]*m")
REPORTS = {"nothing": Report(), "whole": WHOLE, "warning": Report((MEMORY, CLOCK))}
ENVIRONMENTS = ("metal", "vm:VMware", "container", "emulated")


def page(said: tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in said)


@pytest.mark.parametrize("name", REPORTS)
def test_a_whole_page(name: str) -> None:
    processor = MASKED if name == "whole" else CAPABLE
    snapshots.same(f"report/{name}", page(lines(processor, REPORTS[name])))


def test_a_whole_page_told_verbosely() -> None:
    snapshots.same("report/verbose", page(lines(MASKED, WHOLE, Style(verbose=True))))


def test_every_first_sentence() -> None:
    said = []
    for processor in VERDICTS:
        for environment in ENVIRONMENTS:
            here = processor._replace(environment=environment)
            said.append(f"{here.capability.value}, {environment}:")
            said.append(f"  {render.sentence(here, Report())}")
    for report in (Report((MEMORY,)), Report((MEMORY, MEMORY)), Report((DATA,)), WHOLE):
        said.append(f"capable, exit status {report.exit_status}:")
        said.append(f"  {render.sentence(CAPABLE, report)}")
    snapshots.same("report/sentences", page(tuple(said)))


def test_every_last_line() -> None:
    said = []
    for status, meaning in render.EXIT_STATUSES.items():
        severity = {0: Severity.INFO, 10: Severity.WARNING}.get(status, Severity.INHIBITOR)
        report = Report((Finding("a.b", severity, "t", "s", exit_status=status),))
        assert report.exit_status == status
        last = lines(CAPABLE, report, Style(width=200))[-1]
        assert last == f"Exit status {status}: {meaning}"
        said.append(last)
    snapshots.same("report/exit-statuses", page(tuple(said)))


def test_unknown_is_never_worded_as_incapable() -> None:
    for environment in ENVIRONMENTS:
        sentence = render.sentence(UNKNOWN._replace(environment=environment), Report())
        assert "cannot" not in sentence
        assert "not known" in sentence
        assert "nothing against" in sentence


def test_what_cannot_be_mended_comes_first() -> None:
    found = [
        Finding(f"a.s{status}", Severity.INHIBITOR, "t", "s", exit_status=status)
        for status in (30, 23, 24, 20, 21, 22, 45)
    ]
    mixed = (CLOCK, MEMORY, *found)
    assert [f.exit_status for f in hardest_first(mixed)][:7] == [22, 21, 20, 24, 23, 30, 45]
    assert hardest_first(mixed)[7:] == (MEMORY, CLOCK)


def test_the_order_is_that_of_the_exit_status() -> None:
    """The first inhibitor that is told is the one that decides the exit status."""
    statuses = (20, 21, 22, 23, 24, 30)
    for one in statuses:
        for other in statuses:
            report = Report(
                Finding("a.b", Severity.INHIBITOR, "t", "s", exit_status=status)
                for status in (one, other)
            )
            assert hardest_first(report.findings)[0].exit_status == report.exit_status


def test_what_weighs_the_same_keeps_its_order() -> None:
    same = tuple(SPACE._replace(key=f"space.n{n}") for n in range(5))
    assert hardest_first(same) == same


def test_a_command_is_on_a_line_of_its_own_and_never_broken() -> None:
    command = "applianceforge migrate run -c " + "/very/long/path" * 20
    report = Report((DATA._replace(remedies=(Remedy("Do it.", command + "\nsecond"),)),))
    said = [line.strip() for line in lines(CAPABLE, report, Style(width=40))]
    assert f"$ {command}" in said
    assert "$ second" in said


@pytest.mark.parametrize("width", [0, 40, 66, 80, 132])
def test_other_lines_fit_the_width(width: int) -> None:
    report = Report((MEMORY, SPACE._replace(evidence=(), remedies=())))
    for line in lines(CAPABLE, report, Style(width=width)):
        assert len(line) <= max(width, 40)


def test_much_evidence_is_cut_and_verbosely_told() -> None:
    evidence = tuple(f"file {n}" for n in range(100))
    report = Report((DATA._replace(evidence=evidence),))
    said = page(lines(CAPABLE, report))
    assert "file 19\n" in said
    assert "file 20" not in said
    assert "and 80 more" in said
    assert "file 99\n" in page(lines(CAPABLE, report, Style(verbose=True)))


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("\u00fc \u4e2d", "\u00fc \u4e2d"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("\x07\x00\x7f", "\\x07\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2028\u2029\u200b\ufeff", "\\u2028\\u2029\\u200b\\ufeff"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_foreign_text(foreign: str, shown: str) -> None:
    assert printable(foreign) == shown


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("severity", list(Severity))
def test_a_key_is_as_foreign_as_all_the_rest(severity: Severity, verbose: bool) -> None:
    """No part of a finding is taken for printable."""
    finding = Finding("data.\x1b[2J\n\u202e\udcff", severity, "t", "s", exit_status=24)
    said = lines(CAPABLE, Report((finding,)), Style(verbose=verbose, width=200))
    assert any(line.endswith("t [data.\\x1b[2J\\n\\u202e\\xff]") for line in said)
    assert all(line.isprintable() for line in said)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "\u00fc \u4e2d \U0001f600?"),
        ("latin-1", "\u00fc \\u4e2d \\U0001f600?"),
        ("cp437", "\u00fc \\u4e2d \\U0001f600?"),
        ("ascii", "\\xfc \\u4e2d \\U0001f600?"),
    ],
)
def test_what_the_terminal_lacks_is_told_by_its_number(encoding: str, shown: str) -> None:
    foreign = "\u00fc \u4e2d \U0001f600?"
    assert render.encodable(foreign, encoding) == shown
    report = Report((DATA._replace(evidence=(foreign,)),))
    said = [line.strip() for line in lines(CAPABLE, report, Style(encoding=encoding))]
    assert shown in said


def test_long_foreign_text_is_cut() -> None:
    assert printable("x" * 1_000_000) == "x" * 1000 + "... (999000 more characters)"


@given(
    reports.verdicts(),
    reports.reports,
    st.builds(
        Style,
        st.integers(-1, 200),
        st.booleans(),
        st.booleans(),
        st.sampled_from(("utf-8", "ascii", "latin-1", "cp437")),
    ),
)
def test_nothing_foreign_reaches_the_terminal(
    processor: Verdict, report: Report, style: Style
) -> None:
    for line in lines(processor, report, style):
        line.encode(style.encoding)
        plain = ANSI.sub("", line) if style.colour else line
        assert plain.isprintable()


def test_colour_changes_nothing_but_colour() -> None:
    plain = page(lines(MASKED, WHOLE))
    coloured = page(lines(MASKED, WHOLE, Style(colour=True)))
    assert "\033[" not in plain
    assert coloured != plain
    assert ANSI.sub("", coloured) == plain
    for line in coloured.splitlines():
        assert line.count("\033[") in (0, 2)
        assert line.endswith("\033[0m") or "\033[" not in line


def test_every_finding_is_there_at_once_with_its_key() -> None:
    said = page(lines(INCAPABLE, WHOLE))
    for finding in WHOLE.findings:
        assert f"[{finding.key}]" in said


def test_a_name_that_is_not_utf_8_under_an_ascii_terminal() -> None:
    program = (
        "import os, sys;"
        "from tests.preflight.reports import *;"
        "from applianceforge.preflight.render import Style, lines;"
        "from applianceforge.model.report import Report;"
        "name = os.fsdecode(bytes([195, 188, 255, 27]) + b'.dat');"
        "found = DATA._replace(evidence=(name, chr(252)));"
        "print('\\n'.join(lines(MASKED, Report((found,)), Style(encoding=sys.stdout.encoding))))"
    )
    environment = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for encoding in ("ascii", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "PYTHONIOENCODING": f"{encoding}:strict"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert b"\\xff\\x1b.dat" in done.stdout
        assert b"\x1b" not in done.stdout


def test_every_capability_has_a_sentence() -> None:
    assert {processor.capability for processor in VERDICTS} == set(Capability)
