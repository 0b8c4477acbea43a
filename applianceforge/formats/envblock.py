"""GRUB's environment block: what GRUB itself reads in any bytes, and what its save_env makes of it.

    # GRUB Environment Block
    NAME=VALUE          a backslash stands before a backslash and a line end of the value
    # ...               lines that begin with # say nothing
    ####...             free space, to the end of the file

GRUB is lenient: a name goes from the start of a line to the next equals sign, line ends included; a
later variable of the same name wins; what has no end is left out. Names and values end at a zero
byte. A change is made to the first line that begins with the name, within the bytes that are there.

Source: GRUB 2.06, grub-core/lib/envblk.c, include/grub/lib/envblk.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SIGNATURE = b"# GRUB Environment Block\n"
BLOCK_BYTES = 1024
_FREE = b"#"
_LINE = re.compile(rb"(?:[^\\\n]|\\.|\\\Z)*", re.DOTALL)


def is_block(data: bytes) -> bool:
    """Return whether GRUB takes it for an environment block; one more byte is due."""
    return data.startswith(SIGNATURE) and len(data) > len(SIGNATURE)


def decode(data: bytes) -> dict[str, str]:
    """Return the variables that GRUB reads, by name; none if it is no environment block.

    Bytes are characters, as in Latin-1: GRUB knows no encoding.
    """
    found: dict[str, str] = {}
    if not is_block(data):
        return found
    at = len(SIGNATURE)
    while at < len(data):
        if data[at : at + 1] != _FREE:
            equals = data.find(b"=", at)
            if equals < 0:
                break
            end = _line_end(data, equals + 1)
            if end >= len(data):
                break
            name, value = data[at:equals], _unescaped(data[equals + 1 : end])
            found[_text(name)] = _text(value)
            at = end
        at = _line_end(data, at) + 1
    return found


def encode(variables: Iterable[tuple[str, str]], size_bytes: int = BLOCK_BYTES) -> bytes:
    """Return the block with these variables in this order.

    Raises:
        ValueError: A name or value cannot be written so, or there is no room for all.
    """
    lines = [SIGNATURE]
    for name, value in variables:
        if not name or name.startswith("#") or set(name) & set("=\n\\\0") or "\0" in value:
            raise ValueError(f"{name!r} cannot be a variable of an environment block")
        lines.append(f"{name}=".encode("latin-1") + _escaped(value.encode("latin-1")) + b"\n")
    content = b"".join(lines)
    if len(content) > size_bytes:
        raise ValueError(f"the variables take {len(content)} bytes, and there are {size_bytes}")
    return content.ljust(size_bytes, _FREE)


def changed(data: bytes, values: Mapping[str, str]) -> bytes | None:
    """Return the block after GRUB's save_env of these values; None if GRUB refuses.

    GRUB refuses, and writes nothing, where the free space does not follow a line end or is too
    small.
    """
    if not is_block(data):
        return None
    block: bytes | None = data
    for name, value in values.items():
        if block is not None:
            block = _set(block, name.encode("latin-1"), _escaped(value.encode("latin-1")))
    return block


def _set(data: bytes, name: bytes, value: bytes) -> bytes | None:
    used = len(data.rstrip(_FREE))
    if data[used - 1 : used] != b"\n":
        return None
    free = len(data) - used
    wanted = name + b"="
    at = len(SIGNATURE)
    while at + len(wanted) < used:
        if data.startswith(wanted, at):
            start = at + len(wanted)
            end = _line_end(data, start)
            more = len(value) - (end - start)
            if end >= len(data) or free < more:
                return None
            return (data[:start] + value + data[end:used]).ljust(len(data), _FREE)
        at = _line_end(data, at) + 1
    line = wanted + value + b"\n"
    return None if free < len(line) else (data[:used] + line).ljust(len(data), _FREE)


def _line_end(data: bytes, at: int) -> int:
    """Return where the line ends that `at` lies in, escaped line ends passed over."""
    line = _LINE.match(data, at)
    return len(data) if line is None else line.end()


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("latin-1")


def _unescaped(value: bytes) -> bytes:
    """Return a value without the backslashes that stand before a character."""
    parts = value.split(b"\\\\")
    return b"\\".join(part.replace(b"\\", b"") for part in parts)


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b"\n", b"\\\n")
