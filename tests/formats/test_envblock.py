"""GRUB's environment block, against the real grub-editenv."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import envblock

needs_grub = pytest.mark.skipif(
    shutil.which("grub-editenv") is None, reason="Debian's grub-common is not installed"
)
NAMES = st.sampled_from(["gen", "primary", "a_tries", "reason", "end", "x"])
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=20)
VARIABLES = st.dictionaries(NAMES, VALUES, max_size=6)


@given(VARIABLES)
def test_what_is_written_is_read(variables: dict[str, str]) -> None:
    block = envblock.encode(variables.items())
    assert len(block) == 1024
    assert envblock.decode(block) == variables


@given(VARIABLES, VARIABLES)
def test_a_change_keeps_the_rest(variables: dict[str, str], values: dict[str, str]) -> None:
    block = envblock.encode(variables.items())
    changed = envblock.changed(block, values)
    assert changed is not None
    assert len(changed) == 1024
    assert envblock.decode(changed) == variables | values


@needs_grub
@pytest.mark.parametrize(
    "values",
    [
        {"a_tries": "2"},
        {"reason": "b-no-tries"},
        {"reason": ""},
        {"reason": "a\\b"},
        {"new": "value"},
        {"gen": "10", "end": "10", "reason": "x" * 100},
    ],
)
def test_a_change_is_byte_for_byte_that_of_grub_editenv(
    values: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "env"
    block = envblock.encode([("gen", "9"), ("a_tries", "3"), ("reason", "none"), ("end", "9")])
    path.write_bytes(block)
    pairs = [f"{name}={value}" for name, value in values.items()]
    subprocess.run(["grub-editenv", str(path), "set", *pairs], check=True)
    assert envblock.changed(block, values) == path.read_bytes()
    listed = subprocess.run(["grub-editenv", str(path), "list"], capture_output=True, check=True)
    if "\\" not in "".join(pairs):
        lines = [line.partition("=")[::2] for line in listed.stdout.decode().splitlines()]
        assert dict(lines) == envblock.decode(path.read_bytes())


@needs_grub
@pytest.mark.parametrize("end", [b"x", b"\0", b"x#", b"=#"])
def test_a_block_without_a_last_line_is_not_changed(end: bytes, tmp_path: Path) -> None:
    block = envblock.encode([("a", "1")])[: -len(end)] + end
    path = tmp_path / "env"
    path.write_bytes(block)
    done = subprocess.run(["grub-editenv", str(path), "set", "a=2"], capture_output=True)
    assert done.returncode != 0
    assert envblock.changed(block, {"a": "2"}) is None


def test_a_full_block() -> None:
    block = envblock.encode([("a", "1"), ("fill", "f" * (1024 - 25 - 4 - 6))])
    assert block[-1:] == b"\n"
    assert envblock.changed(block, {"a": "2"}) is not None
    assert envblock.changed(block, {"a": "22"}) is None
    assert envblock.changed(block, {"b": "2"}) is None


@pytest.mark.parametrize(
    ("block", "variables"),
    [
        (b"", {}),
        (envblock.SIGNATURE, {}),
        (b"a=1\n", {}),
        (envblock.SIGNATURE + b"a=1\n", {"a": "1"}),
        (envblock.SIGNATURE + b"a=1", {}),
        (envblock.SIGNATURE + b"a=1\na=2\n", {"a": "2"}),
        (envblock.SIGNATURE + b"# a=1\nb=2\n", {"b": "2"}),
        (envblock.SIGNATURE + b"no line\na=1\n", {"no line\na": "1"}),
        (envblock.SIGNATURE + b"a=1\0x\nb\0c=2\n", {"a": "1", "b": "2"}),
        (envblock.SIGNATURE + b"a=x\\\ny\n", {"a": "x\ny"}),
        (envblock.SIGNATURE + b"a=x\\", {}),
        (envblock.SIGNATURE + b"a=\n=b\n", {"a": "", "": "b"}),
    ],
)
def test_grub_is_lenient(block: bytes, variables: dict[str, str]) -> None:
    assert envblock.decode(block) == variables


@pytest.mark.parametrize(
    "variables", [[("", "x")], [("a=b", "x")], [("#a", "x")], [("a", "x\0")], [("a", "x" * 1024)]]
)
def test_what_cannot_be_written(variables: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="variable"):
        envblock.encode(variables)


@given(st.binary(max_size=1200), VARIABLES)
def test_random_bytes_never_raise(data: bytes, values: dict[str, str]) -> None:
    for block in (data, envblock.SIGNATURE + data):
        envblock.decode(block)
        changed = envblock.changed(block, values)
        assert changed is None or len(changed) == len(block)
