"""Count what a scan finds while it goes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

from applianceforge.formats.foreign_words import Disposition, Identification
from applianceforge.model.errors import SettingsError
from applianceforge.preflight.scan_result import EXAMPLES, Group, Item, Skipped, Statement

_MOST_LETTERS = 1000


class Glob:
    """A pattern of paths: `*` and `?` match within a name, `**` over directories.

    A trailing `/**` means the directory itself, too, since one item may stand for all of it; `**/`
    may stand for nothing. Patterns come from answer files and from releases, so no pattern may take
    long: all places in the pattern where a match may be are kept as the bits of one number, and
    each letter of the path moves them on at once. Nothing is ever tried a second time.

    Source: Navarro, Raffinot, "Flexible Pattern Matching in Strings" (2002), 4.2 and 4.3: Shift-And
    with gaps and optional parts.
    """

    def __init__(self, pattern: str) -> None:
        # Bit n stands for "the first n steps are done".
        self._steps: dict[str, int] = {}
        self._any_letter = self._in_name = self._anywhere = self._optional = 0
        text = pattern.strip("/")
        while "**/**/" in text or "***" in text or text.endswith("**/**"):
            text = text.replace("**/**/", "**/").replace("***", "**")
            text = text[:-3] if text.endswith("**/**") else text
        tail = text.endswith("/**")
        text = text[:-3] if tail else text
        at, bit = 0, 1
        while at < len(text):
            if text.startswith("**/", at):
                # Two steps: neither, or any letters and a slash.
                self._optional |= bit
                bit <<= 1
                self._anywhere |= bit
                bit = self._step("/", bit)
                at += 3
            elif text.startswith("**", at):
                self._anywhere |= bit
                at += 2
            elif text[at] == "*":
                self._in_name |= bit
                at += 1
            else:
                bit = self._step(text[at], bit)
                at += 1
        self._last = bit
        if tail:
            bit = self._step("/", bit)
            self._anywhere |= bit
            self._last |= bit

    def _step(self, letter: str, bit: int) -> int:
        if letter == "?":
            self._any_letter |= bit
        else:
            self._steps[letter] = self._steps.get(letter, 0) | bit
        return bit << 1

    def matches(self, path: str) -> bool:
        """Return whether all of the path matches."""
        steps, any_letter, optional = self._steps, self._any_letter, self._optional
        anywhere, in_name = self._anywhere, self._anywhere | self._in_name
        places = 1 | (1 & optional) << 1 | (1 & optional) << 2
        for letter in path:
            if letter == "/":
                moved = (places & steps.get(letter, 0)) << 1 | places & anywhere
            else:
                moved = (places & (steps.get(letter, 0) | any_letter)) << 1 | places & in_name
            if not moved:
                return False
            places = moved | (moved & optional) << 1 | (moved & optional) << 2
        return bool(places & self._last)


class Statements:
    """The statements, the first one that matches counts; and which of them matched.

    Raises:
        SettingsError: A pattern is longer than any that somebody would write.
    """

    def __init__(self, statements: Iterable[Statement]) -> None:
        statements = tuple(statements)
        for statement in statements:
            if len(statement.pattern) > _MOST_LETTERS:
                raise SettingsError(
                    f"{statement.by}: the pattern {statement.pattern[:40]!r}... is longer than"
                    f" {_MOST_LETTERS} characters",
                    hint="write `**` for directories that need not be named",
                )
        self._all = tuple((Glob(statement.pattern), statement) for statement in statements)
        self._used: set[str] = set()

    def about(self, path: str) -> Statement | None:
        """Return the first statement about this path."""
        for pattern, statement in self._all:
            if pattern.matches(path):
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
