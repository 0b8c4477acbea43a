"""The x86-64 levels: of known processors, without each feature alone, and of this machine."""

from pathlib import Path

import pytest

from applianceforge.cpuid import probe, procinfo
from applianceforge.cpuid.features import FEATURES, Feature, Level, has, level, level_of_flags
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers
from tests.cpuid.table import BY_NAME, ROWS, Row, altered, named, under

AVX_ENABLED, ALL_ENABLED = 0x07, 0xE7
OSXSAVE = 1 << 27
SKYLAKE_X = altered(named("_SkylakeX"), 1, set_ecx=OSXSAVE)._replace(xcr0=ALL_ENABLED)
RAPHAEL = altered(named("_Raphael_01"), 1, set_ecx=OSXSAVE)._replace(xcr0=ALL_ENABLED)

# By the makers' lists of instruction sets, with a kernel that enables what there is.
LEVELS = {
    "AuthenticAMD0000F4A_K8_Clawhammer": 1,
    "AuthenticAMD0000F51_K8_Sledgehammer": 1,
    "AuthenticAMD0020FC2_K8_Palermo": 1,
    "AuthenticAMD0010FC0_K8_Winchester": 1,
    "AuthenticAMD0060FB1_K8_Brisbane": 1,
    "AuthenticAMD0100F22_K10_Agena": 1,
    "AuthenticAMD0500F10_K14_Bobcat": 1,
    "AuthenticAMD0600F01_K15_Bulldozer": 2,
    "AuthenticAMD0660F01_K15_Carrizo": 3,
    "AuthenticAMD0800F11_K17_Zen2": 3,
    "AuthenticAMD0A60F12_K19_Raphael_01": 4,
    "CentaurHauls00006F8_CNB_Isaiah": 1,
    "GenuineIntel00006F4_Conroe": 1,
    "GenuineIntel0000F41_P4_Cranford": 1,
    "GenuineIntel0000F43_P4_Prescott": 1,
    "GenuineIntel0000F44_P4_Smithfield": 1,
    "GenuineIntel0010676_Penryn": 1,
    "GenuineIntel00106C2_Diamondville": 1,
    "GenuineIntel00106C2_Silverthorne": 1,
    "GenuineIntel00106A4_Bloomfield": 2,
    "GenuineIntel00206A7_SandyBridge": 2,
    "GenuineIntel00306C3_Haswell": 3,
    "GenuineIntel0050654_SkylakeX": 4,
    # AVX-512 without DQ, BW and VL.
    "GenuineIntel0050671_KnightsLanding": 3,
    # AVX-512 is fused off, as the little cores have none.
    "GenuineIntel0090672_AlderLake_03": 3,
    "GenuineIntel00B06E0_AlderLakeN_02": 3,
    "HygonGenuine0900F02_Hygon": 3,
}
# Emulated or with an odd history: what they show is all that there is to compare with.
NOT_STATED = {
    "Virtual CPU 0000F4A_FT2000_4",
    "GenuineIotel00306C3_Haswell",
    "CentaurHauls00307B1_ZXE",
}


def booted(registers: Registers) -> Registers:
    """Return the registers as under a kernel that has enabled all that the processor has."""
    basic, state = registers.leaf(1), registers.leaf(0xD)
    if basic is None or not basic.ecx >> 26 & 1:
        return registers
    return altered(registers, 1, set_ecx=OSXSAVE)._replace(xcr0=state.eax if state else 0)


@pytest.mark.parametrize("name", LEVELS)
def test_levels_of_known_processors(name: str) -> None:
    assert level(booted(BY_NAME[name])).number == LEVELS[name]


def test_every_processor_with_long_mode_is_known() -> None:
    assert {row.name for row in ROWS if row.long_mode} == LEVELS.keys() | NOT_STATED


@pytest.mark.parametrize("row", [row for row in ROWS if row.long_mode], ids=lambda row: row.name)
def test_level_has_a_reason(row: Row) -> None:
    found = level(booted(row.registers))
    assert found.number in (1, 2, 3, 4)
    assert bool(found.why) == (found.number != 4)


