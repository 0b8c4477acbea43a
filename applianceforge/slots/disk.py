"""Find the disk that the system runs from, and its slots.

The kernel knows which partition the root file system lies on; the others are its siblings on the
same disk. Labels are not asked: a second disk may bear the same.

Source: Linux, Documentation/ABI/stable/sysfs-block (partition), admin-guide/sysfs-rules.rst;
proc(5), mountinfo.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.errors import BootDiskError
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from applianceforge.system.files import named_errors

_ROOT = Path("/")
_SECTOR_BYTES = 512
_HINT = (
    "run it on an appliance with two slots, or name its parts with --boot-directory, --slot-device"
    " and --booted"
)


@dataclass(frozen=True)
class BootDisk:
    """A disk with two slots, or what stands for one.

    Attributes:
        booted: The slot that runs.
        loader: Where the boot partition is mounted.
        slot_a: The partition of slot a; None if it is not known.
        slot_b: The partition of slot b; None if it is not known.
        data: The data partition; None if it is not known.
    """

    booted: Slot
    loader: Path
    slot_a: Path | None = None
    slot_b: Path | None = None
    data: Path | None = None

    def device(self, slot: Slot) -> Path:
        """Return the partition of a slot.

        Raises:
            BootDiskError: It is not known.
        """
        found = self.slot_a if slot is Slot.A else self.slot_b
        if found is None:
            raise BootDiskError(
                f"the partition of slot {slot.value} is not known", hint="name it: --slot-device"
            )
        return found


def partitions(device: tuple[int, int], root: Path = _ROOT) -> tuple[int, dict[int, Path]]:
    """Return the number of a partition, and all partitions of its disk by their numbers.

    Args:
        device: The partition's major and minor number.
        root: Where /sys and /dev are, for tests.

    Raises:
        BootDiskError: It is no partition.
    """
    major, minor = device
    place = root / f"sys/dev/block/{major}:{minor}"
    own = _number(place / "partition")
    if own is None:
        raise BootDiskError(
            f"the root file system (device {major}:{minor}) does not lie on a partition of a disk",
            hint=_HINT,
        )
    found: dict[int, Path] = {}
    with named_errors(place, "look at"):
        for entry in sorted(place.resolve().parent.iterdir()):
            number = _number(entry / "partition")
            if number is not None:
                found[number] = root / "dev" / entry.name.replace("!", "/")
    return own, found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def size_bytes(device: Path, root: Path = _ROOT) -> int | None:
    """Return the size of a partition, or of a file that stands for one; None if nobody knows.

    It is not opened, so that any user may ask.

    Args:
        device: The partition.
        root: Where /sys is, for tests.

    Source: Linux, Documentation/ABI/stable/sysfs-block: `size` is in sectors of 512 bytes, whatever
    those of the disk are.
    """
    try:
        status = device.stat()
    except OSError:
        return None
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if not stat.S_ISBLK(status.st_mode):
        return None
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    sectors = _number(root / f"sys/dev/block/{major}:{minor}/size")
    return None if sectors is None else sectors * _SECTOR_BYTES


def booted_by(command_line: str) -> Slot | None:
    """Return the slot that GRUB named on the kernel's command line."""
    for word in command_line.split():
        name, _, value = word.partition("=")
        if name == layout.SLOT_ARGUMENT and value in ("a", "b"):
            return Slot(value)
    return None


def find(root: Path = _ROOT) -> BootDisk:
    """Return the disk that the system runs from.

    Args:
        root: Where the system's directories are, for tests.

    Raises:
        BootDiskError: It does not run from a slot of such a disk.
    """
    status = root.stat()
    return find_by(
        (os.major(status.st_dev), os.minor(status.st_dev)),
        _text(root / "proc/cmdline"),
        root,
    )


def find_by(device: tuple[int, int], command_line: str, root: Path = _ROOT) -> BootDisk:
    """Return the disk that a system with this root file system runs from.

    Args:
        device: The major and minor number that the root file system lies on.
        command_line: The kernel's.
        root: Where the system's directories are, for tests.

    Raises:
        BootDiskError: It does not run from a slot of such a disk.
    """
    number, found = partitions(device, root)
    slots = {slot.partition: slot for slot in Slot}
    if number not in slots or not set(slots) <= found.keys():
        raise BootDiskError(
            f"the root file system lies on partition {number} of {len(found)}, which is no slot",
            hint=_HINT,
        )
    named = booted_by(command_line)
    if named is not None and named is not slots[number]:
        raise BootDiskError(
            f"the boot loader started slot {named.value}, but the root file system lies on slot"
            f" {slots[number].value}",
            hint="restart the machine; do not write a slot before it starts as it should",
        )
    return BootDisk(
        booted=slots[number],
        loader=root / layout.BOOT_MOUNT_POINT.lstrip("/"),
        slot_a=found[Slot.A.partition],
        slot_b=found[Slot.B.partition],
        data=found.get(layout.DATA_PARTITION),
    )


def passed_over(root: Path = _ROOT) -> str:
    """Return why GRUB passed over a slot when it started this system; "" if it did not."""
    for word in _text(root / "proc/cmdline").split():
        name, _, value = word.partition("=")
        if name == layout.REASON_ARGUMENT:
            return value
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
