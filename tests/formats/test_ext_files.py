"""Files read out of file systems that mke2fs made, with and without extents."""

import os
import struct
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


def test_a_tree_of_extents_without_end_is_damage(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x" * 100_000)
    image = tmp_path / "image"
    words = ["-q", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-d", str(tmp_path / "tree")]
    subprocess.run(["/usr/sbin/mke2fs", *words, str(image), "8M"], check=True, capture_output=True)
    content = bytearray(image.read_bytes())
    # One inode's tree becomes five levels, each of as many entries as fit, all to the next one.
    free = [8000 + number for number in range(5)]
    for level, block in enumerate(free):
        depth = 4 - level
        node = struct.pack("<4HI", 0xF30A, 84, 84, depth, 0)
        entry = struct.pack("<IHHI", 0, 0x8001, 0, 9000 - 1000)
        if depth:
            entry = struct.pack("<IIHH", 0, free[level + 1], 0, 0)
        content[block * 1024 : (block + 1) * 1024] = (node + entry * 84).ljust(1024, b"\0")
    at = content.index(struct.pack("<I", 100_000), 1024 * 10) - 4
    content[at + 0x28 : at + 0x28 + 24] = struct.pack("<4HI", 0xF30A, 1, 4, 5, 0) + struct.pack(
        "<IIHH", 0, free[0], 0, 0
    )
    with pytest.raises(SlotError, match="in no order"):
        reader(bytes(content)).file("file", 1 << 20)


def test_blocks_that_were_only_set_aside_read_as_zeros(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x" * 4096)
    image = tmp_path / "image"
    words = ["-q", "-t", "ext4", "-b", "4096", "-d", str(tmp_path / "tree")]
    subprocess.run(["/usr/sbin/mke2fs", *words, str(image), "8M"], check=True, capture_output=True)
    command = "fallocate file 1 2\nset_inode_field file size 12288\n"
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-w", "-f", "-", str(image)],
        input=command,
        text=True,
        check=True,
        capture_output=True,
    )
    assert "rror" not in done.stderr
    content = image.read_bytes()
    assert reader(content).file("file", 1 << 20) == b"x" * 4096 + bytes(8192)
    # Whatever lies there: it is none of the file's.
    filled = content.replace(bytes(4096), b"\xee" * 4096)
    assert b"\xee" not in reader(filled).file("file", 1 << 20)
