"""Mark good, raise the epoch, open the ports: in that order, and once only, whatever cuts it."""

import json
from functools import partial
from pathlib import Path

import jsonschema
import pytest

import applianceforge.slots
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.migrate.boot_verdict import BACK, PROVED, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.slots import floor
from applianceforge.slots.floor import Floor
from applianceforge.system.effects import Effects
from tests.migrate.appliances import FRESH, Appliance, appliance, cut_at

SCHEMA = json.loads(
    (Path(applianceforge.slots.__file__).parent / "history.schema.json").read_text()
)


@pytest.fixture
def crossed(tmp_path: Path) -> Appliance:
    """A box whose data was proved in this boot, and whose services start."""
    return proved(appliance(tmp_path))


def proved(box: Appliance) -> Appliance:
    box.write("run/forge/gate", "open\n")
    box.write("run/forge/proved", "amd64\n")
    return box


def events(box: Appliance) -> list[str]:
    for line in box.history:
        jsonschema.Draft202012Validator(SCHEMA).validate(line)
    return [line["event"] for line in box.history]


def check_settled(box: Appliance) -> None:
    assert box.environment.b == KNOWN_GOOD
    assert box.environment.primary == "b"
    assert box.places.epoch.read_text() == "amd64\n"
    assert floor.read(box.places) == Floor("1.0.0", Architecture.AMD64)
    assert box.rules[-1] == "ports-open"


def test_settles_after_a_migration(crossed: Appliance) -> None:
    done = crossed.settling().carry_out()
    assert done.verdict == Verdict(PROVED)
    assert done.ports == "open"
    check_settled(crossed)
    assert events(crossed) == ["settled", "crossed"]
    assert crossed.places.history.stat().st_mode & 0o777 == 0o644
    assert crossed.places.epoch.stat().st_mode & 0o777 == 0o644


def test_the_order_is_good_then_epoch_then_ports(crossed: Appliance) -> None:
    seen = []

    def look(_effect: object) -> None:
        good = crossed.environment.b.good
        epoch = crossed.places.epoch.read_text().strip()
        seen.append((good, epoch, bool(crossed.rules)))

    effects = Effects(look)
    crossed.settling(effects).carry_out()
    order = list(dict.fromkeys(seen))
    # The program that opens the ports may be done when its start is told, or not yet.
    opened = (True, "amd64", True)
    assert [one for one in order if one != opened] == [
        (False, "i386", False),
        (True, "i386", False),
        (True, "amd64", False),
    ]
    assert opened not in order[:-1]
    assert crossed.rules == ["ports-open"]


def test_is_done_again_without_harm(crossed: Appliance) -> None:
    crossed.settling().carry_out()
    before = crossed.environment
    crossed.start_anew("b")
    crossed.write("run/forge/gate", "open\n")
    assert crossed.settling().carry_out().verdict == Verdict(PROVED)
    assert crossed.environment == before
    check_settled(crossed)
    assert events(crossed) == ["settled", "crossed"]


def _settle(box: Appliance, effects: Effects) -> None:
    box.settling(effects).carry_out()


def _effects_of_settling(tmp_path: Path) -> int:
    effects = Effects()
    proved(appliance(tmp_path / "reference")).settling(effects).carry_out()
    return effects.count


def test_a_cut_after_any_effect_is_made_up_at_the_next_boot(tmp_path: Path) -> None:
    count = _effects_of_settling(tmp_path)
    assert count >= 6
    for number in range(1, count + 1):
        box = proved(appliance(tmp_path / str(number)))
        cut_at(number, partial(_settle, box))
        # Nobody was let in before the epoch was raised.
        raised = box.places.epoch.read_text() == "amd64\n"
        assert not box.rules or raised
        # The floor comes with the epoch: neither before nor after.
        assert (floor.read(box.places) is not None) == raised
        box.start_anew("b")
        proved(box)  # As `migrate boot` does when it finds all published.
        assert box.settling().carry_out().verdict == Verdict(PROVED)
        check_settled(box)


def test_without_a_migration_the_epoch_stays(tmp_path: Path) -> None:
    box = appliance(tmp_path)
    box.release("i386", "b")
    box.write("run/forge/gate", "open\n")
    assert box.settling().carry_out().ports == "open"
    assert box.environment.b == KNOWN_GOOD
    assert box.places.epoch.read_text() == "i386\n"
    assert not floor.path(box.places).exists()
    assert events(box) == ["settled"]


def test_a_new_box_has_no_floor(tmp_path: Path) -> None:
    box = proved(appliance(tmp_path))
    box.write("data/forge/epoch", "amd64\n")  # As the gate writes it on a disk without data.
    assert box.settling().carry_out().ports == "open"
    assert not floor.path(box.places).exists()


