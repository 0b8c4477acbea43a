"""Read the values of a TOML table by their keys, and collect what is wrong with them.

A value that is missing or wrong becomes an empty one and a problem, so that one reading finds all.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from applianceforge.model.architecture import Architecture

_MIB = 1 << 20
_SIZE = re.compile(r"([1-9][0-9]{0,6}) ?(MiB|GiB)")


class Problem(NamedTuple):
    """What is wrong with the value of a key, and what to do about it."""

    key: str
    what: str
    remedy: str

    @classmethod
    def unknown(cls, key: str, what: str, name: str, known: Iterable[str]) -> Self:
        """Return the problem of a name that is not known, with the nearest that is."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            return cls(key, what, f"did you mean {near[0]}?")
        some = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        return cls(key, what, f"known: {some}" if names else "leave it out")


class Table:
    """One TOML table while it is read; at the end, what was not asked for is an unknown key."""

    def __init__(self, content: Mapping[str, Any], where: str, problems: list[Problem]) -> None:
        self._content = content
        self._where = where
        self._problems = problems
        self._known: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.end()

    @property
    def empty(self) -> bool:
        """Return whether nothing is in it."""
        return not self._content

    def end(self) -> None:
        """Report the keys that nobody asked for."""
        for key in self._content:
            if key not in self._known:
                self._problems.append(
                    Problem.unknown(self._where + key, "is no key here", key, self._known)
                )

    def problem(self, key: str, what: str, remedy: str) -> None:
        """Add a problem with a key of this table."""
        self._problems.append(Problem(self._where + key, what, remedy))

    def text(self, key: str, pattern: str, shape: str, default: str | None = None) -> str:
        """Return a text that matches the pattern as a whole; `shape` says it in words."""
        value = self._value(key, shape, required=default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.problem(key, f"is {value!r}", f"write {shape}, in quotes")
            return default or ""
        return value

    def texts(
        self, key: str, pattern: str, shape: str, *, required: bool = False
    ) -> tuple[str, ...]:
        """Return a list of texts that each match the pattern."""
        value = self._value(key, f"a list of {shape}", required=required)
        if value is None:
            return ()
        if not isinstance(value, list) or (required and not value):
            self.problem(key, f"is {value!r}", f"write a list of {shape}")
            return ()
        good = []
        for one in value:
            if isinstance(one, str) and re.fullmatch(pattern, one):
                good.append(one)
            else:
                self.problem(key, f"has {one!r}", f"write {shape}, in quotes")
        return tuple(good)

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """Return a number within bounds."""
        shape = f"a number from {least} to {most}"
        value = self._value(key, shape, required=default is None)
        if value is None:
            return default or 0
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.problem(key, f"is {value!r}", f"write {shape}")
            return default or 0
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(key, "true or false", required=False)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"is {value!r}", "write true or false, without quotes")
            return default
        return value

    def size(self, key: str, least_bytes: int, most_bytes: int, default: int | None = None) -> int:
        """Return a size such as "768MiB" in bytes."""
        least, most = f"{least_bytes // _MIB}MiB", f"{most_bytes >> 30}GiB"
        shape = f'a size such as "768MiB", from {least} to {most}'
        value = self._value(key, shape, required=default is None)
        if value is None:
            return least_bytes if default is None else default
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        size_bytes = int(match[1]) * (_MIB if match[2] == "MiB" else 1 << 30) if match else 0
        if not least_bytes <= size_bytes <= most_bytes:
            self.problem(key, f"is {value!r}", f"write {shape}, in whole MiB or GiB")
            return least_bytes
        return size_bytes

    def architecture(self, key: str) -> Architecture:
        """Return an architecture by Debian's name."""
        names = [one.value for one in Architecture]
        text = self.text(key, "|".join(names), " or ".join(names))
        return Architecture(text) if text in names else Architecture.AMD64

    def table(self, key: str, *, required: bool = True) -> "Table":
        """Return a table within this one; an empty one if it is not there."""
        value = self._value(key, "a table", required=False)
        if value is None:
            # What is required in it is then named key by key.
            return Table({}, f"{self._where}{key}.", self._problems if required else [])
        if not isinstance(value, Mapping):
            self.problem(key, f"is {value!r}", f"write it as a table: [{self._where}{key}]")
            return Table({}, f"{self._where}{key}.", [])
        return Table(value, f"{self._where}{key}.", self._problems)

    def tables(self, key: str) -> list["Table"]:
        """Return the tables of an array of tables."""
        value = self._value(key, "an array of tables", required=False)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            self.problem(key, "is no array of tables", f"write each as a table: [[{key}]]")
            return []
        return [
            Table(one, f"{self._where}{key}[{number}].", self._problems)
            for number, one in enumerate(value, 1)
        ]

    def _value(self, key: str, shape: str, *, required: bool) -> Any:
        self._known.append(key)
        value = self._content.get(key)
        if value is None and required:
            self.problem(key, "is missing", f"write {self._where}{key}, {shape}")
        return value
