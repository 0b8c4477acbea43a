"""The release's file: the documented example, and everything that can be wrong with one."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import given_file, release_file, requirements
from applianceforge.preflight.answers import DISPOSITIONS
from applianceforge.preflight.release_file import decode, read
from applianceforge.preflight.requirements import for_target

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "requirements.md"
LEAST = {"schema": 1, "appliance": "x", "version": "2", "architecture": "amd64"}


def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    document = json.loads(found[1])
    assert isinstance(document, dict)
    return document


def problems(document: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        decode(json.dumps(document).encode())
    assert caught.value.hint
    return caught.value.evidence


def test_the_documented_example() -> None:
    release = decode(json.dumps(example()).encode())
    assert release.architecture is Architecture.AMD64
    assert release.long_mode
    assert release.name == "mailgate 8.0.0"
    assert release.released_s == 1793491200
    assert release.x86_64_level == 2
    assert release.memory_bytes == 1 << 30
    assert release.data_bytes == release.slot_bytes == 2 << 30
    assert release.minimum_version == "7.4.0"
    assert release.firmware == "bios"
    assert release.kernel == requirements.Kernel("6.12", "option")
    assert release.postgresql == requirements.PostgreSQL(
        15, ("plpgsql", "pg_trgm", "pgcrypto"), ("C.UTF-8", "de_DE.UTF-8", "en_US.UTF-8")
    )
    assert [one.disposition for one in release.data] == ["discard", "portable"]
    assert release.last_32_bit is not None
    assert release.last_32_bit.version == "7.9.3"


def test_the_example_shows_every_key_and_the_table_names_them() -> None:
    document = example()
    assert tuple(document) == release_file._KEYS
    assert tuple(document["requires"]) == release_file._REQUIRES
    text = DOCUMENT.read_text()
    for key in release_file._REQUIRES:
        assert f"| `requires.{key}` |" in text
    for word in (*release_file.DISPOSITIONS, *release_file.IA32):
        assert f"`{word}`" in text


def test_the_words_are_those_of_an_answer_file() -> None:
    assert tuple(DISPOSITIONS) == release_file.DISPOSITIONS


def test_the_least_that_a_file_says() -> None:
    release = decode(json.dumps(LEAST).encode())
    assert release == requirements.Release(Architecture.AMD64, "x", "2")
    assert decode(json.dumps({**LEAST, "architecture": "i386"}).encode()).long_mode is False


def test_without_a_release() -> None:
    release = for_target(Architecture.AMD64)
    assert release.long_mode
    assert release.memory_bytes == 512 << 20
    assert release.name == "the 64-bit release"
    assert for_target(Architecture.I386).memory_bytes == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 0}, "schema must be the number 1"),
        ({"schema": "1"}, "schema must be the number 1"),
        ({"schema": True}, "schema must be the number 1"),
        ({"architecture": "arm64"}, "architecture must be one of i386, amd64"),
        ({"architecture": []}, "architecture must be one of i386, amd64"),
        ({"version": " "}, "version must be there"),
        ({"version": 8}, "version must be a text"),
        ({"version": "8" * 5000}, "version must be a text of at most 4000 characters"),
        ({"schema": 10**4000}, "schema must be the number 1"),
        ({"released_s": 10**4000}, "released_s must be a whole number from 0 to"),
        ({"relased_s": 1}, "relased_s is not known; did you mean released_s?"),
        ({"zzz": 1}, "zzz is not known"),
        ({"released_s": -1}, "released_s must be a whole number from 0 to"),
        ({"requires": []}, "requires must be an object"),
        ({"requires": {"memory": 1}}, "requires.memory is not known; did you mean memory_bytes?"),
        ({"requires": {"memory_bytes": 1.5}}, "requires.memory_bytes must be a whole number"),
        ({"requires": {"memory_bytes": True}}, "requires.memory_bytes must be a whole number"),
        ({"requires": {"data_bytes": 1 << 70}}, "requires.data_bytes must be a whole number"),
        ({"requires": {"x86_64_level": 5}}, "requires.x86_64_level must be a whole number from 0"),
        ({"requires": {"firmware": "uefi"}}, "requires.firmware must be one of"),
        (
            {"architecture": "i386", "requires": {"x86_64_level": 2}},
            "requires.x86_64_level is for architecture amd64 only",
        ),
        ({"kernel": {"ia32_emulation": True}}, "kernel.ia32_emulation must be one of yes, no"),
        ({"kernel": {"ia32_emulate": "no"}}, "did you mean ia32_emulation?"),
        ({"postgresql": {}}, "postgresql.major must be there"),
        ({"postgresql": {"major": 15, "locales": "C"}}, "postgresql.locales must be a list"),
        ({"postgresql": {"major": 15, "extensions": [1]}}, "postgresql.extensions must be a list"),
        ({"data": {}}, "data must be a list of objects"),
        ({"data": ["x"]}, "data[0] must be an object"),
        ({"data": [{"pattern": "x", "is": "discard"}]}, "data[0].reason must be there"),
        ({"data": [{"pattern": "x", "is": "gone", "reason": "y"}]}, "data[0].is must be one of"),
        (
            {"data": [{"pattern": "/etc", "is": "discard", "reason": "y"}]},
            "data[0].pattern must be relative",
        ),
        (
            {"data": [{"pattern": "a/../b", "is": "discard", "reason": "y"}]},
            "data[0].pattern must be relative",
        ),
        ({"last_32_bit": {}}, "last_32_bit.version must be there"),
    ],
)
def test_mistakes(change: dict[str, object], problem: str) -> None:
    assert any(problem in one for one in problems({**LEAST, **change}))


def test_all_problems_are_told_at_once() -> None:
    found = problems({"schema": 1, "requires": {"slots": 1, "memory_bytes": -1}, "wersion": "1"})
    assert len(found) == 6


def test_a_thousand_problems_are_not_all_told() -> None:
    found = problems({**LEAST, **{f"versio{number}": "z" * 50 for number in range(1000)}})
    assert len(found) == 101
    assert found[-1] == "and 900 more"


def test_messages_are_short() -> None:
    long = "z" * 100_000
    twice = '{"' + long + '": 1, "' + long + '": 1}'
    for data in (twice, '{"schema": 1, "' + long + '": 1}', '{"schema": ' + "9" * 20 + "}"):
        with pytest.raises(SettingsError) as caught:
            decode(data.encode())
        assert len(caught.value.message) < 200
        assert all(len(line) < 200 for line in caught.value.evidence)


def test_a_mark_of_the_byte_order_says_nothing() -> None:
    """Editors of Windows write one."""
    assert decode(b"\xef\xbb\xbf" + json.dumps(LEAST).encode()).version == "2"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"schema": 1, "schema": 1}', "the key 'schema' is there twice"),
        (b'{"schema": 2, "anything": []}', "has schema 2; this program knows schemas up to 1"),
        (b" " * (release_file.LARGEST_BYTES + 1), "is larger than 256 KiB"),
    ],
)
def test_what_is_no_file_of_a_release(data: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        decode(data)
    assert caught.value.hint


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "RELEASE.json"
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read(path)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read(tmp_path)
    for other in ("/dev/zero", "/proc/kmsg", "/proc/self/status", "a\0b"):
        with pytest.raises(SettingsError, match="cannot be read: "):
            read(Path(other))
    path.write_text(json.dumps(LEAST))
    assert read(path).version == "2"
    path.write_bytes(b"{}")
    with pytest.raises(SettingsError, match=str(path)):
        read(path)


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(given_file, "_PATIENCE_S", 0.05)
    with pytest.raises(SettingsError, match="this pipe did not end"):
        read(tmp_path / "pipe")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_end_in_our_own_error(data: bytes) -> None:
    with pytest.raises(SettingsError):
        decode(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(release_file._KEYS)), _JSON)
def test_any_value_of_any_key_is_taken_or_refused(key: str, value: object) -> None:
    document = {**example(), key: value}
    try:
        decode(json.dumps(document).encode())
    except SettingsError as error:
        assert error.hint
