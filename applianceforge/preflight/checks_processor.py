"""Check whether the processor can run a release."""

from __future__ import annotations

from typing import Iterator

from applianceforge.cpuid import remedies
from applianceforge.cpuid.hypervisors import Platform
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.requirements import Last32Bit, Release

MASKED = 20
INCAPABLE = 22
UNKNOWN = 30

_VERIFY = "applianceforge check   (must name the level that is needed)"
# Proxmox VE's names of the levels.
_PROXMOX = {2: "x86-64-v2-AES", 3: "x86-64-v3", 4: "x86-64-v4"}
_LIBVIRT = (
    Remedy(
        "Power the machine off, and give it the host's own processor: in libvirt, `virsh edit"
        " NAME`, <cpu mode='host-model'/> instead of a named model",
        command="virsh edit NAME",
        verify=_VERIFY,
    ),
)
_OF_PLATFORM = {
    Platform.KVM: _LIBVIRT,
    Platform.QEMU: _LIBVIRT,
    Platform.VMWARE: (
        Remedy(
            "Power the machine off (a restart is not enough). Reset its CPUID mask (CPU/MMU, CPUID"
            " Mask, Reset All) and upgrade its virtual hardware version. If its hosts form a"
            " cluster with EVC, raise the EVC mode there: it hides features of newer processors",
            verify=_VERIFY,
        ),
    ),
    Platform.VIRTUALBOX: (
        Remedy(
            "Power the machine off, and on the host show it the host's own processor",
            command="VBoxManage modifyvm NAME --cpu-profile host",
            verify=_VERIFY,
        ),
    ),
    Platform.HYPER_V: (
        Remedy(
            "Power the machine off, and on the host switch the compatibility mode off, which hides"
            " features of newer processors",
            command="Set-VMProcessor NAME -CompatibilityForMigrationEnabled $false"
            " -CompatibilityForOlderOperatingSystemsEnabled $false",
            verify=_VERIFY,
        ),
    ),
    Platform.XEN: (
        Remedy(
            "Shut the guest down, and remove cpuid and cpuid_mask lines from its configuration;"
            " in a pool, raise the pool's level of features",
            verify=_VERIFY,
        ),
    ),
}
_ANY_VM = (
    Remedy(
        "Ask whoever runs the hypervisor to show this machine the host's own processor",
        verify=_VERIFY,
    ),
)
_OTHER_HOST = Remedy(
    "If the host's own processor is too old: move the machine to a newer host",
    verify=_VERIFY,
)
_REPLACE = Remedy(
    "Replace the machine, or move the system to a virtual machine on a newer host"
    " (`applianceforge migrate export` takes the data along)"
)
_STAY = "Or stay on {version}, the last release for processors without 64-bit mode{until}.{advice}"


def check_processor(verdict: Verdict, release: Release) -> Iterator[Finding]:
    """Find what the processor lacks, or what is not known of it."""
    if not release.long_mode:
        return
    found = remedies.finding(verdict)
    if found is not None:
        if release.last_32_bit is not None and verdict.capability is not Capability.UNKNOWN:
            found = found._replace(remedies=(*found.remedies, _stay(release.last_32_bit)))
        yield found
    contradiction = remedies.contradiction(verdict)
    if contradiction is not None:
        yield contradiction
    if found is None:
        yield from _level(verdict, release)


def _proxmox(level: int) -> Remedy:
    return Remedy(
        "In Proxmox VE, choose the model of that level",
        command=f"qm set ID --cpu {_PROXMOX[level]}",
        verify=_VERIFY,
    )


def _stay(last: Last32Bit) -> Remedy:
    until = f" (supported until {last.supported_until})" if last.supported_until else ""
    advice = f" {last.advice}" if last.advice else ""
    return Remedy(_STAY.format(version=last.version, until=until, advice=advice))


def _level(verdict: Verdict, release: Release) -> Iterator[Finding]:
    """Compare the x86-64 level.

    Under a hypervisor a low level is most often that of the model which it shows, so this counts as
    masked by it; on metal nothing can be switched on.
    """
    wanted = release.x86_64_level
    if wanted <= 1 or max(verdict.level or 0, verdict.level_at_least) >= wanted:
        return
    if verdict.level is None:
        yield Finding(
            "processor.level",
            Severity.INHIBITOR,
            f"It is not known whether the processor is of level x86-64-v{wanted}",
            f"{release.subject} is built for processors of that level. Which one this is"
            " could not be found out, which says nothing against it.",
            evidence=verdict.evidence,
            remedies=(
                Remedy(
                    "If this was decided from another tool's dump: those do not record what the"
                    " kernel has enabled. Let the machine itself say it",
                    command="applianceforge check --dump > facts.txt",
                ),
                Remedy(
                    "If the firmware's setup has a switch Limit CPUID Maxval, switch it off: it"
                    " hides what the level follows from",
                    verify=_VERIFY,
                ),
                Remedy(
                    "Send the facts to your vendor's support",
                    command="applianceforge check --dump > facts.txt",
                ),
            ),
            exit_status=UNKNOWN,
        )
        return
    virtual = verdict.hypervisor is not None
    name = verdict.hypervisor or "the hypervisor"
    shown = f"The processor that {name} shows" if virtual else "The processor"
    summary = (
        f"{release.subject} is built for processors of level x86-64-v{wanted}; this one is"
        f" of level x86-64-v{verdict.level}, and would stop at the first newer instruction."
    )
    mend: tuple[Remedy, ...] = (_REPLACE,)
    if virtual:
        summary += f" The host may well have more: {name} shows what its settings say."
        known = _ANY_VM if verdict.platform is None else _OF_PLATFORM.get(verdict.platform, _ANY_VM)
        of_proxmox = (_proxmox(wanted),) if known is _LIBVIRT else ()
        mend = (*known, *of_proxmox, _OTHER_HOST)
    yield Finding(
        "processor.level",
        Severity.INHIBITOR,
        f"{shown} is of too low a level",
        summary,
        evidence=verdict.evidence,
        remedies=mend,
        exit_status=MASKED if virtual else INCAPABLE,
    )
