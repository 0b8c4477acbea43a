"""Clean and dirty logs, as the real mkfs.xfs and the kernel's XFS leave them."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.preflight.xfs_log import Read, needs_recovery

# Runs in a mount namespace of its own; the loop device goes with the mount.
_USE = """
set -e
mount -o loop "$1" "$2"
i=0; while [ $i -lt 300 ]; do : > "$2/f$i"; i=$((i + 1)); done
sync -f "$2"
[ -z "$3" ] || xfs_io -x -c shutdown "$2"
umount "$2"
"""


def reader(path: Path) -> Read:
    def read(at: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(size)

    return read


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("xfsprogs is not installed")
    path = tmp_path_factory.mktemp("xfs") / "made.img"
    with path.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", str(path)], check=True)
    return path


def used(made: Path, directory: Path, *, shut_down: bool) -> Path:
    if os.getuid() != 0 or "\txfs\n" not in Path("/proc/filesystems").read_text():
        pytest.skip("needs root, and a kernel with XFS")
    path = directory / "used.img"
    subprocess.run(["cp", "--sparse=always", str(made), str(path)], check=True)
    point = directory / "point"
    point.mkdir()
    shell = ["unshare", "-m", "sh", "-c", _USE, "sh", str(path), str(point), "1" * shut_down]
    subprocess.run(shell, check=True)
    return path


def test_a_new_one_is_clean(made: Path) -> None:
    assert needs_recovery(reader(made)) is False


def test_a_clean_unmount_is_clean(made: Path, tmp_path: Path) -> None:
    assert needs_recovery(reader(used(made, tmp_path, shut_down=False))) is False


def test_a_hard_stop_is_dirty(made: Path, tmp_path: Path) -> None:
    assert needs_recovery(reader(used(made, tmp_path, shut_down=True))) is True


SECTORS = 64
LOG_BLOCK = 16


def image(*records: tuple[int, bool], cycle: int = 1, before: int = 0) -> bytes:
    """Make an XFS with a log of 64 sectors: records of so many sectors, unmount ones or not."""
    superblock = bytearray(512)
    superblock[:4] = b"XFSB"
    struct.pack_into(">I", superblock, 0x04, 512)
    struct.pack_into(">Q", superblock, 0x30, LOG_BLOCK)
    struct.pack_into(">I", superblock, 0x54, 1 << 10)
    struct.pack_into(">I", superblock, 0x60, SECTORS)
    superblock[0x7C] = 10
    log = b""
    for sectors, unmount in records:
        head = bytearray(512)
        struct.pack_into(">IIII", head, 0, 0xFEEDBABE, cycle, 2, (sectors - 1) * 512)
        struct.pack_into(">I", head, 0x28, 1)
        struct.pack_into(">I", head, 0x140, 32768)
        operation = struct.pack(">IIBB", cycle, 8, 0xAA, 0x20 if unmount else 0)
        body = b"".join(
            (operation if number == 0 else struct.pack(">I", cycle)).ljust(512, b"\0")
            for number in range(sectors - 1)
        )
        log += bytes(head) + body
    while len(log) < SECTORS * 512:
        log += struct.pack(">I", before).ljust(512, b"\0")
    return bytes(superblock) + bytes(512 * (LOG_BLOCK - 1)) + log


def of(data: bytes) -> bool | None:
    return needs_recovery(lambda at, size: data[at : at + size])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (image((2, True)), False),
        (image((5, False), (2, True)), False),
        (image((5, False), (2, True), (3, False)), True),
        (image((2, True), (3, False)), True),
        (image((7, False), (2, True), cycle=9, before=8), False),
        (image((7, False), cycle=9, before=8), True),
        (image((62, False), (2, True), cycle=3, before=3), False),
        (image((64, False), cycle=3, before=3), True),
        (image(), None),
        (image((2, True))[:600], None),
        (b"XFSB", None),
        (b"", None),
        (bytes(4096), None),
    ],
)
def test_logs_in_all_their_states(data: bytes, expected: bool | None) -> None:
    assert of(data) is expected


@pytest.mark.parametrize(
    ("place", "value"),
    [(0x04, b"\0\0\0\1"), (0x30, bytes(8)), (0x60, b"\xff" * 4), (0x60, bytes(4)), (0x7C, b"\xff")],
)
def test_a_superblock_that_cannot_be(place: int, value: bytes) -> None:
    data = bytearray(image((2, True)))
    data[place : place + len(value)] = value
    assert of(bytes(data)) is None


@settings(deadline=None)
@given(st.integers(0, 512 * 30), st.binary(min_size=1, max_size=40))
def test_damage_never_raises(at: int, change: bytes) -> None:
    data = image((7, False), (2, True), cycle=9, before=8)
    assert of(data[:at] + change + data[at + len(change) :]) in (True, False, None)


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_random_bytes_never_raise(data: bytes) -> None:
    superblock = image()[:512]
    assert of(superblock[: 512 - len(data) % 512] + data) in (True, False, None)
