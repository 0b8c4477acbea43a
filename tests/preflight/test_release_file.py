"""A release's file is written as it is read."""

import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.model.architecture import Architecture
from applianceforge.preflight import release_file
from applianceforge.preflight.json_values import Reader
from applianceforge.preflight.requirements import (
    DataStatement,
    Kernel,
    Last32Bit,
    PostgreSQL,
    Release,
)

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "requirements.md"
TEXTS = st.text(max_size=8).map(str.strip)
NAMES = st.text("abc.-ü1", min_size=1, max_size=8)
SIZES = st.integers(0, 1 << 60)
LISTS = st.none() | st.lists(TEXTS, max_size=3).map(tuple)
RELEASES = st.builds(
    Release,
    st.just(Architecture.AMD64),
    NAMES,
    NAMES,
    st.integers(0, 1 << 40),
    st.integers(1, 4),
    SIZES,
    SIZES,
    SIZES,
    TEXTS,
    st.sampled_from(["", "bios"]),
    st.none() | st.builds(Kernel, TEXTS, st.sampled_from(release_file.IA32)),
    st.none() | st.builds(PostgreSQL, st.integers(1, 1000), LISTS, LISTS),
    st.lists(
        st.builds(DataStatement, NAMES, st.sampled_from(release_file.DISPOSITIONS), NAMES).filter(
            lambda one: ".." not in one.pattern
        ),
        max_size=2,
    ).map(tuple),
    st.none() | st.builds(Last32Bit, NAMES, TEXTS, TEXTS),
)


def test_the_documented_example_is_written_as_it_is() -> None:
    found = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    document = json.loads(found[1])
    release = release_file.decode(found[1].encode())
    assert release_file.encode(release) == document
    assert list(release_file.encode(release)) == list(document)


def test_defaults_are_left_out() -> None:
    assert release_file.encode(Release(Architecture.I386, "x", "2")) == {
        "schema": 1,
        "appliance": "x",
        "version": "2",
        "architecture": "i386",
    }


@settings(deadline=None)
@given(RELEASES)
def test_round_trip(release: Release) -> None:
    for one in (release, release._replace(architecture=Architecture.I386, x86_64_level=1)):
        assert release_file.decode(json.dumps(release_file.encode(one)).encode()) == one


def test_the_problems_of_an_object_name_where_it_stands() -> None:
    outer = Reader()
    document = {"schema": 2, "wersion": "1", "architecture": "amd64", "appliance": "x"}
    assert release_file.from_object(document, Reader("releases[3].release.", outer)) is None
    assert outer.problems == [
        "releases[3].release.wersion is not known; did you mean version?",
        "releases[3].release.schema must be the number 1",
        "releases[3].release.version must be there",
    ]
