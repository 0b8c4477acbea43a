"""The settings of the update: two files, key by key, and every mistake named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

import applianceforge.release.update
from applianceforge.model.errors import SettingsError
from applianceforge.release.update import settings_files
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.settings import UpdateSettings, decode
from applianceforge.release.update.window import Window
from tests.appliance.cache import CHECKOUT

EXAMPLE = Path(applianceforge.release.update.__file__).parent / "example.toml"
SHIPPED = CHECKOUT / "images/overlay-update/etc/applianceforge/update.toml"
VENDOR = """schema = 1
repository = "https://updates.example/"
channel = "beta"
automatic = true
window = "22:30-04:00"
retention_days = 3
"""


def test_without_files_nothing_is_fetched() -> None:
    found = decode(())
    assert found == UpdateSettings()
    assert (found.repository, found.automatic, found.channel) == ("", False, "stable")


def test_the_administrator_counts_key_by_key() -> None:
    found = decode((("vendor", VENDOR), ("admin", 'automatic = false\nproxy = "http://p:1"\n')))
    assert found.repository == "https://updates.example/"
    assert found.channel == "beta"
    assert found.automatic is False
    assert found.proxy == "http://p:1"
    assert found.window == Window(22 * 60 + 30, 4 * 60)
    assert found.retention_days == 3


def test_retention_can_be_nothing() -> None:
    assert decode((("a", "retention_days = 0\n"),)).retention_days == 0
    assert decode((("a", "retention_days = 0.5\n"),)).retention_days == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repositry = 'https://x/'", "did you mean repository?"),
        ("xyz = 1", "known: repository, channel"),
        ("repository = 'ftp://x/'", "repository must be a URL"),
        ("repository = 'relative/path'", "an absolute path"),
        ("repository = 3", "repository must be text"),
        ('repository = "/media/\\u0000usb"', "repository must be without control characters"),
        ('proxy = "http://p:1/\\n"', "proxy must be without control characters"),
        ("proxy = 'p:3128'", "proxy must be a URL"),
        ("channel = ''", "name of a channel"),
        ("channel = 'a b'", "name of a channel"),
        ("automatic = 'yes'", "true or false, without quotes"),
        ("automatic = 1", "true or false"),
        ("window = '2-5'", "two times of the day"),
        ("window = '24:00-05:00'", "two times of the day"),
        ("window = 2", "text in quotes"),
        ("retention_days = -1", "number of days"),
        ("retention_days = true", "number of days"),
        ("retention_days = nan", "number of days"),
        ("retention_days = 1e9", "number of days"),
        ("schema = 2", "schema 2"),
        ("schema = ", "not TOML"),
        ("a = " + "[" * 2000, "not TOML"),
        ("a = " + "9" * 5000, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        decode((("/data/config/update.toml", text),))
    assert said in caught.value.message
    assert "/data/config/update.toml" in caught.value.message
    assert caught.value.hint


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        decode((("f", "automatic = 1\nwindow = 'x'\nnone = 2\n"),))
    for key in ("automatic", "window", "unknown key none"):
        assert key in caught.value.message


@pytest.mark.parametrize("path", [EXAMPLE, SHIPPED], ids=["example", "shipped"])
def test_what_is_shipped_shows_every_key_and_its_default(path: Path) -> None:
    text = path.read_text()
    found = decode(((str(path), text),))
    assert found.automatic is False
    assert found.retention_days is None
    for one in fields(UpdateSettings):
        assert f"\n{one.name} = " in text or f"\n# {one.name} = " in text, one.name
    if path is SHIPPED:
        assert found == UpdateSettings()


def test_both_shipped_files_say_the_same() -> None:
    """One may be changed without the other being read again."""
    comments = [
        {line for line in path.read_text().splitlines()[4:] if line.startswith("#")}
        for path in (EXAMPLE, SHIPPED)
    ]
    assert len(comments[0] & comments[1]) > 8


def test_the_files_of_an_appliance(tmp_path: Path) -> None:
    places = UpdatePlaces(tmp_path)
    assert settings_files.read(places) == UpdateSettings()
    for path, text in zip(places.settings, (VENDOR, "channel = 'stable'\n"), strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert settings_files.read(places).channel == "stable"
    assert settings_files.read(places).automatic is True
