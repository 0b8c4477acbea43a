"""`applianceforge history`: the past as a person reads it, and as a program does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from applianceforge.cli import history as command
from applianceforge.slots.history import Happening
from tests import snapshots
from tests.migrate.appliances import Appliance, appliance
from tests.migrate.boxes import applianceforge

LINES: tuple[dict[str, object], ...] = (
    {
        "event": "update-refused",
        "release": "gateway 1.0.0",
        "slot": "a",
        "from": "1.0.0 (i386)",
        "to": "2.0.0 (amd64)",
        "reason": "processor.long-mode",
        "message": "QEMU hides that this processor is a 64-bit one",
        "hint": "Power the machine off",
        "status": 20,
        "by": "timer",
    },
    {
        "event": "update-installed",
        "release": "gateway 1.0.0",
        "slot": "a",
        "from": "1.0.0 (i386)",
        "to": "2.0.0 (amd64)",
        "by": "person",
        "since": 1_790_000_000.0,
        "fetched_bytes": 12,
    },
    {"event": "migrated", "release": "gateway 2.0.0", "slot": "b", "rows": 12},
    {"event": "settled", "release": "gateway 2.0.0", "slot": "b"},
    {"event": "crossed", "release": "gateway 2.0.0", "slot": "b"},
    {
        "event": "updated",
        "release": "gateway 2.0.0",
        "slot": "b",
        "from": "1.0.0 (i386)",
        "to": "2.0.0 (amd64)",
        "by": "person",
    },
    {
        "event": "fell-back",
        "release": "gateway 2.0.0",
        "slot": "b",
        "reason": "services",
        "message": "the release started, and its services did not come up\x1b[31m",
        "hint": "see the history",
    },
    {"event": "from-the-future", "release": "gateway 9", "slot": "b"},
)


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    return appliance(tmp_path)


def past(box: Appliance) -> Appliance:
    lines = [
        json.dumps({"schema": 1, "time": 1_790_000_000 + 3600 * n, "architecture": "amd64"} | line)
        for n, line in enumerate(LINES)
    ]
    box.write("data/forge/history.jsonl", "\n".join(lines) + "\n")
    return box


def test_nothing_happened(box: Appliance) -> None:
    said = applianceforge("history", "--root", box.root)
    assert said.status == 0
    assert "Nothing happened" in said.out


def test_as_a_person_reads_it(box: Appliance) -> None:
    said = applianceforge("history", "--root", past(box).root)
    assert said.status == 0
    assert "\x1b" not in said.out
    snapshots.same("history/all", said.out)


def test_the_last_ones(box: Appliance) -> None:
    said = applianceforge("history", "--root", past(box).root, "--last", "2")
    assert "from-the-future" in said.out
    assert "settled" not in said.out
    assert "6 older entries" in said.out


def test_as_a_program_reads_it(box: Appliance) -> None:
    found = json.loads(applianceforge("history", "--root", past(box).root, "--json").out)
    assert (found["schema"], found["there_are"]) == (1, len(LINES))
    first = found["entries"][0]
    assert (first["from"], first["to"]) == ("1.0.0 (i386)", "2.0.0 (amd64)")
    assert first["reason"] == "processor.long-mode"
    assert found["entries"][-1]["message"] is None


def test_lines_that_are_none_are_left_out(box: Appliance) -> None:
    box.write("data/forge/history.jsonl", 'nonsense\n{"time": 1e300, "event": "settled"}\n[]\n')
    said = applianceforge("history", "--root", box.root)
    assert said.status == 0
    assert "at an odd time" in said.out


def test_no_appliance(tmp_path: Path) -> None:
    assert applianceforge("history", "--root", tmp_path).status == 62


def test_every_event_has_words() -> None:
    assert command._SAID.keys() == {one.value for one in Happening}
