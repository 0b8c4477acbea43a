"""What is told of a scan: severities, keys, evidence, and every text as people read it."""

import shutil
import struct
import textwrap
from pathlib import Path

import pytest

from applianceforge.formats import foreign_magic
from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.preflight import scan_findings, scan_texts
from applianceforge.preflight.scan_findings import findings
from applianceforge.preflight.scan_result import (
    EXAMPLES,
    Cluster,
    Group,
    Item,
    Scan,
    Skipped,
    Statement,
)
from applianceforge.preflight.scan_texts import Text
from applianceforge.preflight.scanner import scan
from tests import snapshots
from tests.formats.test_foreign import FOREIGN

SNAPSHOTS = Path(__file__).parents[1] / "data" / "snapshots" / "data"
GENERAL = {
    "rebuilt": scan_texts.REBUILT,
    "discard": scan_texts.DISCARD,
    "carry-over": scan_texts.CARRY_OVER,
    "64bit": scan_texts.WIDE,
    "stated": scan_texts.STATED,
    "unused-statements": scan_texts.UNUSED,
    "unreadable": scan_texts.UNREADABLE,
    "other-file-systems": scan_texts.ELSEWHERE,
    "vanished": scan_texts.VANISHED,
}
ALL = {**scan_texts.TEXTS, **GENERAL}
EMPTY = Scan("/data", 0, 0, 0, (), ())
LONGS = struct.pack("<3q", 1, 2, 3)


def page(text: Text) -> str:
    said = [f"[{text.severity.value}] {text.title}", "", *textwrap.wrap(text.summary, 79)]
    for remedy in text.remedies:
        said += ["", *textwrap.wrap(f"- {remedy.text}", 79, subsequent_indent="  ")]
        said += [f"    $ {remedy.command}"] if remedy.command else []
        said += [f"    verify: {remedy.verify}"] if remedy.verify else []
    return "".join(f"{line}\n" for line in said)


@pytest.mark.parametrize("name", ALL)
def test_every_text(name: str) -> None:
    snapshots.same(f"data/{name}", page(ALL[name]))


def test_no_text_is_left_over() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {*ALL, "samples-i386", "samples-amd64"}


@pytest.mark.parametrize("name", ALL)
def test_what_inhibits_or_warns_says_what_to_do(name: str) -> None:
    text = ALL[name]
    if text.severity is not Severity.INFO:
        assert text.remedies
        assert any(remedy.command or remedy.verify for remedy in text.remedies)


def by_key(found: Scan) -> dict[str, Finding]:
    told = findings(found)
    assert len({finding.key for finding in told}) == len(told)
    return {finding.key: finding for finding in told}


def group(name: str, disposition: Disposition, number: int = 1, **changes: object) -> Group:
    items = tuple(Item(f"{name}/{n:03}", 10, "") for n in range(min(number, EXAMPLES)))
    return Group(name, 32, disposition, number, 10 * number, items)._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["i386", "amd64"])
def test_findings_of_the_samples(side: str) -> None:
    told = findings(scan(FOREIGN / side))
    lines = []
    for finding in told:
        lines.append(f"{finding.severity.value} {finding.key}: {finding.title}")
        lines.extend(f"    {line}" for line in finding.evidence)
    snapshots.same(f"data/samples-{side}", "".join(f"{line}\n" for line in lines))
    inhibiting = {finding.key for finding in told if finding.severity is Severity.INHIBITOR}
    narrow = {"data.gdbm", "data.lmdb", "data.perl-storable"}
    if side == "i386":
        assert inhibiting == {*narrow, "data.unknown"}
    else:
        assert inhibiting == {"data.berkeley-db-environment", "data.unknown"}
    assert Report(told).exit_status == 24


