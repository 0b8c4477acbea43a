"""The verdict on recorded processors, on hidden ones, and against rules that are known wrong."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, Facts, Hypervisor, decide, finding, remedies
from applianceforge.model.report import Report, Severity
from tests.cpuid.table import (
    BY_NAME,
    ROWS,
    Row,
    altered,
    hidden,
    leaf,
    under,
    without_cx16,
    without_linear_bits,
)

WITH = tuple(row for row in ROWS if row.long_mode)
WITHOUT = tuple(row for row in ROWS if not row.long_mode)
CONROE = BY_NAME["GenuineIntel00006F4_Conroe"]
NORTHWOOD = BY_NAME["GenuineIntel0000F29_P4_Northwood"]

# Made from facts: Pentium II and III answer 80000000 with 03020101, WinChip C6 with 80000000
# exactly, and a Pentium M answers a leaf out of range with EDX = 2C04307D, bit 29 set.
OUT_OF_RANGE = leaf(0x80000001, edx=0x2C04307D)
SYNTHETIC = tuple(
    Row(
        f"synthetic {highest:08X}",
        False,
        Registers((*NORTHWOOD.leaves[:2], leaf(0x80000000, highest), OUT_OF_RANGE)),
    )
    for highest in (0x03020101, 0x80000000, 0x80010000, 0xFFFFFFFF)
)


def judge(registers: Registers | None, dmi: str = "") -> Capability:
    return decide(Facts(registers, None, dmi)).capability


def test_the_table_has_both_kinds() -> None:
    assert (len(WITH), len(WITHOUT)) == (30, 30)


@pytest.mark.parametrize("row", ROWS + SYNTHETIC, ids=lambda row: row.name)
def test_every_processor_is_judged_right(row: Row) -> None:
    verdict = decide(Facts(row.registers, None))
    expected = Capability.CAPABLE if row.long_mode else Capability.INCAPABLE
    assert (verdict.capability, verdict.long_mode) == (expected, row.long_mode)
    assert verdict.hypervisor is None
    assert verdict.evidence


def features(registers: Registers) -> Leaf:
    return registers.extended(0x80000001) or leaf(0)


def basic(registers: Registers) -> Leaf:
    return registers.leaf(1) or leaf(1)


def unbounded(registers: Registers, lower: int, upper: int) -> bool:
    head, found = registers.leaf(0x80000000), registers.leaf(0x80000001)
    if head is None or found is None:
        return False
    return lower <= head.eax <= upper and bool(found.edx >> 29 & 1)


WRONG_RULES: dict[str, Callable[[Registers], bool]] = {
    "EBX instead of EDX": lambda r: bool(features(r).ebx >> 29 & 1),
    "and SYSCALL": lambda r: features(r).edx & (1 << 29 | 1 << 11) == 1 << 29 | 1 << 11,
    "and NX": lambda r: features(r).edx & (1 << 29 | 1 << 20) == 1 << 29 | 1 << 20,
    "and LAHF": lambda r: bool(features(r).edx >> 29 & features(r).ecx & 1),
    "and CX16": lambda r: bool(features(r).edx >> 29 & basic(r).ecx >> 13 & 1),
    "leaf 1": lambda r: bool(basic(r).edx >> 29 & 1),
    "family": lambda r: r.family >= 0xF or (r.family == 6 and r.model >= 0xF),
    "no lower bound": lambda r: unbounded(r, 0, 0x8000FFFF),
    "lower bound one too low": lambda r: unbounded(r, 0x80000000, 0x8000FFFF),
    "no upper bound": lambda r: unbounded(r, 0x80000001, 0xFFFFFFFF),
    "signed bound": lambda r: unbounded(r, 0x80000001, 0xFFFFFFFF) or unbounded(r, 0, 0x7FFFFFFF),
}


@pytest.mark.parametrize("rule", WRONG_RULES)
def test_wrong_rules_are_told_apart(rule: str) -> None:
    wrong = [r.name for r in ROWS + SYNTHETIC if WRONG_RULES[rule](r.registers) != r.long_mode]
    assert wrong, f"no row tells {rule!r} from the right rule"


@pytest.mark.parametrize("row", WITH, ids=lambda row: row.name)
def test_hidden_long_mode_is_found(row: Row) -> None:
    assert judge(hidden(row.registers)) is Capability.MASKED_BY_FIRMWARE
    assert judge(under(hidden(row.registers), "KVMKVMKVM")) is Capability.MASKED_BY_HYPERVISOR
    assert judge(hidden(row.registers), "VMware, Inc. VMware Virtual Platform") is (
        Capability.MASKED_BY_HYPERVISOR
    )


def test_how_deep_it_can_be_hidden() -> None:
    def missed(hide: Callable[[Registers], Registers]) -> set[str]:
        return {
            row.name.split("_", 1)[1]
            for row in WITH
            if judge(hide(hidden(row.registers))) is Capability.INCAPABLE
        }

    linear = missed(without_linear_bits)
    assert linear == {
        "K8_Clawhammer",
        "K8_Sledgehammer",
        "K8_Palermo",
        "K8_Winchester",
    }
    both = missed(lambda r: without_cx16(without_linear_bits(r)))
    assert linear < both
    assert "Conroe" not in both
    assert "P4_Prescott" in both


@pytest.mark.parametrize(
    ("hide", "words"),
    [
        (lambda r: r, "48 bits"),
        (without_linear_bits, "CX16"),
        (lambda r: without_cx16(without_linear_bits(r)), "never sold without"),
    ],
)
def test_each_evidence_alone(hide: Callable[[Registers], Registers], words: str) -> None:
    assert any(words in line for line in decide(Facts(hide(hidden(CONROE)), None)).evidence)


@pytest.mark.parametrize("row", WITHOUT, ids=lambda row: row.name)
def test_real_32_bit_raises_no_false_alarm(row: Row) -> None:
    assert judge(row.registers) is Capability.INCAPABLE
    assert judge(under(row.registers, "TCGTCGTCGTCG")) is Capability.INCAPABLE


def test_stale_register_of_samuel_is_no_hypervisor() -> None:
    samuel = BY_NAME["CentaurHauls0000660_C5A_Samuel"]
    assert basic(samuel).ecx >> 31
    assert decide(Facts(samuel, None)).hypervisor is None


@pytest.mark.parametrize(
    ("signatures", "dmi", "expected"),
    [
        (("VMwareVMware",), "", Hypervisor.VMWARE),
        (("KVMKVMKVM",), "", Hypervisor.KVM),
        (("Linux KVM Hv",), "", Hypervisor.KVM),
        (("TCGTCGTCGTCG",), "QEMU Standard PC (i440FX + PIIX, 1996)", Hypervisor.QEMU),
        (("Microsoft Hv",), "", Hypervisor.HYPER_V),
        (("Microsoft Hv", "KVMKVMKVM"), "", Hypervisor.KVM),
        (("Microsoft Hv", "XenVMMXenVMM"), "", Hypervisor.XEN),
        (("KVMKVMKVM",), "innotek GmbH VirtualBox", Hypervisor.VIRTUALBOX),
        (("bhyve bhyve ",), "", Hypervisor.BHYVE),
        (("ACRNACRNACRN",), "", Hypervisor.ACRN),
        (("something new",), "", Hypervisor.OTHER),
        ((), "", Hypervisor.OTHER),
    ],
)
def test_hypervisors(signatures: tuple[str, ...], dmi: str, expected: Hypervisor) -> None:
    assert decide(Facts(under(CONROE, *signatures), None, dmi)).hypervisor is expected


def test_old_vmware_shows_itself_by_its_firmware_only() -> None:
    seen = altered(hidden(CONROE), 1, clear_ecx=1 << 31)
    verdict = decide(Facts(seen, None, "VMware, Inc. VMware Virtual Platform"))
    assert (verdict.capability, verdict.hypervisor) == (
        Capability.MASKED_BY_HYPERVISOR,
        Hypervisor.VMWARE,
    )
    assert "64-bit type" in remedies(verdict)[0].text


def listed(*flags: str, family: int = 6, model: int = 8, bits: int = 32) -> ProcInfo:
    return ProcInfo("GenuineIntel", family, model, frozenset(flags), bits)


@pytest.mark.parametrize(
    ("registers", "procinfo", "expected"),
    [
        (None, None, Capability.UNKNOWN),
        (Registers(()), None, Capability.UNKNOWN),
        (None, listed("lm"), Capability.CAPABLE),
        (CONROE, listed("sse2"), Capability.CAPABLE),
        (NORTHWOOD, listed("lm"), Capability.UNKNOWN),
        (None, listed("sse2"), Capability.INCAPABLE),
        (None, listed("sse2", bits=48), Capability.MASKED_BY_FIRMWARE),
        (None, listed("sse2", "pni", "cx16", "hypervisor"), Capability.MASKED_BY_HYPERVISOR),
        (None, listed("sse2", model=0x0F), Capability.MASKED_BY_FIRMWARE),
    ],
)
def test_routes_together(
    registers: Registers | None, procinfo: ProcInfo | None, expected: Capability
) -> None:
    assert decide(Facts(registers, procinfo)).capability is expected


def test_failures_are_the_evidence_of_unknown() -> None:
    verdict = decide(Facts(None, None, failures=("by memfd: no",)))
    assert verdict.evidence[0] == "by memfd: no"


@given(
    st.one_of(
        st.none(),
        st.lists(
            st.builds(
                Leaf,
                st.sampled_from([0, 1, 7, 0x40000000, 0x80000000, 0x80000001, 0x80000008]),
                st.just(0),
                *[st.integers(0, 2**32 - 1)] * 4,
            ),
            max_size=7,
        ).map(lambda leaves: Registers(tuple(leaves))),
    )
)
def test_any_registers_give_a_verdict(registers: Registers | None) -> None:
    verdict = decide(Facts(registers, None))
    unknown = registers is None or registers.leaf(0) is None
    assert (verdict.capability is Capability.UNKNOWN) == unknown


@pytest.mark.parametrize(
    ("facts", "status", "severity"),
    [
        (Facts(under(hidden(CONROE), "VMwareVMware"), None), 20, Severity.INHIBITOR),
        (Facts(hidden(CONROE), None), 21, Severity.INHIBITOR),
        (Facts(NORTHWOOD, None), 22, Severity.INHIBITOR),
        (Facts(None, None), 30, Severity.WARNING),
    ],
)
def test_findings(facts: Facts, status: int, severity: Severity) -> None:
    found = finding(decide(facts))
    assert found is not None
    assert (found.key, found.severity, found.exit_status) == (
        "processor.long-mode",
        severity,
        status,
    )
    assert found.evidence
    assert all(remedy.text and remedy.verify for remedy in found.remedies)
    expected = 10 if severity is Severity.WARNING else status
    assert Report((found,)).exit_status == expected


def test_capable_has_no_finding() -> None:
    verdict = decide(Facts(CONROE, None))
    assert finding(verdict) is None
    assert remedies(verdict) == ()


def test_emulator_without_evidence_is_incapable_with_its_remedy() -> None:
    verdict = decide(Facts(under(NORTHWOOD, "TCGTCGTCGTCG"), None))
    assert verdict.capability is Capability.INCAPABLE
    assert "qemu-system-x86_64" in remedies(verdict)[0].text


def test_unknown_is_not_worded_as_incapable() -> None:
    found = finding(decide(Facts(None, None)))
    assert found is not None
    words = " ".join([found.title, found.summary, *(r.text for r in found.remedies)])
    assert "cannot" not in words
    assert "no long mode" not in words
    assert "replace" not in words
