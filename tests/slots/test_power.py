"""Power cuts at every instant of every operation on the boot environment."""

from pathlib import Path

import pytest

from applianceforge.slots.environment import Loader
from tests.slots import life, planted
from tests.slots.power import Flush, Write, after_cut, new_ground

FEWEST_CASES = 16_000


def test_every_cut_leaves_a_whole_slot_to_start(tmp_path: Path) -> None:
    tally = life.look_at_all(tmp_path)
    assert tally.problems == []
    assert tally.cases >= FEWEST_CASES


def test_every_operation_is_cut_and_writes_what_it_should(tmp_path: Path) -> None:
    cuts = life.crossing(new_ground(tmp_path / "1")).cuts
    cuts += life.failing(new_ground(tmp_path / "2")).cuts
    written = {cut.name: cut.log.entries for cut in cuts if cut.log.entries}
    assert all(cut.log.entries for cut in cuts if cut.name.startswith("write"))
    assert {"give back b", "good b", "activate a", "activate b", "bad b", "start"} <= set(written)
    one_sector = [Write, Flush]
    assert [type(entry) for entry in written["activate b"]] == one_sector
    assert [type(entry) for entry in written["give back b"]] == one_sector
    # The marker follows.
    assert [type(entry) for entry in written["good b"]] == one_sector * 2
    for cut in cuts:
        for entry in cut.log.entries:
            if isinstance(entry, Write) and cut.name != "start":
                assert (entry.at, len(entry.content)) == (0, 512)


@pytest.mark.parametrize("bug", planted.POWER)
def test_a_planted_bug_is_found(bug: type[Loader], tmp_path: Path) -> None:
    assert life.look_at_all(tmp_path, bug, to_the_end=False).problems != []


def test_what_a_cut_may_leave() -> None:
    before = {"f": b"a" * 1024}
    states = {state["f"] for state in after_cut(before, [Write("f", 0, b"b" * 1024)])}
    assert b"a" * 1024 in states
    assert b"b" * 512 + b"a" * 512 in states
    assert b"a" * 512 + b"b" * 512 in states
    assert b"b" * 700 + b"a" * 324 in states
    assert b"b" * 1024 in states
    assert len(states) == 1024 + 5
