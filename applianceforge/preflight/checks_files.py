"""Check the file systems: errors, logs that were not written back, and what cannot be written."""

from __future__ import annotations

from typing import Iterator

from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.checks_resources import data_file_system
from applianceforge.preflight.facts import Facts, FileSystem

DATA = 24


def check_file_systems(facts: Facts) -> Iterator[Finding]:
    """Find what speaks against trusting a file system with the only copy of the data."""
    yield from _errors(facts)
    yield from _dirty(facts)
    yield from _read_only(facts)
    yield from _xfs(facts)


def _where(system: FileSystem) -> str:
    return f"{system.device} on {system.mount_point}" if system.mount_point else system.device


def _disk(facts: Facts, system: FileSystem) -> str:
    for disk in facts.disks:
        if system.device[len("/dev/") :] in [partition.name for partition in disk.partitions]:
            return f"/dev/{disk.name}"
    return "DISK"


def _errors(facts: Facts) -> Iterator[Finding]:
    found = [one for one in facts.file_systems if one.errors]
    if not found:
        return
    data = data_file_system(facts)
    holds_data = data in found
    boot = any(one.mount_point == "/" for one in found)
    remedies = (
        Remedy("Save the data first, to another machine"),
        Remedy(
            "Have the disk tested: errors that come again mean that it fails",
            command=f"smartctl -a {_disk(facts, found[0])}",
        ),
        Remedy(
            "Let the file system be checked when the machine starts: add fsck.mode=force to the"
            " options of the kernel for one start (in GRUB's menu: e, then at the line linux); on a"
            " system without systemd: touch /forcefsck, and restart"
            if boot
            else "Check the file system while it is not mounted",
            command="" if boot else f"umount {found[0].device} && e2fsck -f {found[0].device}",
            verify=f"dumpe2fs -h {found[0].device} | grep 'FS Error count'   (must print nothing)",
        ),
    )
    yield Finding(
        "filesystem.errors",
        Severity.INHIBITOR if holds_data else Severity.WARNING,
        "A file system has errors",
        "The kernel found errors in it and recorded them."
        + (
            " It holds the data: what it lost would be lost in the new data too, and the old data"
            " is what you would go back to."
            if holds_data
            else ""
        ),
        evidence=tuple(
            f"{_where(one)}: {one.errors} error{'' if one.errors == 1 else 's'}" for one in found
        ),
        remedies=remedies,
        exit_status=DATA,
    )


def _dirty(facts: Facts) -> Iterator[Finding]:
    found = [one for one in facts.file_systems if one.needs_recovery]
    if not found:
        return
    xfs = any(one.kind == "xfs" for one in found)
    yield Finding(
        "filesystem.dirty-log",
        Severity.INHIBITOR if xfs else Severity.WARNING,
        "A file system was not unmounted cleanly",
        "Its log holds what was not written back yet."
        + (
            " The log of XFS is written in the form of the system that wrote it: a 64-bit kernel"
            " may not be able to recover what a 32-bit kernel left behind."
            if xfs
            else " If it holds data that you need, let this system recover it before the update."
        ),
        evidence=tuple(f"{_where(one)}: {one.kind}, needs recovery" for one in found),
        remedies=(
            Remedy(
                "Mount it once on this system, which recovers it, and unmount it again",
                command=f"mount {found[0].device} /mnt && umount /mnt",
                verify="applianceforge check   (must not name the file system)",
            ),
        ),
        exit_status=DATA,
    )


def _read_only(facts: Facts) -> Iterator[Finding]:
    data = data_file_system(facts)
    if data is None or not data.read_only:
        return
    yield Finding(
        "filesystem.read-only",
        Severity.INHIBITOR,
        "The file system of the data cannot be written",
        "It is mounted read-only, so there is no place for the new data. The kernel does that by"
        " itself after an error.",
        evidence=(f"{_where(data)}: mounted read-only",),
        remedies=(
            Remedy(
                "Look whether the kernel did it, and why",
                command="dmesg | grep -iE 'remount|error|I/O'",
            ),
            Remedy(
                "If it was mounted so on purpose, mount it for writing",
                command=f"mount -o remount,rw {data.mount_point}",
                verify=f"grep ' {data.mount_point} ' /proc/self/mounts   (must say rw)",
            ),
        ),
        exit_status=DATA,
    )


def _xfs(facts: Facts) -> Iterator[Finding]:
    found = [one for one in facts.file_systems if one.kind == "xfs" and one.mount_point]
    if not found or facts.kernel.machine == "x86_64":
        return
    yield Finding(
        "filesystem.clean-unmount",
        Severity.INFO,
        "XFS must be unmounted cleanly before the switch",
        "A 64-bit kernel may not be able to recover what a 32-bit kernel left in the log of XFS."
        " Restart the machine in the ordinary way: no reset, no power switch.",
        evidence=tuple(f"{_where(one)}: xfs" for one in found),
        remedies=(
            Remedy(
                "If it was switched off hard, start the 32-bit system once more, which recovers it,"
                " and restart it in the ordinary way",
                command="systemctl reboot",
            ),
        ),
    )
