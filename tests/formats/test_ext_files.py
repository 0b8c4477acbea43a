"""Files read out of file systems that mke2fs made, with and without extents."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.formats.ext_files import Reader
from applianceforge.model.errors import SlotError

pytestmark = pytest.mark.real
SIZES = (0, 1, 1024, 12 * 1024, 12 * 1024 + 1, 200_000, 3_000_000)


@pytest.fixture(scope="module", params=["ext2 -b 1024", "ext4 -b 1024", "ext4 -b 4096"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("system")
    tree = place / "tree"
    (tree / "a directory/in it").mkdir(parents=True)
    for size in SIZES:
        (tree / f"a directory/{size}").write_bytes(os.urandom(size))
    with open(tree / "holes", "wb") as stream:
        for at in (0, 30_000, 1_500_000, 2_500_000):
            stream.seek(at)
            stream.write(b"content")
    for number in range(300):
        (tree / f"a directory/in it/{number}").write_text(str(number))
    options = ["-q", "-t", *request.param.split(), "-d", str(tree), str(place / "image")]
    subprocess.run(["/usr/sbin/mke2fs", *options, "16M"], check=True, capture_output=True)
    return place


def reader(content: bytes) -> Reader:
    return Reader(lambda at, size: content[at : at + size], "the image")


def test_every_file_reads_as_it_was_written(system: Path) -> None:
    found = reader((system / "image").read_bytes())
    for path in (system / "tree").rglob("*"):
        if path.is_file():
            name = str(path.relative_to(system / "tree"))
            assert found.file(name, 1 << 22) == path.read_bytes(), name


def test_no_more_is_read_than_was_asked_for(system: Path) -> None:
    found = reader((system / "image").read_bytes())
    whole = (system / "tree/a directory/200000").read_bytes()
    assert found.file("a directory/200000", 13_000) == whole[:13_000]


def test_what_is_missing_is_named(system: Path) -> None:
    found = reader((system / "image").read_bytes())
    with pytest.raises(SlotError, match="no file a directory/none"):
        found.require("a directory/none")


@pytest.fixture(scope="module")
def image(system: Path) -> bytes:
    return (system / "image").read_bytes()


@settings(max_examples=100)
@given(st.dictionaries(st.integers(0, 200_000), st.integers(0, 255), min_size=1, max_size=20))
def test_damage_is_an_error_or_other_content(image: bytes, damage: dict[int, int]) -> None:
    def read(at: int, size: int) -> bytes:
        part = bytearray(image[at : at + size])
        for place, value in damage.items():
            if at <= place < at + len(part):
                part[place - at] = value
        return bytes(part)

    try:
        Reader(read, "the image").file("a directory/200000", 1 << 20)
    except SlotError as error:
        assert error.hint
