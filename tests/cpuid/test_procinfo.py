"""The decoder of /proc/cpuinfo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.procinfo import ProcInfo, damage, decode

ATOM = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 28
model name\t: Intel(R) Atom(TM) CPU  330   @ 1.60GHz
flags\t\t: fpu vme sse2 lm pni cx16
address sizes\t: 32 bits physical, 48 bits virtual

processor\t: 1
vendor_id\t: Other
flags\t\t: fpu
"""


def test_first_processor_counts() -> None:
    flags = frozenset({"fpu", "vme", "sse2", "lm", "pni", "cx16"})
    data = decode(ATOM)
    assert data == ProcInfo("GenuineIntel", 6, 28, flags, 48)
    assert data.long_mode
    assert data.has_cx16_sse


@pytest.mark.parametrize("flag", ["lahf_lm", "lmce", "lmx", "cx16lm"])
def test_only_the_whole_word_counts(flag: str) -> None:
    data = decode(ATOM.replace(" lm ", f" {flag} "))
    assert data is not None
    assert not data.long_mode


def test_old_kernel_without_sizes() -> None:
    data = decode("vendor_id : GenuineIntel\nflags : fpu\ncpu family : unknown\n")
    assert data == ProcInfo("GenuineIntel", 0, 0, frozenset({"fpu"}), 0)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "processor\t: 0\nFeatures\t: fp asimd\n", "vendor_id : GenuineIntel\nflags :\n"],
)
def test_what_tells_nothing(text: str) -> None:
    assert decode(text) is None


def test_a_live_kernel_is_believed_whatever_it_says() -> None:
    odd = decode("vendor_id : GenuineIntel\nsome words\nflags : fpu lm\ncpu family : 1234567890\n")
    assert odd == ProcInfo("GenuineIntel", 0, 0, frozenset({"fpu", "lm"}), 0)


def test_a_whole_copy_is_not_damaged() -> None:
    whole = ATOM.replace("address", "bogomips\t: 3192.01\naddress")
    assert damage(whole) == []
    assert damage(whole.replace("\n", "\r\n")) == []
    assert damage(whole.partition("\n\n")[0] + "\n") != []
    assert damage(whole.partition("\n\n")[0] + "\npower management:") == []


@pytest.mark.parametrize(
    ("vendor", "family", "model", "flags", "whole"),
    [
        ("AuthenticAMD", 15, 5, "fpu sse2 syscall nx", False),
        ("AuthenticAMD", 15, 5, "fpu sse2 syscall lm", True),
        ("AuthenticAMD", 15, 12, "fpu sse2 syscall 3dnowext 3dnow", True),
        ("AuthenticAMD", 6, 10, "fpu sse", True),
        ("GenuineIntel", 6, 11, "fpu sse", True),
        ("GenuineIntel", 6, 13, "fpu sse sse2", True),
        ("GenuineIntel", 6, 28, "fpu sse sse2", False),
        ("GenuineIntel", 6, 28, "fpu sse sse2 pni", True),
        ("GenuineIntel", 15, 2, "fpu sse sse2", True),
        ("GenuineIntel", 15, 4, "fpu sse sse2", False),
        ("CentaurHauls", 6, 10, "fpu sse sse2", True),
        ("  Shanghai  ", 7, 11, "fpu sse sse2", False),
        ("Vortex86 SoC", 6, 1, "fpu", True),
    ],
)
def test_flags_that_end_before_the_place_of_lm(
    vendor: str, family: int, model: int, flags: str, whole: bool
) -> None:
    text = (
        f"vendor_id : {vendor}\ncpu family : {family}\nmodel : {model}\nflags : {flags}\n"
        "bogomips : 1\n\n"
    )
    assert damage(text) == ([] if whole else ["the flags end before the place of lm"])


@given(st.text())
def test_any_text_is_decoded(text: str) -> None:
    for whole in (text, ATOM + text, ATOM.replace("flags", "bogomips: 1\n" + text)):
        decode(whole)
        assert all(len(line) < 200 for line in damage(whole))
