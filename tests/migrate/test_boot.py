"""The boot unit of the migration release: real data, real programs, every way that it can end."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jsonschema
import pytest

import applianceforge.migrate
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, SlotVariables
from applianceforge.migrate import boot_abort, journal, status
from applianceforge.migrate.boot import Ending
from applianceforge.migrate.boot_record import read as read_record
from applianceforge.migrate.boot_slots import marks_of
from applianceforge.migrate.boot_verdict import AGAIN, BACK, PROVED, Verdict
from applianceforge.migrate.settings import decode
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import UsageError
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.appliance.cache import CHECKOUT
from tests.appliance.legacy import LegacyAppliance
from tests.crash.tiny import tiny
from tests.migrate.appliances import FRESH, Appliance, appliance, cut_at
from tests.migrate.boxes import applianceforge as command
from tests.migrate.boxes import contents

pytestmark = pytest.mark.real

ALL_TRIES = SlotVariables(True, 3, False)
SCHEMA = json.loads(
    (Path(applianceforge.migrate.__file__).parent / "boot-status.schema.json").read_text()
)


@pytest.fixture(scope="session")
def old() -> LegacyAppliance:
    return tiny()


@pytest.fixture
def box(place: Path, old: LegacyAppliance, native_tree: ProgramTree) -> Appliance:
    """A box with real 32-bit data that starts its migration release for the first time."""
    made = appliance(place, old.tree.root, native_tree.root)
    copy = old.copy_to(place / "data/i386")
    copy.data.rename(place / "data/i386/postgresql")
    return made


@pytest.fixture
def bare(place: Path) -> Appliance:
    """A box whose migration fails before it begins: its data is no cluster."""
    return without_programs(appliance(place))


def without_programs(box: Appliance) -> Appliance:
    box.write("data/i386/postgresql/PG_VERSION", "15\n")
    box.write("data/i386/rrd/README", "")
    return box


def old_files(box: Appliance) -> dict[str, bytes]:
    found = contents(box.root / "data/i386/rrd")
    return {path: content for path, (content, _) in found.items()}


def said(box: Appliance) -> dict[str, object]:
    """Return the status file, held against its schema."""
    assert box.places.status.stat().st_mode & 0o777 == 0o644
    document: dict[str, object] = json.loads(box.places.status.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def check_back(box: Appliance, ending: Ending, word: str) -> None:
    assert ending.verdict == Verdict(BACK, word)
    found = box.environment
    assert (found.b, found.primary, found.reason) == (NOT_BOOTABLE, "a", f"b-{word}")
    assert box.places.epoch.read_text() == "i386\n"
    assert not box.places.proved.exists()
    document = said(box)
    assert document["state"] == "back"
    assert isinstance(document["verdict"], dict)
    assert document["verdict"]["reason"] == word
    line = box.history[-1]
    assert (line["event"], line["status"], line["reason"]) == ("migration-ended", 76, word)


def check_proved(box: Appliance, ending: Ending) -> None:
    assert ending.verdict == Verdict(PROVED)
    assert box.places.proved.read_text() == "amd64\n"
    assert (box.root / "data/amd64/postgresql/PG_VERSION").exists()
    assert box.environment.b == ALL_TRIES
    assert said(box)["state"] == "proved"


def test_migrates_and_the_settle_step_finishes(box: Appliance) -> None:
    before = old_files(box)
    ending = box.migration().carry_out()
    check_proved(box, ending)
    assert ending.outcome is not None
    assert ending.outcome.proofs
    assert old_files(box) == before
    (line,) = box.history
    assert line["event"] == "migrated"
    assert line["rows"] == ending.outcome.target.rows > 0
    assert box.places.epoch.read_text() == "i386\n"

    # Cut before it is settled: the next boot finds all done, and takes no time for it.
    box.start_anew("b")
    again = box.migration().carry_out()
    check_proved(box, again)
    assert again.outcome is not None
    assert again.outcome.earlier
    assert len(box.history) == 1

    box.write("run/forge/gate", "open\n")
    assert box.settling().carry_out().verdict == Verdict(PROVED)
    assert box.places.epoch.read_text() == "amd64\n"
    box.start_anew("b")
    assert box.migration().carry_out() == Ending(Verdict(PROVED))


def test_a_box_that_has_crossed_has_nothing_to_do(bare: Appliance) -> None:
    bare.write("data/forge/epoch", "amd64\n")
    effects = Effects()
    assert bare.migration(effects).carry_out() == Ending(Verdict(PROVED))
    assert effects.count == 0


def test_a_box_without_old_data_has_nothing_to_do(tmp_path: Path) -> None:
    box = appliance(tmp_path)
    (tmp_path / "data/i386/rrd").mkdir(parents=True)
    assert box.migration().carry_out() == Ending(Verdict(PROVED))
    assert box.places.proved.read_text() == "amd64\n"
    assert not box.work.exists()


def test_what_cannot_succeed_goes_back_at_once(bare: Appliance) -> None:
    ending = bare.migration().carry_out()
    check_back(bare, ending, "damaged-cluster")
    assert ending.error is not None


def test_what_may_mend_itself_is_tried_twice(box: Appliance) -> None:
    # A server that still runs on the data, which no boot leaves behind.
    with cluster.serving(tiny().tree, 15, box.root / "data/i386/postgresql", Effects()):
        ending = box.migration().carry_out()
        assert ending.verdict == Verdict(AGAIN, "server-running")
        assert box.environment.b == ALL_TRIES
        assert said(box)["state"] == "again"
        assert (box.history[-1]["status"], box.history[-1]["reason"]) == (75, "server-running")
        box.start_anew("b")
        check_back(box, box.migration().carry_out(), "server-running")


def test_after_a_failure_that_was_mended_it_succeeds(box: Appliance) -> None:
    with cluster.serving(tiny().tree, 15, box.root / "data/i386/postgresql", Effects()):
        assert box.migration().carry_out().verdict.status == AGAIN
    check_proved(box, box.migration().carry_out())


def test_twenty_five_boots_without_an_end_are_the_last(bare: Appliance) -> None:
    for number in range(25):
        # Effects 1 to 3: the work directory, the record's line, the tries. Then the power goes.
        cut_at(3 if number == 0 else 2, partial(_migrate, bare))
        assert bare.environment.b == ALL_TRIES
        bare.set_environment(bare.environment._replace(b=FRESH))
    assert [line.event for line in read_record(bare.work / "boots.jsonl")] == ["begun"] * 25
    check_back(bare, bare.migration().carry_out(), "interrupted")


def _migrate(box: Appliance, effects: Effects) -> None:
    box.migration(effects).carry_out()


def test_twenty_four_are_not(bare: Appliance) -> None:
    for number in range(24):
        cut_at(3 if number == 0 else 2, partial(_migrate, bare))
    check_back(bare, bare.migration().carry_out(), "damaged-cluster")


def test_a_second_crash_is_the_last(bare: Appliance) -> None:
    script = CHECKOUT / "images/overlay-migration/usr/lib/applianceforge/migrate-ended"
    ended = {"FORGE_ROOT": str(bare.root), "PATH": os.environ["PATH"]}
    for number in range(2):
        cut_at(3 if number == 0 else 2, partial(_migrate, bare))
        for code, word in (("exited", "143"), ("exited", "75"), ("killed", "KILL")):
            surroundings = ended | {"EXIT_CODE": code, "EXIT_STATUS": word}
            subprocess.run(["/bin/sh", str(script)], env=surroundings, check=True)
    events = [line.event for line in read_record(bare.work / "boots.jsonl")]
    assert events == ["begun", "crashed"] * 2
    check_back(bare, bare.migration().carry_out(), "fault")


def test_every_cut_on_the_way_back_ends_there(place: Path) -> None:
    effects = Effects()
    without_programs(appliance(place / "0")).migration(effects).carry_out()
    assert effects.count >= 6
    for number in range(1, effects.count + 1):
        box = without_programs(appliance(place / str(number)))
        cut_at(number, partial(_migrate, box))
        if box.environment.b != NOT_BOOTABLE:
            box.start_anew("b")
            check_back(box, box.migration().carry_out(), "damaged-cluster")
        assert box.environment.reason == "b-damaged-cluster"
        assert len(box.history) <= 2


def test_a_record_that_cannot_be_written_goes_back(bare: Appliance) -> None:
    (bare.work / "boots.jsonl").mkdir(parents=True)
    ending = bare.migration().carry_out()
    assert ending.verdict.status == BACK
    assert bare.environment.b == NOT_BOOTABLE
    assert bare.environment.reason == f"b-{ending.verdict.reason}"


def test_settings_that_are_wrong_go_back(bare: Appliance) -> None:
    bare.write("etc/applianceforge/migrate.toml", "schema = 1\nwrk = 3\n")
    done = command("migrate", "boot", "--root", bare.root)
    assert done.status == BACK, done.errors
    assert "goes back to the 32-bit release" in done.errors
    assert bare.environment.reason == "b-settings"


def test_the_command_ends_with_the_verdict(bare: Appliance) -> None:
    done = command("migrate", "boot", "--root", bare.root)
    assert done.status == BACK
    assert "why:" in done.errors
    assert "what to do:" in done.errors
    bare.write("data/forge/epoch", "amd64\n")
    assert command("migrate", "boot", "--root", bare.root).status == PROVED


def _begin(box: Appliance) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "applianceforge", "migrate", "boot", "--root", str(box.root)]
    return subprocess.Popen(
        words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_an_abort_ends_it_and_goes_back(box: Appliance) -> None:
    before = old_files(box)
    process = _begin(box)
    _wait_until_begun(box, process)
    done = command("migrate", "abort", "--root", box.root)
    assert done.status == 0, done.errors
    assert process.wait(60) == BACK
    found = box.environment
    assert (found.b, found.primary, found.reason) == (NOT_BOOTABLE, "a", "b-aborted")
    assert not box.places.abort.exists()
    assert said(box)["state"] == "back"
    assert old_files(box) == before
    assert status.read(box.work, "run").state is status.State.STOPPED


def _wait_until_begun(box: Appliance, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    path = box.work / "run/journal.jsonl"
    while not path.exists() or b'"begun"' not in path.read_bytes():
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_shutdown_is_no_abort(box: Appliance) -> None:
    process = _begin(box)
    _wait_until_begun(box, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert box.environment.b == ALL_TRIES
    assert said(box)["state"] == "stopped"
    box.start_anew("b")
    check_proved(box, box.migration().carry_out())


def test_an_abort_that_came_with_a_power_cut_is_heard_at_the_next_boot(bare: Appliance) -> None:
    bare.write("data/forge/abort", "")
    check_back(bare, bare.migration().carry_out(), "aborted")
    assert not bare.places.abort.exists()


@pytest.mark.parametrize("case", ["crossed", "legacy", "good"])
def test_what_is_not_under_way_cannot_be_aborted(bare: Appliance, case: str) -> None:
    if case == "crossed":
        bare.write("data/forge/epoch", "amd64\n")
    elif case == "legacy":
        bare.release("i386", "a")
    else:
        bare.set_environment(bare.environment._replace(b=KNOWN_GOOD))
    effects = Effects()
    with pytest.raises(UsageError):
        boot_abort.request(bare.places, marks_of(bare.places, effects), effects)
    assert not bare.places.abort.exists()


def test_nothing_is_interrupted_where_nothing_runs(bare: Appliance) -> None:
    path = bare.places.settings
    assert not boot_abort.interrupt(decode(path.read_text(), str(path)), 0.0)


def use_old_release(box: Appliance) -> None:
    """Let the 32-bit release serve for a while: its gate runs, and its data changes."""
    box.release("i386", "a")
    gate = CHECKOUT / "images/overlay-forge/usr/lib/applianceforge/gate"
    surroundings = {"FORGE_ROOT": str(box.root), "PATH": os.environ["PATH"]}
    subprocess.run(["/bin/sh", str(gate)], env=surroundings, check=True)
    box.release("amd64", "b")


def test_what_was_made_of_data_that_was_used_since_is_made_anew(
    box: Appliance, old: LegacyAppliance
) -> None:
    check_proved(box, box.migration().carry_out())
    # It was given up before it was settled, and a mail came in.
    use_old_release(box)
    data = box.root / "data/i386/postgresql"
    with (
        cluster.serving(old.tree, 15, data, Effects()) as server,
        server.session("postgres") as session,
    ):
        session.execute("CREATE TABLE public.came_in_since AS SELECT 42 AS answer")
    box.start_anew("b")
    ending = box.migration().carry_out()
    check_proved(box, ending)
    assert ending.outcome is not None
    assert not ending.outcome.earlier
    assert not box.places.source_used.exists()
    inventory = json.loads((box.work / "run/inventories/target.json").read_text())
    assert "came_in_since" in json.dumps(inventory)


def test_after_the_old_release_served_the_counts_begin_anew(bare: Appliance) -> None:
    check_back(bare, bare.migration().carry_out(), "damaged-cluster")
    bare.set_environment(bare.environment._replace(primary="b", b=FRESH, reason="none"))
    bare.write("data/forge/abort", "")
    use_old_release(bare)
    bare.start_anew("b")
    # Tried again, instead of an end that was told before, or an abort of long ago.
    check_back(bare, bare.migration().carry_out(), "damaged-cluster")
    assert [one.event for one in read_record(bare.work / "boots.jsonl")] == [
        *("begun", "ended", "anew", "begun", "ended")
    ]


def test_an_end_without_its_mark_is_made_up(bare: Appliance) -> None:
    ending = bare.migration().carry_out()
    bare.set_environment(bare.environment._replace(primary="b", b=FRESH, reason="none"))
    bare.start_anew("b")
    again = bare.migration().carry_out()
    check_back(bare, again, "damaged-cluster")
    assert again.error is not None
    assert ending.error is not None
    assert again.error.message == ending.error.message


def test_progress_is_told_to_the_sink_and_to_the_status_file(box: Appliance) -> None:
    class Sink:
        def __init__(self) -> None:
            self.titles: list[str] = []
            self.states: set[object] = set()

        def emit(self, event: object) -> None:
            self.titles.append(getattr(event, "title", ""))
            self.states.add(said(box)["state"])

    sink = Sink()
    check_proved(box, box.migration(sink=sink).carry_out())
    assert "make the new cluster" in sink.titles
    assert sink.states == {"migrating"}


def test_the_journal_is_that_of_a_run(box: Appliance) -> None:
    box.migration().carry_out()
    entries = journal.read(box.work / "run/journal.jsonl")
    assert entries[-1].event is journal.Event.PUBLISHED


@pytest.mark.parametrize("number", [4, 30, 90])
def test_a_cut_in_the_migration_is_resumed_and_costs_no_try(box: Appliance, number: int) -> None:
    cut_at(number, partial(_migrate, box))
    assert box.environment.b == ALL_TRIES
    assert not box.places.proved.exists()
    box.set_environment(box.environment._replace(b=FRESH))
    box.start_anew("b")
    check_proved(box, box.migration().carry_out())
    events = [line.event for line in read_record(box.work / "boots.jsonl")]
    assert events == ["begun", "begun", "ended"]
