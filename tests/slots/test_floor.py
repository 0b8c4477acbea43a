"""The version floor: when it counts, what it refuses, and that a damaged one is not passed over."""

import json
from pathlib import Path

import pytest

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError, SlotError
from applianceforge.slots import floor
from applianceforge.slots.floor import Floor
from applianceforge.slots.places import BootPlaces, Release, write_epoch
from applianceforge.system.effects import Effects

I386, AMD64 = Architecture.I386, Architecture.AMD64
MIGRATION = Release("migration", "2.0.0", AMD64)
FLOOR = Floor("2.0.0", AMD64)


@pytest.fixture
def places(tmp_path: Path) -> BootPlaces:
    found = BootPlaces(tmp_path)
    write_epoch(found, AMD64, Effects())
    return found


def is_older(version: str, other: str) -> bool:
    return version.split(".") < other.split(".")


def test_a_box_that_was_never_migrated_has_none(places: BootPlaces) -> None:
    assert floor.read(places) is None


def test_what_is_written_is_read(places: BootPlaces) -> None:
    floor.write(places, MIGRATION, Effects())
    assert floor.read(places) == FLOOR
    assert floor.path(places).stat().st_mode & 0o777 == 0o644
    fields = json.loads(floor.path(places).read_text())
    assert fields == {"schema": 1, "version": "2.0.0", "architecture": "amd64"}
    floor.remove(places, Effects())
    floor.remove(places, Effects())
    assert floor.read(places) is None


def test_it_counts_while_the_epoch_is_its_own(places: BootPlaces) -> None:
    write_epoch(places, I386, Effects())
    floor.write(places, MIGRATION, Effects())
    assert floor.read(places) is None
    write_epoch(places, AMD64, Effects())
    assert floor.read(places) == FLOOR
    places.epoch.unlink()
    assert floor.read(places) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"2.0.0\n",
        b'{"schema": 1, "version": "2.0.0"}',
        b'{"schema": 1, "version": "", "architecture": "amd64"}',
        b'{"schema": 1, "version": 2, "architecture": "amd64"}',
        b'{"schema": 1, "version": "2.0.0", "architecture": "arm64"}',
        b'{"schema": "x", "version": "2.0.0", "architecture": "amd64"}',
        b'{"schema": 1e999, "version": "2.0.0", "architecture": "amd64"}',
        b'{"schema": 2, "version": "2.0.0", "architecture": "amd64"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_one_is_an_error_with_a_remedy(places: BootPlaces, content: bytes) -> None:
    floor.path(places).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        floor.read(places)
    assert str(floor.path(places)) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("version", ["2.0.0", "2.0.1", "3.0.0"])
def test_what_is_not_below_may_start(version: str) -> None:
    floor.check(FLOOR, (AMD64, version), is_older)


def test_without_a_floor_anything_may_start() -> None:
    floor.check(None, (I386, "1.0.0"), is_older)


@pytest.mark.parametrize(
    ("release", "word", "hint"),
    [
        ((AMD64, "1.9.9"), "older than 2.0.0", "install 2.0.0 or a newer"),
        ((I386, "1.0.0"), "keep its services shut", "migrate back"),
        ((I386, "9.0.0"), "keep its services shut", "migrate back"),
    ],
)
def test_what_is_below_may_not(release: tuple[Architecture, str], word: str, hint: str) -> None:
    with pytest.raises(SlotError, match=word) as caught:
        floor.check(FLOOR, release, is_older)
    assert hint in caught.value.hint
