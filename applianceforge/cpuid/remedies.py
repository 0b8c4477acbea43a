"""What an administrator can do about a verdict, for each platform, and how to see that it helped.

Source: VMware knowledge base 1003945 (64-bit guests need EM64T with VT-x, or AMD revision D/E;
none on ESX 2.5 and older); VirtualBox manual, VBoxManage modifyvm; libvirt domain XML, guest CPU;
Proxmox VE, qm(1); Xen wiki, "Xen Project Software Overview".
"""

from __future__ import annotations

from applianceforge.cpuid.hypervisors import Platform
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Finding, Remedy, Severity

KEY = "processor.long-mode"
_IN_THE_GUEST = "start the machine again, then: grep -wo -m1 lm /proc/cpuinfo   (must print lm)"
_CHECK = "applianceforge check   (must say: can run 64-bit programs)"

_QEMU = (
    Remedy(
        "Power the machine off. In libvirt, `virsh edit NAME`: set <type arch='x86_64'>, and"
        " <cpu mode='host-model'/> instead of a model such as qemu32, kvm32, pentium3, coreduo or"
        " n270; remove <feature policy='disable' name='lm'/>",
        command="virsh edit NAME",
        verify=_IN_THE_GUEST,
    ),
    Remedy(
        "In Proxmox VE, give it a 64-bit processor model",
        command="qm set ID --cpu x86-64-v2-AES",
        verify=_IN_THE_GUEST,
    ),
    Remedy(
        "If you start QEMU yourself, use qemu-system-x86_64 (qemu-system-i386 hides long mode for"
        " every model), without `-lm` in -cpu; with KVM the host needs a 64-bit kernel",
        command="qemu-system-x86_64 -cpu max ...",
        verify=_IN_THE_GUEST,
    ),
)
_OF_PLATFORM: dict[Platform, tuple[Remedy, ...]] = {
    Platform.VMWARE: (
        Remedy(
            "Power the machine off (a restart is not enough). In its settings choose a 64-bit guest"
            " operating system, such as Debian 64-bit (in the .vmx file: guestOS with -64 at the"
            " end), and set the CPUID mask to its default (CPU/MMU, CPUID Mask, Reset All)",
            verify=_IN_THE_GUEST,
        ),
        Remedy(
            "If it is refused or nothing changes: the host needs VT-x (Intel) or an AMD processor"
            " of revision D or later. Switch VT-x (Intel Virtualization Technology) on in the"
            " host's firmware, and power the host off and on",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.VIRTUALBOX: (
        Remedy(
            "Power the machine off, and on the host give it a 64-bit type",
            command="VBoxManage modifyvm NAME --ostype Debian_64 --longmode on --ioapic on",
            verify=_IN_THE_GUEST,
        ),
        Remedy(
            "If VirtualBox offers no 64-bit types: switch VT-x or AMD-V on in the host's firmware;"
            " on Windows also switch Hyper-V off, then restart the host",
            command="bcdedit /set hypervisorlaunchtype off",
            verify="VBoxManage list hostinfo   (must say: Processor supports long mode: yes)",
        ),
    ),
    Platform.KVM: _QEMU,
    Platform.QEMU: _QEMU,
    Platform.XEN: (
        Remedy(
            "Give the guest a 64-bit kernel (in its configuration: kernel, or the bootloader that"
            ' finds one), or make it an HVM guest (type = "hvm") without a mask on cpuid',
            command="xl create -c /etc/xen/NAME.cfg",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.HYPER_V: (
        Remedy(
            "Hyper-V itself shows long mode to every guest, so this is probably Virtual PC or"
            " Virtual Server 2005, which run 32-bit guests only: move the machine to a hypervisor"
            " that runs 64-bit guests",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.PARALLELS: (
        Remedy(
            "Shut the machine down. Choose a 64-bit Linux as its type (Configure, General), and"
            " hardware virtualization as its hypervisor (Hardware, CPU & Memory, Advanced)",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.BHYVE: (
        Remedy("Start the machine on a host whose processor has EPT and long mode", "", _CHECK),
    ),
    Platform.ACRN: (
        Remedy("Give the guest a 64-bit configuration in the ACRN scenario", "", _CHECK),
    ),
    Platform.AMAZON: (
        Remedy(
            "Stop the instance and start it as a type that runs 64-bit systems (all current types"
            " do; the old 32-bit ones are m1.small and c1.medium), from an image of architecture"
            " x86_64",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.GOOGLE: (Remedy("Recreate the machine with a current machine type", "", _CHECK),),
    Platform.BOCHS: (
        Remedy(
            "Give Bochs a 64-bit processor model in its configuration",
            command="cpu: model=corei7_sandy_bridge_2600k",
            verify=_IN_THE_GUEST,
        ),
    ),
    Platform.OTHER: (
        Remedy(
            "Ask whoever runs the hypervisor for a 64-bit guest type or a 64-bit processor model"
            " for this machine",
            verify=_IN_THE_GUEST,
        ),
    ),
}
_OLD_ESX = Remedy(
    "This release of ESX runs no 64-bit guests at all: move the machine to ESX 3.0 or later, and"
    " there choose a 64-bit guest operating system",
    verify=_IN_THE_GUEST,
)
_FIRMWARE = (
    Remedy(
        "Look in the firmware's setup for a switch such as EM64T, Intel 64, 64-bit mode or Limit"
        " CPUID Maxval, load its defaults, and power the machine off and on",
        verify=_CHECK,
    ),
    Remedy(
        "Install the maker's newest firmware. Some boards (with Atom N2800, for one) were sold with"
        " long mode switched off, and have it after an update",
        verify=_CHECK,
    ),
    Remedy("If the maker has none: replace the machine, or move the system to a virtual one"),
)
_REPLACE = Remedy(
    "Replace the machine, or move the system to a virtual machine on a 64-bit host"
    " (`applianceforge migrate export` takes the data along). Until then stay on the last 32-bit"
    " release: nothing was changed here"
)
_PROBE_AGAIN = (
    Remedy(
        "See what the kernel says: lm among the flags means that the processor has long mode",
        command="grep -wo -m1 lm /proc/cpuinfo",
    ),
    Remedy(
        "As root, open one more route to the processor, and check again",
        command="modprobe cpuid && applianceforge check",
    ),
    Remedy(
        "Send the facts to your vendor's support",
        command="applianceforge check --dump > facts.txt",
    ),
)


def remedies(verdict: Verdict) -> tuple[Remedy, ...]:
    """Return what can be done about a verdict that is not capable, the likeliest to help first."""
    of_platform = _of_platform(verdict)
    return {
        Capability.CAPABLE: (),
        Capability.MASKED_BY_HYPERVISOR: of_platform,
        Capability.MASKED_BY_FIRMWARE: _FIRMWARE,
        Capability.INCAPABLE: (*of_platform, _REPLACE),
        Capability.UNKNOWN: _PROBE_AGAIN,
    }[verdict.capability]


def _of_platform(verdict: Verdict) -> tuple[Remedy, ...]:
    if verdict.platform is None:
        return ()
    if verdict.hypervisor == f"{Platform.VMWARE.value} ESX 2.5":
        return (_OLD_ESX,)
    return _OF_PLATFORM[verdict.platform]


_SAID = {
    Capability.MASKED_BY_HYPERVISOR: (
        "{name} hides that this processor is a 64-bit one",
        "The processor can run 64-bit systems, but {name} shows this machine a 32-bit one. That is"
        " a setting of the virtual machine, not a fault of the hardware.",
    ),
    Capability.MASKED_BY_FIRMWARE: (
        "the firmware hides that this processor is a 64-bit one",
        "The processor can run 64-bit systems, but the machine's firmware (BIOS) has switched that"
        " off.",
    ),
    Capability.INCAPABLE: (
        "the processor cannot run 64-bit systems",
        "It has no long mode, and nothing suggests that one is hidden.",
    ),
    Capability.UNKNOWN: (
        "it is not known whether the processor can run 64-bit systems",
        "The processor could not be asked, or the answers do not fit together. This says nothing"
        " against the machine: it may well be a 64-bit one.",
    ),
}
_UNDER_HYPERVISOR = (
    "the processor that {name} shows cannot run 64-bit systems",
    "It has no long mode, and nothing shows whether the hardware below has it. If it has, a setting"
    " of {name} brings it to this machine.",
)


def finding(verdict: Verdict) -> Finding | None:
    """Return the finding that inhibits, or None if the machine is capable.

    Unknown inhibits too, with a status of its own: what is downloaded must be able to run.
    """
    if verdict.capability is Capability.CAPABLE:
        return None
    name = verdict.hypervisor or "the hypervisor"
    said = _SAID[verdict.capability]
    if verdict.capability is Capability.INCAPABLE and verdict.hypervisor is not None:
        said = _UNDER_HYPERVISOR
    title, summary = (text.format(name=name) for text in said)
    return Finding(
        key=KEY,
        severity=Severity.INHIBITOR,
        title=title[0].upper() + title[1:],
        summary=summary,
        evidence=verdict.evidence,
        remedies=remedies(verdict),
        exit_status=verdict.capability.exit_status,
    )


def contradiction(verdict: Verdict) -> Finding | None:
    """Return the finding that the ways to ask the processor disagree, or None if they agree."""
    if not verdict.contradictions:
        return None
    return Finding(
        key="processor.contradiction",
        severity=Severity.WARNING,
        title="The ways to ask the processor do not agree",
        summary="Each of them should say the same of this machine. A hypervisor that shows its"
        " processors unevenly does that, or a kernel option such as clearcpuid.",
        evidence=verdict.contradictions,
        remedies=(
            Remedy(
                "Look for clearcpuid, nolm or the like in the kernel's options",
                command="cat /proc/cmdline",
                verify=_CHECK,
            ),
            Remedy(
                "Send the facts to your vendor's support",
                command="applianceforge check --dump > facts.txt",
            ),
        ),
    )
