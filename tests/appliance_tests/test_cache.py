from pathlib import Path

import pytest

from tests.appliance import cache


def test_a_closed_checkout_moves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APPLIANCEFORGE_CACHE", raising=False)
    monkeypatch.setattr(cache, "CHECKOUT", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(cache, "open_to_all", lambda _path: False)
    assert cache.directory() == Path("/var/cache/applianceforge")
    monkeypatch.setattr(cache, "open_to_all", lambda _path: True)
    assert cache.directory() == tmp_path / ".cache"
    monkeypatch.setenv("APPLIANCEFORGE_CACHE", "/somewhere/else")
    assert cache.directory() == Path("/somewhere/else")


def test_open_to_all_looks_at_every_directory_above(tmp_path: Path) -> None:
    below = tmp_path / "closed/below"
    below.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not cache.open_to_all(below)
