"""Gather the facts that the checks need, by reading alone.

No program is started, no socket opened, nothing written. Any user may do it: what only root can see
is recorded as unseen. Whatever is missing is unknown, never an error.

Source: proc(5), adjtimex(2); Linux, Documentation/ABI/testing/sysfs-firmware-efi,
sysfs-fs-ext4 and stable/sysfs-block.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from applianceforge.cpuid import facts as cpuid
from applianceforge.formats.envblock import BLOCK_BYTES
from applianceforge.preflight import gather_disks, gather_partners
from applianceforge.preflight.facts import Clock, Facts, Kernel
from applianceforge.preflight.looking import Tree

_ROOT = Path("/")
_NOTHING = cpuid.Facts(())
_ENVIRONMENTS = ("/boot/loader", "/boot", "/boot/grub")
# Of a system that is not ours, PostgreSQL and RRDs lie below /var/lib.
_DATA = ("/data", "/var/lib")
_LOADERS = ("/sbin/init", "/bin/sh")
_TIME_ERROR = 5
_LONGEST_NUMBER = 20


def gather(
    root: Path = _ROOT, processor: cpuid.Facts = _NOTHING, data: Path | None = None
) -> Facts:
    """Return what can be seen of the machine.

    Args:
        root: The root of the system; another one than / gives no clock, and no names of this
            kernel.
        processor: What was found out about the processor.
        data: The directory that takes the migrated data; by default /data or /var/lib.
    """
    tree = Tree(str(root))
    mounts = gather_disks.mounts(tree)
    tree.network = gather_disks.network(mounts)
    container = bool(processor.machine.container)
    disks = gather_disks.disks(tree)
    data_mount = gather_disks.mount_of(mounts, _data(tree, data))
    memory = _memory(tree)
    environments = _boot_environments(tree)
    return Facts(
        processor=processor,
        hostname=os.uname().nodename if tree.live else tree.line("/etc/hostname"),
        kernel=_kernel(tree),
        memory_bytes=memory.get("MemTotal"),
        file_systems=gather_disks.file_systems(
            tree, mounts, disks, data_mount, unmounted=not container
        ),
        disks=disks,
        uefi_bits=_uefi_bits(tree),
        boot_loader=None if container else gather_disks.boot_loader(tree, mounts, disks),
        boot_environments=environments,
        clock=_clock() if tree.live else None,
        partners=gather_partners.partners(tree, "" if data is None else str(data)),
        data_mount_point="" if data_mount is None else data_mount.point,
        memory_available_bytes=memory.get("MemAvailable"),
        swap_bytes=memory.get("SwapTotal"),
        unseen=tree.unseen,
    )


def _data(tree: Tree, data: Path | None) -> str:
    """Return the directory that takes the data, without links; "" if it lies on a network."""
    if data is not None:
        found = tree.resolved(str(data if data.is_absolute() else Path.cwd() / data))
    else:
        found = tree.resolved(next((one for one in _DATA if tree.exists(one)), "/"))
    if not found:
        tree.miss("free space for the data", "it lies on a network file system")
    return found


def _kernel(tree: Tree) -> Kernel:
    if tree.live:
        name = os.uname()
        release, machine = name.release, name.machine
    else:
        release = tree.line("/proc/sys/kernel/osrelease")
        machine = tree.line("/proc/sys/kernel/arch")
    return Kernel(
        release=release,
        machine=machine,
        userland_bits=_userland_bits(tree),
        command_line=tree.line("/proc/cmdline"),
    )


def _userland_bits(tree: Tree) -> int | None:
    """Return the width of the system's own programs, not that of this Python's.

    An ELF file says it in its fifth byte: 1 is 32-bit, 2 is 64-bit.
    """
    for name in _LOADERS:
        head = tree.read(tree.resolved(name), size=5)
        if head[:4] == b"\x7fELF" and head[4:] in (b"\1", b"\2"):
            return 32 * head[4]
    return None


def _memory(tree: Tree) -> dict[str, int]:
    """Return the lines of /proc/meminfo in bytes."""
    found = {}
    for line in tree.text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal() and len(words[0]) < _LONGEST_NUMBER:
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _uefi_bits(tree: Tree) -> int | None:
    """Return the width of the UEFI firmware, 0 for BIOS; None if it is not known.

    A container often sees an empty /sys/firmware, which says nothing. Kernels before 4.0 do not
    tell the width.
    """
    if not tree.names("/sys/firmware"):
        return None
    if not tree.exists("/sys/firmware/efi"):
        return 0
    return tree.number("/sys/firmware/efi/fw_platform_size")


def _boot_environments(tree: Tree) -> tuple[bytes, ...]:
    """Return both copies of the boot environment, b"" for one that is missing; () without."""
    for directory in _ENVIRONMENTS:
        names = [f"{directory}/env1", f"{directory}/env2"]
        if any(map(tree.exists, names)):
            denied = len(tree.unseen)
            # One byte more than there may be shows a file that is too long.
            copies = [tree.read(n, "the boot environment", size=BLOCK_BYTES + 1) for n in names]
            return tuple(copies) if len(tree.unseen) == denied else ()
    return ()


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2); room for what follows the status."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("numbers", ctypes.c_long * 4),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def _clock() -> Clock:
    """Return the time, and whether the kernel knows it to be kept right; modes = 0 only reads."""
    synchronized: bool | None = None
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex()))
    except (AttributeError, OSError):
        state = -1
    if state >= 0:
        synchronized = state != _TIME_ERROR
    return Clock(int(time.time()), synchronized)
