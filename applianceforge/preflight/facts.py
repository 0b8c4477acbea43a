"""All that the check knows of a machine, as values: what was gathered, and what was dumped.

None, "" and () stand for what could not be found out; `Unseen` says what a more privileged user
would have seen.
"""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.cpuid import facts as cpuid


class Kernel(NamedTuple):
    """The running kernel, and the programs that it runs.

    Attributes:
        release: As uname says, such as "5.10.0-28-686".
        machine: As uname says, such as "i686"; a 64-bit kernel can run a 32-bit system.
        userland_bits: 32 or 64, by the program loader of the system; None if not known.
        command_line: /proc/cmdline.
    """

    release: str = ""
    machine: str = ""
    userland_bits: int | None = None
    command_line: str = ""


class FileSystem(NamedTuple):
    """One file system on a disk.

    Attributes:
        device: Such as "/dev/sda4".
        mount_point: "" where it is not mounted; nothing is known of its free space then.
        kind: Such as "ext4".
        free_bytes: What an unprivileged program may still write.
        errors: How many errors the kernel has recorded in it (ext4 does); None if not known.
        needs_recovery: Whether its log holds what was not written back (an unclean unmount).
            Only a file system that is not mounted tells: the mark also stands while it is in use.
    """

    device: str
    mount_point: str
    kind: str
    size_bytes: int
    free_bytes: int
    read_only: bool = False
    errors: int | None = None
    needs_recovery: bool | None = None


class Partition(NamedTuple):
    """One partition: its device name, such as "sda2", its size, and its label."""

    name: str
    size_bytes: int
    label: str = ""


class Disk(NamedTuple):
    """One disk with its partitions in their order."""

    name: str
    size_bytes: int
    partitions: tuple[Partition, ...] = ()


class BootLoader(NamedTuple):
    """GRUB on the boot disk, compared with its own files.

    Attributes:
        device: The disk's name, such as "sda".
        untouched: Whether sector 0 and the core image are as GRUB's files say; None if not known.
        evidence: What was compared, and what differs.
    """

    device: str
    untouched: bool | None
    evidence: tuple[str, ...] = ()


class Clock(NamedTuple):
    """The system's clock.

    Attributes:
        now_s: Seconds since 1970.
        synchronized: Whether the kernel says that something keeps it right.
    """

    now_s: int
    synchronized: bool | None = None


class Partner(NamedTuple):
    """Something that ties this machine to another one.

    Attributes:
        kind: "postgresql-standby", "postgresql-primary", "drbd", "corosync", "keepalived", ...
        where: The file that says so.
        evidence: The line of it, without secrets.
    """

    kind: str
    where: str
    evidence: str


class Unseen(NamedTuple):
    """What could not be looked at, and who could: "root", or "" where nobody could."""

    what: str
    why: str
    who: str = ""


class Facts(NamedTuple):
    """Everything.

    Attributes:
        origin: Where they come from: "this machine", or the name of a dump's format.
        hostname: "" in a dump: it is nobody's business at a support desk.
        uefi_bits: Width of the UEFI firmware, 32 or 64; 0 for BIOS; None if not known.
        boot_environments: The copies of the boot environment as they are on the disk, b"" for one
            that is missing; () on a machine that has none.
        data_mount_point: Of the file system, one of `file_systems`, that takes the migrated data;
            "" if not known.
        memory_available_bytes: What programs could still take without swapping.
    """

    processor: cpuid.Facts
    origin: str = "this machine"
    hostname: str = ""
    kernel: Kernel = Kernel()
    memory_bytes: int | None = None
    file_systems: tuple[FileSystem, ...] = ()
    disks: tuple[Disk, ...] = ()
    uefi_bits: int | None = None
    boot_loader: BootLoader | None = None
    boot_environments: tuple[bytes, ...] = ()
    clock: Clock | None = None
    partners: tuple[Partner, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    data_mount_point: str = ""
    memory_available_bytes: int | None = None
    swap_bytes: int | None = None
