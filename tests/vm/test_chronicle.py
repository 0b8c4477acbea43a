"""What a story says while it runs, its table, and its picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.vm.chronicle import COLOURS, Chronicle, amount, minutes

_SVG = "{http://www.w3.org/2000/svg}"


class _World:
    """A clock and a server that only a test moves on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sent_bytes = 7
        self.said: list[str] = []

    def chronicle(self) -> Chronicle:
        return Chronicle(self.said.append, lambda: self.sent_bytes, lambda: self.now_s)


@pytest.fixture
def world() -> Iterator[_World]:
    yield _World()


def test_parts_are_told_as_they_go_and_summed_up(world: _World) -> None:
    story = world.chronicle()
    with story.part("boot", "it starts"):
        world.now_s += 65
        story.say("it is up")
        story.quote("two lines\nof the box\n")
    with story.part("update", "it fetches"):
        world.now_s += 5
        world.sent_bytes += 1_500_000
        story.note("in slot b")
    assert world.said == [
        "   0:00  it starts ...",
        "   1:05  it is up",
        "         | two lines",
        "         | of the box",
        "   1:05    1:05",
        "   1:05  it fetches ...",
        "   1:10    0:05, 1.5 MB from the server: in slot b",
    ]
    lines = story.table().splitlines()
    assert lines[0].split() == ["what", "min:s", "from", "the", "server"]
    assert lines[3].split() == ["it", "fetches", "0:05", "1.5", "MB", "in", "slot", "b"]
    assert lines[-1].split() == ["in", "all", "1:10", "1.5", "MB"]


def test_a_part_that_fails_is_no_part(world: _World) -> None:
    story = world.chronicle()
    with pytest.raises(ZeroDivisionError), story.part("boot", "it breaks"):
        raise ZeroDivisionError
    assert story.parts == []


def test_the_picture_is_svg_with_a_bar_for_each_part(world: _World) -> None:
    story = world.chronicle()
    for kind in COLOURS:
        with story.part(kind, f"<{kind}> & more"):
            world.now_s += 40
    drawn = ET.fromstring(story.picture("a <title>"))
    bars = [one for one in drawn.iter(f"{_SVG}rect") if one.get("rx")]
    assert [bar.get("fill") for bar in bars] == list(COLOURS.values())
    starts = [float(bar.attrib["x"]) for bar in bars]
    assert starts == sorted(starts)
    texts = [one.text for one in drawn.iter(f"{_SVG}text")]
    assert "<boot> & more" in texts
    assert ET.fromstring(world.chronicle().picture("nothing")).tag == f"{_SVG}svg"


def test_numbers_for_people() -> None:
    assert [minutes(seconds) for seconds in (0, 59.6, 61, 3600)] == [
        "0:00",
        "1:00",
        "1:01",
        "60:00",
    ]
    assert [amount(size) for size in (0, 12_345, 100_000, 73_600_000)] == [
        "0 bytes",
        "12,345 bytes",
        "0.1 MB",
        "73.6 MB",
    ]
