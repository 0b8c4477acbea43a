"""Go back to 32 bits: real data on both sides, every cut, and the next migration."""

import contextlib
import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import pytest

import applianceforge.slots
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.migrate import archive, back_counts, inventory
from applianceforge.migrate.back import Archived, GoingBack
from applianceforge.migrate.back_news import Change, News, RrdNews, TableNews
from applianceforge.migrate.back_services import Outside
from applianceforge.migrate.importing import import_archive
from applianceforge.migrate.lock import only_run
from applianceforge.migrate.settings import (
    Settings,
    TargetPostgresSettings,
    TargetRrdSettings,
    TargetSettings,
    WorkSettings,
)
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import staging
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    AlreadyRunningError,
    BootEnvironmentError,
    ForgeError,
    InhibitedError,
    NotConfirmedError,
    NoWayBackError,
    ProgramFailedError,
    SettingsError,
)
from applianceforge.slots import floor
from applianceforge.slots.environment import Loader
from applianceforge.slots.floor import Floor
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import write_epoch
from applianceforge.system.effects import Effect, Effects
from tests.appliance import cluster
from tests.appliance.cache import CHECKOUT
from tests.crash.tiny import tiny
from tests.migrate.appliances import cut_at
from tests.migrate.backs import (
    RRD_UPDATES,
    Crossed,
    copy_of,
    crossed,
    installed_again,
)
from tests.migrate.boxes import Said, contents
from tests.migrate.boxes import applianceforge as run_command

pytestmark = pytest.mark.real

CROSSED = Environment(6, "b", KNOWN_GOOD, KNOWN_GOOD)
FLOOR = Floor("1.0.0", Architecture.AMD64)
STOPPED = "stop forge-postgresql.service forge-statistics.service"
STARTED = "start forge-postgresql.service forge-statistics.service"
SCHEMA = json.loads(
    (Path(applianceforge.slots.__file__).parent / "history.schema.json").read_text()
)
INSERT = (
    "INSERT INTO public.message (at, sender)"
    " SELECT '2023-07-01'::timestamptz + n * '1 h'::interval, 'after the crossing'"
    " FROM generate_series(1, 25) n"
)
UPDATE = "UPDATE public.attachment SET content = 'changed' WHERE id = 2"
QUERY = "SELECT count(*), count(*) FILTER (WHERE sender = 'after the crossing') FROM public.message"


@pytest.fixture(scope="module")
def original(native_tree: ProgramTree) -> Iterator[Crossed]:
    """A box that has crossed and taken in rows and values since; for copies."""
    with cluster.short_directory() as place:
        made = crossed(place, tiny(), native_tree)
        made.execute("amd64", INSERT, UPDATE, "SELECT nextval('public.ticket')")
        made.update_rrd("amd64")
        yield made


@pytest.fixture
def box(original: Crossed, place: Path) -> Crossed:
    """A box of the test's own."""
    return copy_of(original, place)


@pytest.fixture
def light(original: Crossed, place: Path) -> Crossed:
    """A box of the test's own whose servers cannot start."""
    return copy_of(original, place, light=True)


@pytest.fixture
def same(original: Crossed) -> Iterator[Crossed]:
    """The box that all tests share which leave it as it was, but for the papers."""
    loader = original.root / "boot/loader"
    before = {path: path.read_bytes() for path in loader.iterdir()}
    yield original
    for path, content in before.items():
        path.write_bytes(content)
    for name in ("ran", "loaded", "fails-stop", "fails-start", "data/forge/back.json"):
        (original.root / name).unlink(missing_ok=True)
    for name in ("state", "data/forge/archive"):
        shutil.rmtree(original.root / name, ignore_errors=True)


def yes(_way: object, _archived: Archived) -> bool:
    return True


def no(_way: object, _archived: Archived) -> bool:
    return False


