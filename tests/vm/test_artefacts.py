"""What is kept of a failed test, and what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import artefacts


def test_old_ones_go_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(artefacts.VARIABLE, raising=False)
    monkeypatch.setattr(artefacts, "directory", lambda: tmp_path)
    (tmp_path / "a person's").mkdir()
    for number in range(25):
        (tmp_path / f"20200101-0000{number:02}-old").mkdir()
    (kept,) = artefacts.keep("a test / of it", {"console.txt": "text"}, [tmp_path / "absent"], [])
    assert kept.read_text() == "text"
    assert "-a-test-of-it-" in kept.parent.name
    names = {path.name for path in tmp_path.iterdir()}
    assert "a person's" in names
    assert len(names) == 21
    assert "20200101-000024-old" in names


def test_directory_of_a_person_is_not_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    for number in range(25):
        (tmp_path / f"20200101-0000{number:02}-old").mkdir()
    artefacts.keep("name", {"a": "b"}, [], [])
    artefacts.keep("name", {"a": "b"}, [], [])
    assert len(list(tmp_path.iterdir())) == 27
