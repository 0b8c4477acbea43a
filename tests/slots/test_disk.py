"""Finding the boot disk, on trees that look like sysfs."""

import os
from pathlib import Path

import pytest

from applianceforge.model.errors import BootDiskError
from applianceforge.slots import disk
from applianceforge.slots.layout import Slot


def machine(root: Path, *, second_disk: bool = True) -> Path:
    """Two disks with the same partitions; sda is 8:0, the other 259:0."""
    (root / "proc").mkdir(parents=True)
    (root / "sys/dev/block").mkdir(parents=True)
    disks = {"sda": (8, "sda{}"), "nvme0n1": (259, "nvme0n1p{}")}
    for name, (major, pattern) in disks.items():
        if name != "sda" and not second_disk:
            continue
        place = root / "sys/devices/pci0000:00" / name
        for number in (1, 2, 3, 4):
            partition = place / pattern.format(number)
            partition.mkdir(parents=True)
            (partition / "partition").write_text(f"{number}\n")
            link = root / f"sys/dev/block/{major}:{number}"
            link.symlink_to(partition)
        (place / "queue").mkdir()
        (root / f"sys/dev/block/{major}:0").symlink_to(place)
    return root


@pytest.mark.parametrize(
    ("device", "slot", "other"),
    [((8, 2), Slot.A, "sda3"), ((8, 3), Slot.B, "sda2"), ((259, 3), Slot.B, "nvme0n1p2")],
)
def test_the_siblings_of_the_root(
    device: tuple[int, int], slot: Slot, other: str, tmp_path: Path
) -> None:
    root = machine(tmp_path)
    found = disk.find_by(device, f"quiet forge.slot={slot.value} ro", root)
    assert found.booted is slot
    assert found.device(slot.other) == root / "dev" / other
    assert found.loader == root / "boot/loader"
    assert found.data == root / "dev" / (other[:-1] + "4")


def test_a_machine_without_slots(tmp_path: Path) -> None:
    root = machine(tmp_path)
    with pytest.raises(BootDiskError, match="does not lie on a partition"):
        disk.find_by((8, 0), "", root)
    with pytest.raises(BootDiskError, match="does not lie on a partition"):
        disk.find_by((0, 25), "", root)
    with pytest.raises(BootDiskError, match="lies on partition 4 of 4, which is no slot"):
        disk.find_by((8, 4), "", root)
    # The place where it looks by itself: a directory of the test's own file system.
    with pytest.raises(BootDiskError):
        disk.find(root)


def test_the_boot_loader_meant_another_slot(tmp_path: Path) -> None:
    with pytest.raises(BootDiskError, match="started slot a, but the root file system lies on"):
        disk.find_by((8, 3), "forge.slot=a", machine(tmp_path))


@pytest.mark.parametrize(
    ("line", "slot"),
    [
        ("root=x forge.slot=b ro", Slot.B),
        ("forge.slot=a", Slot.A),
        ("forge.slot=c forge.slot", None),
        ("xforge.slot=a", None),
        ("", None),
    ],
)
def test_the_command_line(line: str, slot: Slot | None) -> None:
    assert disk.booted_by(line) is slot


def test_why_a_slot_was_passed_over(tmp_path: Path) -> None:
    assert disk.passed_over(tmp_path) == ""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("ro forge.slot=a forge.reason=b-no-long-mode quiet\n")
    assert disk.passed_over(tmp_path) == "b-no-long-mode"


def test_a_partition_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(BootDiskError, match="slot b is not known"):
        disk.BootDisk(Slot.A, tmp_path).device(Slot.B)


def test_the_kernel_of_this_machine_is_understood() -> None:
    """If the tests' files lie on a partition, it is found among its siblings."""
    status = Path(__file__).stat()
    device = os.major(status.st_dev), os.minor(status.st_dev)
    try:
        number, found = disk.partitions(device)
    except BootDiskError:
        pytest.skip("no partition holds this file")
    assert found[number].name in os.listdir("/sys/class/block")


def test_the_size_of_a_file_that_stands_for_a_partition(tmp_path: Path) -> None:
    with open(tmp_path / "slot", "wb") as stream:
        stream.truncate(12345)
    assert disk.size_bytes(tmp_path / "slot") == 12345
    assert disk.size_bytes(tmp_path) is None
    assert disk.size_bytes(tmp_path / "none") is None


def test_the_size_of_the_disks_of_this_machine() -> None:
    """What sysfs says is what the device itself says to whoever may open it."""
    compared = 0
    for name in os.listdir("/sys/class/block"):
        device = Path("/dev", name.replace("!", "/"))
        try:
            handle = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
        finally:
            os.close(handle)
        assert disk.size_bytes(device) == size
        compared += 1
    if not compared:
        pytest.skip("no disk of this machine may be opened")