def check_as_before(box: Crossed) -> None:
    """Prove that a box is the crossed 64-bit one, and serves."""
    assert box.box.environment == CROSSED
    assert box.box.places.epoch.read_text() == "amd64\n"
    assert floor.read(box.box.places) == FLOOR
    assert box.ran[-1] == STARTED
    assert box.box.rules[-1] == "ports-open"


def check_back(box: Crossed) -> None:
    """Prove that nothing is accepted any more, and that the 32-bit release starts next."""
    found = box.box.environment
    assert (found.primary, found.a, found.b) == ("a", KNOWN_GOOD, NOT_BOOTABLE)
    assert found.reason == "b-went-back"
    assert box.box.places.epoch.read_text() == "i386\n"
    assert not floor.path(box.box.places).exists()
    assert box.ran == [STOPPED]
    assert box.box.rules == ["ports-shut"]


def check_private(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_goes_back_and_later_migrates_anew(box: Crossed, native_tree: ProgramTree) -> None:
    old_rrds = contents(box.root / "data/i386/rrd")
    done = box.back().carry_out(yes)
    check_back(box)

    # What came in since is told.
    news = done.news
    assert news.exact
    tables = {one.name: one for one in news.changed}
    assert tables == {
        "mail.public.message_2023": TableNews("mail.public.message_2023", 213, 238, Change.MORE),
        "mail.public.attachment": TableNews("mail.public.attachment", 3, 3, Change.CHANGED),
    }
    assert (news.rows_more, news.rows_fewer) == (25, 0)
    assert news.others == ("database mail: sequences that stand elsewhere: 2",)
    assert (news.rrds.files, news.rrds.updated, news.rrds.gone) == (12, 1, 0)
    assert news.rrds.values >= RRD_UPDATES

    # And it is in the archive, which any machine can take.
    assert done.path.parent == box.root / "data/forge/archive"
    assert not box.back()._intent.exists()
    check_private(done.path)
    contents_of = archive.read_manifest(done.path)
    assert contents_of.cluster is not None
    assert contents_of.cluster.inventory.rows == done.rows
    check_import(done.path, box, native_tree)

    # The history says so, and where the archive lies.
    line = box.box.history[-1]
    jsonschema.Draft202012Validator(SCHEMA).validate(line)
    assert (line["event"], line["reason"], line["rows"]) == ("went-back", "went-back", done.rows)
    assert str(done.path) in line["message"]

    # The 32-bit release serves the data of the crossing.
    assert box.boots() == "i386"
    assert box.box.history[-1]["event"] == "fell-back"
    assert box.box.places.source_used.exists()
    assert box.rows("i386", QUERY) == [(402, 0)]
    assert contents(box.root / "data/i386/rrd") == old_rrds
    with pytest.raises(NoWayBackError, match="is the 32-bit release"):
        box.back().look()

    # It takes in rows of its own, and the next migration carries those.
    box.execute("i386", INSERT.replace("after the crossing", "32-bit again"))
    box.update_rrd("i386")
    installed_again(box)
    assert box.boots() == "amd64"
    assert not box.box.places.source_used.exists()
    assert floor.read(box.box.places) == FLOOR
    query = QUERY.replace("after the crossing", "32-bit again")
    assert box.rows("amd64", query) == [(427, 25)]
    assert box.rows("amd64", QUERY) == [(427, 0)]
    news = box.back().news(box.back().look())
    assert news.changed == ()
    assert news.rrds.updated == 0
    assert done.path.exists()

    # And back once more, as a program does it.
    (box.root / "ran").unlink()
    said = command(box, "--yes", "--reboot", "--json")
    assert said.status == 0, said.errors
    found = json.loads(said.out)
    assert (found["schema"], found["went_back"], found["news"]["rows_more"]) == (1, True, 0)
    assert (Path(found["archive"]["path"]) / "manifest.json").exists()
    assert box.ran == [STOPPED, "reboot "]
    assert box.boots() == "i386"
    assert box.rows("i386", query) == [(427, 25)]


def command(box: Crossed, *arguments: str) -> Said:
    return run_command("migrate", "back", "--root", box.root, *arguments)


def test_a_person_is_told_and_asked(same: Crossed) -> None:
    said = command(same, "--check")
    assert said.status == 0, said.errors
    assert "There is a way back to reference 1.2 in slot a" in said.out
    assert "Since the crossing: 25 rows more; other tables than then: 1 of 4;" in said.out
    assert "mail.public.message_2023" in said.out
    assert "Nothing was changed." in said.out
    found = json.loads(command(same, "--check", "--json").out)
    assert (found["schema"], found["way_back"], found["slot"]) == (1, True, "a")
    assert found["news"]["rows_more"] == 25
    assert same.ran == []

    status, shown = at_a_terminal(same, "n\n")
    assert status == NotConfirmedError.exit_status
    for text in (
        "mail.public.attachment",
        "rows changed, or written anew in",
        "How many rows of a table were changed in place cannot be told",
        "read again and proved whole",
        "Go back to 32 bits, with the data as it was at the crossing? [y/N]",
        "remove it if nobody needs it",
    ):
        assert text in " ".join(shown.split()), shown
    check_as_before(same)


def at_a_terminal(box: Crossed, answer: str) -> tuple[int, str]:
    """Run the command at a terminal of its own, and return its status and what it showed."""
    words = [sys.executable, "-m", "applianceforge", "migrate", "back", "--root", str(box.root)]
    ours, its = pty.openpty()
    process = subprocess.Popen(words, stdin=its, stdout=its, stderr=its, cwd=CHECKOUT)
    os.close(its)
    os.write(ours, answer.encode())
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    return process.wait(60), shown.decode()


def check_import(path: Path, box: Crossed, native: ProgramTree) -> None:
    place = box.root / "imported"
    place.mkdir(mode=0o755)
    target = TargetSettings(
        native.root, TargetPostgresSettings(place / "data"), TargetRrdSettings(place / "rrd")
    )
    settings = Settings(WorkSettings(box.root / "w"), target=target)
    import_archive(Surroundings(settings), path)
    with (
        cluster.serving(native, 15, place / "data", Effects()) as server,
        server.session("mail") as session,
    ):
        assert session.rows(QUERY) == [(427, 25)]
    rrd = min((box.root / "data/amd64/rrd").rglob("*.rrd"))
    name = rrd.relative_to(box.root / "data/amd64/rrd")
    assert (place / "rrd" / name).read_bytes() == rrd.read_bytes()


def test_nothing_that_decides_is_touched_before_the_yes(same: Crossed) -> None:
    seen = []

    def look(effect: Effect) -> None:
        seen.append(effect.subject)
        assert same.box.environment == CROSSED
        assert same.box.places.epoch.read_text() == "amd64\n"
        assert floor.read(same.box.places) == FLOOR
        assert not same.box.places.source_used.exists()

    asked: list[Archived] = []

    def refuse(_way: object, archived: Archived) -> bool:
        # Nothing gets in while the archive is made, and while the person thinks.
        assert same.ran == [STOPPED]
        assert same.box.rules == ["ports-shut"]
        asked.append(archived)
        return False

    with pytest.raises(NotConfirmedError) as caught:
        same.back(Effects(look)).carry_out(refuse)
    assert len(seen) > 30
    (archived,) = asked
    assert str(archived.path) in caught.value.hint
    assert (archived.path / "manifest.json").exists()
    check_as_before(same)
    assert same.boots() == "amd64"


# Power cuts.


def _carry_out(box: Crossed, effects: Effects) -> None:
    box.back(effects).carry_out(yes)


def _decide(box: Crossed, effects: Effects) -> None:
    back = box.back(effects)
    back._decide(Outside(box.box.places, back.tools, effects))
    back._tell(Archived(Path("/archive"), 5, 5, News((), (), RrdNews(), exact=True)))


def _effects_of_deciding(original: Crossed, place: Path) -> list[str]:
    box = copy_of(original, place, light=True)
    seen: list[str] = []
    effects = Effects(lambda effect: seen.append(effect.subject))
    back = box.back(effects)
    back._decide(Outside(box.box.places, back.tools, effects))
    return seen


@pytest.mark.parametrize("long_mode", [True, False])
def test_each_cut_of_the_decision_leaves_one_truth(
    original: Crossed, place: Path, long_mode: bool
) -> None:
    (place / "reference").mkdir()
    effects = _effects_of_deciding(original, place / "reference")
    # The epoch, the environment, the marker, the floor.
    assert len(effects) >= 4
    assert "epoch" in effects[0]
    served = []
    for number in range(1, len(effects) + 1):
        (place / str(number)).mkdir()
        box = copy_of(original, place / str(number), light=True)
        cut_at(number, partial(_decide, box))
        served.append(box.boots(long_mode=long_mode))
        check_consistent(box, served[-1])
        # What it came to, it stays; and a box that is still 64-bit goes back another time.
        assert box.boots(long_mode=long_mode) == served[-1]
        if served[-1] == "amd64":
            back = box.back()
            back._decide(Outside(box.box.places, back.tools, Effects()))
            assert box.boots() == "i386"
    assert set(served) == ({"amd64", "i386"} if long_mode else {"i386"})
    assert served == sorted(served)


def check_consistent(box: Crossed, serves: str) -> None:
    places = box.box.places
    assert serves in ("amd64", "i386")
    assert places.epoch.read_text() == f"{serves}\n"
    assert floor.read(places) == (FLOOR if serves == "amd64" else None)
    # The next migration begins anew exactly where the old data was used.
    assert places.source_used.exists() == (serves == "i386")


def test_a_cut_while_the_archive_is_made_leaves_the_64_bit_box(same: Crossed) -> None:
    out = same.root / "data/forge/archive/back"
    out.parent.mkdir()
    for word in ("globals.sql", "manifest.json"):
        (same.root / "ran").unlink(missing_ok=True)
        cut_where(word, lambda effects: same.back(effects).carry_out(no, out))
        assert staging(out).exists()
        assert not out.exists()
        assert same.ran[-1] == STOPPED
        assert same.boots() == "amd64"
        assert same.box.environment == CROSSED
    # The next attempt, with another name, leaves nothing of the one that was cut.
    other = out.with_name("other")
    with pytest.raises(NotConfirmedError):
        same.back().carry_out(no, other)
    assert [path.name for path in out.parent.iterdir()] == ["other"]
    assert (other / "manifest.json").exists()
    check_as_before(same)


def cut_where(word: str, run: Callable[[Effects], object]) -> None:
    """Run something in a process of its own, and let the power go after an effect on `word`."""
    child = os.fork()
    if child == 0:

        def observe(effect: Effect) -> None:
            if word in effect.subject:
                os._exit(9)

        try:
            run(Effects(observe))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9, "the power did not go"


# Failures.


def test_a_failure_of_the_export_leaves_all_as_before(same: Crossed) -> None:
    control = same.data("amd64") / "global/pg_control"
    content = control.read_bytes()
    control.write_bytes(bytes(8192))
    try:
        with pytest.raises(ForgeError, match="pg_control"):
            same.back().carry_out(yes)
    finally:
        control.write_bytes(content)
    check_as_before(same)
    assert not same.back()._intent.exists()
    assert list((same.root / "data/forge/archive").iterdir()) == []


def test_too_little_space_is_seen_before_anything_is_written(
    same: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("applianceforge.system.files.free_bytes", lambda _path: 1 << 20)
    with pytest.raises(InhibitedError) as caught:
        same.back().carry_out(yes)
    assert caught.value.status == 23
    check_as_before(same)
    assert list((same.root / "data/forge/archive").iterdir()) == []


def test_old_data_that_lost_rows_is_no_way_back(same: Crossed) -> None:
    proved = same.box.work / "run/inventories/target.json"
    content = proved.read_bytes()
    held = inventory.decode(content)
    mail = next(one for one in held.databases if one.name == "mail")
    more = tuple(
        replace(one, rows=one.rows + 1) if one.name == "public.attachment" else one
        for one in mail.tables
    )
    proved.write_bytes(inventory.encode(replace(held, databases=(replace(mail, tables=more),))))
    try:
        with pytest.raises(NoWayBackError, match="not what it was at the crossing") as caught:
            same.back().carry_out(yes)
    finally:
        proved.write_bytes(content)
    assert "mail.public.attachment: 4 rows then, 3 now" in caught.value.evidence
    check_as_before(same)


def test_an_update_that_came_in_between_is_seen(same: Crossed) -> None:
    def meanwhile(_way: object, _archived: Archived) -> bool:
        Loader(same.root / "boot/loader", Effects()).begin_writing(Slot.A)
        return True

    with pytest.raises(NoWayBackError, match="another release is being written"):
        same.back().carry_out(meanwhile)
    assert same.box.places.epoch.read_text() == "amd64\n"
    assert same.ran == [STOPPED, STARTED]


def decide(box: Crossed) -> Outside:
    """Decide alone, as `carry_out` does at its end."""
    back: GoingBack = box.back()
    outside = Outside(box.box.places, back.tools, back.effects)
    try:
        with outside:
            back._decide(outside)
    finally:
        assert box.box.rules[0] == "ports-shut"
    return outside


def test_a_slot_that_cannot_be_marked_takes_the_epoch_back(light: Crossed) -> None:
    Loader(light.root / "boot/loader", Effects()).begin_writing(Slot.A)
    with pytest.raises(ForgeError, match="nothing would be left to start"):
        decide(light)
    assert light.box.places.epoch.read_text() == "amd64\n"
    assert floor.read(light.box.places) == FLOOR
    assert light.ran == [STOPPED, STARTED]
    assert light.box.rules == ["ports-shut", "ports-open"]


def test_an_epoch_that_cannot_be_written_changes_nothing(
    light: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def full(*_words: object) -> None:
        failed.append(1)
        raise ProgramFailedError("no room")

    monkeypatch.setattr("applianceforge.migrate.back.write_epoch", full)
    with pytest.raises(ProgramFailedError, match="no room"):
        decide(light)
    assert failed == [1]
    check_as_before(light)


def test_a_mark_that_fails_after_it_was_made_counts(
    light: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_words: object) -> None:
        raise BootEnvironmentError("the marker cannot be written")

    monkeypatch.setattr(Loader, "_withdraw_marker", fails)
    decide(light)
    check_back(light)
    assert light.boots() == "i386"


def test_where_nobody_knows_it_stays_shut_until_a_restart(
    light: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_words: object) -> None:
        raise BootEnvironmentError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Loader, "_put", fails)
        patched.setattr(Loader, "read", fails)
        patched.setattr(Loader, "_read_or_renew", lambda *_words: CROSSED)
        with pytest.raises(BootEnvironmentError, match="nobody knows") as caught:
            decide(light)
    assert "restart" in caught.value.hint
    assert light.ran == [STOPPED]
    assert light.box.rules == ["ports-shut"]
    # Nothing was on the disk, so the 64-bit release starts, and serves.
    assert light.boots() == "amd64"
    check_consistent(light, "amd64")


def test_an_epoch_that_cannot_be_taken_back_is_taken_back_by_the_next_boot(
    light: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Architecture] = []

    def once(places: object, architecture: Architecture, effects: Effects) -> None:
        written.append(architecture)
        if len(written) > 1:
            raise ProgramFailedError("no room")
        write_epoch(light.box.places, architecture, effects)

    with monkeypatch.context() as patched:
        patched.setattr("applianceforge.migrate.back.write_epoch", once)
        Loader(light.root / "boot/loader", Effects()).begin_writing(Slot.A)
        with pytest.raises(BootEnvironmentError, match="could not go back") as caught:
            decide(light)
    assert written == [Architecture.I386, Architecture.AMD64]
    assert "restart" in caught.value.hint
    assert light.ran == [STOPPED]
    assert light.boots() == "amd64"
    check_consistent(light, "amd64")


# The services.


def test_services_that_were_down_stay_down_and_ctrl_c_starts_the_others(same: Crossed) -> None:
    class Interrupted:
        def emit(self, _event: object) -> None:
            raise KeyboardInterrupt

    same.box.write("state/forge-statistics.service", "inactive")
    with pytest.raises(KeyboardInterrupt):
        replace(same.back(), sink=Interrupted()).carry_out(yes)
    assert same.ran == ["stop forge-postgresql.service", "start forge-postgresql.service"]
    assert same.box.rules == ["ports-shut", "ports-open"]
    assert list((same.root / "data/forge/archive").iterdir()) == []


def test_services_that_do_not_stop_are_started_again(same: Crossed) -> None:
    same.box.write("fails-stop", "")
    with pytest.raises(ProgramFailedError):
        same.back().carry_out(yes)
    check_as_before(same)
    assert not (same.root / "data/forge/archive").exists()


def test_services_that_do_not_come_up_again_are_told(same: Crossed) -> None:
    same.box.write("fails-start", "")
    same.box.write("data/forge/back.json", "{")
    with pytest.raises(ProgramFailedError, match="could not be started again") as caught:
        same.back().carry_out(no)
    assert "systemctl reboot" in caught.value.hint
    assert "back.json is damaged" in caught.value.evidence[0]
    assert same.box.rules == ["ports-shut", "ports-open"]


def test_what_came_in_is_counted_while_it_serves(same: Crossed) -> None:
    way = same.back().look()
    with same.serving("amd64"):
        news = same.back().news(way)
    assert not news.exact
    assert [one.name for one in news.changed] == ["mail.public.message_2023"]
    assert news.rows_more == 25
    assert news.rrds.updated == 1
    assert same.ran == []
    # And without a server that serves, by one of our own.
    assert same.back().news(way) == news


def test_what_serves_is_not_stopped_by_force(same: Crossed) -> None:
    with same.serving("amd64"), pytest.raises(ForgeError, match="runs on"):
        same.back().carry_out(yes)
    check_as_before(same)


def test_a_name_that_is_taken_is_refused_first(same: Crossed) -> None:
    taken = same.root / "taken"
    taken.mkdir()
    with pytest.raises(SettingsError, match="already there"):
        same.back().carry_out(yes, taken)
    with pytest.raises(SettingsError, match="no directory"):
        same.back().carry_out(yes, same.root / "nowhere/archive")
    assert same.ran == []
    assert list(taken.iterdir()) == []


def test_only_one_goes_back_at_a_time(same: Crossed) -> None:
    with (
        only_run(same.box.places.forge / "back.lock", "back"),
        pytest.raises(AlreadyRunningError),
    ):
        same.back().carry_out(yes)
    # The second one touches neither services nor ports.
    assert (same.ran, same.box.rules) == ([], [])


def test_a_damaged_note_is_told(same: Crossed) -> None:
    same.box.write("data/forge/back.json", "{")
    with pytest.raises(SettingsError, match="damaged"):
        same.back().carry_out(yes)
    check_as_before(same)


def test_the_new_data_is_the_source_of_the_archive(same: Crossed) -> None:
    settings = back_counts.of_the_new(same.back().look().settings)
    assert settings.source.postgres is not None
    assert settings.source.postgres.data == same.data("amd64")
    assert settings.source.tree == same.new_tree.root
    assert settings.target.postgres is None
    assert os.fspath(settings.work.directory).endswith("data/forge/work")
