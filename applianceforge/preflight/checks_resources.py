"""Check memory, space for the data, and the size of the slots."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.amounts import amount
from applianceforge.preflight.facts import Disk, Facts, FileSystem, Partition
from applianceforge.preflight.requirements import Release

RESOURCES = 23
_MIB = 1 << 20

# Of a machine's memory the kernel does not count what firmware and its own code take: 2 to 9 % of
# small machines, more with a crash kernel. What is left of 512 MiB must still count as 512 MiB.
_COUNTED = 7 / 8
# What 64-bit programs hold, by what 32-bit ones do: measured with Debian 12's PostgreSQL 15 and ten
# connections that had sorted the catalogs: private memory of servers 36.7 to 50.3 MB (1.37 times)
# and of psql 8.5 to 13.0 MB (1.53 times). Addresses alone would double.
MEMORY_GROWTH = 1.5
# A 32-bit kernel without PAE sees no more than 3 to 4 GiB, whatever there is.
_SEEN_WITHOUT_PAE = 5 << 29

# The same figures as the migration's own prediction: a new cluster, its write-ahead log, its
# template; a file's last block and its share of the directory.
_CLUSTER_BYTES = (8 + 96 + 8 + 2) * _MIB
_RRD_FILE_BYTES = 4096 + 64
# A dump and what is loaded from it, 5 % larger by alignment, lie beside each other at the peak. A
# dump is smaller than the cluster, whose indexes and dead rows it does not hold.
_LIKELY_PEAK = 2.05
# Without dead rows and with fresh indexes a cluster may need half of what it takes now, not less.
_LEAST_PEAK = 0.5
LARGER_SLOTS = (
    Remedy(
        "Make a new disk from the vendor's current image, and take the data along"
        " (on a virtual machine: a second disk)",
        command="applianceforge migrate export --help",
    ),
    Remedy("Ask your vendor for a release that fits the slots of this appliance"),
)


class DataSizes(NamedTuple):
    """How much data there is to migrate.

    Attributes:
        peak_bytes: What the migration's own plan predicts; None if it was not asked.
    """

    cluster_bytes: int = 0
    rrd_bytes: int = 0
    rrd_count: int = 0
    peak_bytes: int | None = None


def check_memory(facts: Facts, release: Release) -> Iterator[Finding]:
    """Compare the memory with what the release needs, and with what programs hold now."""
    told = facts.memory_bytes
    if told is None:
        return
    needed = release.memory_bytes
    evidence = (f"the kernel counts {amount(told)} of memory", f"needed: {amount(needed)}")
    if told < needed * _COUNTED:
        if _sees_not_all(facts):
            yield Finding(
                "resources.memory",
                Severity.WARNING,
                "There may be too little memory",
                f"{release.subject} needs {amount(needed)}. This 32-bit"
                " kernel has no PAE and cannot see all of a large memory, so there may be enough.",
                evidence=evidence,
                remedies=(
                    Remedy(
                        "See in the firmware's setup, or in the virtual machine's settings, how"
                        " much memory there is",
                        command="dmidecode -t memory | grep Size",
                    ),
                ),
            )
            return
        yield Finding(
            "resources.memory",
            Severity.INHIBITOR,
            "There is too little memory",
            f"{release.subject} needs {amount(needed)}; 64-bit programs"
            " take more memory than 32-bit ones, since each address in it is twice as long.",
            evidence=evidence,
            remedies=(
                Remedy(
                    "Give the virtual machine more memory in its settings, or the machine another"
                    " module",
                    verify="grep MemTotal /proc/meminfo",
                ),
            ),
            exit_status=RESOURCES,
        )
        return
    yield from _growth(facts, told, release)


def _growth(facts: Facts, told: int, release: Release) -> Iterator[Finding]:
    available = facts.memory_available_bytes
    if not release.long_mode or facts.kernel.userland_bits != 32 or available is None:
        return
    held = told - available
    grown = int(held * MEMORY_GROWTH)
    if grown <= told:
        return
    yield Finding(
        "resources.memory",
        Severity.WARNING,
        "Memory will be scarce with 64-bit programs",
        f"The programs that run now hold {amount(held)} of {amount(told)}. As 64-bit programs they"
        f" may need up to {amount(grown)}: the machine would swap, and become slow.",
        evidence=(
            f"in use: {amount(held)} of {amount(told)}",
            f"swap: {'not known' if facts.swap_bytes is None else amount(facts.swap_bytes)}",
        ),
        remedies=(
            Remedy(
                f"Give the machine {amount(_rounded(grown))} of memory, or stop what it does not"
                " need to run",
                verify="free -m   (look at available)",
            ),
        ),
    )


def _rounded(size_bytes: int) -> int:
    step = 256 * _MIB
    return -(-size_bytes // step) * step


def _sees_not_all(facts: Facts) -> bool:
    kernel = facts.kernel
    wide = "pae" in kernel.release.lower() or "bigmem" in kernel.release.lower()
    old = kernel.machine in ("i386", "i486", "i586", "i686")
    return old and not wide and (facts.memory_bytes or 0) >= _SEEN_WITHOUT_PAE


def data_file_system(facts: Facts) -> FileSystem | None:
    """Return the file system that takes the migrated data, if it is known."""
    for one in facts.file_systems:
        if one.mount_point and one.mount_point == facts.data_mount_point:
            return one
    return None


def check_data_space(
    facts: Facts, release: Release, sizes: DataSizes | None = None
) -> Iterator[Finding]:
    """Compare the free space with what the migration takes at its peak.

    The release's own figure and the migration's prediction inhibit. An estimate from the size of
    the data alone inhibits where even half of the cluster's size is not free, and else warns.
    """
    system = data_file_system(facts)
    if system is None:
        return
    sizes = sizes or DataSizes()
    firm, likely = _peaks(sizes)
    firm, likely = max(firm, release.data_bytes), max(likely, release.data_bytes)
    if system.free_bytes >= likely:
        return
    too_little = system.free_bytes < firm
    needed = likely
    predicted = sizes.peak_bytes is not None or likely == release.data_bytes
    about = "" if predicted else "about "
    missing = amount(needed - system.free_bytes)
    verify = f"df -h {system.mount_point}"
    yield Finding(
        "resources.data-space",
        Severity.INHIBITOR if too_little else Severity.WARNING,
        f"{'There is' if too_little else 'There may be'} too little space for the migration",
        f"The old data stays beside the new until you say that it may go, so that there is a way"
        f" back. That takes {about}{amount(needed)} on {system.mount_point}: {about}{missing} more"
        " than is free there.",
        evidence=(
            f"{system.device} on {system.mount_point}: {amount(system.free_bytes)} of"
            f" {amount(system.size_bytes)} free",
            *_needs(sizes, release),
        ),
        remedies=(
            Remedy(
                f"Make room on {system.mount_point}: delete what is not needed any more, such as"
                " old logs, dumps and backups",
                command=f"du -xh --max-depth=2 {system.mount_point} | sort -h | tail -20",
                verify=verify,
            ),
            Remedy("Enlarge the disk, the partition and the file system", verify=verify),
            Remedy(
                "Migrate by way of another disk, which needs no room here",
                command="applianceforge migrate export --help",
            ),
        ),
        exit_status=RESOURCES,
    )


def _peaks(sizes: DataSizes) -> tuple[int, int]:
    if sizes.peak_bytes is not None:
        return sizes.peak_bytes, sizes.peak_bytes
    rrd = sizes.rrd_bytes + sizes.rrd_count * _RRD_FILE_BYTES
    if not sizes.cluster_bytes:
        return rrd, rrd
    least = int(sizes.cluster_bytes * _LEAST_PEAK)
    return least + rrd, int(sizes.cluster_bytes * _LIKELY_PEAK) + _CLUSTER_BYTES + rrd


def _needs(sizes: DataSizes, release: Release) -> Iterator[str]:
    if release.data_bytes:
        yield f"{release.name} asks for {amount(release.data_bytes)}"
    if sizes.peak_bytes is not None:
        yield f"the plan of the migration predicts {amount(sizes.peak_bytes)} at its peak"
        return
    if sizes.cluster_bytes:
        yield f"PostgreSQL holds {amount(sizes.cluster_bytes)}"
    if sizes.rrd_count:
        yield f"{sizes.rrd_count} RRDs hold {amount(sizes.rrd_bytes)}"


class Slots(NamedTuple):
    """The partitions of a disk of ours."""

    boot: Partition
    a: Partition
    b: Partition
    data: Partition


def slots(disk: Disk, *, environment: bool) -> Slots | None:
    """Return the partitions of a disk in the layout of an appliance; None if it is another's.

    Args:
        environment: Whether the machine has a boot environment of ours; without one the labels
            must say it.
    """
    if len(disk.partitions) != 4:
        return None
    found = Slots(*disk.partitions)
    labels = (found.boot.label.lower(), found.data.label.lower())
    fits = labels == ("boot", "data") or (environment and labels in (("", ""), ("boot", "")))
    return found if fits else None


def check_slots(facts: Facts, release: Release) -> Iterator[Finding]:
    """Compare both slots with the size that the release needs: in the end it lies in each."""
    if not facts.disks:
        return
    environment = bool(facts.boot_environments)
    ours = [found for disk in facts.disks for found in (slots(disk, environment=environment),)]
    known = [one for one in ours if one is not None]
    if not known:
        yield Finding(
            "resources.slot",
            Severity.INHIBITOR if release.slot_bytes else Severity.INFO,
            "No disk of this machine has two slots",
            "Without them a release cannot be put beside the running one. The data can still be"
            " migrated: export it here, and import it on a 64-bit system.",
            exit_status=RESOURCES,
            remedies=(
                Remedy(
                    "Export the data, and import it there",
                    command="applianceforge migrate export --help",
                ),
            ),
        )
        return
    for one in known:
        small = [part for part in (one.a, one.b) if part.size_bytes < release.slot_bytes]
        if small:
            yield Finding(
                "resources.slot",
                Severity.INHIBITOR,
                "The slots are too small for the release",
                f"{release.subject} needs slots of"
                f" {amount(release.slot_bytes)}. It does not fit beside the running one.",
                evidence=tuple(f"/dev/{p.name}: {amount(p.size_bytes)}" for p in small),
                remedies=LARGER_SLOTS,
                exit_status=RESOURCES,
            )
