"""What a finished migration answers to the commands that come after it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from applianceforge.migrate.cleaning import clean
from applianceforge.migrate.run import run, show
from applianceforge.migrate.settings import (
    Settings,
    SourceRrdSettings,
    SourceSettings,
    TargetRrdSettings,
    TargetSettings,
    WorkSettings,
)
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.verifying import verify
from applianceforge.model.errors import JournalError, NotProvedError, SettingsError

SAMPLE = Path(__file__).parent.parent / "data" / "rrd" / "i386" / "t.rrd"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Surroundings]:
    """An appliance with nothing but RRDs, migrated."""
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(SAMPLE, old / "cpu.rrd")
    (old / "README").write_text("not an RRD")
    around = Surroundings(
        Settings(
            WorkSettings(tmp_path / "work", retention_days=0),
            SourceSettings(rrd=SourceRrdSettings(old)),
            TargetSettings(rrd=TargetRrdSettings(tmp_path / "new")),
        )
    )
    assert not run(around).earlier
    yield around


def new_of(around: Surroundings) -> Path:
    assert around.settings.target.rrd is not None
    return around.settings.target.rrd.directory


def old_of(around: Surroundings) -> Path:
    assert around.settings.source.rrd is not None
    return around.settings.source.rrd.directory


def test_a_second_run_says_that_it_did_nothing(box: Surroundings) -> None:
    again = run(box)
    assert again.earlier
    assert again.proofs == {"rrds": 1}


def test_a_plan_says_that_it_is_finished(box: Surroundings) -> None:
    assert [one.key for one in show(box).report.findings] == ["migration.finished"]


def test_a_run_does_not_claim_data_that_is_gone(box: Surroundings) -> None:
    shutil.rmtree(new_of(box))
    with pytest.raises(JournalError, match="no longer there"):
        run(box)
    assert not run(box, restart=True).earlier
    assert (new_of(box) / "cpu.rrd").exists()


def test_restart_does_not_throw_away_what_was_published(box: Surroundings) -> None:
    with pytest.raises(JournalError, match="finished and published"):
        run(box, restart=True)


def test_clean_keeps_the_only_data(box: Surroundings) -> None:
    new_of(box).rename(new_of(box).with_name("gone"))
    with pytest.raises(JournalError, match="the only data"):
        clean(box, dry_run=False)
    assert (old_of(box) / "cpu.rrd").exists()


def test_clean_removes_what_is_on_the_new_side_and_nothing_else(box: Surroundings) -> None:
    shutil.copy(SAMPLE, old_of(box) / "later.rrd")
    clean(box, dry_run=False)
    assert sorted(path.name for path in old_of(box).iterdir()) == ["README", "later.rrd"]
    with pytest.raises(SettingsError, match="removed by `clean`"):
        verify(box)


def test_a_difference_after_publication_has_a_hint_that_fits(box: Surroundings) -> None:
    shutil.copy(SAMPLE, old_of(box) / "later.rrd")
    with pytest.raises(NotProvedError, match=r"later\.rrd") as refused:
        verify(box)
    assert "staging" not in refused.value.hint
