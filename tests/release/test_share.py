"""The share of the fleet: stable, fair, and it only grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.model.architecture import Architecture
from applianceforge.release.share import draw, takes_part

AMD64, I386 = Architecture.AMD64, Architecture.I386
FLEET = [f"{number:032x}" for number in range(10_000)]


def takers(percent: int, version: str = "9.0.0", architecture: Architecture = AMD64) -> set[str]:
    return {one for one in FLEET if takes_part(one, version, architecture, percent)}


def test_what_was_drawn_never_changes() -> None:
    """These numbers are those of boxes in the field: a change takes machines out of a share."""
    machine = "3c5d8a1e4f6b47d2a9c0e1f2b3d4a596"
    assert [draw(machine, version, AMD64) for version in ("8.0.0", "8.1.0", "9.0.0")] == [
        42,
        87,
        24,
    ]
    assert draw(machine, "8.0.0", I386) == 60


def test_raising_the_share_takes_nobody_out() -> None:
    last: set[str] = set()
    for percent in (0, 1, 5, 25, 50, 99, 100):
        now = takers(percent)
        assert last <= now
        last = now
    assert len(last) == len(FLEET)


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_a_share_is_about_as_large_as_it_says(percent: int) -> None:
    # Five standard deviations of 10,000 draws; the machines are fixed, so this cannot flicker.
    spread = 5 * (len(FLEET) * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(len(takers(percent)) - len(FLEET) * percent / 100) < spread


def test_other_releases_choose_others() -> None:
    tenth = takers(10)
    for other in (takers(10, "9.0.1"), takers(10, "9.0.0", I386)):
        assert 50 < len(tenth & other) < 200


def test_nobody_and_everybody() -> None:
    assert takers(0) == set()
    assert takers(100) == set(FLEET)


def test_a_machine_without_a_name_comes_last() -> None:
    for nameless in ("", " \n"):
        assert not takes_part(nameless, "9", AMD64, 99)
        assert takes_part(nameless, "9", AMD64, 100)


@given(st.text(min_size=1), st.integers(0, 100))
def test_the_file_and_its_content_are_the_same_name(name: str, percent: int) -> None:
    assert takes_part(name, "9", AMD64, percent) == takes_part(f" {name}\n", "9", AMD64, percent)


@given(st.text(), st.text(), st.sampled_from(Architecture))
def test_every_draw_is_from_0_to_99(name: str, version: str, architecture: Architecture) -> None:
    assert 0 <= draw(name, version, architecture) <= 99
