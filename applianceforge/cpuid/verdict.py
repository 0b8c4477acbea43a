"""Decide whether this machine can run 64-bit programs, and if not, who is in the way.

The rule for long mode (registers.py) was right on all of 481 distinct processors with recorded
registers. Where it says no, a 64-bit processor may be hidden behind a hypervisor's or a firmware's
setting. That is taken as shown by any of

- linear addresses of 48 bits or more,
- CX16 with SSE2 and SSE3, in family 6 or higher,
- a signature that was never sold without long mode (`_always_64_bit`),

which never spoke up on 115 real 32-bit processors and found 360 of 360 whose bit 29 was cleared.

What could not be probed is unknown, and unknown is never incapable.

Source: registers of the InstLatx64 collection; vendors' revision guides for the signatures.
"""

from dataclasses import dataclass
from enum import Enum

from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Registers
from applianceforge.model.report import Finding, Remedy, Severity

_FULL_LINEAR_BITS = 48
# Family 6: Tolapai and the Atoms that exist without long mode.
_INTEL_BOTH_WAYS = frozenset({0x15, 0x1C, 0x26, 0x27, 0x35, 0x36, 0x4A, 0x5A})


class Capability(Enum):
    """Whether this machine can run 64-bit programs, and what is in the way."""

    CAPABLE = "capable"
    MASKED_BY_HYPERVISOR = "masked-by-hypervisor"
    MASKED_BY_FIRMWARE = "masked-by-firmware"
    INCAPABLE = "incapable"
    UNKNOWN = "unknown"

    @property
    def exit_status(self) -> int:
        """Return the status that the check ends with."""
        return _EXIT_STATUSES[self]


_EXIT_STATUSES = {
    Capability.CAPABLE: 0,
    Capability.MASKED_BY_HYPERVISOR: 20,
    Capability.MASKED_BY_FIRMWARE: 21,
    Capability.INCAPABLE: 22,
    Capability.UNKNOWN: 30,
}


class Hypervisor(Enum):
    """Under what the system runs."""

    VMWARE = "VMware"
    VIRTUALBOX = "VirtualBox"
    KVM = "KVM"
    QEMU = "QEMU"
    XEN = "Xen"
    HYPER_V = "Hyper-V"
    PARALLELS = "Parallels"
    BHYVE = "bhyve"
    ACRN = "ACRN"
    OTHER = "a hypervisor without a known name"


_BY_SIGNATURE = {
    "VMwareVMware": Hypervisor.VMWARE,
    "VBoxVBoxVBox": Hypervisor.VIRTUALBOX,
    "KVMKVMKVM": Hypervisor.KVM,
    "Linux KVM Hv": Hypervisor.KVM,
    "TCGTCGTCGTCG": Hypervisor.QEMU,
    "XenVMMXenVMM": Hypervisor.XEN,
    "Microsoft Hv": Hypervisor.HYPER_V,
    "bhyve bhyve": Hypervisor.BHYVE,
    "bhyve bhyve ": Hypervisor.BHYVE,
    "ACRNACRNACRN": Hypervisor.ACRN,
}
# These show another's signature in CPUID, or as old as ESX 3 none, so DMI goes first.
_BY_DMI = (
    ("VMware", Hypervisor.VMWARE),
    ("innotek", Hypervisor.VIRTUALBOX),
    ("VirtualBox", Hypervisor.VIRTUALBOX),
    ("Parallels", Hypervisor.PARALLELS),
    ("Xen", Hypervisor.XEN),
    ("Amazon EC2", Hypervisor.KVM),
    ("Google Compute", Hypervisor.KVM),
    ("QEMU", Hypervisor.QEMU),
    ("Microsoft Corporation Virtual Machine", Hypervisor.HYPER_V),
)


