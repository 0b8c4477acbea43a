"""Wheels: what is taken, what is refused, and that pip brings what a recipe names."""

import hashlib
import io
import stat
import zipfile
from pathlib import Path

import pytest

from applianceforge.imaging import wheel_file, wheels
from applianceforge.imaging.recipe import Wheel
from applianceforge.model.errors import ForgeError, ProgramFailedError, RecipeError
from tests.imaging import builds

ABOUT = "my_thing-1.2.dist-info"
FILES = {
    "my_thing/__init__.py": "x = 1\n",
    "single.py": "y = 2\n",
    f"{ABOUT}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{ABOUT}/METADATA": "Metadata-Version: 2.1\nName: My_Thing\nVersion: 1.2\n\nLong: words\n",
    f"{ABOUT}/RECORD": "",
}


def packed(files: dict[str, str], *more: zipfile.ZipInfo) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        for info in more:
            archive.writestr(info, "target")
    return stream.getvalue()


def problems_of(data: bytes) -> str:
    found = wheel_file.decode(data, "my-thing", "1.2")
    assert bool(found.problems) != bool(found.members) or found.problems
    return "; ".join(found.problems)


def test_a_wheel_is_its_files() -> None:
    members, problems = wheel_file.decode(packed(FILES), "my-thing", "1.2")
    assert problems == ()
    assert [one.path for one in members] == sorted(FILES)
    assert dict(members)["single.py"] == b"y = 2\n"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../etc/passwd", "leads out of its place"),
        ("/etc/passwd", "leads out of its place"),
        ("my_thing/../../x", "leads out of its place"),
        ("a//b", "leads out of its place"),
        ("./a", "leads out of its place"),
        ("a\\b", "leads out of its place"),
        ("a\x1bb", "leads out of its place"),
        ("my_thing-1.2.data/scripts/run", "goes elsewhere"),
        ("my_thing/fast.cpython-311-x86_64-linux-gnu.so", "compiled for one kind"),
        ("always.pth", "runs whenever Python starts"),
        ("my_thing", "a directory of it too"),
    ],
)
def test_what_no_image_takes(name: str, says: str) -> None:
    assert says in problems_of(packed({**FILES, name: "x"}))


def test_links_and_files_of_one_name() -> None:
    link = zipfile.ZipInfo("my_thing/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "is no plain file" in problems_of(packed(FILES, link))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed(FILES, zipfile.ZipInfo("single.py"))
    assert "has 'single.py' twice" in problems_of(twice)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("WHEEL", "true", "false", "says Root-Is-Purelib: false"),
        ("METADATA", "My_Thing", "other", "says Name: other"),
        ("METADATA", "Version: 1.2", "Version: 1.3", "says Version: 1.3"),
    ],
)
def test_a_wheel_of_something_else(file: str, old: str, new: str, says: str) -> None:
    text = FILES[f"{ABOUT}/{file}"].replace(old, new)
    assert says in problems_of(packed({**FILES, f"{ABOUT}/{file}": text}))


def test_a_wheel_without_a_description() -> None:
    assert f"has no {ABOUT}/WHEEL" in problems_of(packed({"a.py": ""}))


def test_what_is_no_wheel() -> None:
    whole = packed(FILES)
    assert "is no wheel" in problems_of(b"")
    assert "is no wheel" in problems_of(whole[:-30])
    for at in range(0, len(whole), 7):
        wheel_file.decode(whole[:at] + b"\xff" + whole[at + 1 :], "my-thing", "1.2")


def test_more_than_any_package_has() -> None:
    assert "more than 64 MiB" in problems_of(packed({**FILES, "big.py": "0" * (65 << 20)}))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip finds packages in, and nothing else."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def put(index: Path, data: bytes, version: str = "1.2", tag: str = "py3-none-any") -> Wheel:
    (index / f"my_thing-{version}-{tag}.whl").write_bytes(data)
    return Wheel("my-thing", version, hashlib.sha256(data).hexdigest())


def refused(wheel: Wheel, cache: Path) -> str:
    with pytest.raises(RecipeError, match=r"small\.toml") as caught:
        wheels.entries_of([wheel], "small.toml", builds.stages(cache))
    assert not list(cache.glob("wheel-*"))
    return builds.told_by(caught.value)


def test_pip_brings_what_the_recipe_names(index: Path, tmp_path: Path) -> None:
    wheel = put(index, packed(FILES))
    stages = builds.stages(tmp_path / "cache")
    entries = wheels.entries_of([wheel], "small.toml", stages)
    assert {entry.path for entry in entries} == {f"{wheels.MODULES}/{name}" for name in FILES}
    (index / wheel.file).unlink()
    assert wheels.entries_of([wheel], "small.toml", stages) == entries
    assert len(stages.made) == 1


def test_a_wheel_with_another_digest(index: Path, tmp_path: Path) -> None:
    right = put(index, packed(FILES))
    wrong = Wheel("my-thing", "1.2", "ab" * 32)
    said = refused(wrong, tmp_path / "cache")
    assert "wheels.sha256 of my-thing is abab" in said
    assert right.sha256 in said
    assert "the package's own page" in said


def test_a_version_that_is_not_there(index: Path, tmp_path: Path) -> None:
    put(index, packed(FILES))
    said = refused(Wheel("my-thing", "1.3", "ab" * 32), tmp_path / "cache")
    assert "wheels.version of my-thing is 1.3" in said


def test_a_package_that_is_not_there(index: Path, tmp_path: Path) -> None:
    said = refused(Wheel("no-such-thing", "1.3", "ab" * 32), tmp_path / "cache")
    assert "wheels.name has no-such-thing, of which there is no py3-none-any wheel" in said


def test_a_wheel_for_one_machine_is_none(index: Path, tmp_path: Path) -> None:
    wheel = put(index, packed(FILES), tag="cp311-cp311-manylinux_2_17_x86_64")
    assert "no py3-none-any wheel" in refused(wheel, tmp_path / "cache")


def test_a_wheel_for_python_2_as_well(index: Path, tmp_path: Path) -> None:
    wheel = put(index, packed(FILES), tag="py2.py3-none-any")
    assert "only my_thing-1.2-py2.py3-none-any.whl" in refused(wheel, tmp_path / "cache")


def test_all_that_is_wrong_with_wheels_is_told_at_once(index: Path, tmp_path: Path) -> None:
    wheel = put(index, packed({**FILES, "../x": ""}))
    both = [wheel, Wheel("no-such-thing", "1.3", "ab" * 32)]
    with pytest.raises(RecipeError, match="has 2 mistakes") as caught:
        wheels.entries_of(both, "small.toml", builds.stages(tmp_path / "cache"))
    assert "which leads out of its place" in caught.value.evidence[0]
    assert "no-such-thing" in caught.value.evidence[1]


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wheel = Wheel("my-thing", "1.2", "ab" * 32)
    with pytest.raises(ForgeError) as caught:
        wheels.entries_of([wheel], "small.toml", builds.stages(tmp_path / "cache"))
    assert isinstance(caught.value, ProgramFailedError)
    assert "the wheel my-thing 1.2 cannot be fetched" in caught.value.message
    assert "pip config list" in caught.value.hint