def test_nothing_to_tell_of_what_is_portable(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words\n")
    for name in ("t.sqlite", "t.tdb", "btree.db", "net.storable", "wtmp", "sysstat-sa01"):
        shutil.copy(FOREIGN / "i386" / name, tmp_path)
    assert findings(scan(tmp_path)) == ()


def test_a_statement_takes_the_place_of_the_finding(tmp_path: Path) -> None:
    shutil.copy(FOREIGN / "i386" / "g.gdbm", tmp_path)
    (tmp_path / "state").write_bytes(LONGS)
    statements = (
        Statement("*.gdbm", Disposition.CARRY_OVER, "dumped on Friday", "answer file"),
        Statement("state", Disposition.REBUILT, "a cache", "release 2.0"),
        Statement("none", Disposition.DISCARD, "-", "answer file"),
    )
    told = by_key(scan(tmp_path, statements))
    assert set(told) == {"data.stated", "data.unused-statements"}
    assert Report(told.values()).exit_status == 0
    assert told["data.stated"].evidence[0] == (
        "*.gdbm: to be dumped on the 32-bit side and loaded on the 64-bit side, says"
        " answer file (dumped on Friday); gdbm, 32-bit: 1 item, 4.1 kB, such as g.gdbm"
    )
    assert told["data.unused-statements"].evidence == ("none",)


def test_clusters_are_told_with_version_width_and_size() -> None:
    narrow = Cluster("pg/13/main", "13", 32, 123456789, "MAXALIGN 4")
    wide = Cluster("pg/15/main", "15", 64, 5, "MAXALIGN 8")
    closed = Cluster("pg/9.6/main", "", None, 0, "pg_control cannot be read")
    told = by_key(
        EMPTY._replace(
            groups=(
                group("postgresql", Disposition.CONVERTED, 2),
                group("postgresql", Disposition.PORTABLE, width_bits=64),
            ),
            clusters=(narrow, wide, closed),
        )
    )
    assert told["data.postgresql"].evidence == (
        "pg/13/main: PostgreSQL 13, 32-bit, 123.5 MB (MAXALIGN 4)",
        "pg/9.6/main: PostgreSQL of unknown version, width unknown, 0 bytes"
        " (pg_control cannot be read)",
    )
    assert told["data.postgresql-64bit"].severity is Severity.INFO


def test_evidence_is_bounded_and_says_how_many_more() -> None:
    told = by_key(EMPTY._replace(groups=(group("lmdb", Disposition.CARRY_OVER, 100),)))
    evidence = told["data.lmdb"].evidence
    assert evidence[0] == "100 items, 1.0 kB"
    assert len(evidence) == EXAMPLES + 2
    assert evidence[-1] == "and 80 more"


def test_names_in_evidence_are_fit_for_a_terminal() -> None:
    item = Item("\x1b[31m\udcff\n", 1, "")
    told = by_key(EMPTY._replace(groups=(group("lmdb", Disposition.CARRY_OVER, items=(item,)),)))
    assert told["data.lmdb"].evidence[1] == r"\x1b[31m\xff\n"


def test_a_format_without_a_text_of_its_own_inhibits_too() -> None:
    told = by_key(EMPTY._replace(groups=(group("new", Disposition.CARRY_OVER),)))
    assert told["data.new"].severity is Severity.INHIBITOR


def test_one_finding_for_two_widths_of_a_format() -> None:
    groups = (
        group("gdbm", Disposition.CARRY_OVER),
        group("gdbm", Disposition.CARRY_OVER, width_bits=None),
    )
    assert by_key(EMPTY._replace(groups=groups))["data.gdbm"].evidence[0] == "2 items, 20 bytes"


def test_what_was_not_looked_at_is_told() -> None:
    told = by_key(
        EMPTY._replace(
            unreadable=Skipped(30, (("shut", "Permission denied"),)),
            elsewhere=Skipped(1, (("mnt", "another file system is mounted there"),)),
            vanished=2,
        )
    )
    assert told["data.unreadable"].evidence == ("shut (Permission denied)", "and 29 more")
    assert told["data.unreadable"].severity is Severity.WARNING
    assert told["data.other-file-systems"].evidence[0].startswith("mnt (")
    assert told["data.vanished"].evidence == ("2 entries",)


def test_the_heaviest_comes_first() -> None:
    told = findings(scan(FOREIGN))
    order = [(Severity.INHIBITOR, Severity.WARNING, Severity.INFO).index(f.severity) for f in told]
    assert order == sorted(order)


def test_what_a_magic_number_says_to_rebuild_or_discard_is_told() -> None:
    groups = tuple(
        {
            magic.format: group(magic.format, magic.disposition)
            for magic in foreign_magic.MAGICS
            if magic.disposition is not Disposition.PORTABLE
        }.values()
    )
    told = by_key(EMPTY._replace(groups=groups))
    assert set(told) == {"data.rebuilt", "data.discard"}
    assert sum(len(finding.evidence) for finding in told.values()) == len(groups)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1500000, "1.5 MB"),
        (2 * 10**9, "2.0 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert scan_findings.in_bytes(size_bytes) == text
