"""What is no plain file where one of a boot's belongs: no boot and no command waits for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.migrate import boot_record, boot_status, journal, lock, status
from applianceforge.model.errors import SettingsError
from applianceforge.system.effects import Effects
from tests.migrate.appliances import Appliance, appliance
from tests.migrate.boxes import applianceforge as command

_PATIENCE_S = 60


@pytest.fixture(autouse=True)
def no_wait() -> Iterator[None]:
    """Fail what waits, instead of waiting with it."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    made = appliance(tmp_path)
    made.write("run/forge/gate", "open\n")
    made.release("i386", "a")
    made.write("data/forge/epoch", "i386\n")
    return made


def pipe(box: Appliance, name: str) -> Path:
    path = box.root / "data/forge" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("gate", ["open", "source-used"])
def test_a_boot_settles(box: Appliance, gate: str) -> None:
    box.set_environment(Environment(4, "a", KNOWN_GOOD, NOT_BOOTABLE, reason="b-services"))
    box.write("run/forge/gate", f"{gate}\n")
    told = pipe(box, "told")
    pipe(box, "history.jsonl")
    settled = box.settling().carry_out()
    assert settled.ports == ("open" if gate == "open" else "refused")
    # It is a file again, so that it is not told at each boot.
    assert told.read_text().endswith(" b-services\n")


def test_status_is_told(box: Appliance) -> None:
    before = command("status", "--root", box.root)
    for name in ("status.json", "history.jsonl", "work/boots.jsonl"):
        pipe(box, name)
    said = command("status", "--root", box.root)
    assert (said.status, said.out) == (before.status, before.out)


def test_what_counts_as_damaged(box: Appliance) -> None:
    path = pipe(box, "x")
    assert boot_status.read(path) is None
    assert status.read_progress(path) is None
    assert lock.read_owner(path) is None
    assert not lock.is_held(path)


def _journal(path: Path) -> object:
    return journal.Journal(path, Effects(), lambda: 0.0)


def _locked(path: Path) -> None:
    with lock.only_run(path, "run"):
        raise AssertionError("it is held")


@pytest.mark.parametrize("read", [boot_record.read, journal.read, _journal, _locked])
def test_what_is_an_error(box: Appliance, read: Callable[[Path], object]) -> None:
    path = pipe(box, "x")
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
