"""The second opinion, and why it is only that."""

import sys
from types import SimpleNamespace

import cpuinfo
import pytest
from cpuinfo.cpuinfo import CPUID

from applianceforge.cpuid import probe
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Report, Severity
from applianceforge.preflight import render
from applianceforge.preflight.crosscheck import KEY, cross_check
from tests import snapshots
from tests.cpuid.table import ROWS, Row

# The last instruction but one: mov eax, ebx and so on.
_ANSWERS_IN = {b"\x89\xd8": "ebx", b"\x89\xc8": "ecx", b"\x89\xd0": "edx"}


class Recorded(CPUID):  # type: ignore[misc]
    """py-cpuinfo, with its machine code run by a recorded processor."""

    def __init__(self, registers: Registers) -> None:
        self.registers = registers

    def _run_asm(self, *machine_code: bytes) -> int:
        code = b"".join(machine_code)
        number = 0 if code.startswith(b"\x31\xc0") else int.from_bytes(code[1:5], "little")
        leaf = self.registers.leaf(number) or Leaf(number, 0, 0, 0, 0, 0)
        return int(getattr(leaf, _ANSWERS_IN.get(code[-3:-1], "eax")))


def theirs(row: Row) -> bool:
    head = row.registers.leaf(0x80000000)
    highest = head.eax if head and head.eax >= 0x80000000 else 0
    return "lm" in Recorded(row.registers).get_flags(highest)


def test_py_cpuinfo_looks_for_long_mode_in_the_wrong_register() -> None:
    """A fact about 9.0; when it is mended, this test says so."""
    assert cpuinfo.get_cpu_info()["cpuinfo_version_string"].startswith("9.")
    assert [theirs(row) for row in ROWS] == [
        bool((row.registers.extended(0x80000001) or Leaf(0, 0, 0, 0, 0, 0)).ebx >> 29 & 1)
        for row in ROWS
    ]
    missed = [row.name for row in ROWS if row.long_mode and not theirs(row)]
    assert len(missed) > 20
    assert not [row.name for row in ROWS if not row.long_mode and theirs(row)]


@pytest.mark.parametrize(
    ("name", "long_mode", "flags"),
    [("agrees", True, ("lm",)), ("differs", True, ("sse2",)), ("missing", True, None)],
)
def test_texts(
    name: str, long_mode: bool, flags: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person reads, for an answer of theirs that was made up."""
    answer = {"cpuinfo_version_string": "9.0.0", "brand_raw": "A processor", "flags": flags}
    module = None if flags is None else SimpleNamespace(get_cpu_info=lambda: answer)
    monkeypatch.setitem(sys.modules, "cpuinfo", module)
    verdict = Verdict(Capability.CAPABLE, long_mode, "metal", None, 2, ())
    page = render.lines(verdict, Report((cross_check(verdict),)), render.Style(verbose=True))
    snapshots.same(f"checks/cross-check-{name}", "\n".join(page) + "\n")


def test_it_agrees_about_this_machine() -> None:
    found = cross_check(probe.long_mode())
    assert (found.key, found.severity) == (KEY, Severity.INFO)
    assert found.evidence


@pytest.mark.parametrize("long_mode", [None, False])
def test_a_difference_is_a_warning_and_nothing_more(long_mode: bool | None) -> None:
    verdict: Verdict = probe.long_mode()._replace(long_mode=long_mode)
    found = cross_check(verdict)
    assert found.severity is Severity.WARNING
    assert found.remedies


def test_without_it_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cpuinfo", None)
    found = cross_check(probe.long_mode())
    assert found.severity is Severity.INFO
    assert "py-cpuinfo" in found.remedies[0].command
