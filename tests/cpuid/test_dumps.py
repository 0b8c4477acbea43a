"""The decoders of what other tools write of CPUID."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid import dumps, probe
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.errors import SettingsError
from tests.cpuid import dump_texts
from tests.cpuid.table import ROWS, Row, altered, facts, leaf, named

SAMPLES = Path(__file__).parent.parent / "data" / "dumps"
CONROE = named("_Conroe")
KLAMATH = named("_P2_Klamath")


def decoded(text: str) -> Registers:
    return dumps.decode(text, "a.txt").registers


def refused(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        dumps.decode(text, "a.txt")
    assert "a.txt" in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", dump_texts.WRITERS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_processor_in_every_format(row: Row, name: str) -> None:
    dump = dumps.decode(dump_texts.WRITERS[name](row.registers), "a.txt")
    assert dump.format == name
    for recorded in row.registers.leaves:
        # libcpuid has no subleaves of D.
        if recorded.subleaf == 0 or name != "libcpuid":
            assert dump.registers.leaf(*recorded[:2]) == recorded
    verdict = decide(facts(dump.registers))
    expected = Capability.CAPABLE if row.long_mode else Capability.INCAPABLE
    assert (verdict.capability, verdict.long_mode) == (expected, row.long_mode)


@pytest.mark.parametrize(
    ("sample", "form", "vendor", "long_mode", "leaves"),
    [
        ("applebred.instlatx64.txt", "InstLatx64", "AuthenticAMD", False, 11),
        ("sledgehammer.instlatx64.txt", "InstLatx64", "AuthenticAMD", True, 12),
        ("alderlake.instlatx64.txt", "InstLatx64", "GenuineIntel", True, 17),
        ("geode.instlatx64.txt", "InstLatx64", "AuthenticAMD", False, 9),
        ("yonah.libcpuid.txt", "libcpuid", "GenuineIntel", False, 64),
        ("epyc-kvm.cpuid.txt", "cpuid -r", "AuthenticAMD", True, 85),
        ("epyc-kvm.libcpuid.txt", "libcpuid", "AuthenticAMD", True, 64),
    ],
)
def test_samples(sample: str, form: str, vendor: str, long_mode: bool, leaves: int) -> None:
    dump = dumps.decode((SAMPLES / sample).read_text(), sample)
    assert dump.format == form
    assert dump.registers.vendor == vendor
    assert dump.registers.long_mode is long_mode
    assert len(dump.registers.leaves) == leaves


@pytest.mark.parametrize(
    "command",
    [("cpuid", "-r"), ("cpuid", "-1", "-r"), ("cpuid_tool", "--save=/dev/stdout")],
    ids=" ".join,
)
def test_programs_that_are_here(command: tuple[str, ...]) -> None:
    asked = probe.gather().registers
    if shutil.which(command[0]) is None or asked is None:
        pytest.skip(f"there is no {command[0]} here, or CPUID may not be asked")
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    registers = decoded(done.stdout)
    for number in (0, 7, 0x80000000, 0x80000001, 0x80000008):
        assert registers.leaf(number) == asked.leaf(number)


def test_subleaves_are_hexadecimal() -> None:
    registers = decoded((SAMPLES / "alderlake.instlatx64.txt").read_text())
    assert registers.leaf(0xD, 0xB) == Leaf(0xD, 0xB, 0x10, 0, 1, 0)
    assert registers.leaf(0xD, 0x10) == Leaf(0xD, 0x10, 8, 0, 1, 0)


def test_leaves_between_are_no_signatures() -> None:
    registers = decoded((SAMPLES / "epyc-kvm.cpuid.txt").read_text())
    assert registers.leaf(0x40000001) is not None
    assert registers.hypervisor_signatures == ("KVMKVMKVM",)


def test_without_labels_only_the_first_line_of_a_leaf_is_known() -> None:
    carrizo = named("_K15_Carrizo")
    registers = decoded(dump_texts.instlatx64(carrizo, labels=False))
    assert registers.leaf(0xD) == carrizo.leaf(0xD)
    assert registers.leaf(0xD, 1) is None


@pytest.mark.parametrize(
    "text",
    [
        dump_texts.instlatx64(CONROE, processors=3),
        dump_texts.libcpuid(CONROE, processors=3),
        dump_texts.cpuid_r(CONROE, processors=3),
        # Without headings, the next leaf 0 is the next processor's.
        "".join(dump_texts.cpuid_r(CONROE).partition("\n")[2] for _ in range(3)),
        dump_texts.instlatx64(CONROE).replace("------[ CPUID Registers / Logical CPU #", "CPU#00"),
    ],
)
def test_first_processor_counts(text: str) -> None:
    assert decoded(text).leaf(1) == CONROE.leaf(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(": ", "     ").replace("\r", ""),
        lambda text: "\n".join("    " + line for line in text.splitlines()),
        lambda text: text.lower().replace("cpuid", "CPUID"),
        lambda text: "\x00\xff some words\n" * 50 + text,
    ],
    ids=["a report without colons", "indented", "lower case", "words before"],
)
def test_variants(change: Callable[[str], str]) -> None:
    assert decoded(change(dump_texts.instlatx64(CONROE))).leaves == CONROE.leaves


def test_what_was_not_recorded_is_no_answer() -> None:
    text = dump_texts.libcpuid(KLAMATH).splitlines()
    empty = [f"{line.partition('=')[0]}={'ffffffff ' * 4}" for line in text if "ext_" in line]
    registers = decoded("\n".join([line for line in text if "ext_" not in line] + empty))
    assert registers.leaf(0x80000000) is None
    assert registers.long_mode is False


@pytest.mark.parametrize(
    "text", ["", "\n", "hello", "CPUID Manufacturer : AuthenticAMD", "version=0.6.5\narm_midr=1\n"]
)
def test_other_texts_are_of_no_known_format(text: str) -> None:
    error = refused(text)
    assert "known format" in error.message
    for name in dumps.FORMATS:
        assert name in error.hint


@pytest.mark.parametrize("name", dump_texts.WRITERS)
def test_cut_short_is_never_taken_for_a_missing_feature(name: str) -> None:
    text = dump_texts.WRITERS[name](CONROE).replace("\r", "")
    whole = decoded(text)
    for size in range(len(text)):
        try:
            dump = dumps.decode(text[:size], "a.txt")
        except SettingsError:
            continue
        assert decide(facts(dump.registers)) == decide(facts(whole))


@pytest.mark.parametrize(
    ("hidden", "evidence"),
    [
        (0, "leaf 0 is not there"),
        (1, "leaf 1 is not there"),
        (7, "leaf 7 is not there"),
        (0x80000000, "leaf 80000000 is not there"),
        (0x80000001, "leaf 80000001 is not there"),
        (0x80000008, "leaf 80000008 is not there"),
    ],
)
def test_each_leaf_that_the_verdict_needs(hidden: int, evidence: str) -> None:
    leaves = tuple(one for one in CONROE.leaves if one.number != hidden)
    assert refused(dump_texts.cpuid_r(Registers(leaves))).evidence == (evidence,)


@pytest.mark.parametrize("eax", [0, 0x8, 0x18, 0x80000000, 0x80010018, 0xFFFFFFFF])
def test_with_sse2_there_are_extended_leaves(eax: int) -> None:
    changed = altered(CONROE, 0x80000000, eax=eax)
    (evidence,) = refused(dump_texts.instlatx64(changed)).evidence
    assert evidence == f"leaf 80000000 says that the highest of its kind is {eax:X}"


def test_a_leaf_0_without_a_vendor_is_damaged() -> None:
    for text in (dump_texts.cpuid_r(altered(KLAMATH, 0, ebx=0, ecx=0, edx=0)),):
        assert refused(text).evidence == ("leaf 0 names no vendor",)


def test_a_subleaf_that_moved_away_from_its_leaf_is_a_problem() -> None:
    haswell = named("GenuineIntel00306C3_Haswell")
    text = dump_texts.kcpuid_r(haswell)
    subleaf = next(line for line in text.splitlines() if line.startswith("  0: "))
    moved = text.replace(subleaf + "\n", "", 1) + subleaf + "\n"
    assert subleaf.strip()[:40] in refused(moved).evidence[0]


def test_all_problems_at_once_with_their_lines() -> None:
    lines = dump_texts.cpuid_r(CONROE).splitlines()
    lines[2] = lines[2].replace("edx=0x", "edx=0z")
    lines[4] = lines[4][:40]
    error = refused("\n".join(lines))
    assert error.message == "a.txt is a damaged dump of cpuid -r"
    assert [line.partition(":")[0] for line in error.evidence] == ["line 3", "line 5"]


def test_a_wrapped_line_is_a_problem() -> None:
    assert refused(dump_texts.cpuid_r(CONROE).replace(" edx", "\nedx")).evidence


def test_problems_are_bounded() -> None:
    assert len(refused("CPUID 00000000: 0-0\n" * 5000).evidence) == dumps.MOST_PROBLEMS


def test_other_values_for_one_leaf_are_a_problem() -> None:
    text = dump_texts.cpuid_r(CONROE) + "   0x00000001 0x00: eax=0x00000001 ebx=0x00000000"
    error = refused(text + " ecx=0x00000000 edx=0x00000000\n")
    assert "twice" in error.evidence[0]


def test_leaves_are_bounded() -> None:
    many = Registers((leaf(0, 1), *(leaf(1, subleaf=n) for n in range(3000))))
    assert "no more than" in refused(dump_texts.cpuid_r(many)).evidence[0]


def test_a_subleaf_without_its_leaf_is_a_problem() -> None:
    text = dump_texts.kcpuid_r(CONROE).replace("0x00000007: subleafs:\n", "")
    assert refused(text).evidence


@given(st.text())
def test_any_text_is_decoded_or_refused(text: str) -> None:
    for whole in (text, dump_texts.cpuid_r(CONROE) + text, text + dump_texts.libcpuid(CONROE)):
        try:
            dumps.decode(whole, "a.txt")
        except SettingsError as error:
            assert len(error.evidence) <= dumps.MOST_PROBLEMS
