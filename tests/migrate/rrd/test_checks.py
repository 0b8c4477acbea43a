"""Checks before a conversion: headers, and rrdcached's journal."""

import shutil
from pathlib import Path

import pytest

from applianceforge.migrate.rrd.checks import check_journal, inspect
from applianceforge.migrate.rrd.convert import convert_tree
from applianceforge.migrate.rrd.scan import scan
from applianceforge.model.report import Severity
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.formats.rrd.build import I386, Spec, build
from tests.migrate.rrd.places import tree


@pytest.mark.parametrize("jobs", [1, 2])
def test_headers_tell_the_size_of_all_targets(tmp_path: Path, jobs: int, effects: Effects) -> None:
    source = scan(tree(tmp_path / "old", 80))
    counter = Counter("rrd", NoProgress())
    inspection = inspect(source, counter=counter, jobs=jobs)
    assert inspection.findings == ()
    assert counter.done_rows == 80
    done = convert_tree(source, tmp_path / "new", effects, jobs=jobs)
    assert inspection.native_bytes == done.target_bytes


def test_damaged_files_and_odd_times_are_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "old")
    source.joinpath("host0/bad.rrd").write_text("hello")
    source.joinpath("host1/empty.rrd").write_bytes(b"")
    source.joinpath("host1/late.rrd").write_bytes(build(Spec(last_up=-2147483640), I386))
    damaged, clock = inspect(scan(source)).findings
    assert (damaged.key, damaged.severity) == ("rrd.damaged", Severity.INHIBITOR)
    assert [line.split(":")[0] for line in damaged.evidence] == ["host0/bad.rrd", "host1/empty.rrd"]
    assert (clock.key, clock.severity) == ("rrd.clock", Severity.WARNING)
    assert "2147483656" in clock.evidence[0]
    assert all(finding.remedies for finding in (damaged, clock))


UPDATE = "update /rrd/a.rrd 1700000000:1:2\n"


@pytest.mark.parametrize(
    ("journals", "pending"),
    [
        ({}, ()),
        ({"rrd.journal.0": ""}, ()),
        ({"rrd.journal.0": f"{UPDATE}wrote /rrd/a.rrd\n"}, ()),
        ({"rrd.journal.0": f"{UPDATE}forget /rrd/a.rrd\n"}, ()),
        ({"rrd.journal.0": UPDATE, "rrd.journal.1": "wrote /rrd/a.rrd\n"}, ()),
        ({"rrd.journal.0": "wrote /rrd/a.rrd\n", "rrd.journal.1": UPDATE}, ("/rrd/a.rrd",)),
        ({"rrd.journal.0": UPDATE, "other": "wrote /rrd/a.rrd\n"}, ("/rrd/a.rrd",)),
        (
            {"rrd.journal.0": f"{UPDATE}wrote /rrd/b.rrd\nupdate /rrd/c.rrd 1:2 2:3\n"},
            ("/rrd/a.rrd", "/rrd/c.rrd"),
        ),
        ({"rrd.journal.0": "nonsense"}, ("(a line of the journal)",)),
        ({"rrd.journal.0": "update " + "x" * 200_000}, None),
    ],
)
def test_pending_updates_inhibit(
    journals: dict[str, str], pending: tuple[str, ...] | None, tmp_path: Path
) -> None:
    for name, text in journals.items():
        tmp_path.joinpath(name).write_text(text)
    findings = check_journal(tmp_path)
    if pending == ():
        assert findings == ()
        return
    (finding,) = findings
    assert (finding.key, finding.severity) == ("rrd.journal", Severity.INHIBITOR)
    assert pending is None or finding.evidence == pending
    assert any("flushcached" in remedy.command for remedy in finding.remedies)


def test_a_journal_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    assert check_journal(tmp_path) == ()