def without(registers: Registers, feature: Feature) -> Registers:
    return altered(registers, feature.leaf, **{f"clear_{feature.register}": 1 << feature.bit})


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
@pytest.mark.parametrize("registers", [SKYLAKE_X, RAPHAEL], ids=["Intel", "AMD"])
def test_each_feature_alone_lowers_the_level(registers: Registers, feature: Feature) -> None:
    assert level(registers) == Level(4, "", 4)
    assert has(registers, feature)
    lacking = without(registers, feature)
    assert not has(lacking, feature)
    found = level(lacking)
    assert found.number == (feature.level - 1 or None)
    assert feature.name in found.why


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_each_flag_alone_lowers_the_level(feature: Feature) -> None:
    flags = frozenset(one.flag for one in FEATURES) - {""}
    listed = ProcInfo("GenuineIntel", 6, 0x55, flags, 48)
    assert level_of_flags(listed) == Level(4, "", 4)
    if feature.flag:
        found = level_of_flags(listed._replace(flags=flags - {feature.flag}))
        assert found == Level(
            feature.level - 1 or None, f"v{feature.level} needs {feature.name}", feature.level - 1
        )


def test_flags_have_the_kernel_s_names() -> None:
    """Source: Linux 6.1, arch/x86/include/asm/cpufeatures.h."""
    assert {feature.name: feature.flag for feature in FEATURES} == {
        "FPU": "fpu", "CX8": "cx8", "CMOV": "cmov", "MMX": "mmx", "FXSR": "fxsr", "SSE": "sse",
        "SSE2": "sse2", "SSE3": "pni", "SSSE3": "ssse3", "CX16": "cx16", "SSE4.1": "sse4_1",
        "SSE4.2": "sse4_2", "POPCNT": "popcnt", "LAHF": "lahf_lm", "FMA": "fma", "MOVBE": "movbe",
        "OSXSAVE": "", "AVX": "avx", "F16C": "f16c", "BMI1": "bmi1", "AVX2": "avx2",
        "BMI2": "bmi2", "LZCNT": "abm", "AVX512F": "avx512f", "AVX512DQ": "avx512dq",
        "AVX512CD": "avx512cd", "AVX512BW": "avx512bw", "AVX512VL": "avx512vl",
    }  # fmt: skip


# GCC's cpuid.h has the same bits under names of its own (bit_CMPXCHG16B, bit_LZCNT, ...).
BITS = {
    (1, "edx"): {0: "FPU", 8: "CX8", 15: "CMOV", 23: "MMX", 24: "FXSR", 25: "SSE", 26: "SSE2"},
    (1, "ecx"): {
        0: "SSE3",
        9: "SSSE3",
        12: "FMA",
        13: "CX16",
        19: "SSE4.1",
        20: "SSE4.2",
        22: "MOVBE",
        23: "POPCNT",
        27: "OSXSAVE",
        28: "AVX",
        29: "F16C",
    },
    (7, "ebx"): {
        3: "BMI1",
        5: "AVX2",
        8: "BMI2",
        16: "AVX512F",
        17: "AVX512DQ",
        28: "AVX512CD",
        30: "AVX512BW",
        31: "AVX512VL",
    },
    (0x80000001, "ecx"): {0: "LAHF", 5: "LZCNT"},
}
NAMES = {
    1: "FPU CX8 CMOV MMX FXSR SSE SSE2",
    2: "SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT LAHF",
    3: "FMA MOVBE OSXSAVE AVX F16C BMI1 AVX2 BMI2 LZCNT",
    4: "AVX512F AVX512DQ AVX512CD AVX512BW AVX512VL",
}


def test_features_of_each_level() -> None:
    for number, names in NAMES.items():
        assert {f.name for f in FEATURES if f.level == number} == set(names.split())


def test_bits_of_the_features() -> None:
    expected = {(name, *where, bit) for where, bits in BITS.items() for bit, name in bits.items()}
    assert {(f.name, f.leaf, f.register, f.bit) for f in FEATURES} == expected
    assert len(FEATURES) == len(expected)


def test_levels_rise() -> None:
    assert [f.level for f in FEATURES] == sorted(f.level for f in FEATURES)


