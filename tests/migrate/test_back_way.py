"""Whether there is a way back: every reason for which there is none, and what the command says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.migrate import journal, outcome
from applianceforge.migrate.back import WORD
from applianceforge.migrate.back_way import Way
from applianceforge.migrate.inventory import ClusterInventory, encode
from applianceforge.migrate.journal import Event, Journal
from applianceforge.migrate.outcome import Outcome, SideOutcome
from applianceforge.migrate.settings import decode
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import NoWayBackError
from applianceforge.slots.environment import Loader
from applianceforge.slots.history import Happening, History
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import Release
from applianceforge.system.effects import Effects
from tests.migrate.appliances import FRESH
from tests.migrate.backs import Crossed, bare, put_into_slot_a
from tests.migrate.boxes import applianceforge
from tests.slots import power

_PUBLISHED_S = 1_800_000_000.0
_WHEN = "2027-01-15 08:00 UTC"
_AGAIN = "2027-01-16 11:46 UTC"
_SIDE = SideOutcome("32-bit", 0, 0, 0, 0, 0, 0, 2, 0)


def _journal(box: Crossed, *events: Event) -> None:
    work = Workspace(box.box.work, "run")
    work.root.mkdir(parents=True, exist_ok=True)
    written = Journal(work.journal, Effects(), lambda: _PUBLISHED_S)
    for event in events:
        written.write(event)


@pytest.fixture
def box(tmp_path: Path) -> Crossed:
    """A box of RRDs alone that has crossed, as far as its papers say."""
    made = bare(tmp_path)
    text = made.box.places.settings.read_text()
    for side in ("source", "target"):
        head = f"[{side}.postgres]"
        begin = text.index(head)
        text = text[:begin] + text[text.index("[", begin + 1) :]
    made.box.places.settings.write_text(text)
    _journal(made, Event.PLANNED, Event.PUBLISHED)
    work = Workspace(made.box.work, "run")
    work.inventories.mkdir()
    (work.inventories / "target.json").write_bytes(encode(ClusterInventory(15, 64, (), ())))
    done = Outcome("run", 1, 2, _SIDE, _SIDE, (), {}, (), (), 0, 0, 0)
    work.outcome.write_bytes(outcome.encode(done))
    for name in ("a", "b"):
        made.box.write(f"data/i386/rrd/{name}.rrd", "")
    return made


def look(box: Crossed) -> Way:
    return box.back().look()


def test_there_is_a_way(box: Crossed) -> None:
    way = look(box)
    assert (way.slot, way.release) == (Slot.A, "reference 1.2")
    assert way.published_s == _PUBLISHED_S
    assert way.until_s == _PUBLISHED_S + 7 * 86400
    assert way.proved is None


def _is_32_bit(box: Crossed) -> None:
    box.box.release("i386", "a")


def _has_not_crossed(box: Crossed) -> None:
    box.box.write("data/forge/epoch", "i386\n")


def _is_not_good(box: Crossed) -> None:
    box.box.set_environment(Environment(9, "b", KNOWN_GOOD, FRESH))


def _is_being_written(box: Crossed) -> None:
    box.box.set_environment(Environment(9, "b", NOT_BOOTABLE, KNOWN_GOOD))


def _was_given_up(box: Crossed) -> None:
    box.box.set_environment(Environment(9, "b", NOT_BOOTABLE, KNOWN_GOOD, "a-disk-full"))


def _is_half_written(box: Crossed) -> None:
    with (box.root / "slots/a").open("r+b") as stream:
        stream.seek(1024)
        stream.write(bytes(512))


def _tell(box: Crossed, event: Happening, release: str, slot: Slot, time_s: float) -> None:
    name, version = release.split()
    told = Release(name, version, Architecture.AMD64)
    History(box.box.places, told, slot, Effects(), lambda: time_s).add(event)


def _second_hop(box: Crossed) -> None:
    put_into_slot_a(box, Architecture.AMD64)
    _tell(box, Happening.CROSSED, "migration 2.0.0", Slot.B, _PUBLISHED_S)
    _tell(box, Happening.SETTLED, "reference 1.2", Slot.A, _PUBLISHED_S + 100_000)


def _second_hop_runs(box: Crossed) -> None:
    # It runs in the slot that the 32-bit release had, and the migration release is beside it.
    _tell(box, Happening.CROSSED, "migration 2.0.0", Slot.B, _PUBLISHED_S)
    _tell(box, Happening.SETTLED, "current 3.0.0", Slot.A, _PUBLISHED_S + 100_000)
    put_into_slot_a(box, Architecture.AMD64)
    shutil.move(box.root / "slots/a", box.root / "slots/b")
    (box.root / "slots/a").symlink_to("b")
    box.box.release("amd64", "a")
    box.box.write(
        "etc/applianceforge/release.env", "NAME=current\nVERSION=3.0.0\nARCHITECTURE=amd64\n"
    )


def _was_never_32_bit(box: Crossed) -> None:
    put_into_slot_a(box, Architecture.AMD64)


def _has_no_journal(box: Crossed) -> None:
    shutil.rmtree(box.box.work / "run")


def _was_cleaned(box: Crossed) -> None:
    _journal(box, Event.CLEANED)


def _was_cleaned_in_part(box: Crossed) -> None:
    (box.root / "data/i386/rrd/a.rrd").unlink()


def _lost_its_cluster(box: Crossed) -> None:
    text = box.box.places.settings.read_text()
    box.box.places.settings.write_text(
        text.replace("[source.rrd]", f'[source.postgres]\ndata = "{box.root}/gone"\n[source.rrd]')
    )


REFUSALS: tuple[tuple[Callable[[Crossed], None], str], ...] = (
    (_is_32_bit, "legacy 1.0.0 is the 32-bit release"),
    (_has_not_crossed, "it has not crossed"),
    (_is_not_good, "not marked good yet"),
    (_is_being_written, "slot a, where the 32-bit release was, is not marked good; another"),
    (_was_given_up, "not marked good: no space was left on /data"),
    (_is_half_written, "slot a holds no whole system any more"),
    (_second_hop, f"the second hop, reference 1.2, was installed on {_AGAIN} into slot a"),
    (_second_hop_runs, f"the second hop, current 3.0.0, was installed on {_AGAIN} into slot a"),
    (_was_never_32_bit, "neither slot holds a 32-bit release"),
    (_has_no_journal, "no journal says that a migration was finished here"),
    (_was_cleaned, f"removed by `applianceforge migrate clean` on {_WHEN}"),
    (_was_cleaned_in_part, "of 2 old RRDs in .* only 1 are left"),
    (_lost_its_cluster, "the old 32-bit data is gone or damaged"),
)


@pytest.mark.parametrize(("spoil", "why"), REFUSALS, ids=[one.__name__ for one, _ in REFUSALS])
def test_there_is_none(box: Crossed, spoil: Callable[[Crossed], None], why: str) -> None:
    spoil(box)
    before = box.box.environment
    with pytest.raises(NoWayBackError, match=why) as caught:
        box.back().carry_out(lambda _way, _archived: True)
    assert caught.value.hint
    assert caught.value.exit_status == 83
    assert (box.ran, box.box.rules, box.box.environment) == ([], [], before)


def test_the_settings_of_the_appliance_are_read(box: Crossed) -> None:
    text = box.box.places.settings.read_text()
    box.box.places.settings.write_text(text.replace("[source]", "retention_days = 0\n[source]"))
    assert look(box).until_s == _PUBLISHED_S
    assert decode(text, "").work.retention_days == 7
    assert len(journal.read(Workspace(box.box.work, "run").journal)) == 2


# The second of the two writes that decide. The first is on the disk by then, so either slot serves.


@pytest.mark.parametrize("long_mode", [True, False])
def test_whatever_the_disk_holds_of_the_mark_a_slot_starts(tmp_path: Path, long_mode: bool) -> None:
    ground = power.new_ground(tmp_path / "boot")
    ground.archs[Slot.B] = Architecture.AMD64
    started = Loader(ground.directory, Effects())
    started.begin_writing(Slot.B)
    started.activate(Slot.B)
    started.mark_good(Slot.B)
    durable = ground.files()
    log = ground.recorded(lambda loader: loader.mark_bad(Slot.B, WORD))
    chosen: list[Slot | None] = []
    pending: list[power.Write] = []
    for entry in log.entries:
        if isinstance(entry, power.Write):
            pending.append(entry)
        else:
            for write in pending:
                durable = power.put(durable, write.name, write.at, write.content)
            pending = []
        chosen += [
            power.choose(files, ground.archs, long_mode).slot
            for files in power.after_cut(durable, pending)
        ]
    assert len(chosen) > 10
    assert set(chosen) == ({Slot.A, Slot.B} if long_mode else {Slot.A})
    assert chosen[-1] is Slot.A


# The command.


def command(box: Crossed, *arguments: str) -> Any:
    return applianceforge("migrate", "back", "--root", box.root, *arguments)


def test_the_check_says_whether(box: Crossed) -> None:
    shutil.rmtree(box.root / "data/i386/rrd")  # Of the papers alone no RRD is one.
    said = command(box, "--check", "--json")
    assert said.status == 83
    found = json.loads(said.out)
    assert (found["schema"], found["way_back"]) == (1, False)
    assert "only 0 are left" in found["message"]
    assert "What to do" in said.errors


def test_nobody_there_to_ask_is_no_yes(box: Crossed) -> None:
    said = command(box)
    assert said.status == 82
    assert "--check" in said.hint
    assert box.ran == []
