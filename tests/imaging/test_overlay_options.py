"""Overlays that are named on the command line, and are not what they should be."""

from pathlib import Path

import pytest

from applianceforge.imaging.build import Options, build_slot
from applianceforge.model.errors import SettingsError
from applianceforge.system.effects import Effects
from tests.appliance.cache import CHECKOUT


def refused(extra: Path, cache: Path) -> SettingsError:
    recipe = CHECKOUT / "images/legacy.toml"
    with pytest.raises(SettingsError) as caught:
        build_slot(recipe, cache, Effects(), options=Options(extra=(extra,)))
    return caught.value


def test_one_that_is_not_there(tmp_path: Path) -> None:
    assert "is no directory" in refused(tmp_path / "nowhere", tmp_path / "cache").message


def test_a_whole_repository_in_place_of_its_overlay(tmp_path: Path) -> None:
    repository = tmp_path / "gateway-repo"
    (repository / "overlay/etc").mkdir(parents=True)
    (repository / "repository.json").write_text("{}")
    error = refused(repository, tmp_path / "cache")
    assert "a whole repository of releases" in error.message
    assert str(repository / "overlay") in error.hint