@pytest.mark.parametrize(
    ("xcr0", "expected"),
    [
        (None, None),
        (0, 2),
        (1, 2),
        (0x03, 2),
        (0x05, 2),
        (0x07, 3),
        (0x27, 3),
        (0x67, 3),
        (0xC7, 3),
        (0xA7, 3),
        (0xE7, 4),
        (0x2FF, 4),
    ],
)
def test_what_the_kernel_has_enabled_counts(xcr0: int | None, expected: int | None) -> None:
    assert level(SKYLAKE_X._replace(xcr0=xcr0)).number == expected


def test_unknown_xcr0_does_not_matter_below_v3() -> None:
    assert level(named("_Bloomfield")._replace(xcr0=None)).number == 2
    haswell = altered(named("GenuineIntel00306C3_Haswell"), 1, set_ecx=OSXSAVE)
    assert level(haswell).number is None
    assert level(haswell._replace(xcr0=AVX_ENABLED)).number == 3


@pytest.mark.parametrize("highest", [1, 3, 6])
def test_limited_leaves_hide_the_level(highest: int) -> None:
    """The firmware's "Limit CPUID Maxval": leaf 7 may still be recorded, and does not count."""
    found = level(altered(SKYLAKE_X, 0, eax=highest))
    assert found.number is None
    assert "limits CPUID" in found.why
    # Nehalem has leaves up to 11, so this is hidden there too.
    assert level(altered(named("_Bloomfield"), 0, eax=2)).number is None


def test_limited_leaves_do_not_raise_a_low_level() -> None:
    assert level(altered(named("_Conroe"), 0, eax=2)).number == 1


def test_leaves_that_are_not_there() -> None:
    def hiding(*numbers: int) -> Registers:
        return SKYLAKE_X._replace(
            leaves=tuple(one for one in SKYLAKE_X.leaves if one.number not in numbers)
        )

    assert level(Registers(())).number is None
    assert level(hiding(0)).number is None
    assert level(hiding(1)).number is None
    assert level(hiding(7)).number == 2
    assert level(hiding(0x80000001)).number == 1


def test_out_of_range_leaves_have_no_features() -> None:
    everything = Leaf(0x80000001, 0, *[0xFFFFFFFF] * 4)
    lahf = next(feature for feature in FEATURES if feature.name == "LAHF")
    for highest in (0x80000000, 0x03020101, 0x80010000):
        registers = Registers((Leaf(0, 0, 5, 0, 0, 0), Leaf(0x80000000, 0, highest, 0, 0, 0)))
        assert not has(registers._replace(leaves=(*registers.leaves, everything)), lahf)


@pytest.mark.parametrize("name", LEVELS)
def test_syscall_that_is_cleared_changes_nothing(name: str) -> None:
    """Intel clears SYSCALL (leaf 80000001 EDX bit 11) for code in 32-bit mode."""
    registers = booted(BY_NAME[name])
    assert level(altered(registers, 0x80000001, clear_edx=1 << 11)) == level(registers)
    assert altered(registers, 0x80000001, clear_edx=1 << 11).long_mode


def test_a_hypervisor_changes_nothing() -> None:
    assert level(under(SKYLAKE_X, "KVMKVMKVM")) == Level(4, "", 4)


def test_only_subleaf_0_of_leaf_7_counts() -> None:
    moved = tuple(one._replace(subleaf=1) if one.number == 7 else one for one in SKYLAKE_X.leaves)
    assert level(SKYLAKE_X._replace(leaves=moved)).number == 2


def test_this_machine_agrees_with_its_kernel() -> None:
    listed = procinfo.decode(Path("/proc/cpuinfo").read_text())
    registers = probe.gather().registers
    if listed is None or registers is None:
        pytest.skip("this machine does not let CPUID be asked")
    for feature in FEATURES:
        if feature.flag:
            assert has(registers, feature) == (feature.flag in listed.flags), feature.name
    found = level(registers)
    if found.number is not None:
        assert found.number == level_of_flags(listed).number


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx", "avx512f"}, 4), ({"avx"}, 3), (set(), 2)], ids=str
)
def test_flags_tell_what_is_enabled_where_xcr0_was_not_read(flags: set[str], expected: int) -> None:
    listed = ProcInfo("GenuineIntel", 6, 0x55, frozenset(flags), 48)
    registers = SKYLAKE_X._replace(xcr0=None)
    assert level(registers, listed).number == expected
    assert level(registers).number is None
    # What was read counts more than what is listed.
    assert level(registers._replace(xcr0=0xE7), listed).number == 4
