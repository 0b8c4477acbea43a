"""Encode and decode `RELEASE.json`, in which a release says what it requires.

It is described, with an example, in docs/requirements.md. A key that is not known, a value of the
wrong kind, a number that cannot be: all problems are told at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import given_file, json_values
from applianceforge.preflight.json_values import Reader
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


def encode(release: Release) -> dict[str, Any]:
    """Return a release's file as what the json module writes; what has its default is left out."""
    requires = {
        "x86_64_level": release.x86_64_level if release.x86_64_level > 1 else 0,
        "memory_bytes": release.memory_bytes,
        "data_bytes": release.data_bytes,
        "slot_bytes": release.slot_bytes,
        "minimum_version": release.minimum_version,
        "firmware": release.firmware,
    }
    parts: dict[str, Any] = {
        "released_s": release.released_s,
        "requires": {key: value for key, value in requires.items() if value},
        "data": [
            {"pattern": one.pattern, "is": one.disposition, "reason": one.reason}
            for one in release.data
        ],
    }
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "appliance": release.appliance,
        "version": release.version,
        "architecture": release.architecture.value,
        **{key: value for key, value in parts.items() if value},
    }
    if release.kernel is not None:
        document["kernel"] = release.kernel._asdict()
    if release.postgresql is not None:
        there = release.postgresql._asdict().items()
        document["postgresql"] = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in there
            if value is not None
        }
    if release.last_32_bit is not None:
        last = release.last_32_bit._asdict().items()
        document["last_32_bit"] = {key: value for key, value in last if value}
    return {key: document[key] for key in _KEYS if key in document}


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
    schema = document.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise SettingsError(
            f"{name} has schema {schema}; this program knows schemas up to {SCHEMA}",
            hint="use the check that comes with that release, or a newer one",
        )
    reader = Reader()
    release = from_object(document, reader)
    if release is None:
        count = reader.count
        raise SettingsError(
            f"{name} has {count} problem{'' if count == 1 else 's'}: {reader.problems[0]}",
            hint="mend the file as docs/requirements.md says, or ask your vendor for a right one",
            evidence=reader.told,
        )
    return release


def from_object(document: dict[str, Any], reader: Reader) -> Release | None:
    """Return the release that an object of another document describes.

    Args:
        document: The object.
        reader: A fresh one; it collects the problems.

    Returns:
        None if there are problems.
    """
    reader.keys(document, "", _KEYS)
    if type(document.get("schema")) is not int or not 1 <= document["schema"] <= SCHEMA:
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


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json_values.parsed(data)
    except ValueError as error:
        raise SettingsError(
            f"{name} is not JSON: {error}", hint="download it again, or ask your vendor for it"
        ) from None
    if document is None:
        raise SettingsError(
            f"{name} is not a JSON object",
            hint="name the RELEASE.json of the release that you want to install",
        )
    return document


def _kernel(reader: Reader, part: dict[str, Any] | None) -> Kernel | None:
    if part is None:
        return None
    reader.keys(part, "kernel.", ("version", "ia32_emulation"))
    return Kernel(
        reader.text(part, "version", "kernel."),
        reader.word(part, "ia32_emulation", "kernel.", IA32, "yes"),
    )


def _postgresql(reader: Reader, part: dict[str, Any] | None) -> PostgreSQL | None:
    if part is None:
        return None
    where = "postgresql."
    reader.keys(part, where, ("major", "extensions", "locales"))
    major = reader.number(part, "major", where, 1000)
    if major == 0:
        reader.wrong("postgresql.major", "must be there")
    extensions = reader.texts(part, "extensions", where)
    return PostgreSQL(major, extensions, reader.texts(part, "locales", where))


def _data(reader: Reader, part: object) -> tuple[DataStatement, ...]:
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


def _last(reader: Reader, part: dict[str, Any] | None) -> Last32Bit | None:
    if part is None:
        return None
    where = "last_32_bit."
    reader.keys(part, where, ("version", "supported_until", "advice"))
    return Last32Bit(
        reader.text(part, "version", where, needed=True),
        reader.text(part, "supported_until", where),
        reader.text(part, "advice", where),
    )
