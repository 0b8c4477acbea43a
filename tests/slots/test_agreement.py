"""The real GRUB and the model of it, over random boot environments."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from applianceforge.imaging import grub
from applianceforge.slots.selector import Way
from tests.slots import agreement, environments
from tests.slots.agreement import MACHINES, Machine

COUNT = 60
SEED = 7

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        shutil.which("qemu-system-x86_64") is None or shutil.which("grub-mkimage") is None,
        reason="QEMU or Debian's grub-pc-bin is not installed",
    ),
]


# With and without long mode, IDE and VirtIO, and a disk that keeps nothing.
@pytest.mark.parametrize("machine", (MACHINES[0], MACHINES[1], MACHINES[4]), ids=str)
def test_grub_does_what_the_model_says(machine: Machine, tmp_path: Path) -> None:
    cases = environments.cases(COUNT, SEED)
    assert agreement.differences(cases, machine, tmp_path / "disk") == []


def test_the_cases_lead_everywhere() -> None:
    ways: Counter[Way] = Counter()
    reasons: Counter[str] = Counter()
    written = 0
    for machine in MACHINES:
        for case in environments.cases(600, 1):
            model = agreement.expected(case, machine)
            ways[model.way] += 1
            reasons[model.reason[2:] if model.reason != "copies-lost" else model.reason] += 1
            written += model.copies != (case.env1, case.env2)
    assert all(ways[way] > 100 for way in Way)
    assert reasons.keys() == {
        *("", "copies-lost", "no-tries", "no-long-mode", "unreadable", "not-counted"),
    }
    assert written > 300


BUGS = (
    ("-gt", "-lt"),
    ("if cpuid -l; then return 0; fi\n    forge_pass_over", "return 0\n    forge_pass_over"),
)


@pytest.mark.parametrize(("old", "new"), BUGS)
def test_a_bug_in_grubs_rules_is_found(old: str, new: str, tmp_path: Path) -> None:
    text = grub.TEMPLATE.read_text()
    assert old in text
    template = tmp_path / "grub.cfg.in"
    template.write_text(text.replace(old, new))
    cases = environments.cases(COUNT, SEED)
    machine = MACHINES[1]
    assert agreement.differences(cases, machine, tmp_path / "disk", template=template) != []
