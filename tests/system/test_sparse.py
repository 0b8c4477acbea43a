import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.model.errors import SettingsError
from applianceforge.system import sparse
from applianceforge.system.effects import Effects


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 9000)),
        max_size=8,
    )
)
def test_a_copy_is_equal_and_has_no_blocks_of_zeros(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bool, int]]
) -> None:
    place = tmp_path_factory.mktemp("sparse")
    content = b"".join((b"x" if filled else b"\0") * size for filled, size in parts)
    source, target = place / "source", place / "target"
    source.write_bytes(content)
    sparse.create(target, len(content) + 8192, Effects())
    sparse.copy_into(source, target, 4096, Effects())
    assert target.read_bytes() == bytes(4096) + content + bytes(4096)
    wanted = sum(any(content[at : at + 4096]) for at in range(0, len(content), 4096))
    assert target.stat().st_blocks * 512 <= wanted * 4096


def test_holes_of_the_source_are_not_read(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    sparse.create(source, 1 << 40, Effects())
    with open(source, "r+b") as stream:
        stream.seek(1 << 39)
        stream.write(b"far away")
    sparse.create(target, 1 << 40, Effects())
    sparse.copy_into(source, target, 0, Effects())
    assert sparse.read_at(target, 1 << 39, 8) == b"far away"
    assert target.stat().st_blocks * 512 <= 1 << 20


def test_reading_beyond_the_end_gives_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sparse.read_at(tmp_path / "file", 1, 100) == b"bc"
    assert sparse.read_at(tmp_path / "file", 100, 100) == b""


def test_writing_counts_as_an_effect_and_changes_only_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    effects = Effects()
    sparse.write_at(tmp_path / "file", 2, b"XY", effects)
    assert (tmp_path / "file").read_bytes() == b"abXYef"
    assert effects.count == 1


def test_a_new_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        sparse.create(tmp_path / "file", 10, Effects(), mode=0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "file").stat().st_size == 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing"):
        sparse.read_at(tmp_path / "missing", 0, 1)
    with pytest.raises(SettingsError, match="missing"):
        sparse.write_at(tmp_path / "missing", 0, b"x", Effects())
