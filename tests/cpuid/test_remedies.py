"""What a person is told about each verdict, on each platform."""

import pytest

from applianceforge.cpuid.facts import Answer, Facts, Machine
from applianceforge.cpuid.hypervisors import Platform
from applianceforge.cpuid.remedies import KEY, contradiction, finding
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.report import Finding, Report, Severity
from tests import snapshots
from tests.cpuid.table import BY_NAME, hidden, under

CONROE = BY_NAME["GenuineIntel00006F4_Conroe"]
NORTHWOOD = BY_NAME["GenuineIntel0000F29_P4_Northwood"]

SIGNATURES = {
    Platform.VMWARE: "VMwareVMware",
    Platform.VIRTUALBOX: "VBoxVBoxVBox",
    Platform.KVM: "KVMKVMKVM",
    Platform.QEMU: "TCGTCGTCGTCG",
    Platform.XEN: "XenVMMXenVMM",
    Platform.HYPER_V: "Microsoft Hv",
    Platform.BHYVE: "bhyve bhyve ",
    Platform.ACRN: "ACRNACRNACRN",
    Platform.OTHER: "something new",
}
MACHINES = {
    Platform.PARALLELS: Machine("Parallels Software International Inc.", "Parallels"),
    Platform.AMAZON: Machine("Amazon EC2", "m5.large"),
    Platform.GOOGLE: Machine("Google", "Google Compute Engine"),
    Platform.BOCHS: Machine("Bochs", "Bochs"),
}


def on(platform: Platform | None, *, masked: bool) -> Facts:
    """Return a processor on a platform: a hidden 64-bit one, or one of 32 bits."""
    registers = hidden(CONROE) if masked else NORTHWOOD
    if platform in SIGNATURES:
        return Facts((Answer("memfd", under(registers, SIGNATURES[platform])),))
    machine = Machine() if platform is None else MACHINES[platform]
    if platform is Platform.AMAZON:
        registers = under(registers, "KVMKVMKVM")
    return Facts((Answer("memfd", registers),), None, machine)


def text(found: Finding | None) -> str:
    assert found is not None
    lines = [f"{found.key} {found.severity.value} {found.exit_status}", found.title, found.summary]
    lines += [f"  - {line}" for line in found.evidence]
    for number, remedy in enumerate(found.remedies, 1):
        lines += [f"{number}. {remedy.text}"]
        lines += [f"   $ {remedy.command}"] * bool(remedy.command)
        lines += [f"   verify: {remedy.verify}"] * bool(remedy.verify)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "incapable"])
@pytest.mark.parametrize("platform", [*Platform, None], ids=lambda p: p.name if p else "METAL")
def test_text_for_every_platform(platform: Platform | None, masked: bool) -> None:
    verdict = decide(on(platform, masked=masked))
    assert verdict.platform is platform
    name = platform.name.lower() if platform else "metal"
    snapshots.same(
        f"processor/{name}-{'masked' if masked else 'incapable'}", text(finding(verdict))
    )


def test_text_of_an_esx_that_runs_no_64_bit_guests() -> None:
    machine = Machine("VMware, Inc.", "VMware Virtual Platform", 0xE848)
    verdict = decide(Facts((Answer("memfd", hidden(CONROE)),), None, machine))
    snapshots.same("processor/vmware-esx-2.5-masked", text(finding(verdict)))


def test_text_of_unknown() -> None:
    verdict = decide(Facts((Answer("memfd", None, "CPUID was answered with signal 4"),)))
    said = text(finding(verdict))
    snapshots.same("processor/unknown", said)
    assert not any(word in said for word in ("cannot", "no long mode", "eplace", "unsupported"))


def test_text_of_a_contradiction() -> None:
    verdict = decide(Facts((Answer("memfd", CONROE), Answer("/dev/cpu/0/cpuid", hidden(CONROE)))))
    snapshots.same("processor/contradiction", text(contradiction(verdict)))


def test_agreement_is_no_finding() -> None:
    verdict = decide(Facts((Answer("memfd", CONROE),)))
    assert (finding(verdict), contradiction(verdict)) == (None, None)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (on(Platform.VMWARE, masked=True), 20),
        (on(None, masked=True), 21),
        (on(None, masked=False), 22),
        (on(Platform.QEMU, masked=False), 22),
        (Facts(()), 30),
    ],
)
def test_status(facts: Facts, status: int) -> None:
    found = finding(decide(facts))
    assert found is not None
    assert (found.key, found.severity, found.exit_status) == (KEY, Severity.INHIBITOR, status)
    assert Report((found,)).exit_status == status


@pytest.mark.parametrize("capability", Capability)
def test_every_capability_has_a_status_of_its_own(capability: Capability) -> None:
    assert {c for c in Capability if c.exit_status == capability.exit_status} == {capability}


def test_what_can_be_mended_says_how_to_see_that_it_was() -> None:
    for platform in [*Platform, None]:
        found = finding(decide(on(platform, masked=True)))
        assert found is not None
        assert found.remedies[0].verify, platform
