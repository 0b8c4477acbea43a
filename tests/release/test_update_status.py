"""What anybody may read of an update, while it works and afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import applianceforge.release.update
from applianceforge.model.architecture import Architecture
from applianceforge.release.update import status as update_status
from applianceforge.release.update.status import Named, Result, Story, UpdateState, UpdateStatus
from applianceforge.system.effects import Effects
from applianceforge.system.progress import StepAdvanced, StepEnded, StepStarted

SCHEMA = json.loads(
    (Path(applianceforge.release.update.__file__).parent / "update-status.schema.json").read_text()
)
STORY = Story(
    Named("1.0.0", Architecture.I386),
    Named("2.0.0", Architecture.AMD64),
    Named("3.0.0", Architecture.AMD64),
)
FETCH = StepStarted("slot.fetch", "Fetch what is missing", 3, 4, 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "update.json"


def status(path: Path) -> UpdateStatus:
    return UpdateStatus(path, Effects(), lambda: 1_790_000_000.0)


def said(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def test_the_states_are_those_of_the_schema() -> None:
    assert SCHEMA["properties"]["state"]["enum"] == [one.value for one in UpdateState]


def test_while_it_works(path: Path) -> None:
    writer = status(path)
    writer.begin(STORY)
    assert said(path)["progress"] is None
    writer.emit(FETCH)
    assert said(path)["progress"]["total_bytes"] == 1000
    writer.emit(StepEnded("slot.fetch", 1.0, 1000, 0, ""))
    found = said(path)
    assert (found["state"], found["pid"]) == ("installing", os.getpid())
    assert (found["from"]["version"], found["to"]["version"], found["goal"]["version"]) == (
        "1.0.0",
        "2.0.0",
        "3.0.0",
    )
    assert path.stat().st_mode & 0o777 == 0o644


def test_progress_is_not_written_all_the_time(path: Path) -> None:
    writer = status(path)
    writer.begin(STORY)
    writer.emit(FETCH)
    first = path.read_bytes()
    for done in range(1, 500):
        writer.emit(StepAdvanced("slot.fetch", done, 0, "item"))
    assert path.read_bytes() == first
    # Nor is an event of a step that is not running taken for one of it.
    writer.emit(StepAdvanced("other", 10**9, 0, ""))
    writer.emit(StepStarted("slot.verify", "Read", 4, 4, 10))
    assert said(path)["progress"]["done_bytes"] == 0


def test_before_it_begins_nothing_is_written(path: Path) -> None:
    status(path).emit(FETCH)
    assert not path.exists()


@pytest.mark.parametrize("state", [one for one in UpdateState if one is not UpdateState.INSTALLING])
def test_afterwards(path: Path, state: UpdateState) -> None:
    writer = status(path)
    writer.begin(STORY)
    writer.emit(FETCH)
    writer.tell(state, STORY, Result(69, "network", "away", "wait"))
    found = said(path)
    assert (found["state"], found["pid"], found["progress"]) == (state.value, None, None)
    assert found["result"] == {"status": 69, "key": "network", "message": "away", "hint": "wait"}
    seen = update_status.read(path)
    assert seen is not None
    assert (seen.state, seen.cut) == (state, False)


def test_a_process_that_lives_is_told_from_one_that_is_gone(path: Path) -> None:
    status(path).begin(STORY)
    seen = update_status.read(path)
    assert seen is not None
    assert not seen.cut
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    fields = said(path)
    for change in ({"pid": process.pid}, {"boot": "another"}, {"pid": -1}, {"pid": True}):
        path.write_text(json.dumps(fields | change))
        seen = update_status.read(path)
        assert seen is not None
        assert seen.cut, change


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "state": "dancing"}', '{"schema": []}']
)
def test_what_cannot_be_understood_is_nothing(path: Path, text: str) -> None:
    path.write_text(text)
    assert update_status.read(path) is None


def test_a_directory_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    writer = status(tmp_path / "none/update.json")
    writer.begin(STORY)
    writer.emit(FETCH)
    writer.tell(UpdateState.DONE, STORY)
