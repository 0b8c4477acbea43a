"""Slot images of the real mke2fs, read without mounting them."""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import envblock
from applianceforge.formats.ext_files import Reader, Reading
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError, SlotError
from applianceforge.slots import description, images, layout
from applianceforge.slots.description import Description
from applianceforge.slots.images import Image
from tests.slots.slot_images import SIZE_MIB, slot_image

ROOM_BYTES = SIZE_MIB << 20
EXPECTED = Description(Architecture.AMD64, "reference", "1.2", "console=ttyS0 panic=10")
NOISE = random.Random(1).randbytes(300_000)


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
@pytest.mark.parametrize("block", [1024, 4096])
def test_an_image_is_read(kind: str, block: int, tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, NOISE, kind=kind, options=("-b", str(block)))
    described, size = images.look_at_image(Image(path), ROOM_BYTES)
    assert (described, size) == (EXPECTED, SIZE_MIB << 20)


def test_a_large_file_reads_as_debugfs_reads_it(tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, NOISE)
    data = path.read_bytes()
    reader = Reader(lambda at, size: data[at : at + size], "image")
    assert reader.file(layout.KERNEL, 1 << 20) == NOISE
    assert reader.file(layout.KERNEL, 1000) == NOISE[:1000]
    program = shutil.which("debugfs") or "/usr/sbin/debugfs"
    request = [program, "-R", f"cat /{layout.DESCRIPTION}", str(path)]
    done = subprocess.run(request, capture_output=True, check=True)
    assert reader.file(layout.DESCRIPTION, 1 << 16) == done.stdout


def test_many_files_and_extents(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "many").mkdir(parents=True)
    for number in range(700):
        (tree / "many" / f"file-{number:04}").write_text(str(number))
    # A file with holes has an extent for each part.
    with open(tree / "holes", "wb") as stream:
        for number in range(600):
            stream.seek(number * 8192)
            stream.write(number.to_bytes(4, "big") * 256)
    image = tmp_path / "image"
    mke2fs = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    subprocess.run(
        [mke2fs, "-q", "-t", "ext4", "-b", "1024", "-d", str(tree), str(image), "16M"],
        check=True,
        capture_output=True,
    )
    data = image.read_bytes()
    reader = Reader(lambda at, size: data[at : at + size], "image")
    assert reader.file("many/file-0699", 100) == b"699"
    assert reader.file("many/file-0000", 100) == b"0"
    assert reader.file("holes", 1 << 24) == (tree / "holes").read_bytes()
    with pytest.raises(SlotError, match="has no file many/file-0700"):
        reader.require("many/file-0700")


def test_what_was_reserved_and_never_written_reads_as_zeros(tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, b"x" * 5000)
    program = shutil.which("debugfs") or "/usr/sbin/debugfs"
    for request in (f"fallocate {layout.KERNEL} 0 40", f"sif {layout.KERNEL} size 40000"):
        command = [program, "-w", "-R", request, str(path)]
        subprocess.run(command, check=True, capture_output=True)
    data = bytearray(path.read_bytes())
    reader = Reader(_reading(data), "image")
    assert reader.file(layout.KERNEL, 1 << 20) == (b"x" * 5000).ljust(40_000, b"\0")


def test_a_tree_in_a_circle_comes_to_an_end(tmp_path: Path) -> None:
    """The node of a directory's tree of extents names itself, as often as there is room."""
    data = bytearray(slot_image(tmp_path, Architecture.AMD64, kind="ext4").read_bytes())
    reader = Reader(_reading(data), "image")
    block_bytes = reader.superblock.block_bytes
    node = data.find(b"slot.env") // block_bytes
    room = (block_bytes - 12) // 12
    entries = struct.pack("<IIHH", 0, node, 0, 0)
    data[node * block_bytes : (node + 1) * block_bytes] = (
        struct.pack("<4HI", 0xF30A, room, room, 9, 0) + entries * room
    ).ljust(block_bytes, b"\0")
    inodes = [at for at in range(0, len(data) - 60, 4) if _is_leaf(data, at, node)]
    assert inodes
    for at in inodes:
        data[at : at + 24] = struct.pack("<4HI", 0xF30A, 1, 4, 9, 0) + entries
    with pytest.raises(SlotError, match="a tree of extents"):
        images.look_at(_reading(data), "image")


def _is_leaf(data: bytearray, at: int, block: int) -> bool:
    """Tell whether a tree of one extent stands there, which begins at a block."""
    magic, entries, _, depth = struct.unpack_from("<4H", data, at)
    return (magic, entries, depth) == (0xF30A, 1, 0) and (
        struct.unpack_from("<I", data, at + 20)[0] == block
    )


