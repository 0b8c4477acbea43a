"""Bytes that are changed where they lie."""

import os
from pathlib import Path

import pytest

from applianceforge.model.errors import AccessDeniedError, SettingsError, SlotError
from applianceforge.system.effects import Effect, Effects
from applianceforge.system.files import held
from applianceforge.system.in_place import InPlace


def test_bytes_are_changed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 4096)
    before = path.stat()
    seen: list[Effect] = []
    with InPlace(path, Effects(seen.append)) as medium:
        assert medium.size_bytes == 4096
        medium.write(512, b"b" * 512)
        assert seen == []
        medium.flush()
        assert medium.read(510, 4) == b"aabb"
        assert medium.read(4090, 100) == b"a" * 6
    assert path.read_bytes() == b"a" * 512 + b"b" * 512 + b"a" * 3072
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    assert [effect.subject for effect in seen] == [f"bytes of {path}"]


def test_it_is_never_made(tmp_path: Path, effects: Effects) -> None:
    with pytest.raises(SettingsError, match="cannot open"):
        InPlace(tmp_path / "nowhere", effects)
    assert list(tmp_path.iterdir()) == []


def test_reading_alone(tmp_path: Path, effects: Effects) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with (
        InPlace(path, effects, writable=False) as medium,
        pytest.raises(SettingsError, match="cannot write"),
    ):
        medium.write(0, b"y")


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_a_file_of_somebody_else(tmp_path: Path, effects: Effects) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0o400)
    with pytest.raises(AccessDeniedError):
        InPlace(path, effects)


@pytest.mark.parametrize("place", ["disk", "memory"])
@pytest.mark.parametrize("size", [0, 1, 511, 4096, 10_000, 3 << 20])
def test_reading_past_the_page_cache(
    size: int, place: str, tmp_path: Path, effects: Effects
) -> None:
    directory = tmp_path if place == "disk" else Path("/dev/shm")
    path = directory / f"in-place-{os.getpid()}"
    content = os.urandom(size)
    try:
        path.write_bytes(content + b"more")
        with InPlace(path, effects) as medium:
            medium.flush()
            assert b"".join(medium.read_from_disk(size)) == content
            chunks = list(medium.read_from_disk(size, 8192))
            assert b"".join(chunks) == content
            assert all(len(chunk) <= 8192 for chunk in chunks)
    finally:
        path.unlink()


def test_it_ends_where_the_file_ends(tmp_path: Path, effects: Effects) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with InPlace(path, effects) as medium:
        assert b"".join(medium.read_from_disk(1 << 20)) == b"short"


def test_a_lock_on_a_directory(tmp_path: Path) -> None:
    with held(tmp_path):
        pass
    with pytest.raises(SettingsError, match="cannot lock"), held(tmp_path / "nowhere"):
        pass


def test_what_waits_for_somebody_is_refused(tmp_path: Path, effects: Effects) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for writable in (False, True):
            with pytest.raises(SettingsError, match="neither a file nor a block device"):
                InPlace(path, effects, writable=writable)
    with pytest.raises(SettingsError, match="Is a directory"):
        InPlace(tmp_path, effects, writable=False)


def test_only_one_writes_at_a_time(tmp_path: Path, effects: Effects) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with InPlace(path, effects), pytest.raises(SlotError, match="another command writes it"):
        InPlace(path, effects)
    with InPlace(path, effects), InPlace(path, effects, writable=False) as reading:
        assert reading.read(0, 1) == b"x"
    with InPlace(path, effects):
        pass
