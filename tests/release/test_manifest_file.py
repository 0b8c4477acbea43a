"""The manifest of a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import WrongBundleError
from applianceforge.preflight.requirements import Last32Bit, Release
from applianceforge.release import manifest_file
from applianceforge.release.manifest import Manifest, Part

INDEX, PAYLOAD = "1" * 64, "2" * 64
MANIFEST = Manifest(
    Release(
        Architecture.AMD64,
        "gateway",
        "3.0.0",
        released_s=1_700_000_000,
        memory_bytes=1 << 29,
        last_32_bit=Last32Bit("1.0.0", "2028-06-30", "Take a newer box"),
    ),
    "current",
    346181632,
    "3" * 64,
    4096,
    Part(f"bundles/{INDEX}.index", 1_400_000, INDEX),
    Part(f"bundles/{PAYLOAD}.payload.zst", 90_000_000, PAYLOAD),
)
GOLDEN = (
    b'{"schema":1,"release":{"schema":1,"appliance":"gateway","version":"3.0.0","architecture":'
    b'"amd64","released_s":1700000000,"requires":{"memory_bytes":536870912},"last_32_bit":'
    b'{"version":"1.0.0","supported_until":"2028-06-30","advice":"Take a newer box"}},"slot":'
    b'{"name":"current","size_bytes":346181632,"sha256":"' + b"3" * 64 + b'"},"block_bytes":4096,'
    b'"index":{"path":"bundles/' + b"1" * 64 + b'.index","size_bytes":1400000,"sha256":"'
    b"" + b"1" * 64 + b'"},"payload":{"path":"bundles/' + b"2" * 64 + b'.payload.zst","size_bytes"'
    b':90000000,"sha256":"' + b"2" * 64 + b'"}}\n'
)
HEX = some.text("0123456789abcdef", min_size=64, max_size=64)


def test_golden() -> None:
    assert manifest_file.encode(MANIFEST) == GOLDEN
    assert manifest_file.decode(GOLDEN, "manifest") == MANIFEST


@given(HEX, HEX, HEX, some.integers(1, 1 << 28), some.integers(1, 1 << 40))
def test_there_and_back(slot: str, first: str, second: str, blocks: int, size: int) -> None:
    manifest = replace(
        MANIFEST,
        slot_bytes=blocks * 4096,
        slot_sha256=slot,
        index=Part(f"bundles/{first}.index", size, first),
        payload=Part(f"bundles/{second}.payload.zst", size, second),
    )
    assert manifest_file.decode(manifest_file.encode(manifest), "manifest") == manifest


def _with(**changes: Any) -> bytes:
    """Return the manifest with some values changed; `a__b` is b of a, None takes it away."""
    document = json.loads(GOLDEN)
    for name, value in changes.items():
        *outer, key = name.split("__")
        part = document
        for one in outer:
            part = part[one]
        part[key] = value
        if value is None:
            del part[key]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schema":1,"schema":1}', "the key 'schema' is there twice"),
        (b"[" * 100_000, "it is not JSON"),
        (b" " * ((1 << 18) + 1), "more than 256 KiB"),
        (_with(schema=2), "has schema 2; this program knows"),
        (_with(schema=0), "schema must be the number 1"),
        (_with(schema=True), "schema must be the number 1"),
        (_with(paylod={}), "paylod is not known; did you mean payload"),
        (_with(release=None), "release must be there"),
        (_with(release=[]), "release must be an object"),
        (_with(release__version=None), "release.version must be there"),
        (_with(release__architecture="arm64"), "release.architecture must be one of"),
        (_with(slot=None), "slot must be there"),
        (_with(slot__name=""), "slot.name must be there"),
        (_with(slot__size_bytes=4095), "slot.size_bytes must be a multiple of 4096"),
        (_with(slot__size_bytes=0), "slot.size_bytes must be above 0"),
        (_with(slot__size_bytes=-4096), "slot.size_bytes must be a whole number"),
        (_with(slot__size_bytes=4096.0), "slot.size_bytes must be a whole number"),
        (_with(slot__size_bytes=1 << 60), "slot.size_bytes must be a whole number"),
        (_with(slot__sha256="3" * 63), "slot.sha256 must be 64"),
        (_with(slot__sha256="A" * 64), "slot.sha256 must be 64"),
        (_with(slot__more=1), "slot.more is not known"),
        (_with(block_bytes=512), "block_bytes must be 4096"),
        (_with(block_bytes=None), "block_bytes must be 4096"),
        (_with(index=None), "index must be there"),
        (_with(index__size_bytes=None), "index.size_bytes must be above 0"),
        (_with(index__path="../../etc/shadow"), "index.path must be bundles/1"),
        (_with(payload__path=f"bundles/{INDEX}.payload.zst"), "payload.path must be bundles/2"),
        (_with(payload__sha256="x"), "payload.sha256 must be 64"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(WrongBundleError) as caught:
        manifest_file.decode(data, "bundles/x.json")
    said = "\n".join((caught.value.message, *caught.value.evidence))
    assert message in said
    assert caught.value.message.startswith("bundles/x.json ")
    assert caught.value.hint


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(WrongBundleError) as caught:
        manifest_file.decode(_with(slot__name="", payload__sha256="x", block_bytes=1), "m")
    assert len(caught.value.evidence) >= 3
