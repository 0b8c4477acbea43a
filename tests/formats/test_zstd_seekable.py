"""The table at the end of a seekable file."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as some

from applianceforge.formats import zstd_seekable
from applianceforge.formats.zstd_seekable import Entry
from applianceforge.model.errors import PayloadError

ENTRIES = some.lists(
    some.builds(
        Entry,
        some.integers(1, (1 << 32) - 1),
        some.integers(0, zstd_seekable.LARGEST_CONTENT_BYTES),
    ),
    max_size=40,
)
# Two frames of 3 and 5 bytes for 10 and 20, written by hand after the specification.
GOLDEN = bytes.fromhex(
    "5e2a4d18 19000000  03000000 0a000000  05000000 14000000  02000000 00 b1ea928f"
)


@given(ENTRIES, some.binary(max_size=20))
def test_there_and_back(entries: list[Entry], before: bytes) -> None:
    table = zstd_seekable.encode(entries)
    assert len(table) == zstd_seekable.table_bytes(len(entries))
    assert zstd_seekable.decode(before + table, "file") == tuple(entries)


def test_golden() -> None:
    entries = (Entry(3, 10), Entry(5, 20))
    assert zstd_seekable.encode(entries) == GOLDEN
    assert zstd_seekable.decode(GOLDEN, "file") == entries


def test_a_table_with_checksums() -> None:
    body = struct.pack("<III", 3, 10, 0xAAAA) + struct.pack("<IBI", 1, 0x80, 0x8F92EAB1)
    table = struct.pack("<II", 0x184D2A5E, len(body)) + body
    assert zstd_seekable.decode(table, "file") == (Entry(3, 10),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has only 0 bytes"),
        (GOLDEN[:-1], "it ends in"),
        (GOLDEN[1:], "says that it has 2 frames"),
        (b"\x5f" + GOLDEN[1:], "does not begin where it should"),
        (GOLDEN[:4] + b"\x1a" + GOLDEN[5:], "does not begin where it should"),
        (GOLDEN[:-5] + b"\x04" + GOLDEN[-4:], "its descriptor is 0x04"),
        (GOLDEN[:-9] + b"\x03\0\0\0" + GOLDEN[-5:], "says that it has 3 frames"),
        (GOLDEN[:-9] + b"\xff\xff\xff\xff" + GOLDEN[-5:], "says that it has 4294967295 frames"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message) as caught:
        zstd_seekable.decode(data, "file")
    assert caught.value.hint


@given(some.binary(max_size=80))
def test_whatever_comes_is_refused_or_read(data: bytes) -> None:
    for tail in (data, data + GOLDEN[-9:]):
        try:
            found = zstd_seekable.decode(tail, "file")
        except PayloadError:
            continue
        assert len(found) * 8 <= len(tail)


@pytest.mark.parametrize("entry", [Entry(0, 1), Entry(1 << 32, 1), Entry(1, (1 << 30) + 1)])
def test_what_the_format_cannot_say(entry: Entry) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        zstd_seekable.encode([entry])


def test_stock_tools_read_such_a_file(tmp_path: Path) -> None:
    contents = [b"one " * 1000, b"two " * 500, b"3"]
    packed = [zstandard.ZstdCompressor().compress(content) for content in contents]
    entries = [Entry(len(p), len(c)) for p, c in zip(packed, contents, strict=True)]
    path = tmp_path / "file.zst"
    path.write_bytes(b"".join(packed) + zstd_seekable.encode(entries))
    unpacked = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    assert unpacked == b"".join(contents)
    listed = subprocess.run(["zstd", "-lv", path], capture_output=True, text=True, check=True)
    assert "# Skippable Frames: 1" in listed.stdout
    # Each frame can be found and unpacked alone.
    found = zstd_seekable.decode(path.read_bytes(), "file")
    at = found[0].size_bytes
    part = path.read_bytes()[at : at + found[1].size_bytes]
    assert zstandard.ZstdDecompressor().decompress(part) == contents[1]
