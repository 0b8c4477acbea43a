"""Where everything lies on a disk with two slots, by the names that all parts agree on.

The disk has an MBR and four primary partitions; GRUB's core image lies before the first.

    1  boot    ext2   what GRUB reads: grub.cfg, both copies of the boot environment, the marker
    2  slot a  ext4   read-only: a whole system with its kernel
    3  slot b  ext4   the same
    4  data    ext4   all state; grown to the end of the disk at first boot

GRUB starts the kernel of a slot with `root=PARTUUID=SSSSSSSS-0N ro forge.slot=X`, where S is the
disk's signature, N the partition's number and X the slot, and with the arguments that the slot
itself names in `DESCRIPTION`.
"""

from __future__ import annotations

from enum import Enum


class Slot(Enum):
    """One of the two places for a system."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        """Return the slot that is not this one."""
        return Slot.B if self is Slot.A else Slot.A

    @property
    def partition(self) -> int:
        """Return the number of its partition."""
        return 2 if self is Slot.A else 3


BOOT_PARTITION = 1
DATA_PARTITION = 4

# On the boot partition, in its root directory; all preallocated when the disk is made.
ENVIRONMENT_COPIES = ("env1", "env2")
GOOD_MARKER = "good"
GRUB_CONFIGURATION = "grub.cfg"

# In a slot. DESCRIPTION is a GRUB environment block with SLOT_VARIABLES.
KERNEL = "boot/vmlinuz"
INITRD = "boot/initrd.img"
DESCRIPTION = "boot/slot.env"
SLOT_VARIABLES = ("schema", "arch", "name", "version", "args")

# On a running appliance.
BOOT_MOUNT_POINT = "/boot/loader"
DATA_MOUNT_POINT = "/data"
SLOT_ARGUMENT = "forge.slot"
# What GRUB adds where it passed a slot over: `b-no-long-mode`, see slots/reasons.py.
REASON_ARGUMENT = "forge.reason"
