"""What `inv image.show` says of images, good and bad."""

import os
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from applianceforge.formats import bootenv, mbr
from applianceforge.formats.bootenv import FACTORY, SlotVariables
from applianceforge.imaging import disk, filesystem, outputs, show, show_picture
from applianceforge.imaging.filesystem import Kind
from applianceforge.imaging.outputs import Identity, Output
from applianceforge.imaging.ovf import Machine
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError, SlotError
from applianceforge.slots import description, layout
from applianceforge.slots.description import Description
from applianceforge.slots.layout import Slot
from applianceforge.slots.states import State
from applianceforge.system import sparse
from applianceforge.system.effects import Effects
from tests.imaging import disks

pytestmark = pytest.mark.real
HELD = Description(Architecture.AMD64, "migration", "2.0.0", "panic=10")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("disk")
    plan = disks.plan(place)
    tree = place / "tree"
    (tree / layout.DESCRIPTION).write_bytes(description.encode(HELD))
    (tree / layout.INITRD).write_text("initrd")
    identity = disk.uuid_of("small", "slot")
    filesystem.make(
        Kind.SLOT, tree, plan.slot, None, identity, "migration", disks.EPOCH_S, Effects()
    )
    disk.write(plan, place / "small.raw", Effects())
    return place / "small.raw"


def look(path: Path) -> show.DiskFacts:
    return show.look(path, Effects())


def said(facts: show.DiskFacts, *, width: int = 100, encoding: str = "utf-8") -> str:
    reading, writing = os.pipe()
    with open(writing, "w", encoding=encoding) as stream:
        Console(file=stream, width=width, no_color=True).print(show_picture.picture(facts))
    with open(reading, encoding=encoding) as stream:
        return stream.read()


def copied(raw: Path, place: Path) -> Path:
    target = place / "copy.raw"
    sparse.create(target, raw.stat().st_size, Effects())
    sparse.copy_into(raw, target, 0, Effects())
    return target


def replace_in_boot(path: Path, name: str, content: bytes) -> None:
    """Write over a file of the boot partition, in place."""
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", f"blocks /{name}", f"{path}?offset={1 << 20}"],
        check=True,
        capture_output=True,
    )
    block = int(done.stdout.split()[0])
    sparse.write_at(path, (1 << 20) + block * 1024, content, Effects())


def test_all_of_a_new_disk(raw: Path) -> None:
    facts = look(raw)
    assert facts.kind == "raw"
    assert facts.size_bytes == raw.stat().st_size
    assert facts.signature == disk.signature_of(disks.NAME)
    assert facts.loader == ()
    assert [one.role for one in facts.partitions] == ["boot", "slot a", "slot b", "data"]
    assert [one.holds for one in facts.partitions] == [None, HELD, None, None]
    assert [one.state for one in facts.partitions] == [None, State.GOOD, State.NOT_BOOTABLE, None]
    assert all(one.problem == "" for one in facts.partitions)
    assert facts.counts == 1
    assert facts.with_long_mode.slot is Slot.A
    # The only slot is amd64: nothing is left for a processor without long mode.
    assert facts.without.slot is None


@pytest.mark.parametrize("output", [Output.QCOW2, Output.VMDK, Output.VHD])
def test_other_kinds_say_the_same(raw: Path, tmp_path: Path, output: Output) -> None:
    path = output.path(tmp_path, "small")
    identity = Identity(Machine("small", "small", "1"), disks.EPOCH_S)
    outputs.write(output, raw, path, identity, Effects())
    facts = look(path)
    assert facts.kind == output.value
    assert facts.partitions == look(raw).partitions
    assert facts.loader == ()


def test_the_picture(raw: Path) -> None:
    text = said(look(raw))
    assert "small.raw" in text
    assert "migration 2.0.0 amd64, good" in text
    assert "nothing, not bootable" in text
    assert "boot environment 2: generation 2, primary slot a, which counts" in text
    assert "on a 64-bit processor, GRUB starts slot a, which is good" in text
    assert "on a 32-bit processor, GRUB says that nothing can be started" in text
    assert "█" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_picture_fits_the_terminal(raw: Path, width: int) -> None:
    assert all(len(line) <= width for line in said(look(raw), width=width).splitlines())


