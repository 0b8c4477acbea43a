from pathlib import Path

import pytest

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.slots.places import BootPlaces, Release, read_release


def release_in(root: Path, text: str) -> Release:
    places = BootPlaces(root)
    places.release.parent.mkdir(parents=True, exist_ok=True)
    places.release.write_text(text)
    return read_release(places)


OLD = "NAME=legacy\nVERSION=1.0.0\nARCHITECTURE=i386\n"


def test_the_release_that_runs(tmp_path: Path) -> None:
    found = release_in(tmp_path, OLD + "APPLIANCE=gateway\nBUILT_S=1790000000\n")
    assert found == Release("legacy", "1.0.0", Architecture.I386, "gateway", 1_790_000_000)


def test_an_older_image_says_less(tmp_path: Path) -> None:
    assert release_in(tmp_path, OLD) == Release("legacy", "1.0.0", Architecture.I386, "", 0)


@pytest.mark.parametrize("text", ["", "NAME=x\n", OLD + "BUILT_S=today\n", OLD[:-5] + "arm\n"])
def test_what_names_no_release(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="names no release") as caught:
        release_in(tmp_path, text)
    assert caught.value.hint
