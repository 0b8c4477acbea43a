"""A repository in a directory: nothing outside it is read, and nothing in it waits for us."""

import os
from pathlib import Path

import pytest

from applianceforge.model.errors import (
    ForgeError,
    NetworkError,
    PayloadError,
    ServerAnswerError,
    SettingsError,
)
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.fetch.source import CHUNK_BYTES, MissingFileError
from applianceforge.release.update.trust import Trust
from applianceforge.system.effects import Effects
from tests.release.attacked import NOW_S
from tests.release.metadata_repository import gateway

SIZE = 200_000


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick/metadata").mkdir(parents=True)
    (tmp_path / "stick/metadata/file").write_bytes(bytes(i % 250 for i in range(SIZE)))
    (tmp_path / "secret").write_bytes(b"root:x:0")
    return tmp_path / "stick"


def whole(stick: Path, path: str, at: int = 0, size: int | None = None, most: int = SIZE) -> bytes:
    return b"".join(DirectorySource(stick).fetch(path, most, at, size))


@pytest.mark.parametrize(("at", "size"), [(0, None), (5, 10), (SIZE, None), (SIZE - 1, 1), (3, 0)])
def test_files_and_parts(stick: Path, at: int, size: int | None) -> None:
    content = (stick / "metadata/file").read_bytes()
    end = SIZE if size is None else at + size
    assert whole(stick, "metadata/file", at, size) == content[at:end]


def test_chunks_are_small_and_counted(stick: Path) -> None:
    source = DirectorySource(stick)
    chunks = list(source.fetch("metadata/file", SIZE))
    assert max(len(chunk) for chunk in chunks) == CHUNK_BYTES
    assert source.received_bytes == SIZE


@pytest.mark.parametrize(
    ("at", "size", "most"), [(SIZE + 1, None, SIZE), (SIZE - 1, 2, SIZE), (0, None, SIZE - 1)]
)
def test_too_much_and_too_little(stick: Path, at: int, size: int | None, most: int) -> None:
    with pytest.raises(PayloadError) as caught:
        whole(stick, "metadata/file", at, size, most)
    assert caught.value.hint


def _leads_out(stick: Path) -> None:
    (stick / "bad").symlink_to("../secret")


def _leads_out_by_a_directory(stick: Path) -> None:
    (stick / "out").symlink_to("..")
    (stick / "bad").symlink_to("out/secret")


def _absolute(stick: Path) -> None:
    (stick / "bad").symlink_to("/etc/passwd")


def _circle(stick: Path) -> None:
    (stick / "bad").symlink_to("bad")


def _device(stick: Path) -> None:
    (stick / "bad").symlink_to("/dev/zero")


def _pipe(stick: Path) -> None:
    os.mkfifo(stick / "bad")


def _directory(stick: Path) -> None:
    (stick / "bad").mkdir()


@pytest.mark.parametrize(
    "made",
    [_leads_out, _leads_out_by_a_directory, _absolute, _circle, _device, _pipe, _directory],
    ids=lambda one: one.__name__.strip("_"),
)
def test_what_is_not_read(stick: Path, made: object) -> None:
    assert callable(made)
    made(stick)
    with pytest.raises(ServerAnswerError) as caught:
        whole(stick, "bad")
    assert "copy" in caught.value.hint


def test_a_directory_that_leads_out(stick: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/timestamp.json").write_bytes(b"{}")
    (stick / "metadata/file").unlink()
    (stick / "metadata").rmdir()
    (stick / "metadata").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServerAnswerError, match="leads out"):
        whole(stick, "metadata/timestamp.json")


def test_a_link_within_is_followed(stick: Path) -> None:
    (stick / "latest").symlink_to("metadata/file")
    assert len(whole(stick, "latest")) == SIZE


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "metadata/../../secret", "."])
def test_paths_that_lead_out(stick: Path, path: str) -> None:
    with pytest.raises(ServerAnswerError, match="no path inside"):
        whole(stick, path)


def test_what_is_not_there(stick: Path) -> None:
    for path in ("nothing", "metadata/file/x", "metadata/" + "x" * 300):
        with pytest.raises(MissingFileError):
            whole(stick, path)


def test_a_stick_that_was_taken_out(stick: Path) -> None:
    source = DirectorySource(stick)
    stick.rename(stick.with_name("gone"))
    with pytest.raises(NetworkError, match="went away") as caught:
        b"".join(source.fetch("metadata/file", SIZE))
    assert "stick" in caught.value.hint


def test_a_file_that_becomes_shorter(stick: Path) -> None:
    chunks = DirectorySource(stick).fetch("metadata/file", SIZE)
    next(chunks)
    os.truncate(stick / "metadata/file", 10)
    with pytest.raises(PayloadError):
        list(chunks)


@pytest.mark.parametrize("name", ["nowhere", "secret", "circle"])
def test_no_directory(tmp_path: Path, stick: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(SettingsError):
        DirectorySource(tmp_path / name)


@pytest.mark.parametrize("part", ["timestamp", "snapshot", "targets"])
def test_links_in_a_repository_on_a_stick(tmp_path: Path, part: str) -> None:
    repository = gateway(tmp_path / "stick", NOW_S)
    path = repository.directory / repository.name(part)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    trust = Trust(
        tmp_path / "cache",
        repository.first_root,
        DirectorySource(repository.directory),
        lambda: NOW_S,
        Effects(),
    )
    with pytest.raises(ForgeError, match="leads out"):
        trust.refresh()
    path.unlink()
    (tmp_path / "outside").rename(path)
    trust.refresh()
    assert trust.graph().offers
