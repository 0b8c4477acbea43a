"""The decoder of /proc/cpuinfo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.procinfo import ProcInfo, decode

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


@given(st.text())
def test_any_text_is_decoded(text: str) -> None:
    decode(text)
    decode(ATOM + text)
