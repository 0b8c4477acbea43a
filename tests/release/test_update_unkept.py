"""A look at what is offered where nothing can be noted: /data is full, or may only be read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from applianceforge.model.errors import (
    AccessDeniedError,
    AlreadyRunningError,
    DiskFullError,
    RollbackError,
)
from applianceforge.release.update import gathering
from applianceforge.release.update.intent import Phase
from applianceforge.release.update.lock import only_update
from applianceforge.slots.layout import Slot
from tests.release.updating import AMD64, Maker, UpdatedBox, updated_box

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
Spoiling = Callable[[Path], None]


@pytest.fixture
def box(tmp_path: Path, maker: Maker) -> Iterator[UpdatedBox]:
    """Return a box whose data is a file system of its own, small and in memory."""
    made = updated_box(tmp_path, maker)
    data = made.root / "data"
    shutil.move(data, tmp_path / "before")
    data.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", str(data)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        shutil.copytree(tmp_path / "before", data, dirs_exist_ok=True)
        yield made
    finally:
        subprocess.run(["umount", str(data)], check=True)


def fill(data: Path) -> None:
    """Take all the room, and show that it is taken."""
    with contextlib.suppress(OSError), open(data / "filler", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        (data / "more").write_bytes(bytes(4096))
    (data / "more").unlink()


def shut(data: Path) -> None:
    """Let it be read only, and show that it is."""
    subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        (data / "more").touch()


def mend(data: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(data)], check=True)
    (data / "filler").unlink(missing_ok=True)


spoilt = pytest.mark.parametrize(
    ("spoil", "kind", "why"),
    [(fill, DiskFullError, "No space left"), (shut, AccessDeniedError, "Read-only")],
    ids=["full", "read-only"],
)


def contents(data: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.name not in ("filler", "lock")
    }


@spoilt
@pytest.mark.parametrize("looked_before", [False, True])
def test_root_may_look(
    box: UpdatedBox, spoil: Spoiling, kind: type[Exception], why: str, looked_before: bool
) -> None:
    data = box.root / "data"
    if looked_before:
        assert box.update("--check").errors == ""
    spoil(data)
    before = contents(data)
    for option in ("--check", "--dry-run"):
        said = box.update(option)
        assert said.status == 0, said
        assert "3.0.0 (amd64) is offered" in said.out
        told = " ".join(said.errors.split())
        assert told.startswith(
            f"What was found is not kept: cannot write in {box.places.directory}"
        )
        assert why in told
        assert "What to do: " in told
    said = box.update("--check", "--json")
    assert json.loads(said.out)["state"] == "available"
    assert "is not kept" in said.errors
    assert contents(data) == before


@spoilt
def test_to_install_is_refused_before_anybody_is_asked(
    box: UpdatedBox, spoil: Spoiling, kind: type[DiskFullError], why: str
) -> None:
    data = box.root / "data"
    spoil(data)
    said = box.update("--yes")
    assert (said.status, said.out) == (kind.exit_status, "")
    assert why in said.errors
    assert said.hint
    assert box.choose().slot is Slot.A
    mend(data)
    said = box.update("--yes")
    assert said.status == 0
    assert "is not kept" not in said.errors
    assert box.holds(Slot.B, "2.0.0", AMD64)


@spoilt
def test_what_was_begun_waits(
    box: UpdatedBox, spoil: Spoiling, kind: type[DiskFullError], why: str
) -> None:
    data = box.root / "data"
    box.install()
    assert box.agreed is not None
    spoil(data)
    said = box.update("--check")
    assert said.status == 0
    assert "starts next" in said.out
    with pytest.raises(kind, match=why):
        box.resume()
    assert box.agreed.phase is Phase.ACTIVATED
    mend(data)
    box.start()
    assert box.resume() == 0
    assert box.agreed is None
    assert box.events[-1] == "updated"


@spoilt
def test_nothing_is_trusted_that_is_older_than_what_was_seen(
    box: UpdatedBox, tmp_path: Path, spoil: Spoiling, kind: type[Exception], why: str
) -> None:
    vendor = tmp_path / "vendor"
    shutil.copytree(box.maker.public, tmp_path / "older")
    shutil.copytree(box.maker.vendor.place, vendor)
    newer = Maker(type(box.maker.vendor)(vendor))
    newer.vendor.publish()
    assert box.update("--check", "--from", newer.public).status == 0
    spoil(box.root / "data")
    said = box.update("--check", "--from", tmp_path / "older")
    assert said.status == RollbackError.exit_status, said


@spoilt
def test_a_look_does_not_pass_an_update_that_is_at_work(
    box: UpdatedBox, spoil: Spoiling, kind: type[Exception], why: str
) -> None:
    assert box.person(changes=False) == 0
    spoil(box.root / "data")
    with only_update(box.places.lock, needed=False), pytest.raises(AlreadyRunningError):
        box.person(changes=False)


def test_where_there_is_room_all_is_kept(box: UpdatedBox) -> None:
    assert gathering.unkept(box.places) is None
    assert box.update("--check").errors == ""
    assert box.status["state"] == "available"
    assert (box.places.metadata / "timestamp.json").exists()


def test_no_room_for_names_is_no_room(box: UpdatedBox) -> None:
    data = box.root / "data"
    subprocess.run(["mount", "-o", "remount,nr_inodes=64", str(data)], check=True)
    with contextlib.suppress(OSError):
        for number in range(64):
            (data / f"name-{number}").touch()
    assert isinstance(gathering.unkept(box.places), DiskFullError)
    assert box.update("--check").status == 0
