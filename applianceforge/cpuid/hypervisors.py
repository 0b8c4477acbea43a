"""Under what a system runs: containers, hypervisors, emulators.

DMI is asked before CPUID's leaf 40000000 where the leaf names another: VirtualBox, Parallels,
Amazon and Google show KVM's or Microsoft's, and VMware before ESX 4 shows none at all. KVM and Xen
can put Microsoft's leaf in front of their own.

Which release of VMware it is follows from where its firmware starts.

Source: Linux, Documentation/virt/kvm/x86/cpuid.rst; VMware knowledge base 1009458 (detection) and
1003945 (64-bit guests); systemd-detect-virt(1).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from applianceforge.cpuid.facts import Facts


class Platform(Enum):
    """What runs the machine, as far as its remedies differ; the value is its name."""

    VMWARE = "VMware"
    VIRTUALBOX = "VirtualBox"
    KVM = "KVM"
    QEMU = "QEMU"
    XEN = "Xen"
    HYPER_V = "Hyper-V"
    PARALLELS = "Parallels"
    BHYVE = "bhyve"
    ACRN = "ACRN"
    AMAZON = "Amazon EC2"
    GOOGLE = "Google Compute Engine"
    BOCHS = "Bochs"
    OTHER = "a hypervisor without a known name"


class Hypervisor(NamedTuple):
    """A hypervisor or emulator.

    Attributes:
        name: With its release, where that is known.
        emulator: Whether it runs the processor in software.
    """

    platform: Platform
    name: str
    emulator: bool = False


_BY_SIGNATURE = {
    "VMwareVMware": Platform.VMWARE,
    "VBoxVBoxVBox": Platform.VIRTUALBOX,
    "KVMKVMKVM": Platform.KVM,
    "Linux KVM Hv": Platform.KVM,
    "TCGTCGTCGTCG": Platform.QEMU,
    "XenVMMXenVMM": Platform.XEN,
    "Microsoft Hv": Platform.HYPER_V,
    "bhyve bhyve": Platform.BHYVE,
    "bhyve bhyve ": Platform.BHYVE,
    "ACRNACRNACRN": Platform.ACRN,
    "prl hyperv": Platform.PARALLELS,
    " prl hyperv ": Platform.PARALLELS,
    "lrpepyh vr": Platform.PARALLELS,
    " lrpepyh vr": Platform.PARALLELS,
}
# Words of "MAKER PRODUCT". The first that fits counts.
_BY_DMI = (
    ("VMware", Platform.VMWARE),
    ("innotek", Platform.VIRTUALBOX),
    ("VirtualBox", Platform.VIRTUALBOX),
    ("Parallels", Platform.PARALLELS),
    ("Amazon EC2", Platform.AMAZON),
    ("Google Compute", Platform.GOOGLE),
    ("Xen", Platform.XEN),
    ("Bochs", Platform.BOCHS),
)
# These only where CPUID names none: the same words stand for KVM and for plain QEMU.
_BY_DMI_AFTER_CPUID = (
    ("QEMU", Platform.QEMU),
    ("KVM", Platform.KVM),
    ("Microsoft Corporation Virtual Machine", Platform.HYPER_V),
    ("BHYVE", Platform.BHYVE),
)
_VMWARE_RELEASES = {
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


def find(facts: Facts) -> Hypervisor | None:
    """Return what runs the machine, or None where nothing shows a hypervisor."""
    dmi = f"{facts.machine.maker} {facts.machine.product}"
    signatures = () if facts.registers is None else facts.registers.hypervisor_signatures
    for words, platform in _BY_DMI:
        if words in dmi and not (platform is Platform.AMAZON and _bare_metal(facts)):
            return _named(platform, facts, emulator=platform is Platform.BOCHS)
    known = [_BY_SIGNATURE[s] for s in signatures if s in _BY_SIGNATURE]
    if known:
        others = [platform for platform in known if platform is not Platform.HYPER_V]
        return _named((others or known)[0], facts, emulator="TCGTCGTCGTCG" in signatures)
    if facts.machine.xen:
        return _named(Platform.XEN, facts)
    for words, platform in _BY_DMI_AFTER_CPUID:
        if words in dmi:
            return _named(platform, facts)
    return _named(Platform.OTHER, facts) if _hypervisor_bit(facts) else None


def environment(facts: Facts) -> str:
    """Return `container`, `emulated`, `vm:NAME` or `metal`."""
    if facts.machine.container:
        return "container"
    hypervisor = find(facts)
    if hypervisor is None:
        return "metal"
    return "emulated" if hypervisor.emulator else f"vm:{hypervisor.name}"


def _hypervisor_bit(facts: Facts) -> bool:
    if facts.registers is not None:
        return facts.registers.hypervisor_bit
    return facts.procinfo is not None and "hypervisor" in facts.procinfo.flags


def _bare_metal(facts: Facts) -> bool:
    """Return whether this is one of Amazon's machines without a hypervisor, such as m5.metal."""
    return (
        facts.registers is not None and not facts.registers.hypervisor_bit and not facts.machine.xen
    )


def _named(platform: Platform, facts: Facts, *, emulator: bool = False) -> Hypervisor:
    name = platform.value
    if platform is Platform.VMWARE and facts.machine.bios_segment in _VMWARE_RELEASES:
        name = f"{name} {_VMWARE_RELEASES[facts.machine.bios_segment]}"
    return Hypervisor(platform, name, emulator)
