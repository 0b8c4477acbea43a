"""The comparison, on images that the real grub-mkimage makes, written as GRUB writes them."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.formats import grub

FILES = Path("/usr/lib/grub/i386-pc")
SECTOR = 512
CORE_AT = 1

needs_grub = pytest.mark.skipif(
    shutil.which("grub-mkimage") is None or not (FILES / "boot.img").exists(),
    reason="Debian's grub-pc-bin and grub-common are not installed",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    core = tmp_path_factory.mktemp("grub") / "core.img"
    modules = ["biosdisk", "part_msdos", "ext2", "normal", "test", "cpuid", "loadenv"]
    subprocess.run(
        ["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/grub", "-o", str(core), *modules],
        check=True,
    )
    return (FILES / "boot.img").read_bytes(), core.read_bytes()


def install(boot_img: bytes, core_img: bytes, *, runs: int = 1, redundancy: int = 0) -> bytes:
    """Write GRUB into the image of a disk, as its own installer does; return the disk's start."""
    disk = bytearray(4 << 20)
    disk[0:440] = boot_img[0:440]
    disk[0x1B8:0x1BC] = b"\x12\x34\x56\x78"
    struct.pack_into("<B3sB3sII", disk, 0x1BE, 0x80, b"", 0x83, b"", 4096, 4096)
    disk[0x1FE:0x200] = b"\x55\xaa"
    struct.pack_into("<Q", disk, 0x5C, CORE_AT)
    disk[0x64] = 0xFF
    disk[0x66:0x68] = b"\x90\x90"
    core = bytearray(core_img)
    struct.pack_into("<I", core, 0x210, redundancy)
    core += bytes(redundancy) + bytes(-(len(core) + redundancy) % SECTOR)
    rest = len(core) // SECTOR - 1
    at = CORE_AT + 1
    length = -(-rest // runs)
    written = 1
    for number in range(runs):
        sectors = min(length, rest - (written - 1))
        entry = 0x200 - 12 * (number + 1)
        struct.pack_into("<QH", core, entry, at, sectors)
        part = core[written * SECTOR : (written + sectors) * SECTOR]
        disk[at * SECTOR : at * SECTOR + len(part)] = part
        written += sectors
        at += sectors + 3
    disk[CORE_AT * SECTOR : (CORE_AT + 1) * SECTOR] = core[:SECTOR]
    return bytes(disk)


def read_back(disk: bytes) -> tuple[bytes, bytes]:
    sector = disk[:SECTOR]
    first = grub.core_sector(sector) * SECTOR
    core = disk[first : first + SECTOR]
    for run in grub.runs(core):
        core += disk[run.first * SECTOR : (run.first + run.sectors) * SECTOR]
    return sector, core


@needs_grub
@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("redundancy", [0, 5000])
def test_a_real_grub_is_untouched(images: tuple[bytes, bytes], runs: int, redundancy: int) -> None:
    disk = install(*images, runs=runs, redundancy=redundancy)
    assert len(grub.runs(disk[SECTOR : 2 * SECTOR])) == runs
    assert grub.compare(*read_back(disk), *images) == ()


# GRUB's own installer, from the disk $1 and the file system $2 with GRUB's files.
_SETUP = """
set -e
disk=$(losetup -f --show "$1")
trap 'losetup -d "$disk"' EXIT
files=$(losetup -f --show "$2")
trap 'umount "$3" || :; losetup -d "$disk"; losetup -d "$files"' EXIT
mount "$files" "$3"
mkdir "$3/i386-pc"
cp "$4"/*.img "$3/i386-pc"
printf '(hd0) %s\n(hd1) %s\n' "$disk" "$files" > "$4/map"
/usr/lib/grub/i386-pc/grub-bios-setup -m "$4/map" -d "$3/i386-pc" $5 "$disk"
"""


@needs_grub
@pytest.mark.parametrize("option", ["", "--no-rs-codes"])
def test_what_grub_bios_setup_writes_is_untouched(
    images: tuple[bytes, bytes], option: str, tmp_path: Path
) -> None:
    if os.getuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")
    disk, files, point = tmp_path / "disk", tmp_path / "files", tmp_path / "point"
    disk.write_bytes(bytes(0x1B8) + install(*images)[0x1B8:SECTOR] + bytes(8 << 20))
    files.write_bytes(bytes(8 << 20))
    subprocess.run(["mkfs.ext2", "-q", "-F", str(files)], check=True)
    point.mkdir()
    (tmp_path / "boot.img").write_bytes(images[0])
    (tmp_path / "core.img").write_bytes(images[1])
    places = [str(place) for place in (disk, files, point, tmp_path)]
    subprocess.run(["unshare", "-m", "sh", "-c", _SETUP, "sh", *places, option], check=True)
    sector, core = read_back(disk.read_bytes())
    assert len(core) > len(images[1]) * (1 if option else 1.5)
    assert grub.compare(sector, core, *images) == ()


@needs_grub
def test_every_byte_of_sector_0_that_is_code_counts(images: tuple[bytes, bytes]) -> None:
    disk = install(*images)
    sector, core = read_back(disk)
    free = {*range(0x03, 0x5A), *range(0x5C, 0x65), 0x66, 0x67, *range(0x1B8, 0x1FE)}
    for at in range(SECTOR):
        changed = bytearray(sector)
        changed[at] ^= 0x40
        found = grub.compare(bytes(changed), core, *images)
        assert bool(found) == (at not in free), hex(at)
        if found and at < 0x1FE:
            assert found == (f"sector 0 differs from GRUB's file at byte {at:X}h",)


@needs_grub
def test_every_byte_of_the_core_image_counts(images: tuple[bytes, bytes]) -> None:
    disk = install(*images)
    sector, core = read_back(disk)
    # Where the sectors lie is not in the core image; how many there are is counted.
    free = {*range(0x1F4, 0x1FC), 0x210}
    # Each byte of the first two sectors, and a sample of what follows.
    for at in [*range(2 * SECTOR), *range(2 * SECTOR, len(images[1]), 997), len(images[1]) - 1]:
        changed = bytearray(core)
        changed[at] ^= 0x01
        found = grub.compare(sector, bytes(changed), *images)
        assert bool(found) == (at not in free), hex(at)


@needs_grub
def test_differences_are_counted_but_not_all_listed(images: tuple[bytes, bytes]) -> None:
    sector, core = read_back(install(*images))
    wrecked = core[:4096] + bytes(len(core) - 4096)
    (found,) = grub.compare(sector, wrecked, *images)
    assert found.startswith("the core image differs from GRUB's file at byte 1000h")
    assert "more" in found


@needs_grub
def test_another_boot_loader_and_a_short_core(images: tuple[bytes, bytes]) -> None:
    sector, core = read_back(install(*images))
    assert grub.compare(bytes(SECTOR), core, *images) == ("sector 0 is no boot sector",)
    assert grub.compare(b"", b"", *images) == ("sector 0 is no boot sector",)
    (short,) = grub.compare(sector, core[:1024], *images)
    assert short == f"the core image ends after 1024 of {len(images[1])} bytes"
    assert "are not what" in grub.compare(sector, core, b"", b"")[0]


def test_lengths_are_not_believed() -> None:
    sector = bytearray(SECTOR)
    struct.pack_into("<QHH", sector, 0x1F4, 5, 0xFFFF, 0)
    assert grub.runs(bytes(sector)) == ()
    assert grub.runs(b"") == ()
    assert grub.core_sector(bytes(SECTOR)) == 0


@settings(deadline=None)
@given(st.binary(max_size=600), st.binary(max_size=1500), st.binary(min_size=512, max_size=512))
def test_random_bytes_never_raise(sector: bytes, core: bytes, file: bytes) -> None:
    grub.core_sector(sector)
    assert sum(run.sectors for run in grub.runs(core)) <= grub.LARGEST_CORE_BYTES // SECTOR
    grub.compare(sector, core, file, core + file + b"1")
    grub.compare(sector, core, sector, core)
