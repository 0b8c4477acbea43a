"""After a run: the old data goes when its retention is over, by name; and one run at a time."""

import json
import signal
import time
from pathlib import Path

import pytest

from applianceforge.migrate.cleaning import clean
from applianceforge.migrate.journal import Event, Journal
from applianceforge.model.errors import ClockError, JournalError, RetentionError
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.migrate.boxes import Box, is_locked

pytestmark = pytest.mark.real
_DAY_S = 86400.0
_PATIENCE_S = 60


@pytest.fixture
def finished(tiny_box: Box) -> Box:
    """A finished run whose old data may go at once."""
    box = tiny_box.with_settings(work__retention_days=0)
    box.run()
    return box


def entries(box: Box) -> Journal:
    return Journal(box.workspace.journal, Effects(), time.time)


def push_journal(box: Box, by_s: float) -> None:
    """Move the journal's last line into the future, as if the clock had gone back since."""
    lines = box.workspace.journal.read_text().splitlines()
    last = json.loads(lines[-1])
    last["time"] += by_s
    lines[-1] = json.dumps(last)
    box.workspace.journal.write_text("\n".join(lines) + "\n")


def test_nothing_is_removed_before_anything_was_published(tiny_box: Box) -> None:
    said = tiny_box.migrate("clean", "--yes")
    assert said.status == 57
    assert "the old data is the only data" in said.errors
    assert "migrate run" in said.hint
    assert tiny_box.old.data.exists()
    with pytest.raises(JournalError):
        clean(tiny_box.around(), dry_run=True)


def test_the_old_data_goes_by_name(finished: Box) -> None:
    other = finished.old.rrd / "sub/notes.txt"
    other.parent.mkdir()
    other.write_text("not an RRD")
    late = finished.old.rrd / "late.rrd"
    late.write_bytes((finished.old.rrd / "reference-gauge.rrd").read_bytes())
    tried = finished.migrate("clean", "--dry-run")
    assert tried.status == 0, tried.errors
    assert f"would remove {finished.old.data}" in tried.out
    assert "would remove 3 old RRDs" in tried.out
    assert finished.old.data.exists()
    said = finished.migrate("clean", "--yes")
    assert said.status == 0, said.errors
    assert not finished.old.data.exists()
    # What is not on the new side stays, whatever it is.
    assert sorted(path for path in finished.old.rrd.rglob("*") if path.is_file()) == [late, other]
    assert finished.data.exists()
    assert len(list(finished.rrd.iterdir())) == 3
    assert not finished.workspace.archive.exists()
    assert entries(finished).first(Event.CLEANED) is not None
    status = json.loads(finished.migrate("status", "--json").out)
    assert [one["state"] for one in status["operations"] if one["operation"] == "run"] == [
        "cleaned"
    ]
    again = finished.migrate("clean", "--yes")
    assert again.status == 0, again.errors


def test_old_data_that_was_used_again_is_the_truth(finished: Box) -> None:
    mark = finished.workspace.journal.parent
    while mark != finished.around().settings.work.directory.parent:
        mark = mark.parent
    (mark / "source-used").touch()
    said = finished.migrate("clean", "--yes")
    assert said.status == 57
    assert "it is the truth" in said.errors
    assert finished.old.data.exists()


def test_it_asks_first(finished: Box) -> None:
    said = finished.migrate("clean")
    assert "Continue?" in said.out
    assert "nothing was removed" in said.out
    assert "--yes" in said.errors
    assert finished.old.data.exists()


def test_it_waits_for_the_end_of_the_retention(finished: Box) -> None:
    box = finished.with_settings(work__retention_days=7)
    said = box.migrate("clean", "--yes")
    assert said.status == 58
    assert "the old data is kept until" in said.errors
    assert "retention_days" in said.hint
    assert box.old.data.exists()
    published = entries(box).first(Event.PUBLISHED)
    assert published is not None
    with pytest.raises(RetentionError):
        clean(box.around(clock=lambda: published.time_s + 7 * _DAY_S - 1), dry_run=True)
    clean(box.around(clock=lambda: published.time_s + 7 * _DAY_S), dry_run=True)


