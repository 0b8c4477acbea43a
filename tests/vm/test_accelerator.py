"""The choice of an accelerator: by trial, kept until the machine boots again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vm import accelerator
from tests.vm.accelerator import Trial, choose, decide
from tests.vm.hardware import WIDE


def test_the_faster_that_works() -> None:
    assert decide({"tcg": Trial(0.3), "kvm": Trial(0.1)}).name == "kvm"
    assert decide({"tcg": Trial(0.3), "kvm": Trial(11.0)}).name == "tcg"
    assert decide({"tcg": Trial(0.3), "kvm": Trial(0.3)}).name == "tcg"
    assert decide({"tcg": Trial(None, "hung"), "kvm": Trial(9)}).name == "kvm"
    assert decide({"tcg": Trial(None, "hung"), "kvm": Trial(None, "hung")}).name == "tcg"


def test_the_reason_names_all() -> None:
    why = decide({"tcg": Trial(0.31), "kvm": Trial(None, "did not come to its end")}).why
    assert why == "an empty machine came to its end: tcg 0.31 s, kvm did not come to its end"


def test_tried_once_and_kept(tmp_path: Path) -> None:
    tried = []

    def trying(name: str) -> Trial:
        tried.append(name)
        return Trial(1.0 if name == "tcg" else 0.5)

    first = choose({}, tmp_path / "kept", trying)
    assert choose({}, tmp_path / "kept", trying) == first
    assert (first.name, tried) == ("kvm", ["tcg", "kvm"])
    for damaged in ("", "[]", "{}", '{"boot": "of another day", "name": "xen", "why": ""}'):
        (tmp_path / "kept").write_text(damaged)
        assert choose({}, tmp_path / "kept", trying) == first


def test_a_person_may_say(tmp_path: Path) -> None:
    def trying(name: str) -> Trial:
        raise AssertionError("nothing is tried")

    choice = choose({accelerator.VARIABLE: "tcg"}, tmp_path / "kept", trying)
    assert choice.name == "tcg"
    assert accelerator.VARIABLE in choice.why


@pytest.mark.real
@pytest.mark.skipif(shutil.which(WIDE) is None, reason="needs qemu-system-x86")
def test_real_trials() -> None:
    assert (accelerator.attempt("tcg", 60).elapsed_s or 0) > 0
    late = accelerator.attempt("tcg", 0.001)
    assert late.elapsed_s is None
    assert "did not come to its end within" in late.why_not
    unknown = accelerator.attempt("warp", 10)
    assert "invalid accelerator" in unknown.why_not