def test_a_terminal_with_ascii_only(raw: Path) -> None:
    text = said(look(raw), encoding="ascii")
    assert "#" in text
    assert "|" in text
    assert text.isascii()


def test_the_environment_is_shown(raw: Path, tmp_path: Path) -> None:
    path = copied(raw, tmp_path)
    tried = FACTORY._replace(generation=9, primary="b", b=SlotVariables(True, 2, False))
    replace_in_boot(path, "env1", bootenv.encode(tried))
    facts = look(path)
    assert facts.counts == 0
    assert facts.partitions[2].state is State.TWO_TRIES
    assert "generation 9, primary slot b, which counts" in said(facts)
    assert "two tries left" in said(facts)


def test_a_lost_environment_is_shown(raw: Path, tmp_path: Path) -> None:
    path = copied(raw, tmp_path)
    for name in layout.ENVIRONMENT_COPIES:
        replace_in_boot(path, name, bytes(1024))
    facts = look(path)
    assert facts.counts is None
    assert "boot environment 1: not complete" in said(facts)
    assert "by the marker file" in said(facts)


def test_a_changed_boot_loader_is_shown(raw: Path, tmp_path: Path) -> None:
    path = copied(raw, tmp_path)
    at = 512 * 40
    sparse.write_at(path, at, bytes([sparse.read_at(path, at, 1)[0] ^ 1]), Effects())
    facts = look(path)
    assert len(facts.loader) == 1
    assert "boot loader: the core image differs" in said(facts)


def test_a_damaged_file_system_is_named(raw: Path, tmp_path: Path) -> None:
    path = copied(raw, tmp_path)
    record = mbr.decode(sparse.read_at(path, 0, 512))
    sparse.write_at(path, record.partitions[1].first_byte + 1024 + 0x38, b"\0\0", Effects())
    facts = look(path)
    assert "no ext2 or ext4 file system" in facts.partitions[1].problem
    assert "no ext2 or ext4" in " ".join(said(facts).split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends within its first sector"),
        (bytes(4096), "no partition table"),
        (bytes(510) + b"\x55\xaa", "."),
        (b"QFI\xfb" + bytes(600), "qemu-img"),
        (b"KDMV" + bytes(600), "qemu-img"),
        (bytes(257) + b"ustar" + bytes(300), "is an archive"),
        (b"x" * 1000 + b"conectix".ljust(512, b"\0"), "damaged footer"),
    ],
)
def test_what_is_no_disk(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.img"
    path.write_bytes(content)
    if message == ".":
        assert look(path).partitions == ()  # A table without an entry is a disk all the same.
        assert "nothing can be started" in said(look(path))
        return
    with pytest.raises(Exception, match=message) as caught:
        look(path)
    assert getattr(caught.value, "hint", "")


def test_a_cut_image_is_named(raw: Path, tmp_path: Path) -> None:
    path = copied(raw, tmp_path)
    os.truncate(path, 50 << 20)
    with pytest.raises(SlotError, match="damaged partition table"):
        look(path)


def test_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.raw"):
        look(tmp_path / "none.raw")


def test_an_image_that_needs_another_file_is_not_opened(raw: Path, tmp_path: Path) -> None:
    """Such an image could name any file of the machine that looks at it."""
    path = tmp_path / "x.qcow2"
    options = ["-q", "-f", "qcow2", "-b", str(raw), "-F", "raw"]
    subprocess.run(["/usr/bin/qemu-img", "create", *options, str(path)], check=True)
    with pytest.raises(SlotError, match="needs another file"):
        look(path)


@pytest.mark.parametrize("room", [4, 10, 70, 100])
def test_every_partition_can_be_seen(room: int) -> None:
    widths = show_picture.widths_of([16 << 20, 1 << 30, 1 << 30, 1 << 20], room)
    assert all(width >= 1 for width in widths)
    assert sum(widths) <= room


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="neither a file nor a block device"):
        show.look(tmp_path / "pipe", Effects())
