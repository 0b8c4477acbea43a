"""What shows that a 64-bit processor is hidden: each rule alone, at each of its edges.

The rows are synthetic: vendor and signature as the vendors' lists have them, and no more evidence
than the one that a row is about. Whether a model was ever sold without long mode is a fact of those
lists: Tolapai (15h) and the Atoms Silverthorne to Lincroft (1Ch, 26h), Penwell and Cloverview (27h,
35h), Cedarview (36h), Merrifield (4Ah) and Moorefield (5Ah) were, their neighbours were not.
"""

import struct

import pytest

from applianceforge.cpuid.facts import Answer, Facts
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, decide
from tests.cpuid.table import leaf

INTEL, AMD, HYGON, CENTAUR = "GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls"
HIDDEN, BARE = Capability.MASKED_BY_FIRMWARE, Capability.INCAPABLE
SSE3, CX16, SSE2 = 1 << 0, 1 << 13, 1 << 26


def signature(family: int, model: int) -> int:
    """Return leaf 1's EAX for a family and model as they are counted together."""
    base, extended = (0xF, family - 0xF) if family > 0xF else (family, 0)
    return extended << 20 | (model & 0xF0) << 12 | base << 8 | (model & 0xF) << 4


def processor(
    vendor: str,
    family: int,
    model: int,
    *,
    linear_bits: int = 0,
    ecx: int = 0,
    edx: int = 0,
    highest: int = 0x80000008,
) -> Registers:
    ebx, ecx_of_0, edx_of_0 = (
        struct.unpack("<I", vendor.encode()[at : at + 4])[0] for at in (0, 8, 4)
    )
    return Registers(
        (
            Leaf(0, 0, 5, ebx, ecx_of_0, edx_of_0),
            leaf(1, signature(family, model), 0, ecx, edx),
            leaf(0x80000000, highest),
            leaf(0x80000001),
            leaf(0x80000008, linear_bits << 8 | 36),
        )
    )


def judge(registers: Registers) -> Capability:
    return decide(Facts((Answer("memfd", registers),))).capability


SIGNATURES = [
    *((INTEL, 6, model, BARE) for model in (0x01, 0x08, 0x09, 0x0D, 0x0E)),
    *((INTEL, 6, model, BARE) for model in (0x15, 0x1C, 0x26, 0x27, 0x35, 0x36, 0x4A, 0x5A)),
    *((INTEL, 6, model, HIDDEN) for model in (0x0F, 0x16, 0x17, 0x1A, 0x1D, 0x1E, 0x25, 0x2A)),
    *((INTEL, 6, model, HIDDEN) for model in (0x37, 0x3A, 0x3C, 0x4C, 0x4D, 0x55, 0x5C, 0x9E)),
    *((INTEL, 0xF, model, BARE) for model in (0x00, 0x02, 0x03, 0x04, 0x05, 0x07)),
    (INTEL, 0xF, 0x06, HIDDEN),
    (INTEL, 5, 0x0F, BARE),
    (AMD, 6, 0x0A, BARE),
    *((AMD, 0xF, model, BARE) for model in (0x04, 0x0C, 0x2C)),
    *((AMD, family, 0x02, HIDDEN) for family in (0x10, 0x11, 0x14, 0x15, 0x17, 0x19)),
    (HYGON, 0x18, 0x00, HIDDEN),
    *((CENTAUR, 6, model, BARE) for model in (0x06, 0x09, 0x0A, 0x0D, 0x0E)),
    *((CENTAUR, 6, model, HIDDEN) for model in (0x0F, 0x10, 0x19)),
    *((CENTAUR, 7, model, HIDDEN) for model in (0x00, 0x1B)),
    (CENTAUR, 5, 0x0F, BARE),
    ("GenuineTMx86", 0x10, 0x0F, BARE),
]


@pytest.mark.parametrize(("vendor", "family", "model", "expected"), SIGNATURES)
def test_signatures_that_were_never_sold_without_long_mode(
    vendor: str, family: int, model: int, expected: Capability
) -> None:
    registers = processor(vendor, family, model)
    assert (registers.vendor, registers.family, registers.model) == (vendor, family, model)
    assert judge(registers) is expected


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(0, BARE), (32, BARE), (36, BARE), (47, BARE), (48, HIDDEN), (57, HIDDEN)],
)
def test_linear_address_bits_alone(bits: int, expected: Capability) -> None:
    assert judge(processor(INTEL, 6, 0x0E, linear_bits=bits)) is expected
    listed = ProcInfo(INTEL, 6, 0x0E, frozenset({"sse2"}), bits)
    assert decide(Facts((), listed)).capability is expected


