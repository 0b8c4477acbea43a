"""What `applianceforge status` says of an update, for each of its states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from applianceforge.cli.update_status_words import concerns, lines
from applianceforge.model.architecture import Architecture
from applianceforge.release.update.status import Seen, UpdateState
from applianceforge.slots.places import Release
from tests.migrate.appliances import appliance
from tests.migrate.boxes import applianceforge

RELEASES = {
    "from": {"version": "1.0.0", "architecture": "i386"},
    "to": {"version": "2.0.0", "architecture": "amd64"},
    "goal": None,
}
RESULT = {"status": 20, "key": "processor.long-mode", "message": "QEMU hides it", "hint": "mend it"}
PROGRESS = {
    "number": 3,
    "of": 4,
    "title": "Fetch what is missing",
    "done_bytes": 12_300_000,
    "total_bytes": 45_000_000,
    "bytes_per_s": 3_200_000,
    "left_s": 10.2,
}


def said(state: UpdateState, *, cut: bool = False, **fields: object) -> str:
    return "\n".join(
        lines(Seen(RELEASES | {"result": RESULT, "progress": None} | fields, state, cut))
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (UpdateState.UP_TO_DATE, ""),
        (UpdateState.DONE, ""),
        (UpdateState.FELL_BACK, ""),
        (UpdateState.AVAILABLE, "2.0.0 (amd64) is offered"),
        (UpdateState.REFUSED, "Why: QEMU hides it."),
        (UpdateState.WAITING, "2.0.0 (amd64) waits"),
        (UpdateState.ACTIVATED, "restart the machine"),
        (UpdateState.STOPPED, "`applianceforge update` goes on"),
        (UpdateState.FAILED, "The update to release 2.0.0 (amd64) failed"),
        (UpdateState.INSTALLING, "is being installed"),
    ],
)
def test_each_state(state: UpdateState, words: str) -> None:
    assert words in said(state)
    assert bool(said(state)) is bool(words)


def test_every_state_is_tested() -> None:
    table = test_each_state.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[0] for row in table} == set(UpdateState)


def test_progress_has_rate_and_time_left() -> None:
    text = said(UpdateState.INSTALLING, progress=PROGRESS)
    assert "step 3 of 4: Fetch what is missing" in text
    assert "12.3 MB of 45.0 MB, 3.2 MB/s, 10.2 s left" in text
    assert "left" not in said(UpdateState.INSTALLING, progress=PROGRESS | {"left_s": None})


def test_one_that_was_cut() -> None:
    assert "was cut" in said(UpdateState.INSTALLING, cut=True)


@pytest.mark.parametrize("odd", [None, [], "x", {}, 10**400, float("nan"), -1])
def test_what_is_odd_is_survived(odd: object) -> None:
    for state in UpdateState:
        said(state, to=odd, result=odd, progress=odd)
    said(UpdateState.INSTALLING, progress=dict.fromkeys(PROGRESS, odd))


def test_the_last_word_of_another_release_is_not_told() -> None:
    found = Seen(RELEASES, UpdateState.AVAILABLE)
    assert concerns(found, Release("legacy", "1.0.0", Architecture.I386))
    assert not concerns(found, Release("current", "3.0.0", Architecture.AMD64))


def test_nothing_that_a_terminal_would_obey(tmp_path: Path) -> None:
    box = appliance(tmp_path)
    box.write("run/forge/gate", "open\n")
    fields = {
        "schema": 1,
        "state": "failed",
        "from": {"version": "1.0.0", "architecture": "amd64"},
        "to": {"version": "\x1b[31m", "architecture": "amd64"},
        "result": {"message": "\x1b]0;x\x07", "hint": "\r"},
    }
    box.write("data/forge/update.json", json.dumps(fields))
    text = applianceforge("status", "--root", box.root).out
    assert "failed" in text
    assert not any(mark in text for mark in ("\x1b", "\x07", "\r"))
