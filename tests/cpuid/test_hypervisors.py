"""Under what a system runs: signatures, DMI, releases of VMware, containers, Xen."""

import pytest

from applianceforge.cpuid.facts import Facts, Machine
from applianceforge.cpuid.hypervisors import Hypervisor, Platform, environment, find
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Registers
from tests.cpuid.table import ROWS, Row, altered, facts, leaf, named, under

CONROE = named("_Conroe")

SIGNATURES = {
    "VMwareVMware": (Platform.VMWARE, "vm:VMware"),
    "VBoxVBoxVBox": (Platform.VIRTUALBOX, "vm:VirtualBox"),
    "KVMKVMKVM": (Platform.KVM, "vm:KVM"),
    "Linux KVM Hv": (Platform.KVM, "vm:KVM"),
    "TCGTCGTCGTCG": (Platform.QEMU, "emulated"),
    "XenVMMXenVMM": (Platform.XEN, "vm:Xen"),
    "Microsoft Hv": (Platform.HYPER_V, "vm:Hyper-V"),
    "bhyve bhyve ": (Platform.BHYVE, "vm:bhyve"),
    "bhyve bhyve": (Platform.BHYVE, "vm:bhyve"),
    "ACRNACRNACRN": (Platform.ACRN, "vm:ACRN"),
    " prl hyperv ": (Platform.PARALLELS, "vm:Parallels"),
    "prl hyperv": (Platform.PARALLELS, "vm:Parallels"),
    " lrpepyh vr": (Platform.PARALLELS, "vm:Parallels"),
    "lrpepyh vr": (Platform.PARALLELS, "vm:Parallels"),
    "SRESRESRESRE": (Platform.OTHER, "vm:a hypervisor without a known name"),
}


def found(known: Facts) -> Hypervisor:
    hypervisor = find(known)
    assert hypervisor is not None
    return hypervisor


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures(signature: str) -> None:
    platform, expected = SIGNATURES[signature]
    known = facts(under(CONROE, signature))
    assert found(known).platform is platform
    assert environment(known) == expected
    assert found(known).emulator == (expected == "emulated")


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures_count_only_with_the_hypervisor_bit(signature: str) -> None:
    known = facts(altered(under(CONROE, signature), 1, clear_ecx=1 << 31))
    assert find(known) is None
    assert environment(known) == "metal"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recorded_machines_run_on_metal(row: Row) -> None:
    assert environment(facts(row.registers)) == "metal"


def test_a_stale_register_is_no_hypervisor() -> None:
    """VIA's Samuel leaves ECX of leaf 1 as it was."""
    samuel = named("_C5A_Samuel")
    assert environment(facts(altered(samuel, 1, set_ecx=1 << 31))) == "metal"
    esther = named("_C5J_Esther")
    assert environment(facts(altered(esther, 1, set_ecx=1 << 31))).startswith("vm:")


@pytest.mark.parametrize(
    ("signatures", "platform"),
    [
        (("Microsoft Hv", "KVMKVMKVM"), Platform.KVM),
        (("KVMKVMKVM", "Microsoft Hv"), Platform.KVM),
        (("Microsoft Hv", "XenVMMXenVMM"), Platform.XEN),
        (("Microsoft Hv", "VBoxVBoxVBox"), Platform.VIRTUALBOX),
        (("Microsoft Hv", "something els"[:12]), Platform.HYPER_V),
        (("something el", "KVMKVMKVM"), Platform.KVM),
    ],
)
def test_microsofts_leaf_may_stand_before_the_real_one(
    signatures: tuple[str, ...], platform: Platform
) -> None:
    assert found(facts(under(CONROE, *signatures))).platform is platform


def test_leaves_between_are_no_signatures() -> None:
    inside = under(CONROE, "KVMKVMKVM")
    (signature,) = (one for one in inside.leaves if one.number == 0x40000000)
    # What VMware would show, where KVM tells its features.
    vmware = leaf(0x40000001, 0, 0x61774D56, 0x4D566572, 0x65726177)
    for extra in (vmware, vmware._replace(number=0x40000000, subleaf=1)):
        leaves = tuple(one for one in inside.leaves if one is not signature)
        known = facts(Registers((*leaves, extra, signature)))
        assert known.registers is not None
        assert known.registers.hypervisor_signatures == ("KVMKVMKVM",)


@pytest.mark.parametrize(
    ("maker", "product", "platform"),
    [
        ("VMware, Inc.", "VMware Virtual Platform", Platform.VMWARE),
        ("VMware, Inc.", "VMware7,1", Platform.VMWARE),
        ("innotek GmbH", "VirtualBox", Platform.VIRTUALBOX),
        ("innotek GmbH", "", Platform.VIRTUALBOX),
        ("Oracle Corporation", "VirtualBox", Platform.VIRTUALBOX),
        ("Parallels Software International Inc.", "Parallels Platform", Platform.PARALLELS),
        ("Google", "Google Compute Engine", Platform.GOOGLE),
        ("Xen", "HVM domU", Platform.XEN),
        ("Bochs", "Bochs", Platform.BOCHS),
    ],
)
@pytest.mark.parametrize("leaf_shows", ["", "KVMKVMKVM", "Microsoft Hv", "TCGTCGTCGTCG"])
def test_dmi_counts_before_the_leaf(
    maker: str, product: str, platform: Platform, leaf_shows: str
) -> None:
    registers = under(CONROE, leaf_shows) if leaf_shows else CONROE
    known = facts(registers, machine=Machine(maker, product))
    assert found(known).platform is platform
    # An emulator runs the processor in software; Bochs always does.
    assert environment(known) == (
        "emulated" if platform is Platform.BOCHS else f"vm:{platform.value}"
    )


