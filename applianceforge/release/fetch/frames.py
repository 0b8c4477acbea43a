"""Encode and decode what the fetching process and its owner say to each other.

    kind    1 byte
    size    4 bytes, big-endian, at most 64 KiB
    body    so many bytes: JSON, but for DATA

The owner says SETTINGS once, then ASK for each file. The process answers each ASK with any number
of DATA and then END or FAILED. Neither side believes a size that it reads.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from applianceforge.release.fetch.source import CHUNK_BYTES

HEAD_BYTES = 5
_HEAD = struct.Struct(">BI")


class Frame(IntEnum):
    """The kinds of frames."""

    SETTINGS = 1
    ASK = 2
    DATA = 3
    END = 4
    FAILED = 5


class FrameError(Exception):
    """What came is no frame."""


def encode(kind: Frame, body: bytes) -> bytes:
    """Return a frame."""
    if len(body) > CHUNK_BYTES:
        raise FrameError(f"a body of {len(body)} bytes")
    return _HEAD.pack(kind, len(body)) + body


def encode_fields(kind: Frame, fields: Mapping[str, Any]) -> bytes:
    """Return a frame with a JSON object."""
    return encode(kind, json.dumps(fields).encode("ascii"))


def decode_head(head: bytes) -> tuple[Frame, int]:
    """Return the kind and the size of the body that follows.

    Raises:
        FrameError: There is no such kind, or the body would be too large.
    """
    number, size = _HEAD.unpack(head)
    if number not in Frame.__members__.values() or size > CHUNK_BYTES:
        raise FrameError(f"a frame of kind {number} with {size} bytes")
    return Frame(number), size


def decode_fields(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a frame.

    Raises:
        FrameError: It is none.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError("a body that is not JSON") from error
    if not isinstance(fields, dict):
        raise FrameError("a body that is no JSON object")
    return fields


def read(read_exactly: Callable[[int], bytes]) -> tuple[Frame, bytes]:
    """Read a frame.

    Args:
        read_exactly: Returns so many bytes, or raises.
    """
    kind, size = decode_head(read_exactly(HEAD_BYTES))
    return kind, read_exactly(size)
