"""What was agreed to: a round trip, damage, and when it is worn out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.model.architecture import Architecture
from applianceforge.release.update import intent
from applianceforge.release.update.intent import MOST_ATTEMPTS, MOST_DAYS, Consent, Intent, Phase
from applianceforge.system.effects import Effects

SINCE = 1_790_000_000.0
AGREED = Intent(
    version="2.0.0",
    architecture=Architecture.AMD64,
    origin="1.0.0 (i386)",
    manifest="ab" * 32,
    since_s=SINCE,
    by=Consent.PERSON,
    reboot=True,
    phase=Phase.INSTALLING,
    generation=7,
    repository="/media/usb",
)
INTENTS = st.builds(
    Intent,
    version=st.text(),
    architecture=st.sampled_from(Architecture),
    origin=st.text(),
    manifest=st.text(),
    since_s=st.floats(0, 1e12),
    by=st.sampled_from(Consent),
    reboot=st.booleans(),
    phase=st.sampled_from(Phase),
    generation=st.integers(0, 2**31),
    repository=st.text(),
    attempts=st.integers(0, 100),
    missing_bytes=st.integers(-1, 2**40),
)


@given(INTENTS)
def test_a_round_trip(agreed: Intent) -> None:
    assert intent.decode(intent.encode(agreed)) == agreed


def test_a_stick_whose_name_is_no_text() -> None:
    odd = replace(AGREED, repository="/media/\udcff usb")
    assert intent.decode(intent.encode(odd)) == odd


@given(st.binary(max_size=200))
def test_anything_else_is_nothing(data: bytes) -> None:
    assert intent.decode(data) is None


@pytest.mark.parametrize("key", sorted(json.loads(intent.encode(AGREED))))
def test_a_key_that_is_missing_or_odd(key: str) -> None:
    fields = json.loads(intent.encode(AGREED))
    value = fields.pop(key)
    assert intent.decode(json.dumps(fields).encode()) is None or key == "reboot"
    odd: object = [] if not isinstance(value, str) else None
    found = intent.decode(json.dumps(fields | {key: odd}).encode())
    # Nobody who did not say so wants a restart; words may be any.
    assert found is None or not found.reboot or key in ("version", "from", "manifest", "repository")


def test_a_newer_schema_is_left_alone() -> None:
    fields = json.loads(intent.encode(AGREED)) | {"schema": intent.SCHEMA + 1}
    assert intent.decode(json.dumps(fields).encode()) is None


def test_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "intent.json"
    assert intent.read(path) is None
    intent.write(path, AGREED, Effects())
    assert intent.read(path) == AGREED
    assert path.stat().st_mode & 0o777 == 0o600
    intent.remove(path, Effects())
    assert intent.read(path) is None


def test_attempts_count_since_the_last_progress() -> None:
    agreed = AGREED.tried().lacking(1000)
    for _ in range(MOST_ATTEMPTS - 1):
        agreed = agreed.tried().lacking(1000)
    assert agreed.worn_out(SINCE) == ""
    assert agreed.tried().lacking(1000).worn_out(SINCE)
    assert agreed.tried().lacking(999).worn_out(SINCE) == ""
    assert agreed.tried().lacking(2000).missing_bytes == 1000


def test_the_first_figure_is_progress() -> None:
    assert AGREED.tried().lacking(1000).attempts == 0
    assert AGREED.tried().lacking(0).tried().lacking(0).attempts == 1


def test_it_is_forgotten_after_a_month() -> None:
    assert AGREED.worn_out(SINCE + (MOST_DAYS - 1) * 86400) == ""
    assert "days ago" in AGREED.worn_out(SINCE + (MOST_DAYS + 1) * 86400)
    assert replace(AGREED, since_s=SINCE + 86400).worn_out(SINCE) == ""
