import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.imaging import package_set
from applianceforge.imaging.package_set import Choice, Package, PackageSet
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import LockedError

UDEV = Package("udev", "1:252.39-1~deb12u2", "i386", "ab" * 32, 1234)
SETS = st.builds(
    PackageSet,
    st.sampled_from(["bookworm", "trixie"]),
    st.sampled_from(Architecture),
    st.booleans(),
    st.integers(0, 2**32),
    st.lists(
        st.builds(
            Package,
            st.text(min_size=1, max_size=8),
            st.text(max_size=8),
            st.sampled_from(["i386", "all"]),
            st.just("ab" * 32),
            st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=4,
    ).map(lambda packages: tuple(sorted(packages))),
)


@given(SETS, st.dictionaries(st.text(min_size=1), SETS, max_size=2))
def test_a_lock_file_reads_back(image: PackageSet, trees: dict[str, PackageSet]) -> None:
    choice = Choice(image, tuple(sorted(trees.items())))
    text = package_set.encode_choice(choice)
    assert package_set.decode_choice(text, "x.lock") == choice


def test_a_package_stands_on_a_line_of_its_own() -> None:
    other = Package("adduser", "3", "all", "cd" * 32, 1)
    chosen = PackageSet("bookworm", Architecture.I386, False, 1, (UDEV, other))
    lines = package_set.encode_choice(Choice(chosen)).splitlines()
    assert [line.split('"')[3] for line in lines if '"name"' in line] == ["adduser", "udev"]


def test_the_file_is_called_as_apt_calls_it() -> None:
    assert UDEV.file == "udev_1%3a252.39-1~deb12u2_i386.deb"


def whole() -> dict[str, object]:
    chosen = PackageSet("bookworm", Architecture.I386, False, 1, (UDEV,))
    content: dict[str, object] = json.loads(package_set.encode_choice(Choice(chosen)))
    return content


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 20_000,
        "{}",
        '{"schema": 1}',
        json.dumps(whole() | {"schema": 2}),
        json.dumps(whole() | {"image": {}}),
        json.dumps(whole() | {"image": None}),
        json.dumps(whole() | {"trees": []}),
        json.dumps(whole()).replace("ab" * 32, "ab"),
        json.dumps(whole()).replace("ab" * 32, "zz" * 32),
        json.dumps(whole()).replace("1234", '"x"'),
        json.dumps(whole()).replace("i386", "i486", 1),
    ],
)
def test_what_is_no_lock_file(text: str) -> None:
    with pytest.raises(LockedError, match=r"x\.lock") as caught:
        package_set.decode_choice(text, "x.lock")
    assert "inv image.lock" in caught.value.hint
