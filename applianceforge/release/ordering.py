"""Which of two versions is the newer one.

A version is dotted numbers, and then nothing, or a `~` or `+` with letters, digits, dots, `~` and
`+` behind it: `8.0.0`, `8.1.0~rc1`, `8.0.0+fix2`. The rules:

1. Numbers are compared as numbers, from the left: 8.10 is newer than 8.9.
2. A number that is missing is 0: 8, 8.0 and 8.0.0 are the same version.
3. `~` makes it older than what stands before it, `+` newer: 8.1.0~rc1, 8.1.0, 8.1.0+fix1, 8.1.1.
4. The rest is compared as Debian does it: `~` before the end, the end before letters, letters
   before all else, and what is digits as a number.

A hyphen is not taken. To some (semver.org) it makes a version older, to Debian a newer one.

Source: Debian Policy Manual 4.6.2, section 5.6.12 (the comparison of upstream versions).
"""

from __future__ import annotations

import re

LONGEST = 64

# (How many digits, the digits): the order of numbers, however large they are.
_Number = tuple[int, str]
_Suffix = tuple[tuple[tuple[int, ...], _Number], ...]
Key = tuple[tuple[_Number, ...], _Suffix]

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:[~+][0-9A-Za-z.~+]*)?")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_PIECE = re.compile(r"([^0-9]*)([0-9]*)")
_ZERO: _Number = (0, "")
_BEFORE_END = -1
_END = 0
_BEHIND_LETTERS = 1 << 21


def is_version(text: str) -> bool:
    """Return whether a text is a version."""
    return len(text) <= LONGEST and _VERSION.fullmatch(text) is not None


def key(version: str) -> Key:
    """Return what versions are sorted by.

    Any text has a key, so that what is installed can be compared however it is called. One that
    does not begin with a number is about as old as version 0.
    """
    found = _NUMBERS.match(version)
    numbers = [_number(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == _ZERO:
        numbers.pop()
    return tuple(numbers), _suffix(version[found.end() :] if found else version)


def compare(one: str, other: str) -> int:
    """Return -1, 0 or 1: the first version is older, the same, or newer."""
    first, second = key(one), key(other)
    return (first > second) - (first < second)


def _number(digits: str) -> _Number:
    significant = digits.lstrip("0")
    return len(significant), significant


def _suffix(text: str) -> _Suffix:
    # Every list of pieces ends in an empty one, which is what "the end" is compared by.
    return tuple((_signs(piece[1]), _number(piece[2])) for piece in _PIECE.finditer(text))


def _signs(text: str) -> tuple[int, ...]:
    return (*(_weight(sign) for sign in text), _END)


def _weight(sign: str) -> int:
    if sign == "~":
        return _BEFORE_END
    return ord(sign) if sign.isascii() and sign.isalpha() else _BEHIND_LETTERS + ord(sign)
