"""The words and numbers in a dump of this toolkit: how they are written, and read back.

A line is a keyword and its fields. A field is a word without blanks; the last one may be a text to
the end of the line. Written are printable ASCII characters only, any other byte of the UTF-8 form
as a backslash and three octal digits, as Linux does in /proc/mounts; a blank is escaped in a word,
and at the ends of a text. An empty word is "-".

A size in bytes is decimal, or ends in K (times 1024) or S (times 512, a sector).
"""

from __future__ import annotations

import re

MOST_WRITTEN = 160
"""No single field takes more characters than that; a longer one ends in "..."."""

# Compiled when they are first needed, as most checks need none.
_ESCAPED = rb"\\([0-3][0-7]{2})"
_SIZE = r"([0-9]{1,20})([KS]?)"
_UNITS = {"": 1, "K": 1024, "S": 512}
_MOST_BYTES = (1 << 64) - 1


class LineError(ValueError):
    """A line is not what its keyword asks for."""


def word(value: str) -> str:
    """Write a word."""
    if value in ("", "-"):
        return "\\055" if value else "-"
    return _cut(_escaped(value, " "))


def text(value: str) -> str:
    """Write a text for the end of a line."""
    return _cut(long_text(value))


def long_text(value: str) -> str:
    """Write a text whose length the caller bounds."""
    inner = value.strip(" ")
    left = len(value) - len(value.lstrip(" "))
    right = len(value) - len(inner) - left
    return "\\040" * left + _escaped(inner, "") + "\\040" * right


def size(value: int) -> str:
    """Write a size in bytes; one that no machine has is cut to 64 bits."""
    value = min(value, _MOST_BYTES)
    return f"{value // 1024}K" if value and value % 1024 == 0 else str(value)


def plain(written: str) -> str:
    """Read back a text or a part of one."""
    if "\\" not in written:
        return written
    content = written.encode("utf-8", "surrogateescape")
    content = re.sub(_ESCAPED, lambda match: bytes((int(match[1], 8),)), content)
    return content.decode("utf-8", "surrogateescape")


def plain_word(written: str) -> str:
    """Read back a word."""
    return "" if written == "-" else plain(written)


def number(written: str, what: str, base: int = 10) -> int:
    """Read a number that is not negative.

    Raises:
        LineError: It is none, or too long to be one of ours.
    """
    digits = "0123456789" if base == 10 else "0123456789ABCDEFabcdef"
    if not 1 <= len(written) <= 20 or any(digit not in digits for digit in written):
        raise LineError(f"{what} is not a number: {written[:40]!r}")
    return int(written, base)


def plain_size(written: str, what: str) -> int:
    """Read a size in bytes.

    Raises:
        LineError: It is none, or has more than 64 bits.
    """
    match = re.fullmatch(_SIZE, written)
    value = int(match[1]) * _UNITS[match[2]] if match else None
    if value is None or value > _MOST_BYTES:
        raise LineError(f"{what} is not a size: {written[:40]!r}")
    return value


def fields(rest: str, least: int, most: int) -> list[str]:
    """Split the rest of a line; the last of `most` fields is a text and may have blanks.

    Raises:
        LineError: There are fewer than `least`.
    """
    found = rest.split(None, most - 1) if rest else []
    if len(found) < least:
        raise LineError(f"{least} fields are wanted, here are {len(found)}")
    return found


def _escaped(value: str, blanks: str) -> str:
    try:
        content = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # No file system and no firmware gives that.
        content = value.encode("utf-8", "replace")
    return "".join(
        chr(byte)
        if 0x20 <= byte < 0x7F and byte != 0x5C and chr(byte) not in blanks
        else f"\\{byte:03o}"
        for byte in content
    )


def _cut(written: str) -> str:
    if len(written) <= MOST_WRITTEN:
        return written
    # Not within an escape.
    return re.sub(r"\\[0-7]{0,2}$", "", written[: MOST_WRITTEN - 3]) + "..."
