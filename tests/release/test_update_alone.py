"""The update without a person: the timer, the boot that goes on, and what fell back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest

from applianceforge.cli.update_session import Session
from applianceforge.model.errors import NetworkError, PayloadError, SlotError
from applianceforge.release.update import intent
from applianceforge.release.update.applying import Update
from applianceforge.release.update.intent import MOST_ATTEMPTS, Consent, Phase
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effect, Effects
from tests.migrate.appliances import cut_at
from tests.migrate.test_boot_settle import SCHEMA
from tests.release.server import Fault, Kind, Server
from tests.release.updating import (
    AMD64,
    Maker,
    UpdatedBox,
    updated_box,
    usual_releases,
)
from tests.slots.slot_images import SIZE_MIB

ALWAYS = "00:00-00:00"
PAYLOAD = "*.payload.zst"


def loader(box: UpdatedBox) -> Loader:
    return Loader(box.root / "boot/loader", Effects())


def change(box: UpdatedBox, **fields: object) -> None:
    """Change what was agreed to."""
    agreed = box.agreed
    assert agreed is not None
    intent.write(box.places.intent, replace(agreed, **fields), Effects())  # type: ignore[arg-type]


def cut_while_installing(box: UpdatedBox) -> None:
    """Let the power go in the middle of an installation."""
    effects = Effects()
    probe = box.copied_to(box.root.parent / f"{box.root.name}-probe")
    found: list[int] = []

    def observe(effect: Effect) -> None:
        if f"{probe.device(Slot.B)}" in effect.subject:
            found.append(effect.number)

    effects.observer = observe
    probe.install(effects)
    # The seal is gone, and what the running slot has was copied.
    assert len(found) >= 4
    cut_at(found[1], box.install)
    assert box.agreed is not None
    assert box.agreed.phase is Phase.INSTALLING
    assert box.held(Slot.B) is None


def moment(clock: str) -> Callable[[], float]:
    """Return a clock that stands, today."""
    hour, minute = map(int, clock.split(":"))
    now = datetime.now().replace(hour=hour, minute=minute)
    return now.timestamp


# The timer.


def test_without_consent_it_only_looks(box: UpdatedBox, capsys: pytest.CaptureFixture[str]) -> None:
    assert box.unattended() == 0
    assert "Automatic updates are off" in capsys.readouterr().out
    assert box.status["state"] == "available"
    assert box.status["by"] == "timer"
    assert box.agreed is None
    # It looks once a day.
    box.places.status.unlink()
    assert box.unattended() == 0
    assert not box.places.status.exists()
    box.places.checked.write_text("nonsense")
    assert box.unattended() == 0
    assert box.status["state"] == "available"


def test_in_the_window_it_installs_and_restarts(box: UpdatedBox) -> None:
    box.settings(automatic=True, window="02:00-05:00")
    assert box.unattended(moment("02:30")) == 0
    assert box.restarts == 1
    assert box.start() is Slot.B
    assert box.resume() == 0
    assert box.events == ["update-installed", "updated"]
    assert {line["by"] for line in box.appliance.history} == {"timer"}


def test_outside_of_the_window_it_waits(
    box: UpdatedBox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.settings(automatic=True, window="02:00-05:00")
    assert box.unattended(moment("06:00")) == 0
    assert "in the window 02:00-05:00" in capsys.readouterr().out
    assert box.agreed is None


def test_what_was_installed_late_restarts_in_the_next_window(box: UpdatedBox) -> None:
    box.install()
    change(box, by=Consent.TIMER, reboot=True)
    box.settings(automatic=True, window="02:00-05:00")
    assert box.unattended(moment("06:00")) == 0
    assert box.restarts == 0
    assert box.unattended(moment("03:00")) == 0
    assert box.restarts == 1


def test_what_a_person_installed_is_restarted_by_a_person(box: UpdatedBox) -> None:
    assert box.person() == 0
    box.settings(automatic=True, window=ALWAYS)
    assert box.unattended() == 0
    assert box.restarts == 0


def test_what_the_timer_began_ends_with_its_consent(box: UpdatedBox) -> None:
    cut_while_installing(box)
    change(box, by=Consent.TIMER)
    box.settings(automatic=False)
    assert box.resume() == 0
    assert box.agreed is None
    assert box.held(Slot.B) is None
    assert box.appliance.history[-1]["reason"] == "automatic-off"


def test_what_the_timer_began_goes_on_in_the_window(box: UpdatedBox) -> None:
    cut_while_installing(box)
    change(box, by=Consent.TIMER)
    box.settings(automatic=True, window="02:00-05:00")
    assert box.unattended(moment("06:00")) == 0
    assert box.held(Slot.B) is None
    assert box.unattended(moment("04:59")) == 0
    assert box.holds(Slot.B, "2.0.0", AMD64)
    assert box.restarts == 1


# The boot.


def test_nothing_was_begun(box: UpdatedBox) -> None:
    assert box.resume() == 0
    assert not box.places.status.exists()


def test_a_boot_goes_on_and_fetches_neither_manifest_nor_index_again(
    tmp_path: Path, maker: Maker, server: Server
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    server.faults(Fault(Kind.HANG_UP, PAYLOAD, skip=1))
    with pytest.raises(NetworkError):
        box.install()
    assert server.happened(Kind.HANG_UP)
    before = len(server.settled().log)
    server.faults()
    assert box.resume() == 0
    again = [entry.path for entry in server.settled().log[before:]]
    assert not any(path.endswith(".index") or "/bundles/gateway" in path for path in again)
    assert box.holds(Slot.B, "2.0.0", AMD64)
    assert box.choose().slot is Slot.B
    assert box.restarts == 0


def test_a_restart_that_was_asked_for_comes_at_the_end(box: UpdatedBox) -> None:
    cut_while_installing(box)
    change(box, reboot=True)
    assert box.resume() == 0
    assert box.restarts == 1


def test_a_damaged_cache_is_fetched_again(box: UpdatedBox) -> None:
    cut_while_installing(box)
    box.places.index.write_bytes(b"damaged")
    box.places.manifest.write_bytes(b"{}")
    assert box.resume() == 0
    assert box.holds(Slot.B, "2.0.0", AMD64)


def test_a_network_that_is_away_is_no_attempt(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    cut_while_installing(box)
    with server.away(), pytest.raises(NetworkError):
        box.resume()
    server.faults(Fault(Kind.HANG_UP, PAYLOAD))
    for _ in range(MOST_ATTEMPTS + 1):
        with pytest.raises(NetworkError):
            box.resume()
    assert server.happened(Kind.HANG_UP) > MOST_ATTEMPTS
    server.faults()
    assert box.resume() == 0
    assert box.choose().slot is Slot.B


def test_it_is_given_up_after_attempts_without_progress(
    tmp_path: Path, maker: Maker, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    server.faults(Fault(Kind.CHANGE, PAYLOAD, at_bytes=10))
    with pytest.raises(PayloadError):
        box.install()
    attempts = 0
    for _ in range(20 * MOST_ATTEMPTS):
        if box.agreed is None:
            break
        try:
            box.resume()
        except PayloadError:
            attempts += 1
    assert server.happened(Kind.CHANGE) > MOST_ATTEMPTS
    # Of those that came further none counts.
    assert attempts >= MOST_ATTEMPTS
    assert box.agreed is None
    assert box.choose().slot is Slot.A
    assert "came no further" in capsys.readouterr().out
    assert box.appliance.history[-1]["reason"] == "worn-out"
    assert box.status["state"] == "failed"
    # The history was told of the damage once.
    assert box.events == ["update-failed", "update-failed"]
    for line in box.appliance.history:
        jsonschema.Draft202012Validator(SCHEMA).validate(line)


def test_what_a_person_stopped_waits_for_a_person(box: UpdatedBox) -> None:
    cut_while_installing(box)
    change(box, phase=Phase.STOPPED)
    assert box.resume() == 0
    assert box.held(Slot.B) is None
    box.settings(automatic=False)
    assert box.unattended() == 0
    assert box.held(Slot.B) is None
    assert box.person() == 0
    assert box.holds(Slot.B, "2.0.0", AMD64)


def test_what_was_withdrawn_meanwhile_is_given_up(tmp_path: Path) -> None:
    maker = usual_releases(tmp_path / "vendor")
    box = updated_box(tmp_path / "box", maker)
    cut_while_installing(box)
    maker.vendor.repository().withdraw("2.0.0", AMD64, "it loses the spool")
    maker.vendor.publish()
    assert box.resume() == 78
    assert box.agreed is None
    assert box.held(Slot.B) is None
    assert box.events == ["update-failed"]
    assert "spool" in json.dumps(box.appliance.history)


def test_what_is_not_what_was_agreed_to_is_given_up(box: UpdatedBox) -> None:
    cut_while_installing(box)
    change(box, manifest="0" * 64)
    assert box.resume() == 0
    assert box.agreed is None
    assert box.appliance.history[-1]["reason"] == "changed"


def test_a_slot_that_is_not_good_goes_on_later(box: UpdatedBox) -> None:
    cut_while_installing(box)
    found = box.appliance.environment
    box.appliance.set_environment(found._replace(a=found.a._replace(tries=2, good=False)))
    with pytest.raises(SlotError):
        box.resume()
    assert box.agreed is not None
    box.appliance.set_environment(found)
    assert box.resume() == 0


# What fell back.


def given_up(box: UpdatedBox, word: str = "services") -> UpdatedBox:
    """Return the box after its new release was installed, started and given up."""
    box.install()
    assert box.choose().slot is Slot.B
    loader(box).mark_bad(Slot.B, word)
    assert box.start() is Slot.A
    return box


def test_what_fell_back_is_told_with_its_reason(box: UpdatedBox) -> None:
    given_up(box)
    assert box.resume() == 0
    assert box.agreed is None
    assert box.events == ["update-installed", "update-failed"]
    assert box.appliance.history[-1]["reason"] == "services"
    assert box.status["state"] == "fell-back"


def test_what_fell_back_is_not_installed_again_by_itself(
    box: UpdatedBox, capsys: pytest.CaptureFixture[str]
) -> None:
    given_up(box)
    box.settings(automatic=True, window=ALWAYS)
    assert box.unattended() == 0
    assert box.unattended() == 0
    said = capsys.readouterr().out
    assert "was installed before and given up" in " ".join(said.split())
    assert box.choose().slot is Slot.A
    assert box.restarts == 0
    assert box.status["state"] == "waiting"
    # A person may.
    assert box.person() == 0
    assert box.choose().slot is Slot.B


def test_a_newer_version_than_what_fell_back_is_installed(tmp_path: Path) -> None:
    maker = usual_releases(tmp_path / "vendor")
    box = given_up(updated_box(tmp_path / "box", maker))
    maker.add("2.0.1", AMD64, crossing=True, replaces=("2.0.0",))
    maker.vendor.repository().withdraw("2.0.0", AMD64, "its services do not start")
    maker.vendor.publish()
    box.settings(automatic=True, window=ALWAYS)
    assert box.unattended() == 0
    assert box.restarts == 1
    assert box.holds(Slot.B, "2.0.1", AMD64)


def test_a_slot_that_grub_passed_over(box: UpdatedBox) -> None:
    box.install()
    chosen = box.choose(long_mode=False)
    assert chosen.slot is Slot.A
    for name, data in zip(("env1", "env2"), chosen.copies, strict=True):
        (box.root / "boot/loader" / name).write_bytes(data)
    assert box.appliance.environment.reason == "b-no-long-mode"
    assert box.resume() == 0
    assert box.appliance.history[-1]["reason"] == "no-long-mode"
    assert "64-bit mode" in box.status["result"]["message"]


def test_a_slot_that_was_marked_bad_meanwhile_is_not_installed_further(box: UpdatedBox) -> None:
    cut_while_installing(box)
    loader(box).mark_bad(Slot.B, "by-hand")
    assert box.resume() == 0
    assert box.agreed is None
    assert box.held(Slot.B) is None
    assert box.appliance.history[-1]["reason"] == "by-hand"


def test_an_older_reason_is_no_obstacle_to_what_was_agreed_to_since(box: UpdatedBox) -> None:
    given_up(box)
    box.resume()
    cut_at(_first_write_of_the_intent(box), box.install)
    assert box.agreed is not None
    assert box.appliance.environment.reason == "b-services"
    assert box.resume() == 0
    assert box.choose().slot is Slot.B


def _first_write_of_the_intent(box: UpdatedBox) -> int:
    probe = box.copied_to(box.root.parent / f"{box.root.name}-intent")
    found: list[int] = []

    def observe(effect: Effect) -> None:
        if effect.subject.endswith("intent.json"):
            found.append(effect.number)

    probe.install(Effects(observe))
    return found[0]


def test_another_choice_of_a_person_ends_it(box: UpdatedBox) -> None:
    box.install()
    loader(box).activate(Slot.A)
    found = box.appliance.environment
    assert found.primary == "a"
    assert box.resume() == 0
    assert box.agreed is None
    assert box.appliance.history[-1]["reason"] == "undone"


def test_an_intent_of_a_newer_release_is_left_alone(box: UpdatedBox) -> None:
    cut_while_installing(box)
    fields = json.loads(box.places.intent.read_text()) | {"schema": 99}
    box.places.intent.write_text(json.dumps(fields))
    assert box.resume() == 0
    assert box.held(Slot.B) is None


def test_a_slot_that_became_too_small_is_told(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)

    def work(session: Session) -> None:
        with session.source() as source:
            found = session.look(source)
            with box.device(Slot.B).open("r+b") as stream:
                stream.truncate((SIZE_MIB - 1) << 20)
            Update(session.around, source).carry_out(found, Consent.PERSON, reboot=False)

    with pytest.raises(SlotError):
        box.session(work)
    assert box.choose().slot is Slot.A
    # It would not fit the next time either.
    assert box.agreed is None