@pytest.mark.parametrize("state", ["failed", "inactive", "deactivating"])
def test_services_that_do_not_come_up_give_the_slot_up(crossed: Appliance, state: str) -> None:
    crossed.units(state)
    done = crossed.settling(patience_s=30).carry_out()
    assert done.verdict == Verdict(BACK, "services")
    assert f"forge-postgresql.service is {state}" in done.message
    found = crossed.environment
    assert (found.b, found.primary, found.reason) == (NOT_BOOTABLE, "a", "b-services")
    assert crossed.places.epoch.read_text() == "i386\n"
    assert crossed.rules == []
    (line,) = crossed.history
    assert (line["event"], line["reason"]) == ("given-up", "services")
    assert "ssh.service" in line["message"]


@pytest.mark.parametrize("first", ["activating", "reloading", "inactive queued"])
def test_services_that_are_coming_are_waited_for(crossed: Appliance, first: str) -> None:
    crossed.units(first, "active")
    assert crossed.settling(patience_s=30).carry_out().verdict == Verdict(PROVED)
    check_settled(crossed)


def test_services_that_never_come_are_not_waited_for_for_ever(crossed: Appliance) -> None:
    crossed.units("activating")
    assert crossed.settling(patience_s=0).carry_out().verdict == Verdict(BACK, "services")


def test_a_good_slot_stays_good_whatever_its_services_do(crossed: Appliance) -> None:
    crossed.settling().carry_out()
    crossed.units("failed")
    assert crossed.settling().carry_out().verdict == Verdict(PROVED)
    check_settled(crossed)


@pytest.mark.parametrize("word", ["not-migrated", "epoch-amd64", "epoch-lost"])
def test_a_release_whose_gate_is_shut_is_given_up(tmp_path: Path, word: str) -> None:
    box = appliance(tmp_path)
    box.write("run/forge/gate", f"{word}\n")
    assert box.settling().carry_out().verdict == Verdict(BACK, word)
    assert box.environment.reason == f"b-{word}"
    assert box.rules == []


def test_a_gate_that_failed_gives_the_release_up(tmp_path: Path) -> None:
    done = appliance(tmp_path).settling().carry_out()
    assert done.verdict == Verdict(BACK, "services")
    assert "forge-gate" in done.message


def test_a_request_to_abort_is_heard_until_the_slot_is_good(crossed: Appliance) -> None:
    crossed.write("data/forge/abort", "")
    assert crossed.settling().carry_out().verdict == Verdict(BACK, "aborted")
    assert not crossed.places.abort.exists()
    assert crossed.environment.reason == "b-aborted"


def test_the_first_reason_stays(crossed: Appliance) -> None:
    marks = crossed.settling().marks
    marks.mark_bad("disk-full")
    marks.mark_bad("services")
    assert crossed.environment.reason == "b-disk-full"


def test_a_fall_back_is_told_once(tmp_path: Path) -> None:
    box = fallen_back(appliance(tmp_path))
    box.settling().carry_out()
    box.settling().carry_out()
    (line,) = box.history
    assert events(box) == ["fell-back"]
    assert line["reason"] == "no-long-mode"
    assert "64-bit" in line["message"]
    assert box.places.told.read_text() == "9 b-no-long-mode\n"
    assert box.rules == ["ports-open", "ports-open"]


def fallen_back(box: Appliance) -> Appliance:
    """Return the box under a processor that the boot loader found to be of 32 bits."""
    box.release("i386", "a")
    box.set_environment(Environment(9, "b", KNOWN_GOOD, FRESH, "b-no-long-mode"))
    box.write("run/forge/gate", "open\n")
    return box


def test_a_crossed_disk_under_a_32_bit_processor_lets_nothing_in(tmp_path: Path) -> None:
    box = appliance(tmp_path)
    box.release("i386", "a")
    box.set_environment(Environment(9, "b", KNOWN_GOOD, KNOWN_GOOD, "b-no-long-mode"))
    box.write("data/forge/epoch", "amd64\n")
    box.write("run/forge/gate", "epoch-amd64\n")
    for _ in range(2):
        assert box.settling().carry_out().verdict == Verdict(PROVED)
    assert box.rules == ["ports-refused", "ports-refused"]
    assert events(box) == ["fell-back", "refused"]
    assert box.environment.b == KNOWN_GOOD
    assert box.places.epoch.read_text() == "amd64\n"


def test_an_unwritable_boot_environment_opens_no_port(crossed: Appliance) -> None:
    (crossed.root / "boot/loader/env1").unlink()
    (crossed.root / "boot/loader/env1").mkdir()
    with pytest.raises(Exception, match="env1"):
        crossed.settling().carry_out()
    assert crossed.rules == []
    assert crossed.places.epoch.read_text() == "i386\n"
