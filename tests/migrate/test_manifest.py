"""The manifest of an archive: any change to it is refused, and every file is accounted for."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from applianceforge.migrate import manifest
from applianceforge.migrate.manifest import ArchivedFile
from applianceforge.model.errors import ArchiveError
from tests.migrate.values import MANIFEST

CONTENT = manifest.encode(MANIFEST)
FIELDS = json.loads(CONTENT.decode("utf-8", "surrogateescape"))


def refusal(content: bytes) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        manifest.decode(content, "the manifest")
    assert caught.value.hint
    return caught.value


def sealed(fields: dict[str, Any]) -> bytes:
    """Return a manifest with a right digest of wrong fields."""
    body = {key: value for key, value in fields.items() if key != "sha256"}
    body["sha256"] = manifest._own_digest(body)
    return json.dumps(body).encode()


def test_a_round_trip() -> None:
    assert manifest.decode(CONTENT, "x") == MANIFEST
    without = replace(MANIFEST, cluster=None, rrds=())
    assert manifest.decode(manifest.encode(without), "x") == without


def test_its_own_digest_does_not_depend_on_the_order_of_keys() -> None:
    shuffled = json.dumps(dict(sorted(FIELDS.items(), reverse=True))).encode()
    assert manifest.decode(shuffled, "x") == MANIFEST


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused_unless_it_says_the_same(place: int, change: int) -> None:
    content = bytearray(CONTENT)
    content[place] ^= change
    try:
        decoded = manifest.decode(bytes(content), "x")
    except ArchiveError:
        return
    # White space between the parts means nothing.
    assert decoded == MANIFEST


@given(st.integers(0, len(CONTENT) - 1))
def test_a_manifest_that_was_cut_short_is_refused(length: int) -> None:
    assert "cut short" in refusal(CONTENT[:length]).message


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    refusal(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(json_values)
def test_any_json_is_refused(value: Any) -> None:
    refusal(json.dumps(value).encode())


@given(st.sampled_from(sorted(FIELDS.keys() - {"sha256"})), json_values)
def test_a_changed_value_is_refused(key: str, value: Any) -> None:
    assume(value != FIELDS[key])
    refusal(json.dumps(FIELDS | {key: value}).encode())


@given(st.sampled_from(sorted(FIELDS.keys() - {"sha256"})), json_values)
def test_a_wrong_value_with_a_right_digest_raises_nothing_else(key: str, value: Any) -> None:
    try:
        manifest.decode(sealed(FIELDS | {key: value}), "x")
    except ArchiveError:
        return


@pytest.mark.parametrize("key", sorted(FIELDS.keys() - {"sha256", "kind", "schema"}))
def test_a_lost_part_is_refused_though_the_digest_is_right(key: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != key}
    assert "lacks a part" in refusal(sealed(fields)).message


def test_a_newer_schema_is_told_as_such() -> None:
    error = refusal(sealed(FIELDS | {"schema": manifest.SCHEMA + 1}))
    assert f"schema {manifest.SCHEMA + 1}" in error.message
    assert "newer" in error.hint


def test_the_manifest_of_something_else() -> None:
    assert "something else" in refusal(sealed(FIELDS | {"kind": "backup"})).message


FOUND = {one.path: (one.size_bytes, one.sha256) for one in MANIFEST.files}


def test_files_that_are_as_stated() -> None:
    assert manifest.differences(MANIFEST.files, FOUND) == ()


@given(st.sampled_from(sorted(FOUND)), st.sampled_from(["missing", "short", "long", "changed"]))
def test_a_file_that_is_not_as_stated_is_named(path: str, fault: str) -> None:
    size, _ = FOUND[path]
    found = dict(FOUND)
    match fault:
        case "missing":
            del found[path]
        case "short":
            assume(size > 0)
            found[path] = (size - 1, "22" * 32)
        case "long":
            found[path] = (size + 1, "22" * 32)
        case _:
            found[path] = (size, "22" * 32)
    (wrong,) = manifest.differences(MANIFEST.files, found)
    said = {"missing": "is missing", "short": f"cut short: {size - 1} of {size}"}
    assert wrong.startswith(path)
    assert said.get(fault, "was changed") in wrong


def test_a_file_too_many_is_named() -> None:
    found = FOUND | {"rrd/extra": (1, "33" * 32)}
    assert manifest.differences(MANIFEST.files, found) == (
        "rrd/extra does not belong to the archive",
    )


def test_an_empty_list_of_files_knows_all_as_foreign() -> None:
    stated: tuple[ArchivedFile, ...] = ()
    assert len(manifest.differences(stated, FOUND)) == len(FOUND)