@pytest.mark.parametrize("level", [1, 19])
def test_a_compressed_image(level: int, tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, NOISE)
    packed = tmp_path / "slot.zst"
    packed.write_bytes(zstandard.ZstdCompressor(level=level).compress(path.read_bytes()))
    image = Image(packed)
    assert image.compressed
    assert images.look_at_image(image, ROOM_BYTES)[0] == EXPECTED
    assert b"".join(image.chunks()) == path.read_bytes()


def test_a_damaged_compressed_image(tmp_path: Path) -> None:
    packed = tmp_path / "slot.zst"
    data = zstandard.ZstdCompressor(write_checksum=True).compress(NOISE * 10)
    packed.write_bytes(data[:5000] + bytes(100) + data[5100:])
    with pytest.raises(SlotError, match="cannot be decompressed"):
        list(Image(packed).chunks())
    # A window that a small box has no memory for.
    window = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    large = zstandard.ZstdCompressor(compression_params=window).compress(NOISE * 200)
    packed.write_bytes(large)
    with pytest.raises(SlotError, match="too much memory") as caught:
        list(Image(packed).chunks())
    assert "32 MiB" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", "is no description of a slot"),
        (b"arch=amd64\n", "is no description of a slot"),
        (envblock.encode([("schema", "1"), ("arch", "arm64")]), "names the architecture 'arm64'"),
        (envblock.encode([("schema", "2"), ("arch", "amd64")]), "is of schema 2"),
    ],
)
def test_descriptions_that_are_none(said: bytes, message: str, tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, said=said)
    with pytest.raises(SlotError, match=message):
        images.look_at_image(Image(path), ROOM_BYTES)


@pytest.mark.parametrize("name", [layout.KERNEL, layout.INITRD, layout.DESCRIPTION])
def test_every_part_must_be_there(name: str, tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, without=name)
    with pytest.raises(SlotError, match=f"has no file {name}"):
        images.look_at_image(Image(path), ROOM_BYTES)


def test_features_that_grub_cannot_read(tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64, options=("-O", "inline_data"))
    with pytest.raises(SlotError, match="features that GRUB cannot read"):
        images.look_at_image(Image(path), ROOM_BYTES)


def test_a_journal_that_must_be_replayed(tmp_path: Path) -> None:
    path = slot_image(tmp_path, Architecture.AMD64)
    data = bytearray(path.read_bytes())
    data[1024 + 0x60] |= 4
    path.write_bytes(data)
    with pytest.raises(SlotError, match="was not cleanly unmounted"):
        images.look_at_image(Image(path), ROOM_BYTES)


def test_no_image_is_unpacked_farther_than_a_slot_reaches(tmp_path: Path) -> None:
    data = bytearray(slot_image(tmp_path, Architecture.AMD64).read_bytes())
    with pytest.raises(SlotError, match=f"has {SIZE_MIB << 20} bytes or more, and the slot only"):
        images.look_at_image(Image(tmp_path / "slot"), ROOM_BYTES - 1)
    # The first inode table is said to lie behind 2^60 bytes.
    struct.pack_into("<I", data, _groups_at(data) + 0x28, 0xFFFFFFF)
    (tmp_path / "slot").write_bytes(data)
    with pytest.raises(SlotError, match="it names byte"):
        images.look_at_image(Image(tmp_path / "slot"), ROOM_BYTES)
    unpacked = 0
    packed = tmp_path / "slot.zst"
    packed.write_bytes(zstandard.ZstdCompressor().compress(data + bytes(64 << 20)))

    class Counted(Image):
        def chunks(self) -> Iterator[bytes]:
            nonlocal unpacked
            for chunk in super().chunks():
                unpacked += len(chunk)
                yield chunk

    with pytest.raises(SlotError):
        images.look_at_image(Counted(packed), ROOM_BYTES)
    assert 0 < unpacked <= 1 << 24


def _groups_at(data: bytearray) -> int:
    block_bytes = 1024 << struct.unpack_from("<I", data, 1024 + 24)[0]
    return block_bytes if block_bytes > 1024 else 2048


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slot")
    with pytest.raises(SettingsError, match="neither a file nor a block device"):
        Image(tmp_path / "slot")


def test_damage_is_told_and_never_raises_otherwise(tmp_path: Path) -> None:
    whole = slot_image(tmp_path, Architecture.AMD64).read_bytes()
    source = random.Random(3)
    told = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(source.randint(1, 30)):
            # Superblock, group descriptors, inodes and directories are all in here.
            data[source.choice((1024 + source.randrange(400), source.randrange(200_000)))] = (
                source.randrange(256)
            )
        try:
            images.look_at(_reading(data), "image")
        except SlotError:
            told += 1
    assert 200 < told < 2000


def _reading(data: bytearray) -> Reading:
    return lambda at, size: bytes(data[at : at + size])


@given(st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=60))
def test_a_description_comes_back(arguments: str) -> None:
    one = Description(Architecture.I386, "name", "1", arguments)
    assert description.decode(description.encode(one), "it") == one