def test_a_clock_that_went_back(finished: Box) -> None:
    with pytest.raises(ClockError):
        clean(finished.around(clock=lambda: 1_000_000_000.0), dry_run=True)
    push_journal(finished, _DAY_S)
    said = finished.migrate("clean", "--yes")
    assert said.status == 55
    assert "before the migration's last entry" in said.errors
    assert "chronyc" in said.hint
    assert finished.old.data.exists()


def test_a_run_goes_on_though_the_clock_went_back(tiny_box: Box) -> None:
    tiny_box.data.parent.mkdir(mode=0o755)
    with cluster.serving(tiny_box.old.tree, 15, tiny_box.old.data, Effects()):
        assert tiny_box.migrate("run", "--progress", "none").status == 44
    # One that was begun, by a clock that was two days ahead.
    done = tiny_box.run(clock=lambda: time.time() + 2 * _DAY_S)
    lines = tiny_box.workspace.journal.read_text().splitlines()
    tiny_box.workspace.journal.write_text("\n".join(lines[:-3]) + "\n")
    tiny_box.workspace.outcome.unlink()
    again = tiny_box.run()
    assert "The clock went back" in again.warnings
    assert again.proofs == done.proofs
    assert again.ended_s >= again.began_s


def test_the_old_server_still_runs(finished: Box) -> None:
    with cluster.serving(finished.old.tree, 15, finished.old.data, Effects()) as server:
        said = finished.migrate("clean", "--yes")
        assert said.status == 44
        assert f"process {server.pid}" in said.errors
        assert said.hint
    assert finished.old.data.exists()


def test_a_second_run_at_the_same_time(tiny_box: Box) -> None:
    first = tiny_box.start("run", "--progress", "none")
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not is_locked(tiny_box.work / "lock"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        refused = []
        for name in ("run", "plan", "verify", "clean"):
            said = tiny_box.migrate(name, *(("--yes",) if name == "clean" else ()))
            if not is_locked(tiny_box.work / "lock"):
                break  # The first was quicker.
            refused.append(name)
            assert said.status == 53, (name, said.errors)
            assert f"process {first.pid} (run) is already at work" in said.errors
            assert "migrate status" in said.hint
        assert refused
        assert first.wait(_PATIENCE_S) == 0
    finally:
        first.terminate()
        first.wait()
    assert tiny_box.data.exists()


def test_the_lock_of_a_killed_run_is_free(tiny_box: Box) -> None:
    first = tiny_box.start("run", "--progress", "none")
    journal = tiny_box.workspace.journal
    deadline = time.monotonic() + _PATIENCE_S
    while not (journal.exists() and b'"begun"' in journal.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.kill()
    first.wait()
    (one,) = json.loads(tiny_box.migrate("status", "--json").out)["operations"]
    assert one["state"] == "crashed"
    said = tiny_box.migrate("run", "--progress", "none")
    assert said.status == 0, said.errors


def test_ctrl_c_stops_and_the_same_command_continues(tiny_box: Box) -> None:
    first = tiny_box.start("run", "--progress", "none")
    journal = tiny_box.workspace.journal
    deadline = time.monotonic() + _PATIENCE_S
    while not (journal.exists() and b"postgres.dump" in journal.read_bytes().partition(b"\n")[2]):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.send_signal(signal.SIGINT)
    assert first.wait(_PATIENCE_S) == 130
    (one,) = json.loads(tiny_box.migrate("status", "--json").out)["operations"]
    assert one["state"] == "stopped"
    assert not is_running_below(tiny_box.place)
    said = tiny_box.migrate("run", "--progress", "none")
    assert said.status == 0, said.errors


def is_running_below(place: Path) -> bool:
    """Tell whether any process names a place in its arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in words:
                return True
    return False