def test_amazon_has_machines_with_and_without_a_hypervisor() -> None:
    machine = Machine("Amazon EC2", "m5.large")
    for shown in ("KVMKVMKVM", "XenVMMXenVMM", "Microsoft Hv"):
        assert found(facts(under(CONROE, shown), machine=machine)).platform is Platform.AMAZON
    assert found(facts(CONROE, machine=machine._replace(xen="HVM"))).platform is Platform.AMAZON
    metal = facts(CONROE, machine=Machine("Amazon EC2", "m5.metal"))
    assert (find(metal), environment(metal)) == (None, "metal")


@pytest.mark.parametrize(
    ("maker", "product", "platform", "with_kvm"),
    [
        ("QEMU", "Standard PC (i440FX + PIIX, 1996)", Platform.QEMU, Platform.KVM),
        ("Red Hat", "KVM", Platform.KVM, Platform.KVM),
        ("Microsoft Corporation", "Virtual Machine", Platform.HYPER_V, Platform.KVM),
        ("BHYVE", "BHYVE", Platform.BHYVE, Platform.KVM),
    ],
)
def test_dmi_that_counts_after_the_leaf(
    maker: str, product: str, platform: Platform, with_kvm: Platform
) -> None:
    machine = Machine(maker, product)
    assert found(facts(CONROE, machine=machine)).platform is platform
    assert found(facts(None, machine=machine)).platform is platform
    assert found(facts(under(CONROE, "KVMKVMKVM"), machine=machine)).platform is with_kvm


@pytest.mark.parametrize(
    ("maker", "product"),
    [
        ("", ""),
        ("Dell Inc.", "PowerEdge 2950"),
        ("Supermicro", "X8SIL"),
        ("Microsoft Corporation", "Surface Pro 3"),
        ("Google", "Link"),
        ("PC Engines", "apu2"),
        ("To Be Filled By O.E.M.", "To Be Filled By O.E.M."),
    ],
)
def test_dmi_of_real_machines(maker: str, product: str) -> None:
    assert environment(facts(CONROE, machine=Machine(maker, product))) == "metal"


RELEASES = {
    0xE848: "ESX 2.5",
    0xE7C7: "ESX 3.0",
    0xE66C: "ESX 3.5",
    0xE791: "ESX 3.5",
    0xEA55: "ESX 4.0",
    0xEA6C: "ESX 4.0",
    0xEA2E: "ESX 4.1",
    0xE72C: "ESXi 5.0",
    0xEA0C: "ESXi 5.1",
    0xEA05: "ESXi 5.5",
    0xE99E: "ESXi 6.0",
    0xE9A4: "ESXi 6.0",
    0xEA58: "ESXi 6.5",
}


@pytest.mark.parametrize("segment", RELEASES)
def test_releases_of_vmware(segment: int) -> None:
    machine = Machine("VMware, Inc.", "VMware Virtual Platform", segment)
    known = facts(CONROE, machine=machine)
    assert found(known).name == f"VMware {RELEASES[segment]}"
    assert environment(known) == f"vm:VMware {RELEASES[segment]}"
    # By the leaf alone, too.
    by_leaf = facts(under(CONROE, "VMwareVMware"), machine=Machine(bios_segment=segment))
    assert environment(by_leaf) == environment(known)


@pytest.mark.parametrize("segment", [None, 0, 0xF000, 0xE790, 0xE792])
def test_another_segment_names_no_release(segment: int | None) -> None:
    known = facts(CONROE, machine=Machine("VMware, Inc.", "VMware7,1", segment))
    assert environment(known) == "vm:VMware"


@pytest.mark.parametrize("segment", RELEASES)
def test_the_segment_means_nothing_elsewhere(segment: int) -> None:
    assert environment(facts(CONROE, machine=Machine(bios_segment=segment))) == "metal"
    kvm = facts(under(CONROE, "KVMKVMKVM"), machine=Machine(bios_segment=segment))
    assert environment(kvm) == "vm:KVM"


@pytest.mark.parametrize("kind", ["docker", "lxc", "openvz", "systemd-nspawn", "other"])
@pytest.mark.parametrize("maker", ["", "VMware, Inc.", "Bochs"])
def test_containers_come_first(kind: str, maker: str) -> None:
    known = facts(under(CONROE, "TCGTCGTCGTCG"), machine=Machine(maker, container=kind))
    assert environment(known) == "container"
    # What the host runs under is seen nevertheless: it is what may mask long mode.
    assert find(known) is not None
    assert environment(facts(CONROE, machine=Machine(container=kind))) == "container"


@pytest.mark.parametrize("kind", ["PV", "HVM", "PVH", "dom0", "guest"])
def test_xen_without_its_leaf(kind: str) -> None:
    known = facts(CONROE, machine=Machine(xen=kind))
    assert found(known).platform is Platform.XEN
    assert environment(known) == "vm:Xen"


def listed(*flags: str) -> ProcInfo:
    return ProcInfo("GenuineIntel", 6, 15, frozenset(("fpu", *flags)), 32)


def test_without_registers_the_kernels_flag_tells() -> None:
    assert environment(facts(None, listed("hypervisor"))).startswith("vm:")
    assert environment(facts(None, listed())) == "metal"
    assert environment(facts(None)) == "metal"


def test_registers_count_before_the_kernels_flag() -> None:
    samuel = named("_C5A_Samuel")
    assert environment(facts(samuel, listed("hypervisor"))) == "metal"


def test_every_platform_is_reached() -> None:
    reached = {platform for platform, _ in SIGNATURES.values()}
    assert set(Platform) - reached == {Platform.AMAZON, Platform.GOOGLE, Platform.BOCHS}
