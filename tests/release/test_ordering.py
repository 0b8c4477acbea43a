"""The order of versions: the rules, and dpkg's own opinion."""

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.release.ordering import LONGEST, compare, is_version, key

ASCENDING = (
    "0~1",
    "0",
    "0.0.1",
    "0.9",
    "1~~",
    "1~",
    "1~rc1",
    "1~rc1+b",
    "1~rc2",
    "1~rc10",
    "1",
    "1+a",
    "1+a.1",
    "1+b1",
    "1+b2",
    "1+b10",
    "1.0.0.1",
    "1.0.1~rc1",
    "1.0.1",
    "1.9",
    "1.10",
    "2.0.0~beta",
    "2",
    "10",
    "99999999999999999999",
    "100000000000000000000",
)
VERSIONS = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}([~+][ab01.~+]{0,4})?", fullmatch=True)


def test_every_pair() -> None:
    for place, one in enumerate(ASCENDING):
        assert is_version(one), one
        for other_place, other in enumerate(ASCENDING):
            expected = (place > other_place) - (place < other_place)
            assert compare(one, other) == expected, (one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("8", "8.0"), ("8.0", "8.0.0"), ("08.01", "8.1"), ("8~1", "8.0~01")]
)
def test_the_same(one: str, other: str) -> None:
    assert compare(one, other) == 0
    assert key(one) == key(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "1.",
        ".1",
        "1..2",
        "1.0-rc1",
        "1.0rc1",
        "1.0 ",
        "1.0\n",
        "1.0~ä",
        "\u0661",
        "1/2",
        "1:2",
    ],
)
def test_no_versions(text: str) -> None:
    assert not is_version(text)
    assert compare(text, text) == 0


def test_a_long_text_is_no_version() -> None:
    assert is_version("1" * LONGEST)
    assert not is_version("1" * (LONGEST + 1))
    assert compare("9" * 10_000, "8" * 10_000) == 1


@given(st.lists(st.text() | VERSIONS, min_size=3, max_size=3))
def test_any_three_texts_have_an_order(texts: list[str]) -> None:
    first, second, third = sorted(texts, key=key)
    assert compare(first, second) <= 0
    assert compare(second, third) <= 0
    assert compare(first, third) <= 0
    assert compare(first, third) == -compare(third, first)


def dpkg_says(one: str, other: str) -> int:
    for relation, number in (("lt", -1), ("eq", 0)):
        done = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False)
        if done.returncode == 0:
            return number
    return 1


def full(version: str) -> str:
    """Return a version with as many numbers as any other: dpkg does not know that 8 is 8.0."""
    cut = min((version + "~").index("~"), (version + "+").index("+"))
    numbers = version[:cut].split(".")
    return ".".join(numbers + ["0"] * (3 - len(numbers))) + version[cut:]


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_dpkg_agrees() -> None:
    three = [version for version in ASCENDING if version.count(".") < 3]
    for one, other in pairwise(three):
        assert dpkg_says(full(one), full(other)) == compare(one, other) == -1, (one, other)

    @settings(max_examples=300, deadline=None)
    @given(VERSIONS, VERSIONS)
    def check(one: str, other: str) -> None:
        assert dpkg_says(full(one), full(other)) == compare(one, other)

    check()
