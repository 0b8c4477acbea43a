"""What is no plain file where one belongs: no command waits for it, and none does what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from applianceforge.model.errors import AlreadyRunningError, ForgeError, SettingsError
from applianceforge.release.update import bundle_cache, intent
from applianceforge.release.update import status as update_status
from applianceforge.release.update.lock import only_update
from applianceforge.slots import floor, history
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import BootPlaces, read_epoch
from tests.migrate.boxes import applianceforge as command
from tests.release.updating import AMD64, UpdatedBox

_PATIENCE_S = 60
Putting = Callable[[Path], None]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    # The name of a socket is at most 108 bytes.
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def device(path: Path) -> None:
    """Put a device there whose reading never ends: it is that of /dev/zero."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a device")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this machine lets nobody make a device")


def link_to_a_pipe(path: Path) -> None:
    target = path.with_name(f"{path.name}.target")
    os.mkfifo(target)
    path.symlink_to(target.name)


def directory(path: Path) -> None:
    path.mkdir()


KINDS: tuple[Putting, ...] = (pipe, listening_socket, device, link_to_a_pipe, directory)
OF_THE_UPDATE = (
    "data/forge/update.json",
    "data/forge/history.jsonl",
    "data/forge/epoch",
    "data/forge/floor",
    "data/forge/update/lock",
    "data/forge/update/intent.json",
    "data/forge/update/manifest.json",
    "data/forge/update/index",
    "data/forge/update/metadata",
    "data/forge/update/metadata/timestamp.json",
    "data/forge/update/metadata/targets.json",
    "data/forge/update/metadata/root_history",
    "data/config/update.toml",
    "data/config/machine-id",
)


@contextmanager
def no_wait() -> Iterator[None]:
    """Fail what waits, instead of waiting with it."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def replaced(box: UpdatedBox, name: str, put: Putting) -> Path:
    path = box.root / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.unlink(missing_ok=True)
    put(path)
    return path


@pytest.mark.parametrize("name", OF_THE_UPDATE)
@pytest.mark.parametrize("put", KINDS)
def test_no_update_waits(box: UpdatedBox, name: str, put: Putting) -> None:
    path = replaced(box, name, put)
    steps: tuple[Callable[[], int], ...] = (
        lambda: box.person(changes=False),
        box.resume,
        box.person,
        box.resume,
    )
    with no_wait():
        for step in steps:
            try:
                step()
            except ForgeError as error:
                # It names what is in the way, and what to do.
                assert str(path) in error.message
                assert error.hint
                assert box.choose().slot is Slot.A
                return
    assert box.holds(Slot.B, "2.0.0", AMD64)
    assert box.choose().slot is Slot.B


@pytest.mark.parametrize("put", KINDS)
def test_a_lock_that_is_no_file(box: UpdatedBox, put: Putting) -> None:
    path = replaced(box, "data/forge/update/lock", put)
    with no_wait(), pytest.raises(SettingsError, match=r"it is (a link|no plain file)") as caught:
        box.person(changes=False)
    assert str(path) in caught.value.message


def test_a_lock_that_was_cleared_away_is_one_again(box: UpdatedBox) -> None:
    replaced(box, "data/forge/update/lock", pipe).unlink()
    assert box.person(changes=False) == 0
    with only_update(box.places.lock), pytest.raises(AlreadyRunningError):
        box.person(changes=False)


@pytest.mark.parametrize("put", KINDS)
def test_what_is_no_file_counts_as_damaged(box: UpdatedBox, put: Putting) -> None:
    places = box.places
    for path in (places.intent, places.manifest, places.status):
        replaced(box, str(path.relative_to(box.root)), put)
    with no_wait():
        assert intent.read(places.intent) is None
        assert bundle_cache.kept_manifest(places, "") is None
        assert update_status.read(places.status) is None


@pytest.mark.parametrize("put", KINDS)
def test_what_decides_is_an_error_if_it_is_no_file(box: UpdatedBox, put: Putting) -> None:
    places = BootPlaces(box.root)
    for name, read in (("epoch", read_epoch), ("floor", floor.read), ("history.jsonl", _past)):
        path = replaced(box, f"data/forge/{name}", put)
        with no_wait(), pytest.raises(SettingsError) as caught:
            read(places)
        assert str(path) in caught.value.message
        assert caught.value.hint


def _past(places: BootPlaces) -> object:
    return history.read(places)


@pytest.mark.parametrize("put", [pipe, listening_socket, device])
def test_what_was_trusted_is_kept_where_something_else_lay(box: UpdatedBox, put: Putting) -> None:
    replaced(box, "data/forge/update/metadata", put)
    with no_wait():
        assert box.person(changes=False) == 0
    assert json.loads((box.places.metadata / "timestamp.json").read_text())


@pytest.mark.parametrize("put", [pipe, listening_socket, device])
def test_a_status_that_is_no_file_becomes_one(box: UpdatedBox, put: Putting) -> None:
    replaced(box, "data/forge/update.json", put)
    with no_wait():
        assert box.person(changes=False) == 0
    assert box.status["state"] == "available"


def test_the_real_commands_do_not_wait(box: UpdatedBox) -> None:
    before = command("status", "--root", box.root)
    replaced(box, "data/forge/update.json", pipe)
    past = replaced(box, "data/forge/history.jsonl", pipe)
    assert command("status", "--root", box.root) == before
    said = command("history", "--root", box.root)
    assert said.status == SettingsError.exit_status
    assert f"cannot read {past}: it is no plain file" in said.errors
    assert said.hint.startswith("move it away")
    assert command("update", "--resume", "--root", box.root).status == 0
    assert box.update("--check").status == 0
    assert box.update("--yes").status == 0
    assert box.holds(Slot.B, "2.0.0", AMD64)


@pytest.mark.parametrize("put", KINDS)
def test_the_timer_looks_where_nothing_says_when_it_did(box: UpdatedBox, put: Putting) -> None:
    path = replaced(box, "data/forge/update/checked", put)
    with no_wait():
        if put is directory:
            with pytest.raises(SettingsError, match=r"cannot write .*/checked"):
                box.unattended()
            return
        assert box.unattended() == 0
    assert box.status["state"] == "available"
    assert json.loads(path.read_text())["schema"] == 1
