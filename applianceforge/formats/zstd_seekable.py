"""Decode and encode the table at the end of a file in the zstd seekable format.

The file is a row of independent zstd frames; their contents one after the other are the content.
A last, skippable frame says how long each is, so that any of them can be found; a reader that
knows nothing of it passes it over. All numbers are little-endian.

    00  184D2A5Eh             04  bytes that follow, u32
    08  for each frame: its bytes, u32; the bytes of its content, u32; with the checksum bit: the
        lowest 32 bits of the content's XXH64, u32
    ..  number of frames, u32; descriptor, u8: bit 7 is the checksum bit, bits 6 to 2 are zeros,
        bits 1 and 0 mean nothing; 8F92EAB1h

We write no checksums: who reads these files has a digest of each frame already.

Source: facebook/zstd, contrib/seekable_format/zstd_seekable_compression_format.md, version 0.1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from applianceforge.model.errors import PayloadError

MOST_FRAMES = 0x8000000
LARGEST_CONTENT_BYTES = 0x40000000

_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_ENTRY = struct.Struct("<II")
_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_CHECKSUM_BIT = 0x80
_RESERVED_BITS = 0x7C
_CHECKSUM_BYTES = 4


class Entry(NamedTuple):
    """A frame: its bytes, and the bytes of its content."""

    size_bytes: int
    content_bytes: int


def table_bytes(frames: int) -> int:
    """Return the size of a table of so many frames, as `encode` makes it."""
    return _HEAD.size + frames * _ENTRY.size + _FOOT.size


def encode(entries: Iterable[Entry]) -> bytes:
    """Return the skippable frame that ends the file.

    Raises:
        ValueError: A number is above the format's limits.
    """
    packed = []
    for entry in entries:
        if not 0 < entry.size_bytes < 1 << 32 or entry.content_bytes > LARGEST_CONTENT_BYTES:
            raise ValueError(f"a frame of {entry.size_bytes} bytes for {entry.content_bytes}")
        packed.append(_ENTRY.pack(*entry))
    if len(packed) > MOST_FRAMES:
        raise ValueError(f"{len(packed)} frames")
    body = b"".join(packed) + _FOOT.pack(len(packed), 0, _SEEKABLE)
    return _HEAD.pack(_SKIPPABLE, len(body)) + body


def decode(tail: bytes, what: str) -> tuple[Entry, ...]:
    """Return the frames of a file.

    Args:
        tail: The end of the file, with the whole table; what lies before the table is not read.
        what: What messages call the file.

    Raises:
        PayloadError: There is no such table, or it contradicts itself.
    """
    if len(tail) < _HEAD.size + _FOOT.size:
        raise _wrong(what, f"it has only {len(tail)} bytes")
    frames, descriptor, magic = _FOOT.unpack_from(tail, len(tail) - _FOOT.size)
    if magic != _SEEKABLE:
        raise _wrong(what, f"it ends in {magic:#010x}")
    if descriptor & _RESERVED_BITS:
        raise _wrong(what, f"its descriptor is {descriptor:#04x}")
    step = _ENTRY.size + (_CHECKSUM_BYTES if descriptor & _CHECKSUM_BIT else 0)
    body_bytes = frames * step + _FOOT.size
    begins = len(tail) - _HEAD.size - body_bytes
    if frames > MOST_FRAMES or begins < 0:
        raise _wrong(what, f"it says that it has {frames} frames")
    if _HEAD.unpack_from(tail, begins) != (_SKIPPABLE, body_bytes):
        raise _wrong(what, f"its table of {frames} frames does not begin where it should")
    return tuple(
        Entry(*_ENTRY.unpack_from(tail, begins + _HEAD.size + number * step))
        for number in range(frames)
    )


def _wrong(what: str, why: str) -> PayloadError:
    return PayloadError(
        f"{what} is not in the zstd seekable format: {why}",
        hint="it was cut short or changed: fetch it again",
    )
