from pathlib import Path

import pytest

from applianceforge.imaging import choice, indices, package_set
from applianceforge.imaging.indices import Source
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import LockedError, ProgramFailedError, RecipeError
from applianceforge.system.effects import Effects
from tests.appliance import cache
from tests.imaging import builds

NONE: frozenset[Architecture] = frozenset()


def test_the_image_and_its_trees_are_asked_for() -> None:
    own, tree = choice.wanted_by(builds.small(), NONE)
    assert (own.path, own.packages) == ("", ("udev", "linux-image-amd64"))
    assert own.source == Source("bookworm", Architecture.AMD64, True)
    assert (tree.path, tree.packages) == ("/usr/lib/i386", ("hello",))
    assert tree.source == Source("bookworm", Architecture.I386, True)


def test_security_updates_of_one_architecture_are_left_out() -> None:
    own, tree = choice.wanted_by(builds.small(), frozenset({Architecture.I386}))
    assert (own.source.security, tree.source.security) == (True, False)
    assert own.source.name != tree.source.name


def test_a_recipe_that_wants_none_gets_none() -> None:
    wanted = choice.wanted_by(builds.small("[sources]\nsecurity = false\n"), NONE)
    assert [one.source.security for one in wanted] == [False, False]


def test_a_lock_file_that_fits(tmp_path: Path) -> None:
    lock = tmp_path / "small.lock"
    lock.write_text(package_set.encode_choice(builds.choice()))
    assert choice.read_lock(lock, choice.wanted_by(builds.small(), NONE)) == builds.choice()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"udev"', '"udev2"', "lacks what the recipe has: udev"),
        ('"hello"', '"hullo"', "lacks what the recipe has for /usr/lib/i386: hello"),
        ('"bookworm"', '"trixie"', "is of trixie for amd64"),
        ("/usr/lib/i386", "/usr/lib/x", "has the foreign tree /usr/lib/x"),
        ("/usr/lib/i386", "/usr/lib/x", "lacks the foreign tree /usr/lib/i386"),
    ],
)
def test_a_lock_file_that_is_for_something_else(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = package_set.encode_choice(builds.choice())
    assert old in text
    lock = tmp_path / "small.lock"
    lock.write_text(text.replace(old, new))
    with pytest.raises(LockedError, match=r"small\.lock") as caught:
        choice.read_lock(lock, choice.wanted_by(builds.small(), NONE))
    assert says in caught.value.message
    assert "inv image.lock" in caught.value.hint


def test_a_lock_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="is not there"):
        choice.read_lock(tmp_path / "small.lock", ())


@pytest.fixture(scope="module")
def index() -> Path:
    return indices.fetch(SOURCE, cache.directory(), Effects())


SOURCE = Source("bookworm", Architecture.I386, False)


def resolve(index: Path, *names: str, kernel: str = "") -> package_set.PackageSet:
    return indices.resolve(
        SOURCE,
        names,
        index,
        Effects(),
        "x.toml",
        "packages.include",
        essential=False,
        kernel=kernel,
    )


@pytest.mark.real
def test_what_is_chosen_comes_with_what_it_depends_on(index: Path) -> None:
    chosen = resolve(index, "hello")
    assert {"hello", "libc6"} <= chosen.names
    assert "dpkg" not in chosen.names
    assert chosen.packages == tuple(sorted(chosen.packages))
    (hello,) = (one for one in chosen.packages if one.name == "hello")
    assert (hello.architecture, len(hello.sha256)) == ("i386", 64)
    assert hello.size_bytes > 10_000


@pytest.mark.real
def test_packages_that_do_not_exist_are_named_before_anything_is_built(index: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve(index, "hello", "postgresql-155", "no-such-thing-at-all")
    assert caught.value.message == "x.toml has 2 mistakes"
    one, other = caught.value.evidence
    assert one.startswith("packages.include has postgresql-155, which is no package")
    assert one.endswith("did you mean postgresql-15?")
    assert "no-such-thing-at-all" in other


@pytest.mark.real
def test_a_kernel_that_does_not_exist(index: Path) -> None:
    with pytest.raises(RecipeError, match=r"packages\.kernel has linux-image-868") as caught:
        resolve(index, "hello", "linux-image-868", kernel="linux-image-868")
    assert "did you mean linux-image-686?" in caught.value.hint


@pytest.mark.real
def test_packages_that_exclude_each_other(index: Path) -> None:
    with pytest.raises(ProgramFailedError, match="cannot be installed together"):
        resolve(index, "systemd-sysv", "sysvinit-core")


@pytest.mark.real
def test_a_version_that_the_mirror_has_no_longer(index: Path, tmp_path: Path) -> None:
    gone = package_set.Package("hello", "0.1-1", "i386", "ab" * 32, 99)
    with pytest.raises(LockedError) as caught:
        indices.download(SOURCE, [gone], index, tmp_path, Effects())
    assert "0.1-1" in caught.value.evidence[0]
    assert "inv image.lock" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "says", "remedy"),
    [
        (
            "E: Failed to fetch http://m.example/debian-security/x  404  Not Found",
            "security updates of bookworm for i386",
            "--without-security",
        ),
        ("E: Failed to fetch http://m.example/debian/x", "packages of bookworm for i386", "proxy"),
    ],
)
def test_an_index_that_cannot_be_fetched(line: str, says: str, remedy: str) -> None:
    failed = ProgramFailedError("apt-get failed", evidence=("Get:1", line))
    error = indices.explain(Source("bookworm", Architecture.I386, True), failed)
    assert says in error.message
    assert remedy in error.hint
    assert error.evidence == (line,)


def test_what_apt_says_otherwise_is_not_left_out() -> None:
    """A package that is not understood would be missing from the image."""
    line = "'http://m/pool/a/a_1%3a2_all.deb' a_1%3a2_all.deb 12 SHA256:" + "ab" * 32
    (found,) = indices.packages_of(f"Reading package lists...\n{line}\n")
    assert (found.name, found.version, found.architecture, found.size_bytes) == (
        "a",
        "1:2",
        "all",
        12,
    )
    with pytest.raises(ProgramFailedError) as caught:
        indices.packages_of(f"{line}\n{line.replace('SHA256', 'MD5Sum')}\n")
    assert "MD5Sum" in builds.told_by(caught.value)
