"""The power goes after every effect of an update: the old system starts, or the whole new one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from applianceforge.release.update.intent import Phase
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from tests.migrate.appliances import cut_at
from tests.release.updating import AMD64, I386, Maker, UpdatedBox, updated_box, usual_releases

# What differs from one run to the next, or tells of a run and not of its end.
_PASSING = ("lock", "checked", "intent.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("update-cuts")


@pytest.fixture(scope="module")
def maker(place: Path) -> Maker:
    return usual_releases(place / "vendor")


@pytest.fixture(scope="module")
def fresh(place: Path, maker: Maker) -> UpdatedBox:
    return updated_box(place / "fresh", maker)


@pytest.fixture(scope="module")
def reference(place: Path, fresh: UpdatedBox) -> tuple[int, dict[str, object]]:
    """How many effects an installation has, and its end."""
    box = fresh.copied_to(place / "reference")
    effects = Effects()
    box.install(effects)
    assert effects.count > 15
    return effects.count, end_of(box)


def end_of(box: UpdatedBox) -> dict[str, object]:
    """Return the end state: what would start, what the slots hold, and what is told."""
    chosen = box.choose()
    agreed = box.agreed
    return {
        "starts": chosen.slot,
        "old": box.holds(Slot.A, "1.0.0", I386),
        "new": box.holds(Slot.B, "2.0.0", AMD64),
        "phase": None if agreed is None else agreed.phase,
        "history": [(line["event"], line["to"]) for line in box.appliance.history],
        "status": (box.status["state"], box.status["to"]["version"]),
        "files": sorted(
            path.name for path in box.places.directory.rglob("*") if path.name not in _PASSING
        ),
    }


def check_startable(box: UpdatedBox) -> None:
    """The machine starts the system that ran, or the whole new one; also if a copy is lost."""
    chosen = box.choose()
    assert chosen.slot is not None
    assert box.holds(Slot.A, "1.0.0", I386)
    if chosen.slot is Slot.B:
        assert box.holds(Slot.B, "2.0.0", AMD64)
    # The running system is what a fall back would find.
    assert box.appliance.environment.a.good


def go_on(box: UpdatedBox) -> None:
    """Do what happens at the next boot, and what a person does who sees that nothing was begun."""
    box.resume()
    if box.choose().slot is Slot.A:
        box.install()


def test_the_end_is_the_new_release(reference: tuple[int, dict[str, object]]) -> None:
    _, end = reference
    assert end["starts"] is Slot.B
    assert end["new"] is True
    assert end["phase"] is Phase.ACTIVATED
    assert end["history"] == [("update-installed", "2.0.0 (amd64)")]
    assert end["status"] == ("activated", "2.0.0")


def test_a_cut_after_any_effect_is_made_up(
    place: Path, fresh: UpdatedBox, reference: tuple[int, dict[str, object]]
) -> None:
    count, end = reference
    resumed = 0
    for number in range(1, count + 1):
        box = fresh.copied_to(place / f"cut-{number}")
        cut_at(number, box.install)
        check_startable(box)
        begun = box.agreed is not None and box.agreed.phase is not Phase.ACTIVATED
        go_on(box)
        resumed += begun
        assert end_of(box) == end, f"cut after effect {number}"
    assert resumed > count // 2


def test_a_cut_before_a_restart_is_told_at_the_next_boot(
    place: Path, fresh: UpdatedBox, reference: tuple[int, dict[str, object]]
) -> None:
    """The new release starts wherever the cut was after its activation, and is told once."""
    count, _ = reference
    started = 0
    for number in range(1, count + 1):
        box = fresh.copied_to(place / f"started-{number}")
        cut_at(number, box.install)
        if box.start() is Slot.A:
            continue
        started += 1
        assert box.resume() == 0
        assert box.events[-1] == "updated"
        assert box.agreed is None
        assert box.status["state"] == "done"
        box.resume()
        assert box.events.count("updated") == 1
    assert started >= 3


@pytest.mark.parametrize("seed", range(12))
def test_cuts_of_what_goes_on(
    place: Path, fresh: UpdatedBox, reference: tuple[int, dict[str, object]], seed: int
) -> None:
    """The power goes again and again, also while it goes on, and at last it stays."""
    count, end = reference
    source = random.Random(seed)
    box = fresh.copied_to(place / f"again-{seed}")
    cut_at(source.randint(1, count - 1), box.install)
    for cuts in range(4):
        check_startable(box)
        work: Callable[[Effects], object] = box.resume if box.agreed else box.install
        effects = Effects()
        probe = box.copied_to(place / f"probe-{seed}-{cuts}")
        (probe.resume if box.agreed else probe.install)(effects)
        if box.choose().slot is Slot.B or effects.count == 0:
            break
        cut_at(source.randint(1, effects.count), work)
    check_startable(box)
    go_on(box)
    assert end_of(box) == end


def test_cuts_of_the_conclusion(place: Path, fresh: UpdatedBox) -> None:
    reference = fresh.copied_to(place / "concluding")
    reference.install()
    assert reference.start() is Slot.B
    effects = Effects()
    probe = reference.copied_to(place / "concluded")
    probe.resume(effects)
    assert effects.count >= 3
    for number in range(1, effects.count + 1):
        box = reference.copied_to(place / f"conclusion-{number}")
        cut_at(number, box.resume)
        box.resume()
        assert box.events == ["update-installed", "updated"]
        assert box.agreed is None
        assert not box.places.index.exists()
        assert json.loads(box.places.status.read_text())["state"] == "done"
