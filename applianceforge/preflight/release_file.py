"""Decode `RELEASE.json`, in which a release says what it requires.

It is described, with an example, in docs/requirements.md. A key that is not known, a value of the
wrong kind, a number that cannot be: all problems are told at once.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import given_file
from applianceforge.preflight.requirements import (
    DataStatement,
    Kernel,
    Last32Bit,
    PostgreSQL,
    Release,
)

SCHEMA = 1
LARGEST_BYTES = 1 << 18

# The same words as in an answer file.
DISPOSITIONS = ("portable", "converted", "rebuilt", "discard", "carried-over")
IA32 = ("yes", "no", "option")
_HIGHEST_LEVEL = 4
# A size that no machine has is a slip of the unit.
_LARGEST_SIZE = 1 << 60
_LARGEST_TIME = 1 << 40
_MOST_ENTRIES = 10_000
_LONGEST_TEXT = 4000
_LONGEST_KEY = 80
# The largest numbers that are meant have 19.
_MOST_DIGITS = 20
_MOST_PROBLEMS = 100


def read(path: Path) -> Release:
    """Read and decode a release's file.

    Raises:
        SettingsError: It cannot be read, is too large, or is wrong.
    """
    try:
        data = given_file.read(str(path), LARGEST_BYTES)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}",
            hint="name the RELEASE.json of the release that you want to install",
        ) from None
    return decode(data, str(path))


def decode(data: bytes, name: str = "RELEASE.json") -> Release:
    """Decode a release's file.

    Args:
        name: What the file is called, for messages.

    Raises:
        SettingsError: It is wrong; the evidence names every problem.
    """
    if len(data) > LARGEST_BYTES:
        raise SettingsError(
            f"{name} is larger than {LARGEST_BYTES // 1024} KiB, so it is no release's file",
            hint="name the RELEASE.json of the release that you want to install",
        )
    document = _parsed(data, name)
    reader = _Reader()
    schema = document.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise SettingsError(
            f"{name} has schema {schema}; this program knows schemas up to {SCHEMA}",
            hint="use the check that comes with that release, or a newer one",
        )
    release = _release(reader, document)
    if reader.problems or release is None:
        count = reader.count
        raise SettingsError(
            f"{name} has {count} problem{'' if count == 1 else 's'}: {reader.problems[0]}",
            hint="mend the file as docs/requirements.md says, or ask your vendor for a right one",
            evidence=reader.told,
        )
    return release


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"{name} is not JSON: {error}", hint="download it again, or ask your vendor for it"
        ) from None
    if not isinstance(document, dict):
        raise SettingsError(
            f"{name} is not a JSON object",
            hint="name the RELEASE.json of the release that you want to install",
        )
    return document


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


class _Reader:
    """Take values out of a document, and collect what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.count = 0

    @property
    def told(self) -> tuple[str, ...]:
        """Return the first problems, and how many more there are."""
        more = self.count - len(self.problems)
        return (*self.problems, f"and {more} more") if more else tuple(self.problems)

    def wrong(self, where: str, what: str) -> None:
        self.count += 1
        if self.count <= _MOST_PROBLEMS:
            self.problems.append(f"{where} {what}")

    def keys(self, document: dict[str, Any], where: str, known: tuple[str, ...]) -> None:
        for key in document:
            if key not in known:
                # Looking for the nearest takes time, of which a made-up file must not get much.
                few = self.count < _MOST_PROBLEMS
                near = get_close_matches(key[:_LONGEST_KEY], known, 1) if few else []
                meant = f"; did you mean {near[0]}?" if near else ""
                self.wrong(f"{where}{key[:_LONGEST_KEY]}", f"is not known{meant}")

    def object(self, document: dict[str, Any], key: str) -> dict[str, Any] | None:
        value = document.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.wrong(key, "must be an object")
        return None

    def number(
        self, document: dict[str, Any], key: str, where: str, highest: int, default: int = 0
    ) -> int:
        value = document.get(key, default)
        if type(value) is int and 0 <= value <= highest:
            return value
        self.wrong(where + key, f"must be a whole number from 0 to {highest}")
        return default

    def text(self, document: dict[str, Any], key: str, where: str, *, needed: bool = False) -> str:
        value = document.get(key, "")
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            self.wrong(where + key, f"must be a text of at most {_LONGEST_TEXT} characters")
            return ""
        if needed and not value.strip():
            self.wrong(where + key, "must be there")
        return value.strip()

    def word(
        self, document: dict[str, Any], key: str, where: str, known: tuple[str, ...], default: str
    ) -> str:
        value = document.get(key, default)
        if value in known:
            return str(value)
        self.wrong(where + key, f"must be one of {', '.join(known)}")
        return default

    def texts(self, document: dict[str, Any], key: str, where: str) -> tuple[str, ...] | None:
        value = document.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
            self.wrong(where + key, "must be a list of texts")
            return None
        if not all(isinstance(one, str) and len(one) <= _LONGEST_TEXT for one in value):
            self.wrong(where + key, "must be a list of texts")
            return None
        return tuple(value)