@pytest.mark.parametrize("highest", [0x80000004, 0x80000007, 0x03020101, 0x80010000])
def test_linear_address_bits_out_of_range_mean_nothing(highest: int) -> None:
    assert judge(processor(INTEL, 6, 0x0E, linear_bits=48, highest=highest)) is BARE


@pytest.mark.parametrize(
    ("family", "ecx", "edx", "expected"),
    [
        (6, SSE3 | CX16, SSE2, HIDDEN),
        (0xF, SSE3 | CX16, SSE2, HIDDEN),
        (5, SSE3 | CX16, SSE2, BARE),
        (6, CX16, SSE2, BARE),
        (6, SSE3, SSE2, BARE),
        (6, SSE3 | CX16, 0, BARE),
    ],
)
def test_cx16_counts_with_sse2_and_sse3_alone(
    family: int, ecx: int, edx: int, expected: Capability
) -> None:
    assert judge(processor(INTEL, family, 0x02, ecx=ecx, edx=edx)) is expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"cx16", "pni", "sse2"}, HIDDEN),
        ({"cx16", "sse2"}, BARE),
        ({"pni", "sse2"}, BARE),
        ({"cx16", "pni"}, BARE),
    ],
)
def test_the_same_by_flags(flags: set[str], expected: Capability) -> None:
    listed = ProcInfo(INTEL, 6, 0x0E, frozenset(flags), 32)
    assert decide(Facts((), listed)).capability is expected


# Both of each pair were sold: Atom 330 and N270; E680 and Z670; Sempron 2800+ and Mobile 3300+.
TWINS = [(INTEL, 0x106C2), (INTEL, 0x20661), (AMD, 0x10FC0)]


@pytest.mark.parametrize(("vendor", "eax"), TWINS)
@pytest.mark.parametrize("long_mode", [True, False])
def test_one_signature_is_of_a_processor_with_and_of_one_without(
    vendor: str, eax: int, long_mode: bool
) -> None:
    bare = processor(vendor, 6, 0)
    features = leaf(0x80000001, edx=long_mode << 29)
    leaves = {0x80000001: features, 1: leaf(1, eax, 0, SSE3, SSE2)}
    registers = Registers(tuple(leaves.get(one.number, one) for one in bare.leaves))
    assert judge(registers) is (Capability.CAPABLE if long_mode else BARE)


@pytest.mark.parametrize(
    ("highest", "counts"),
    [
        (0x80000000, False),
        (0x80000001, True),
        (0x80000FFF, True),
        (0x80001000, True),
        (0x8000FFFE, True),
        (0x8000FFFF, True),
        (0x80010000, False),
    ],
)
def test_both_bounds_of_the_extended_leaves(highest: int, counts: bool) -> None:
    registers = processor(INTEL, 6, 0x0E, highest=highest)
    leaves = tuple(
        one._replace(edx=1 << 29) if one.number == 0x80000001 else one for one in registers.leaves
    )
    assert Registers(leaves).long_mode is counts


def hypervisor_leaf(number: int) -> Leaf:
    return Leaf(number, 0, number, *struct.unpack("<3I", b"KVMKVMKVM\0\0\0"))


@pytest.mark.parametrize("number", [0x40000000, 0x40000100, 0x40001100, 0x4000FF00])
def test_hypervisors_are_found_in_all_of_their_leaves(number: int) -> None:
    bare = processor(INTEL, 6, 0x0E, ecx=1 << 31)
    registers = Registers((*bare.leaves, hypervisor_leaf(number)))
    assert registers.hypervisor_signatures == ("KVMKVMKVM",)


@pytest.mark.parametrize(
    ("family", "model", "stale"),
    [(5, 4, True), (6, 6, True), (6, 7, True), (6, 8, True), (6, 9, False), (6, 0xF, False)],
)
def test_centaur_leaves_the_hypervisor_bit_stale_before_model_9(
    family: int, model: int, stale: bool
) -> None:
    registers = processor(CENTAUR, family, model, ecx=1 << 31)
    assert registers.hypervisor_bit is not stale
    assert processor(INTEL, family, model, ecx=1 << 31).hypervisor_bit


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"highest": 0x80000004}, "highest extended leaf"),
        ({"model": 0x0D}, "processor"),
        ({"hypervisor": True}, "hypervisor"),
    ],
)
def test_each_thing_that_two_routes_can_differ_in_is_told(
    change: dict[str, int], word: str
) -> None:
    one = processor(INTEL, 6, 0x0E, ecx=1 << 31)
    other = processor(
        INTEL,
        6,
        change.get("model", 0x0E),
        ecx=1 << 31,
        highest=change.get("highest", 0x80000008),
    )
    if "hypervisor" in change:
        other = Registers((*other.leaves, hypervisor_leaf(0x40000000)))
    told = decide(Facts((Answer("memfd", one), Answer("device", other)))).contradictions
    assert [line.partition(":")[0] for line in told] == [word]
