import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import ext
from applianceforge.model.errors import SlotError


def superblock(**changes: int) -> bytes:
    """A superblock of 64 MiB in blocks of 4 KiB, by the offsets of its fields."""
    data = bytearray(1024)
    fields = {
        "inodes": (0x00, "<I", 4096),
        "blocks": (0x04, "<I", 16384),
        "free_blocks": (0x0C, "<I", 1000),
        "free_inodes": (0x10, "<I", 100),
        "block": (0x18, "<I", 2),
        "per_group": (0x20, "<I", 32768),
        "inodes_per_group": (0x28, "<I", 4096),
        "magic": (0x38, "<H", 0xEF53),
        "state": (0x3A, "<H", 1),
        "revision": (0x4C, "<I", 1),
        "inode_bytes": (0x58, "<H", 256),
        "compatible": (0x5C, "<I", 0x3C),
        "incompatible": (0x60, "<I", 0xC2),
        "descriptor": (0xFE, "<H", 64),
    }
    for name, (at, kind, value) in fields.items():
        struct.pack_into(kind, data, at, changes.get(name, value))
    return bytes(data)


def test_a_whole_superblock() -> None:
    found = ext.decode_superblock(superblock())
    assert found.size_bytes == 64 << 20
    assert found.used_bytes == (16384 - 1000) * 4096
    assert found.groups == 1
    assert found.kind == "ext4"
    assert found.clean
    assert found.journal_is_empty


@pytest.mark.parametrize(
    ("incompatible", "compatible", "kind"), [(2, 0, "ext2"), (2, 4, "ext3"), (0x42, 4, "ext4")]
)
def test_kinds(incompatible: int, compatible: int, kind: str) -> None:
    data = superblock(incompatible=incompatible, compatible=compatible)
    assert ext.decode_superblock(data).kind == kind


def test_a_journal_to_replay_is_seen() -> None:
    assert not ext.decode_superblock(superblock(incompatible=0xC6)).journal_is_empty


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"magic": 0}, "no ext2 or ext4"),
        ({"block": 40}, "a block of"),
        ({"per_group": 0}, "0 blocks in a group"),
        ({"per_group": 1 << 31}, "blocks in a group"),
        ({"inodes_per_group": 0}, "0 inodes in a group"),
        ({"inode_bytes": 3}, "an inode of 3 bytes"),
        ({"inode_bytes": 60000}, "an inode of 60000 bytes"),
        ({"descriptor": 8}, "descriptor of 8 bytes"),
        ({"free_blocks": 16385}, "16385 of 16384 blocks are free"),
        ({"free_inodes": 4097}, "4097 of 4096 inodes are free"),
        ({"blocks": 0, "free_blocks": 0}, "0 block groups"),
        ({"inodes": 5000}, "5000 inodes in 1 groups"),
    ],
)
def test_malformed(changes: dict[str, int], said: str) -> None:
    with pytest.raises(SlotError) as caught:
        ext.decode_superblock(superblock(**changes), "x.img")
    assert any(said in text for text in (caught.value.message, *caught.value.evidence))
    assert "x.img" in caught.value.message


@given(st.binary(min_size=1024, max_size=1024))
def test_anything_is_decoded_or_refused(data: bytes) -> None:
    for content in (data, data[:0x38] + b"\x53\xef" + data[0x3A:]):
        try:
            found = ext.decode_superblock(content)
        except SlotError:
            continue
        assert 0 < found.groups <= 1 << 20
        assert 0 <= found.used_bytes <= found.size_bytes


@given(st.binary(min_size=256, max_size=256))
def test_any_inode_is_decoded(data: bytes) -> None:
    ext.decode_inode(data)
    ext.decode_inode(data[:128])


@given(st.binary(max_size=200))
def test_any_attribute_block_is_decoded(data: bytes) -> None:
    ext.decode_attribute_block(data)
    ext.decode_attribute_block(b"\0\0\x02\xea" + data)


def test_missing_group_descriptors_are_refused() -> None:
    found = ext.decode_superblock(superblock())
    with pytest.raises(SlotError, match="only 0 descriptors"):
        ext.decode_groups(bytes(63), found)


def test_used_inodes() -> None:
    assert ext.used_inodes(b"\x05\x80", 101, 16) == (101, 103, 116)
    assert ext.used_inodes(b"\xff\xff", 1, 3) == (1, 2, 3)


@pytest.mark.real
@pytest.mark.parametrize(
    "options",
    ["-t ext4", "-t ext4 -O 64bit", "-t ext4 -O ^64bit,^metadata_csum", "-t ext2 -b 1024"],
)
def test_against_dumpe2fs(tmp_path: Path, options: str) -> None:
    image = tmp_path / "image"
    words = ["/usr/sbin/mke2fs", "-q", "-L", "a label", *options.split()]
    subprocess.run([*words, str(image), "70M"], check=True, capture_output=True)
    said = subprocess.run(
        ["/usr/sbin/dumpe2fs", image], check=True, capture_output=True
    ).stdout.decode()
    told = dict(line.split(":", 1) for line in said.splitlines() if line.count(":") >= 1)
    data = image.read_bytes()
    found = ext.decode_superblock(data[1024:2048])
    assert found.inodes == int(told["Inode count"])
    assert found.blocks == int(told["Block count"])
    assert found.free_blocks == int(told["Free blocks"].split()[0])
    assert found.free_inodes == int(told["Free inodes"].split()[0])
    assert str(found.uuid) == told["Filesystem UUID"].strip()
    assert found.label == "a label"
    groups = ext.decode_groups(data[found.groups_at :], found)
    assert len(groups) == found.groups
    used = sum(
        len(
            ext.used_inodes(
                data[group.inode_bitmap_block * found.block_bytes :],
                1 + number * found.inodes_per_group,
                found.inodes_per_group,
            )
        )
        for number, group in enumerate(groups)
        if not group.unused
    )
    assert used == found.inodes - found.free_inodes