_KEYS = (
    "schema",
    "appliance",
    "version",
    "architecture",
    "released_s",
    "requires",
    "kernel",
    "postgresql",
    "data",
    "last_32_bit",
)
_REQUIRES = (
    "x86_64_level",
    "memory_bytes",
    "data_bytes",
    "slot_bytes",
    "minimum_version",
    "firmware",
)


def _release(reader: _Reader, document: dict[str, Any]) -> Release | None:
    reader.keys(document, "", _KEYS)
    if type(document.get("schema")) is not int or document["schema"] < 1:
        reader.wrong("schema", f"must be the number {SCHEMA}")
    names = tuple(one.value for one in Architecture)
    architecture = reader.word(document, "architecture", "", names, "")
    requires = reader.object(document, "requires") or {}
    reader.keys(requires, "requires.", _REQUIRES)
    level = reader.number(requires, "x86_64_level", "requires.", _HIGHEST_LEVEL, 1)
    if architecture == "i386" and level > 1:
        reader.wrong("requires.x86_64_level", "is for architecture amd64 only")
    release = Release(
        architecture=Architecture(architecture) if architecture else Architecture.AMD64,
        appliance=reader.text(document, "appliance", "", needed=True),
        version=reader.text(document, "version", "", needed=True),
        released_s=reader.number(document, "released_s", "", _LARGEST_TIME),
        x86_64_level=max(level, 1),
        memory_bytes=reader.number(requires, "memory_bytes", "requires.", _LARGEST_SIZE),
        data_bytes=reader.number(requires, "data_bytes", "requires.", _LARGEST_SIZE),
        slot_bytes=reader.number(requires, "slot_bytes", "requires.", _LARGEST_SIZE),
        minimum_version=reader.text(requires, "minimum_version", "requires."),
        firmware=reader.word(requires, "firmware", "requires.", ("", "bios"), ""),
        kernel=_kernel(reader, reader.object(document, "kernel")),
        postgresql=_postgresql(reader, reader.object(document, "postgresql")),
        data=_data(reader, document.get("data", [])),
        last_32_bit=_last(reader, reader.object(document, "last_32_bit")),
    )
    return None if reader.problems else release


def _kernel(reader: _Reader, part: dict[str, Any] | None) -> Kernel | None:
    if part is None:
        return None
    reader.keys(part, "kernel.", ("version", "ia32_emulation"))
    return Kernel(
        reader.text(part, "version", "kernel."),
        reader.word(part, "ia32_emulation", "kernel.", IA32, "yes"),
    )


def _postgresql(reader: _Reader, part: dict[str, Any] | None) -> PostgreSQL | None:
    if part is None:
        return None
    where = "postgresql."
    reader.keys(part, where, ("major", "extensions", "locales"))
    major = reader.number(part, "major", where, 1000)
    if major == 0:
        reader.wrong("postgresql.major", "must be there")
    extensions = reader.texts(part, "extensions", where)
    return PostgreSQL(major, extensions, reader.texts(part, "locales", where))


def _data(reader: _Reader, part: object) -> tuple[DataStatement, ...]:
    if not isinstance(part, list) or len(part) > _MOST_ENTRIES:
        reader.wrong("data", "must be a list of objects")
        return ()
    found = []
    for number, one in enumerate(part):
        where = f"data[{number}]."
        if not isinstance(one, dict):
            reader.wrong(where[:-1], "must be an object")
            continue
        reader.keys(one, where, ("pattern", "is", "reason"))
        statement = DataStatement(
            reader.text(one, "pattern", where, needed=True),
            reader.word(one, "is", where, DISPOSITIONS, ""),
            reader.text(one, "reason", where, needed=True),
        )
        if statement.pattern.startswith("/") or ".." in statement.pattern.split("/"):
            reader.wrong(f"{where}pattern", "must be relative to the data directory, without ..")
        found.append(statement)
    return tuple(found)


def _last(reader: _Reader, part: dict[str, Any] | None) -> Last32Bit | None:
    if part is None:
        return None
    where = "last_32_bit."
    reader.keys(part, where, ("version", "supported_until", "advice"))
    return Last32Bit(
        reader.text(part, "version", where, needed=True),
        reader.text(part, "supported_until", where),
        reader.text(part, "advice", where),
    )
