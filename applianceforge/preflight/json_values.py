"""Take values out of a JSON document that somebody else wrote, and collect what is wrong with it.

All problems are told at once, each with the place where it is and, for an unknown key, with the
nearest known one. Nothing in the document makes this slow, deep or long.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any

LONGEST_TEXT = 4000
_LONGEST_KEY = 80
_MOST_ENTRIES = 10_000
# The largest numbers that are meant have 19.
_MOST_DIGITS = 20
_MOST_PROBLEMS = 100


def parsed(data: bytes) -> dict[str, Any] | None:
    """Return a document; None if it is JSON, but no object.

    Raises:
        ValueError: It is not JSON, nests too deep, or has a key twice.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_whole)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return document if isinstance(document, dict) else None


def _whole(digits: str) -> float:
    # What is beyond every limit need not be read digit by digit, nor be said so.
    return int(digits) if len(digits) <= _MOST_DIGITS else float("inf")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:_LONGEST_KEY]!r} is there twice")
        found[key] = value
    return found


class Reader:
    """Take values out of a document, and collect what is wrong with them.

    Attributes:
        problems: The first of them.
        count: How many there are.
    """

    def __init__(self, within: str = "", outer: Reader | None = None) -> None:
        """Begin without problems.

        Args:
            within: Where the document stands in another one, such as "releases[3].".
            outer: Who reads that one, and learns of every problem.
        """
        self.problems: list[str] = []
        self.count = 0
        self._within = within
        self._outer = outer

    @property
    def told(self) -> tuple[str, ...]:
        """Return the first problems, and how many more there are."""
        more = self.count - len(self.problems)
        return (*self.problems, f"and {more} more") if more else tuple(self.problems)

    def wrong(self, where: str, what: str) -> None:
        """Note a problem."""
        self.count += 1
        if self.count <= _MOST_PROBLEMS:
            self.problems.append(f"{where} {what}")
        if self._outer is not None:
            self._outer.wrong(self._within + where, what)

    def keys(self, document: dict[str, Any], where: str, known: tuple[str, ...]) -> None:
        """Note the keys that are not known, and the nearest one that is."""
        for key in document:
            if key not in known:
                # Looking for the nearest takes time, of which a made-up file must not get much.
                few = (self._outer or self).count < _MOST_PROBLEMS
                near = get_close_matches(key[:_LONGEST_KEY], known, 1) if few else []
                meant = f"; did you mean {near[0]}?" if near else ""
                self.wrong(f"{where}{key[:_LONGEST_KEY]}", f"is not known{meant}")

    def object(self, document: dict[str, Any], key: str) -> dict[str, Any] | None:
        """Return an object; None if it is not there, or is wrong."""
        value = document.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.wrong(key, "must be an object")
        return None

    def number(
        self, document: dict[str, Any], key: str, where: str, highest: int, default: int = 0
    ) -> int:
        """Return a whole number."""
        value = document.get(key, default)
        if type(value) is int and 0 <= value <= highest:
            return value
        self.wrong(where + key, f"must be a whole number from 0 to {highest}")
        return default

    def text(self, document: dict[str, Any], key: str, where: str, *, needed: bool = False) -> str:
        """Return a text without spaces around it."""
        value = document.get(key, "")
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            self.wrong(where + key, f"must be a text of at most {LONGEST_TEXT} characters")
            return ""
        if needed and not value.strip():
            self.wrong(where + key, "must be there")
        return value.strip()

    def word(
        self, document: dict[str, Any], key: str, where: str, known: tuple[str, ...], default: str
    ) -> str:
        """Return one of the words that are known."""
        value = document.get(key, default)
        if value in known:
            return str(value)
        self.wrong(where + key, f"must be one of {', '.join(known)}")
        return default

    def texts(self, document: dict[str, Any], key: str, where: str) -> tuple[str, ...] | None:
        """Return a list of texts; None if it is not there, or is wrong."""
        value = document.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
            self.wrong(where + key, "must be a list of texts")
            return None
        if not all(isinstance(one, str) and len(one) <= LONGEST_TEXT for one in value):
            self.wrong(where + key, "must be a list of texts")
            return None
        return tuple(value)
