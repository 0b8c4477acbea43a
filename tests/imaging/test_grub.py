"""GRUB's part of a disk, made by the real grub-mkimage and started by a real QEMU."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from applianceforge.formats import bootenv
from applianceforge.formats import grub as layout_of_grub
from applianceforge.imaging import grub
from applianceforge.model.errors import SettingsError
from applianceforge.slots import layout
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from tests.slots.agreement import ACTS_BELOW

needs_grub = pytest.mark.skipif(
    shutil.which("grub-mkimage") is None, reason="Debian's grub-pc-bin is not installed"
)
needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"
)
SIGNATURE = 0x00C0FFEE


@pytest.fixture(scope="module")
def image() -> grub.CoreImage:
    return grub.core_image(Effects())


@needs_grub
def test_the_core_image_is_the_same_each_time(image: grub.CoreImage) -> None:
    assert grub.core_image(Effects()) == image
    # It loads at 8000h and below the video memory, and fits the gap of a disk.
    assert len(image.core_img) < 458_752


@needs_grub
def test_what_is_installed_is_found_untouched(image: grub.CoreImage) -> None:
    placed = grub.install(image)
    sector = placed.code.ljust(510, b"\0") + b"\x55\xaa"
    assert len(placed.code) == 440
    first = layout_of_grub.core_sector(sector)
    assert first == 1
    core = placed.gap[:512]
    (run,) = layout_of_grub.runs(core)
    assert run == (2, len(placed.gap) // 512 - 1)
    assert layout_of_grub.compare(sector, placed.gap, image.boot_img, image.core_img) == ()


@needs_grub
def test_the_files_of_a_new_disk(image: grub.CoreImage, tmp_path: Path) -> None:
    files = grub.boot_files(SIGNATURE, image)
    assert set(files) == {"grub.cfg", "env1", "env2", "good", "boot.img", "core.img"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    loader = Loader(tmp_path, Effects())
    assert bootenv.sane(loader.copies()) == ()
    assert loader.read().a == bootenv.KNOWN_GOOD
    assert loader.read().b == bootenv.NOT_BOOTABLE
    assert loader.marker() is Slot.A
    text = files["grub.cfg"].decode()
    assert "root=PARTUUID=00c0ffee-0$number ro forge.slot=$1" in text
    assert "@" not in text.replace("ask@", "")


@needs_grub
def test_grub_understands_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "grub.cfg"
    path.write_bytes(grub.configuration(SIGNATURE))
    subprocess.run(["grub-script-check", str(path)], check=True)


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        grub.configuration(SIGNATURE, tmp_path / "nowhere")


def test_names_are_those_of_the_layout() -> None:
    text = grub.configuration(SIGNATURE).decode()
    for name in (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER):
        assert f"$loader/{name}" in text
    for name in (layout.KERNEL, layout.INITRD, layout.DESCRIPTION):
        assert f"$place/{name}" in text
    assert f"{layout.SLOT_ARGUMENT}=$1" in text
    assert f'"{layout.REASON_ARGUMENT}=$why"' in text
    assert ACTS_BELOW in text


def _disk(image: grub.CoreImage, place: Path, *, boot: bool) -> Path:
    """A disk whose slots hold nothing."""
    tree = place / "tree"
    tree.mkdir()
    if boot:
        for name, content in grub.boot_files(SIGNATURE, image).items():
            (tree / name).write_bytes(content)
    system = place / "boot"
    mke2fs = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    command = [mke2fs, "-q", "-t", "ext2", "-d", str(tree), str(system), "4M"]
    subprocess.run(command, check=True, capture_output=True)
    placed = grub.install(image)
    start = bytearray(1 << 20)
    start[:440] = placed.code
    struct.pack_into("<I", start, 440, SIGNATURE)
    for number, (at, size) in enumerate(((2048, 8192), (10240, 2048), (12288, 2048))):
        entry = 446 + 16 * number
        struct.pack_into("<B3sB3sII", start, entry, 0, b"\0\0\0", 0x83, b"\0\0\0", at, size)
    start[510:512] = b"\x55\xaa"
    start[512 : 512 + len(placed.gap)] = placed.gap
    disk = place / "disk"
    disk.write_bytes(start + system.read_bytes() + bytes(2 << 20))
    return disk


@pytest.mark.real
@needs_grub
@needs_qemu
@pytest.mark.parametrize(
    ("processor", "words"),
    [("qemu64", "Note these lines"), ("coreduo", "This processor has no 64-bit mode")],
)
def test_without_a_system_grub_says_so_and_halts(
    processor: str, words: str, image: grub.CoreImage, tmp_path: Path
) -> None:
    disk = _disk(image, tmp_path, boot=True)
    process = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", processor, "-m", "128"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-drive", f"file={disk},format=raw,if=ide,cache=unsafe"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line.decode(errors="replace")
            if "data partition is untouched" in said.replace("\r\n", " "):
                break
        # It stands still: no restart, no prompt.
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert "Slot a is passed over: unreadable" in said
    assert "No system on this disk can be started: a-unreadable" in said
    assert words in said
    # A module that is not embedded.
    assert "can't find command" not in said
    # Short: it is read on a screen of 25 lines.
    assert len(said.splitlines()) < 12
