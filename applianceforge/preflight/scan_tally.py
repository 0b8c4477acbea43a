"""Count what a scan finds while it goes, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from applianceforge.formats.foreign_words import Disposition, Identification
from applianceforge.preflight.scan_result import EXAMPLES, Group, Item, Skipped, Statement


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the glob as a regular expression; `**` goes over directories.

    A trailing `/**` means the directory itself, too, since one item may stand for all of it.
    """
    text = pattern.strip("/")
    tail = ""
    if text.endswith("/**"):
        text, tail = text[:-3], "(?:/.*)?"
    found, at = "", 0
    while at < len(text):
        if text.startswith("**/", at):
            found, at = found + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            found, at = found + ".*", at + 2
        elif text[at] == "*":
            found, at = found + "[^/]*", at + 1
        elif text[at] == "?":
            found, at = found + "[^/]", at + 1
        else:
            found, at = found + re.escape(text[at]), at + 1
    return re.compile(found + tail + r"\Z", re.DOTALL)


class Statements:
    """The statements, the first one that matches counts; and which of them matched."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._all = tuple((compiled(statement.pattern), statement) for statement in statements)
        self._used: set[str] = set()

    def about(self, path: str) -> Statement | None:
        """Return the first statement about this path."""
        for pattern, statement in self._all:
            if pattern.match(path):
                self._used.add(statement.pattern)
                return statement
        return None

    @property
    def unused(self) -> tuple[str, ...]:
        """Return the patterns that matched nothing."""
        return tuple(
            statement.pattern for _, statement in self._all if statement.pattern not in self._used
        )


class _Count:
    """How many, how large, and the first few."""

    def __init__(self) -> None:
        self.number = 0
        self.size_bytes = 0
        self.items: list[Item] = []


class Groups:
    """Items by format, width, disposition and statement."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._counts: dict[tuple[Identification, Statement | None], _Count] = {}

    def add(self, path: str, found: Identification, size_bytes: int) -> None:
        """Count an item; a statement about it outweighs what its bytes say."""
        statement = self._statements.about(path)
        if statement is not None:
            found = found._replace(disposition=statement.disposition)
        key = (found._replace(evidence=""), statement)
        counted = self._counts.get(key)
        if counted is None:
            counted = self._counts[key] = _Count()
        counted.number += 1
        counted.size_bytes += size_bytes
        plain = found.disposition is Disposition.PORTABLE and found.width_bits is None
        if len(counted.items) < EXAMPLES and (statement is not None or not plain):
            counted.items.append(Item(path, size_bytes, found.evidence))

    def finished(self) -> tuple[Group, ...]:
        """Return all groups, by format and width; their items by path."""
        groups = [
            Group(
                format=found.format,
                width_bits=found.width_bits,
                disposition=found.disposition,
                number=counted.number,
                size_bytes=counted.size_bytes,
                items=tuple(sorted(counted.items)),
                statement=statement,
            )
            for (found, statement), counted in self._counts.items()
        ]
        return tuple(
            sorted(
                groups,
                key=lambda group: (
                    group.format,
                    group.width_bits or 0,
                    group.disposition.value,
                    group.statement or (),
                ),
            )
        )


class Misses:
    """Things that were not looked at."""

    def __init__(self) -> None:
        self._count = 0
        self._examples: list[tuple[str, str]] = []

    def add(self, path: str, reason: str) -> None:
        """Count one, and keep it if it is among the first."""
        self._count += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append((path, reason))

    def finished(self) -> Skipped:
        """Return how many there were, and the first few."""
        return Skipped(self._count, tuple(sorted(self._examples)))