@dataclass(frozen=True)
class Facts:
    """What the probe found out; None is what did not work.

    Attributes:
        registers: From CPUID itself.
        procinfo: From /proc/cpuinfo.
        dmi: Maker and product that the firmware names, in one line; "" if it names none.
        failures: Why routes of the probe did not work.
    """

    registers: Registers | None
    procinfo: ProcInfo | None
    dmi: str = ""
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether it can, and what shows that.

    Attributes:
        long_mode: Whether the processor shows long mode; None if that is not known.
        hypervisor: Under what the system runs, as far as that was seen.
        evidence: One fact a line.
    """

    capability: Capability
    long_mode: bool | None
    hypervisor: Hypervisor | None
    evidence: tuple[str, ...]


def decide(facts: Facts) -> Verdict:
    """Return the verdict on the facts."""
    hypervisor = _hypervisor(facts)
    shown = None if facts.registers is None else facts.registers.long_mode
    listed = None if facts.procinfo is None else facts.procinfo.long_mode
    evidence = [*_shown_evidence(facts, shown), *_listed_evidence(listed)]
    if shown or (shown is None and listed):
        return Verdict(Capability.CAPABLE, True, hypervisor, tuple(evidence))
    if shown is None and listed is None:
        return Verdict(Capability.UNKNOWN, None, hypervisor, tuple(evidence))
    if listed:
        evidence.append("the two contradict each other")
        return Verdict(Capability.UNKNOWN, None, hypervisor, tuple(evidence))
    source = facts.procinfo if shown is None else facts.registers
    assert source is not None
    masks = _mask_evidence(source)
    if not masks:
        capability = Capability.INCAPABLE
    elif hypervisor is not None:
        capability = Capability.MASKED_BY_HYPERVISOR
    else:
        capability = Capability.MASKED_BY_FIRMWARE
    return Verdict(capability, False, hypervisor, (*evidence, *masks))


def _shown_evidence(facts: Facts, shown: bool | None) -> list[str]:
    if facts.registers is None or shown is None:
        return list(facts.failures) or ["CPUID could not be asked"]
    registers = facts.registers
    what = f"{registers.vendor.strip()} family {registers.family:X}h model {registers.model:X}h"
    return [f"CPUID of {what} {'shows' if shown else 'does not show'} long mode"]


def _listed_evidence(listed: bool | None) -> list[str]:
    if listed is None:
        return ["/proc/cpuinfo does not tell"]
    return [f"/proc/cpuinfo {'lists' if listed else 'does not list'} lm"]


def _mask_evidence(source: Registers | ProcInfo) -> list[str]:
    """Return what shows that a 64-bit processor is hidden; empty if nothing does."""
    found = []
    if source.linear_bits >= _FULL_LINEAR_BITS:
        found.append(f"linear addresses have {source.linear_bits} bits, as with long mode only")
    if source.family >= 6 and source.has_cx16_sse:
        found.append("it has CX16, SSE2 and SSE3, as processors with long mode do")
    if _always_64_bit(source.vendor, source.family, source.model):
        found.append(
            f"family {source.family:X}h model {source.model:X}h was never sold without long mode"
        )
    return found


def _always_64_bit(vendor: str, family: int, model: int) -> bool:
    if vendor == "GenuineIntel":
        return (family == 6 and model >= 0x0F and model not in _INTEL_BOTH_WAYS) or (
            family == 0xF and model == 6
        )
    if vendor in ("AuthenticAMD", "HygonGenuine"):
        return family >= 0x10
    return vendor == "CentaurHauls" and ((family == 6 and model >= 0xF) or family == 7)


def _hypervisor(facts: Facts) -> Hypervisor | None:
    for words, hypervisor in _BY_DMI:
        if words in facts.dmi:
            return hypervisor
    registers, procinfo = facts.registers, facts.procinfo
    if registers is not None:
        known = [_BY_SIGNATURE[s] for s in registers.hypervisor_signatures if s in _BY_SIGNATURE]
        # KVM and Xen can show Hyper-V's leaves in front of their own.
        others = [name for name in known if name is not Hypervisor.HYPER_V]
        if known:
            return (others or known)[0]
        return Hypervisor.OTHER if registers.hypervisor_bit else None
    if procinfo is not None and "hypervisor" in procinfo.flags:
        return Hypervisor.OTHER
    return None


_FOR_QEMU = Remedy(
    "use qemu-system-x86_64 (in libvirt: <type arch='x86_64'>) with the processor model host-model"
    " or x86-64-v2-AES, without -lm",
    command="qm set ID --cpu x86-64-v2-AES   (Proxmox)",
)
_REMEDIES = {
    Hypervisor.VMWARE: Remedy(
        "power the machine off; set the guest operating system to a 64-bit type"
        " (guestOS = ...-64) and the CPUID mask to its default; switch VT-x on in the host's"
        " firmware"
    ),
    Hypervisor.VIRTUALBOX: Remedy(
        "power the machine off and give it a 64-bit type; switch VT-x on and Hyper-V off"
        " on the host",
        command="VBoxManage modifyvm NAME --ostype Debian_64 --longmode on --ioapic on",
    ),
    Hypervisor.KVM: _FOR_QEMU,
    Hypervisor.QEMU: _FOR_QEMU,
    Hypervisor.XEN: Remedy("boot a 64-bit guest kernel, or make the guest an HVM"),
    Hypervisor.HYPER_V: Remedy("move the machine to a hypervisor that runs 64-bit guests"),
}
_OTHER_HYPERVISOR = Remedy("give the machine a 64-bit processor model in the hypervisor")
_VERIFY = "applianceforge check"


def remedies(verdict: Verdict) -> tuple[Remedy, ...]:
    """Return what can be done about a verdict that is not capable."""
    found: list[Remedy] = []
    if verdict.hypervisor is not None:
        found.append(_REMEDIES.get(verdict.hypervisor, _OTHER_HYPERVISOR))
    match verdict.capability:
        case Capability.CAPABLE:
            return ()
        case Capability.MASKED_BY_FIRMWARE:
            found.append(Remedy("install the maker's firmware update, else replace the machine"))
        case Capability.INCAPABLE:
            found.append(
                Remedy("replace the machine or go virtual; until then stay on a 32-bit release")
            )
        case Capability.UNKNOWN:
            found = [Remedy("look for lm in the flags", command="grep -wo -m1 lm /proc/cpuinfo")]
    return tuple(Remedy(r.text, r.command, r.verify or _VERIFY) for r in found)


def finding(verdict: Verdict) -> Finding | None:
    """Return the finding for a report, or None if the machine is capable.

    Unknown is a warning: only what was seen inhibits.
    """
    if verdict.capability is Capability.CAPABLE:
        return None
    where = "" if verdict.hypervisor is None else f" ({verdict.hypervisor.value})"
    title, summary = {
        Capability.MASKED_BY_HYPERVISOR: (
            "the hypervisor hides long mode",
            f"The processor is a 64-bit one, but the hypervisor{where} does not show it.",
        ),
        Capability.MASKED_BY_FIRMWARE: (
            "the firmware hides long mode",
            "The processor is a 64-bit one, but the firmware does not show it.",
        ),
        Capability.INCAPABLE: (
            "the processor has no long mode",
            f"64-bit programs cannot run here{where}.",
        ),
        Capability.UNKNOWN: (
            "whether the processor has long mode is not known",
            "The probe failed; that says nothing against the machine.",
        ),
    }[verdict.capability]
    unknown = verdict.capability is Capability.UNKNOWN
    return Finding(
        key="processor.long-mode",
        severity=Severity.WARNING if unknown else Severity.INHIBITOR,
        title=title,
        summary=summary,
        evidence=verdict.evidence,
        remedies=remedies(verdict),
        exit_status=verdict.capability.exit_status,
    )
