"""Each check: nothing to find, something to find with its text, and not known."""

from typing import Any

import pytest

from applianceforge.cpuid import facts as cpuid
from applianceforge.cpuid.hypervisors import Platform
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.preflight import checks_around
from applianceforge.preflight.checks import check
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.facts import (
    BootLoader,
    Clock,
    Disk,
    Facts,
    FileSystem,
    Kernel,
    Partition,
    Partner,
    Unseen,
)
from applianceforge.preflight.requirements import Kernel as ReleaseKernel
from applianceforge.preflight.requirements import Last32Bit, PostgreSQL, Release, for_target
from tests import snapshots
from tests.cpuid.test_remedies import text
from tests.formats.test_bootenv import GOOD, altered, block

MIB, GIB = 1 << 20, 1 << 30
NOW = 1_800_000_000  # 2027-01-15
CAPABLE = Verdict(Capability.CAPABLE, True, "metal", None, 3, ("CPUID shows long mode",))
RELEASE = Release(
    Architecture.AMD64,
    "mailgate",
    "8.0.0",
    released_s=1_793_491_200,
    x86_64_level=2,
    memory_bytes=GIB,
    data_bytes=2 * GIB,
    slot_bytes=2 * GIB,
    firmware="bios",
    kernel=ReleaseKernel("6.12", "yes"),
    postgresql=PostgreSQL(15, ("plpgsql", "pg_trgm"), ("C.UTF-8", "de_DE.UTF-8")),
    last_32_bit=Last32Bit("7.9.3", "2028-06-30", "The vendor exchanges M100 for M120."),
)
DATA = FileSystem("/dev/sda4", "/data", "ext4", 20 * GIB, 10 * GIB, errors=0)
ROOT = FileSystem("/dev/sda2", "/", "ext4", 2 * GIB, GIB, read_only=True, errors=0)
DISK = Disk(
    "sda",
    32 * GIB,
    (
        Partition("sda1", GIB // 4, "boot"),
        Partition("sda2", 2 * GIB),
        Partition("sda3", 2 * GIB),
        Partition("sda4", 20 * GIB, "data"),
    ),
)
FINE = Facts(
    processor=cpuid.Facts(()),
    kernel=Kernel("6.1.0-28-686-pae", "i686", 32, "ro quiet panic=10"),
    memory_bytes=GIB - 40 * MIB,
    file_systems=(ROOT, DATA),
    disks=(DISK,),
    uefi_bits=0,
    boot_loader=BootLoader("sda", True, ("as installed",)),
    boot_environments=(block(GOOD), block(GOOD)),
    clock=Clock(NOW, True),
    data_mount_point="/data",
    memory_available_bytes=600 * MIB,
    swap_bytes=0,
)
NEEDS_LITTLE: Any = {"memory_bytes": 0, "data_bytes": 0, "slot_bytes": 0}
NOTHING = Facts(processor=cpuid.Facts(()))
SIZES = DataSizes(cluster_bytes=4 * GIB, rrd_bytes=GIB, rrd_count=2000)


def keys(report: Report) -> list[str]:
    return [finding.key for finding in report.findings]


def one(key: str, facts: Facts = FINE, **more: Any) -> Finding:
    """Return the only finding of that key."""
    (found,) = (f for f in all_of(facts, **more).findings if f.key == key)
    return found


def all_of(facts: Facts = FINE, **more: Any) -> Report:
    release = more.pop("release", RELEASE)
    verdict = more.pop("verdict", CAPABLE)
    # A server that was asked and needs nothing.
    more.setdefault("clusters", (ClusterNeeds("15/main", 15, (), ()),))
    return check(facts, verdict, release, **more)


def test_a_machine_that_has_all() -> None:
    report = all_of(sizes=DataSizes(GIB, GIB, 10), clusters=(ClusterNeeds("15/main", 15, (), ()),))
    assert report.findings == ()
    assert report.exit_status == 0


def test_what_is_not_known_is_not_held_against_a_machine() -> None:
    assert keys(all_of(NOTHING, sizes=SIZES)) == ["check.not-judged"]
    assert all_of(NOTHING, release=NO_PACKAGES._replace(**NEEDS_LITTLE)).findings == ()
    blank = NOTHING._replace(
        boot_loader=BootLoader("sda", None),
        clock=Clock(NOW, None),
        file_systems=(DATA._replace(errors=None, needs_recovery=None),),
        memory_bytes=None,
    )
    assert keys(all_of(blank, sizes=SIZES)) == ["check.not-judged"]


def test_a_32_bit_release_asks_nothing_of_the_processor() -> None:
    incapable = Verdict(Capability.INCAPABLE, False, "metal", None, None, ("no",))
    release = for_target(Architecture.I386)
    uefi = FINE._replace(uefi_bits=32)
    assert all_of(uefi, verdict=incapable, release=release).findings == ()


def verdict(
    capability: Capability, level: int | None = None, platform: Platform | None = None
) -> Verdict:
    long_mode = {Capability.CAPABLE: True, Capability.UNKNOWN: None}.get(capability, False)
    name = platform.value if platform else None
    environment = f"vm:{name}" if name else "metal"
    return Verdict(
        capability,
        long_mode,
        environment,
        name,
        level,
        (f"x86-64-v{level}: v{level + 1} needs POPCNT" if level else "the level is not known",),
        (),
        platform,
    )


VERDICTS = {
    "long-mode-incapable": (verdict(Capability.INCAPABLE), "processor.long-mode", 22),
    "long-mode-unknown": (verdict(Capability.UNKNOWN), "processor.long-mode", 30),
    "long-mode-masked": (
        verdict(Capability.MASKED_BY_HYPERVISOR, None, Platform.VIRTUALBOX),
        "processor.long-mode",
        20,
    ),
    "level-metal": (verdict(Capability.CAPABLE, 1), "processor.level", 22),
    "level-unknown": (verdict(Capability.CAPABLE, None), "processor.level", 30),
    **{
        f"level-{platform.name.lower()}": (
            verdict(Capability.CAPABLE, 1, platform),
            "processor.level",
            20,
        )
        for platform in Platform
    },
}


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_processor(name: str) -> None:
    said, key, status = VERDICTS[name]
    report = all_of(verdict=said)
    assert keys(report) == [key]
    assert report.exit_status == status
    snapshots.same(f"checks/processor-{name}", text(report.findings[0]))


def test_a_level_that_is_high_enough() -> None:
    assert all_of(verdict=verdict(Capability.CAPABLE, 2)).findings == ()
    unknown = verdict(Capability.CAPABLE, None)
    assert all_of(verdict=unknown, release=RELEASE._replace(x86_64_level=1)).findings == ()


@pytest.mark.parametrize("level", [2, 3, 4])
def test_proxmox_is_told_the_level_that_is_needed(level: int) -> None:
    release = RELEASE._replace(x86_64_level=level)
    found = one(
        "processor.level", verdict=verdict(Capability.CAPABLE, 1, Platform.KVM), release=release
    )
    assert any(f"x86-64-v{level}" in remedy.command for remedy in found.remedies)


def test_contradiction_is_passed_on() -> None:
    assert keys(all_of(verdict=CAPABLE._replace(contradictions=("a", "b")))) == [
        "processor.contradiction"
    ]


OLD_KERNEL = Kernel("3.2.0-4-486", "i686", 32)
DUE = RELEASE.released_s
NO_PACKAGES = RELEASE._replace(postgresql=None)

# Name: the facts, more arguments, the key, the severity, and the status if it inhibits.
CASES: dict[str, tuple[Facts, dict[str, Any], str, Severity, int]] = {
    "memory": (
        FINE._replace(memory_bytes=500 * MIB),
        {},
        "resources.memory",
        Severity.INHIBITOR,
        23,
    ),
    "memory-without-pae": (
        FINE._replace(memory_bytes=3 * GIB, kernel=OLD_KERNEL),
        {"release": RELEASE._replace(memory_bytes=8 * GIB)},
        "resources.memory",
        Severity.WARNING,
        0,
    ),
    "memory-growth": (
        FINE._replace(memory_available_bytes=100 * MIB),
        {},
        "resources.memory",
        Severity.WARNING,
        0,
    ),
    "data-space-release": (
        FINE._replace(file_systems=(ROOT, DATA._replace(free_bytes=GIB))),
        {},
        "resources.data-space",
        Severity.INHIBITOR,
        23,
    ),
    "data-space-plan": (
        FINE,
        {"sizes": SIZES._replace(peak_bytes=11 * GIB)},
        "resources.data-space",
        Severity.INHIBITOR,
        23,
    ),
    "data-space-estimate": (
        FINE,
        {"sizes": SIZES._replace(cluster_bytes=8 * GIB)},
        "resources.data-space",
        Severity.WARNING,
        0,
    ),
    "data-space-far-too-little": (
        FINE,
        {"sizes": SIZES._replace(cluster_bytes=40 * GIB)},
        "resources.data-space",
        Severity.INHIBITOR,
        23,
    ),
    "slot": (
        FINE,
        {"release": RELEASE._replace(slot_bytes=3 * GIB)},
        "resources.slot",
        Severity.INHIBITOR,
        23,
    ),
    "slot-none": (
        FINE._replace(disks=(Disk("sda", GIB, (Partition("sda1", GIB),)),)),
        {},
        "resources.slot",
        Severity.INHIBITOR,
        23,
    ),
    "slot-none-needed": (
        FINE._replace(disks=(Disk("sda", GIB, (Partition("sda1", GIB),)),)),
        {"release": RELEASE._replace(slot_bytes=0)},
        "resources.slot",
        Severity.INFO,
        0,
    ),
    "not-judged": (
        FINE._replace(memory_bytes=None, file_systems=(), disks=()),
        {},
        "check.not-judged",
        Severity.WARNING,
        10,
    ),
    "postgresql-not-asked": (
        FINE,
        {"clusters": ()},
        "postgresql.not-asked",
        Severity.INFO,
        0,
    ),
    "environment-lost": (
        FINE._replace(boot_environments=(b"", altered(end="8"))),
        {},
        "boot.environment",
        Severity.INHIBITOR,
        24,
    ),
    "environment-one-copy": (
        FINE._replace(boot_environments=(b"", block(GOOD))),
        {},
        "boot.environment",
        Severity.WARNING,
        0,
    ),
    "loader": (
        FINE._replace(boot_loader=BootLoader("sda", False, ("sector 0 differs at byte 5Bh",))),
        {},
        "boot.loader",
        Severity.WARNING,
        0,
    ),
    "loader-of-others": (
        FINE._replace(boot_loader=BootLoader("sda", False, ("x",)), boot_environments=()),
        {},
        "boot.loader",
        Severity.INFO,
        0,
    ),
    "uefi32": (FINE._replace(uefi_bits=32), {}, "firmware.uefi32", Severity.INHIBITOR, 21),
    "uefi64": (FINE._replace(uefi_bits=64), {}, "firmware.uefi64", Severity.INHIBITOR, 21),
    "uefi32-any-release": (
        FINE._replace(uefi_bits=32),
        {"release": for_target(Architecture.AMD64)},
        "firmware.uefi32",
        Severity.WARNING,
        0,
    ),
    "uefi64-any-release": (
        FINE._replace(uefi_bits=64),
        {"release": for_target(Architecture.AMD64)},
        "firmware.uefi64",
        Severity.INFO,
        0,
    ),
    "ia32-none": (
        FINE,
        {"release": RELEASE._replace(kernel=ReleaseKernel("6.12", "no"))},
        "kernel.ia32-emulation",
        Severity.INHIBITOR,
        24,
    ),
    "ia32-option": (
        FINE,
        {"release": RELEASE._replace(kernel=ReleaseKernel("6.12", "option"))},
        "kernel.ia32-emulation",
        Severity.INFO,
        0,
    ),
    "ia32-option-off": (
        FINE._replace(kernel=FINE.kernel._replace(command_line="ro ia32_emulation=0")),
        {"release": RELEASE._replace(kernel=ReleaseKernel("", "option"))},
        "kernel.ia32-emulation",
        Severity.WARNING,
        0,
    ),
    "ia32-switched-off": (
        FINE._replace(kernel=FINE.kernel._replace(command_line="ro ia32_emulation=off")),
        {},
        "kernel.ia32-emulation",
        Severity.WARNING,
        0,
    ),
    "userland-64": (
        FINE._replace(kernel=Kernel("6.1", "x86_64", 64)),
        {},
        "kernel.userland",
        Severity.INFO,
        0,
    ),
    "userland-mixed": (
        FINE._replace(kernel=Kernel("6.1", "x86_64", 32)),
        {},
        "kernel.userland",
        Severity.INFO,
        0,
    ),
    "errors-data": (
        FINE._replace(file_systems=(ROOT, DATA._replace(errors=3))),
        {},
        "filesystem.errors",
        Severity.INHIBITOR,
        24,
    ),
    "errors-root": (
        FINE._replace(file_systems=(ROOT._replace(errors=1), DATA)),
        {},
        "filesystem.errors",
        Severity.WARNING,
        0,
    ),
    "dirty-log-ext4": (
        FINE._replace(
            file_systems=(DATA, FileSystem("/dev/sdb1", "", "ext4", 1, 0, needs_recovery=True))
        ),
        {},
        "filesystem.dirty-log",
        Severity.WARNING,
        0,
    ),
    "dirty-log-xfs": (
        FINE._replace(
            file_systems=(DATA, FileSystem("/dev/sdb1", "", "xfs", 1, 0, needs_recovery=True))
        ),
        {},
        "filesystem.dirty-log",
        Severity.INHIBITOR,
        24,
    ),
    "read-only": (
        FINE._replace(file_systems=(ROOT, DATA._replace(read_only=True))),
        {},
        "filesystem.read-only",
        Severity.INHIBITOR,
        24,
    ),
    "xfs": (
        FINE._replace(file_systems=(ROOT, DATA._replace(kind="xfs"))),
        {},
        "filesystem.clean-unmount",
        Severity.INFO,
        0,
    ),
    "clock-behind": (
        FINE._replace(clock=Clock(86_400 * 365, True)),
        {},
        "clock.wrong",
        Severity.WARNING,
        0,
    ),
    "clock-behind-the-release": (
        FINE._replace(clock=Clock(NOW, True)),
        {"release": RELEASE._replace(released_s=NOW + 100 * 86_400)},
        "clock.wrong",
        Severity.WARNING,
        0,
    ),
    "clock-ahead": (
        FINE._replace(clock=Clock(NOW + 20 * 366 * 86_400, True)),
        {},
        "clock.wrong",
        Severity.WARNING,
        0,
    ),
    "clock-unsynchronized": (
        FINE._replace(clock=Clock(NOW, False)),
        {},
        "clock.unsynchronized",
        Severity.INFO,
        0,
    ),
    "unseen": (
        FINE._replace(
            unseen=(
                Unseen("the boot loader", "/dev/sda may not be read", "root"),
                Unseen("free space for the data", "it lies on a network file system"),
            )
        ),
        {},
        "check.unseen",
        Severity.INFO,
        0,
    ),
    "unseen-by-anybody": (
        FINE._replace(unseen=(Unseen("free space", "it lies on a network file system"),)),
        {},
        "check.unseen",
        Severity.INFO,
        0,
    ),
    "postgresql-version": (
        FINE,
        {"clusters": (ClusterNeeds("17/main", 17, (), ()),)},
        "postgresql.version",
        Severity.INHIBITOR,
        24,
    ),
    "postgresql-extensions": (
        FINE,
        {"clusters": (ClusterNeeds("13/main", 13, ("plpgsql", "postgis", "hstore")),)},
        "postgresql.extensions",
        Severity.INHIBITOR,
        24,
    ),
    "postgresql-collations": (
        FINE,
        {"clusters": (ClusterNeeds("13/main", 13, (), ("de_DE.utf8", "fr_FR.UTF-8", "C")),)},
        "postgresql.collations",
        Severity.INHIBITOR,
        24,
    ),
    **{
        f"partners-{kind}": (
            FINE._replace(partners=(Partner(kind, "/etc/file", "what it says"),)),
            {},
            "cluster.partners",
            Severity.WARNING,
            0,
        )
        for kind in (*checks_around._KINDS, "something-new")
    },
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_finding_and_its_text(name: str) -> None:
    facts, more, key, severity, status = CASES[name]
    report = all_of(facts, **more)
    assert keys(report) == [key]
    found = report.findings[0]
    assert found.severity is severity
    expected = {Severity.INHIBITOR: status, Severity.WARNING: 10, Severity.INFO: 0}
    assert report.exit_status == expected[severity]
    snapshots.same(f"checks/{name}", text(found))


def test_every_inhibitor_and_warning_says_what_to_do() -> None:
    for facts, more, key, severity, _ in CASES.values():
        if severity is not Severity.INFO:
            assert one(key, facts, **more).remedies


def test_unknown_words_are_never_worded_as_bad() -> None:
    for name in ("long-mode-unknown", "level-unknown"):
        said, key, _ = VERDICTS[name]
        found = one(key, verdict=said)
        assert "says nothing against" in found.summary
        assert "cannot" not in found.title.lower()


def test_memory_that_the_kernel_does_not_count_is_forgiven() -> None:
    limit = GIB * 7 // 8
    enough = FINE._replace(memory_available_bytes=None)
    assert all_of(enough._replace(memory_bytes=limit)).findings == ()
    assert keys(all_of(enough._replace(memory_bytes=limit - 1))) == ["resources.memory"]
    pae = FINE._replace(memory_bytes=3 * GIB)
    big = RELEASE._replace(memory_bytes=8 * GIB)
    assert one("resources.memory", pae, release=big).severity is Severity.INHIBITOR


def test_memory_does_not_grow_on_a_64_bit_system() -> None:
    full = FINE._replace(memory_available_bytes=100 * MIB, kernel=Kernel("6.1", "x86_64", 64))
    assert keys(all_of(full)) == ["kernel.userland"]


def test_space_at_its_exact_bounds() -> None:
    def space(free: int, **sizes: int) -> list[Severity]:
        facts = FINE._replace(file_systems=(DATA._replace(free_bytes=free),))
        report = all_of(facts, sizes=DataSizes(**sizes))
        return [f.severity for f in report.findings]

    assert space(2 * GIB) == []
    assert space(2 * GIB - 1) == [Severity.INHIBITOR]
    assert space(5 * GIB, peak_bytes=5 * GIB) == []
    assert space(5 * GIB - 1, peak_bytes=5 * GIB) == [Severity.INHIBITOR]
    assert space(3 * GIB, rrd_bytes=4 * GIB, rrd_count=1) == [Severity.INHIBITOR]
    likely = int(8 * GIB * 2.05) + 114 * MIB
    assert space(likely, cluster_bytes=8 * GIB) == []
    assert space(likely - 1, cluster_bytes=8 * GIB) == [Severity.WARNING]
    assert space(4 * GIB, cluster_bytes=8 * GIB) == [Severity.WARNING]
    assert space(4 * GIB - 1, cluster_bytes=8 * GIB) == [Severity.INHIBITOR]


def test_a_disk_without_labels_is_ours_by_its_boot_environment() -> None:
    bare = DISK._replace(partitions=tuple(p._replace(label="") for p in DISK.partitions))
    assert all_of(FINE._replace(disks=(bare,))).findings == ()
    others = FINE._replace(disks=(bare,), boot_environments=())
    assert keys(all_of(others)) == ["resources.slot"]
    assert one("resources.slot", others).severity is Severity.INHIBITOR


def test_one_of_two_disks_is_enough() -> None:
    other = Disk("sdb", GIB, (Partition("sdb1", GIB),))
    assert all_of(FINE._replace(disks=(other, DISK))).findings == ()


def test_postgresql_that_the_release_does_not_speak_of() -> None:
    needs = (ClusterNeeds("17/main", 17, ("postgis",), ("fr_FR.UTF-8",)),)
    assert all_of(clusters=needs, release=NO_PACKAGES).findings == ()
    silent = RELEASE._replace(postgresql=PostgreSQL(17))
    assert all_of(clusters=needs, release=silent).findings == ()
    unknown = (ClusterNeeds("15/main", 15),)
    assert keys(all_of(clusters=unknown)) == ["postgresql.not-asked"]
    assert keys(all_of(clusters=())) == ["postgresql.not-asked"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "", "C.utf8", "de_DE.utf8", "de_DE.UTF-8"])
def test_locales_have_many_spellings(locale: str) -> None:
    assert all_of(clusters=(ClusterNeeds("x", 15, (), (locale,)),)).findings == ()


def test_all_at_once_and_the_least_mendable_first() -> None:
    facts = FINE._replace(
        memory_bytes=100 * MIB,
        uefi_bits=32,
        clock=Clock(0, False),
        kernel=Kernel("6.1", "x86_64", 32),
        file_systems=(ROOT, DATA._replace(errors=2, read_only=True, free_bytes=0)),
        partners=(Partner("drbd", "x", "y"),),
    )
    extra = Finding("data.unknown", Severity.INHIBITOR, "t", "s", exit_status=24)
    report = all_of(facts, verdict=verdict(Capability.INCAPABLE), more=(extra,))
    assert keys(report) == [
        "processor.long-mode",
        "firmware.uefi32",
        "filesystem.errors",
        "filesystem.read-only",
        "data.unknown",
        "resources.memory",
        "resources.data-space",
        "clock.wrong",
        "cluster.partners",
        "kernel.userland",
    ]
    assert report.exit_status == 22


def test_days() -> None:
    assert checks_around.day(0) == "1970-01-01"
    assert checks_around.day(951_782_400) == "2000-02-29"
    assert checks_around.day(checks_around.PROGRAM_S) == "2026-11-01"
    assert checks_around.day(4_102_444_799) == "2099-12-31"
