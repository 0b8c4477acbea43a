"""The verdict on recorded processors, on hidden ones, and against rules that are known wrong."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.facts import Answer, Facts, Machine
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, decide
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


def facts(
    registers: Registers | None, procinfo: ProcInfo | None = None, *, maker: str = "", xen: str = ""
) -> Facts:
    return Facts((Answer("memfd", registers),), procinfo, Machine(maker, xen=xen))


def judge(registers: Registers | None, maker: str = "") -> Capability:
    return decide(facts(registers, maker=maker)).capability


def test_the_table_has_both_kinds() -> None:
    assert (len(WITH), len(WITHOUT)) == (30, 30)


@pytest.mark.parametrize("row", ROWS + SYNTHETIC, ids=lambda row: row.name)
def test_every_processor_is_judged_right(row: Row) -> None:
    verdict = decide(facts(row.registers))
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
    rows = SYNTHETIC if "bound" in rule else ROWS
    wrong = [row.name for row in rows if WRONG_RULES[rule](row.registers) != row.long_mode]
    assert wrong, f"no row tells {rule!r} from the right rule"


@pytest.mark.parametrize("row", WITH, ids=lambda row: row.name)
def test_hidden_long_mode_is_found(row: Row) -> None:
    assert judge(hidden(row.registers)) is Capability.MASKED_BY_FIRMWARE
    assert judge(under(hidden(row.registers), "KVMKVMKVM")) is Capability.MASKED_BY_HYPERVISOR
    assert judge(hidden(row.registers), "VMware, Inc.") is (Capability.MASKED_BY_HYPERVISOR)


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
    assert (len(WITH), len(linear), len(both)) == (30, 4, 12)
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
    assert any(words in line for line in decide(facts(hide(hidden(CONROE)))).evidence)


@pytest.mark.parametrize("row", WITHOUT, ids=lambda row: row.name)
def test_real_32_bit_raises_no_false_alarm(row: Row) -> None:
    assert judge(row.registers) is Capability.INCAPABLE
    assert judge(under(row.registers, "TCGTCGTCGTCG")) is Capability.INCAPABLE


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
    assert decide(facts(registers, procinfo)).capability is expected


def test_failures_are_the_evidence_of_unknown() -> None:
    verdict = decide(Facts((Answer("memfd", None, "no"), Answer("file", None, "neither"))))
    assert verdict.evidence[:2] == ("memfd: no", "file: neither")


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
    verdict = decide(facts(registers))
    unknown = registers is None or registers.leaf(0) is None
    assert (verdict.capability is Capability.UNKNOWN) == unknown


def two(one: Registers, other: Registers) -> Facts:
    return Facts((Answer("memfd", one), Answer("/dev/cpu/0/cpuid", other)))


def test_routes_that_contradict_each_other_are_unknown_and_never_incapable() -> None:
    for one, other in ((CONROE, hidden(CONROE)), (hidden(CONROE), CONROE)):
        verdict = decide(two(one, other))
        assert (verdict.capability, verdict.long_mode) == (Capability.UNKNOWN, None)
        assert any("long mode" in line for line in verdict.contradictions)


def test_routes_that_differ_otherwise_are_told() -> None:
    verdict = decide(two(CONROE, altered(CONROE, 1, eax=0x10676)))
    assert verdict.capability is Capability.CAPABLE
    assert verdict.contradictions == (
        "processor: memfd says GenuineIntel family 6h model Fh,"
        " /dev/cpu/0/cpuid says GenuineIntel family 6h model 17h",
    )


def test_routes_that_agree_contradict_nothing() -> None:
    assert decide(two(CONROE, CONROE)).contradictions == ()
    # The number of the core that answers is another at every call.
    assert decide(two(CONROE, altered(CONROE, 1, ebx=0x01020800))).contradictions == ()


def test_a_kernel_that_hides_lm_is_told_of() -> None:
    verdict = decide(facts(CONROE, listed("sse2", model=0xF)))
    assert verdict.capability is Capability.CAPABLE
    assert verdict.contradictions == ("memfd says long mode, /proc/cpuinfo says no long mode",)


def test_a_route_that_failed_contradicts_nothing() -> None:
    answers = (Answer("memfd", None, "denied"), Answer("file", CONROE), Answer("x", Registers(())))
    verdict = decide(Facts(answers))
    assert (verdict.capability, verdict.contradictions) == (Capability.CAPABLE, ())


def test_xen_hides_long_mode_from_a_32_bit_paravirtual_guest() -> None:
    verdict = decide(facts(CONROE, listed("sse2", model=0xF), xen="PV"))
    assert (verdict.capability, verdict.long_mode) == (Capability.MASKED_BY_HYPERVISOR, False)
    assert verdict.environment == "vm:Xen"


@pytest.mark.parametrize("capability", [c for c in Capability if c is not Capability.CAPABLE])
def test_no_level_without_long_mode(capability: Capability) -> None:
    found = {
        Capability.MASKED_BY_HYPERVISOR: facts(under(hidden(CONROE), "VMwareVMware")),
        Capability.MASKED_BY_FIRMWARE: facts(hidden(CONROE)),
        Capability.INCAPABLE: facts(NORTHWOOD),
        Capability.UNKNOWN: facts(None),
    }
    verdict = decide(found[capability])
    assert (verdict.capability, verdict.level) == (capability, None)


def test_level_is_part_of_the_verdict() -> None:
    verdict = decide(facts(CONROE))
    assert verdict.level == 1
    assert verdict.evidence[-1].startswith("x86-64-v1: v2 needs SSE4.1")
    by_flags = frozenset({"lm", "fpu", "cx8", "cmov", "mmx", "fxsr", "sse", "sse2"})
    assert decide(Facts((), ProcInfo("GenuineIntel", 6, 15, by_flags, 48))).level == 1


def test_any_source_can_show_that_long_mode_is_hidden() -> None:
    """The first route may be the one from which more is hidden."""
    bare = without_cx16(without_linear_bits(hidden(NORTHWOOD)))
    assert judge(bare) is Capability.INCAPABLE
    assert decide(two(bare, hidden(CONROE))).capability is Capability.MASKED_BY_FIRMWARE
    told = decide(facts(bare, listed("sse2", bits=48)))
    assert told.capability is Capability.MASKED_BY_FIRMWARE
    assert any("48 bits" in line for line in told.evidence)
