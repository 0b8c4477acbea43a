"""The table of the long stories, and that a wrong one is told."""

from __future__ import annotations

import pytest

from tests.vm import stories
from tests.vm.stories import STORIES, Story


def _fails(_say: stories.Tell) -> list[str]:
    error = AssertionError("it broke")
    error.add_note("kept of it: here")
    raise error


def test_each_is_told_and_the_wrong_ones_return() -> None:
    said: list[str] = []
    mine = (
        Story("good", "all is well", lambda say: []),
        Story("bad", "two things", lambda say: ["one", "two"]),
        Story("failing", "an assertion", _fails),
    )
    assert stories.run(stories=mine, say=said.append) == [
        "bad: one",
        "bad: two",
        "failing: it broke\nkept of it: here",
    ]
    lines = said[-1].splitlines()
    assert [line.split()[3] for line in lines[:3]] == ["right", "WRONG", "WRONG"]
    assert lines[3] == "3 stories, 2 wrong"
    assert stories.run(["good"], stories=mine, say=said.append) == []
    assert said[-1].endswith("1 stories, 0 wrong")
    with pytest.raises(ValueError, match="known are good, bad, failing"):
        stories.run(["ugly"], stories=mine, say=said.append)


def test_names_differ() -> None:
    assert len({story.name for story in STORIES}) == len(STORIES)
    assert all(story.about for story in STORIES)
