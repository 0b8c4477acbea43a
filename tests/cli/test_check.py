"""The command that says whether 64-bit programs can run here."""

import json

import pytest
from click.testing import CliRunner

from applianceforge.cli.check import check
from applianceforge.cpuid import probe
from applianceforge.cpuid.registers import Registers
from applianceforge.cpuid.verdict import Facts
from tests.cpuid.table import BY_NAME, hidden, under

CONROE = BY_NAME["GenuineIntel00006F4_Conroe"]
NORTHWOOD = BY_NAME["GenuineIntel0000F29_P4_Northwood"]
CASES: dict[str, tuple[Registers | None, int]] = {
    "capable": (CONROE, 0),
    "masked-by-hypervisor": (under(hidden(CONROE), "VMwareVMware"), 20),
    "masked-by-firmware": (hidden(CONROE), 21),
    "incapable": (NORTHWOOD, 22),
    "unknown": (None, 30),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the probe find another processor than this machine's."""
    name = str(request.param)
    facts = Facts(CASES[name][0], None)
    monkeypatch.setattr(probe, "gather", lambda: facts)
    return name


def test_text(case: str) -> None:
    result = CliRunner().invoke(check)
    assert result.exit_code == CASES[case][1]
    assert result.output.startswith(f"verdict:     {case} - ")
    assert ("to do:" in result.output) == (case != "capable")
    assert "evidence:" in result.output
    assert ("cannot" in result.output) == (case == "incapable")


def test_json(case: str) -> None:
    result = CliRunner().invoke(check, ["--json"])
    said = json.loads(result.output)
    assert (result.exit_code, said["exit_status"]) == (CASES[case][1], CASES[case][1])
    assert (said["schema"], said["verdict"]) == (1, case)
    assert said["long_mode"] == {"capable": True, "unknown": None}.get(case, False)
    assert said["hypervisor"] == ("VMware" if case == "masked-by-hypervisor" else None)
    assert bool(said["remedies"]) == (case != "capable")


def test_this_machine() -> None:
    result = CliRunner().invoke(check)
    assert result.exit_code in {0, 20, 21, 22, 30}
    assert result.output.startswith("verdict:")
