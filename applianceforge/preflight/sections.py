"""Take text of sections apart, in one pass.

    # a comment; a line that begins with ; is one too
    [NAME]          the name ends with the line's last bracket, so that it may hold brackets
    KEY = VALUE     the key in small letters
        MORE        a line that stands further right than its key goes on with the value, up to an
                    empty line or a comment

The standard library's configparser reads the same, but its time grows with the square of the
number of mistakes, it stops at the first section that is there twice, and the section "\0" would be
of a special kind.
"""

from __future__ import annotations

from typing import NamedTuple

# Nobody can read more of a line in a message.
LONGEST_SHOWN = 80


class Section(NamedTuple):
    """One section; sections of the same name are one, and of equal keys the last counts."""

    name: str
    values: dict[str, str]


def decode(text: str) -> tuple[tuple[Section, ...], list[str]]:
    """Return the sections, and a sentence for each mistake, with its line's number."""
    reading = _Reading()
    for number, line in enumerate(text.split("\n"), 1):
        reading.take(number, line)
    sections = (
        Section(name, {key: "\n".join(lines) for key, lines in values.items()})
        for name, values in reading.sections.items()
    )
    return tuple(sections), reading.problems


class _Reading:
    """One pass over the lines; `sections` holds the lines of each value."""

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, list[str]]] = {}
        self.problems: list[str] = []
        self._name = ""
        # The keys since the last header; a section of the same name may have had others.
        self._keys: set[str] = set()
        # The value that the next line may go on with, and how far right its key stands.
        self._value: list[str] | None = None
        self._indent = 0
        self._began_early = False

    def take(self, number: int, line: str) -> None:
        content = line.strip()
        if not content or content[0] in "#;":
            self._value = None
            return
        indent = len(line) - len(line.lstrip())
        if self._value is not None and indent > self._indent:
            self._value.append(content)
            return
        self._value, self._indent = None, indent
        if len(content) > 2 and content[0] == "[" and content[-1] == "]":
            self._header(number, content[1:-1])
        elif self._name:
            self._entry(number, content)
        elif not self._began_early:
            self._began_early = True
            self.problems.append(
                f"line {number}: stands before the first section, such as [accept KEY]"
            )

    def _header(self, number: int, name: str) -> None:
        if name in self.sections:
            self.problems.append(f"line {number}: [{cut(name)}] is there twice; keep one")
        self.sections.setdefault(name, {})
        self._name = name
        self._keys = set()

    def _entry(self, number: int, content: str) -> None:
        key, equals, value = content.partition("=")
        key = key.strip().lower()
        if not equals or not key:
            self.problems.append(
                f"line {number}: `{cut(content)}` is no section, no `key = value` and no comment"
            )
            return
        if key in self._keys:
            self.problems.append(
                f"line {number}: [{cut(self._name)}] {cut(key)}: given twice; keep one"
            )
        self._keys.add(key)
        self._value = [value.strip()]
        self.sections[self._name][key] = self._value


def cut(text: str) -> str:
    """Return as much of a text as a message shows."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
