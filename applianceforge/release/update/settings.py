"""The settings of the update: where releases come from, and when they may be installed.

Two TOML files with the same keys: the vendor's in the image, and the administrator's in the data
partition, whose keys count where both have one. `example.toml` beside this module is the commented
example. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from applianceforge.model.errors import SettingsError
from applianceforge.release.graph import STABLE
from applianceforge.release.update.window import Window

SCHEMA = 1
# A century: what is longer is a mistake.
_MOST_DAYS = 36525
_PROXIES = ("http://", "https://")
_SERVERS = ("http://", "https://", "file:///")
_HINT = (
    "mend it in /data/config/update.toml; /etc/applianceforge/update.toml shows every key, with"
    " what counts without yours"
)


@dataclass(frozen=True)
class UpdateSettings:
    """What both files say together.

    Attributes:
        repository: Where releases come from: a URL, or a directory; "" if nobody said.
        channel: Releases of this channel are offered.
        proxy: The URL of an HTTP proxy; "" for none.
        automatic: Install what is offered without asking, while the window is open.
        window: When that may be.
        retention_days: How long the way back to 32 bits is kept after the crossing; None is as the
            migration has it.
    """

    repository: str = ""
    channel: str = STABLE
    proxy: str = ""
    automatic: bool = False
    window: Window = field(default_factory=Window)
    retention_days: float | None = None


def decode(files: Iterable[tuple[str, str]]) -> UpdateSettings:
    """Decode the files together.

    Args:
        files: The name and the content of each, in the order in which they count: the keys of a
            later one take the place of an earlier one's.

    Raises:
        SettingsError: Not TOML, an unknown key, or a value of the wrong kind. All problems of a
            file are named at once.
    """
    values: dict[str, Any] = {}
    for name, text in files:
        values |= _decode_file(name, text)
    return UpdateSettings(**values)


def _decode_file(name: str, text: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Beside what is no TOML: numbers of thousands of digits, brackets within brackets.
        raise SettingsError(f"{name} is not TOML: {error}", hint=_HINT) from error
    schema = table.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise SettingsError(
            f"{name} has schema {schema!r}; this version knows schema {SCHEMA}",
            hint="use the keys of the release that runs: /etc/applianceforge/update.toml",
        )
    problems: list[str] = []
    values = dict(_decode_values(table, problems))
    if problems:
        raise SettingsError(f"{name}: " + "; ".join(problems), hint=_HINT)
    return values


def _decode_values(
    table: Mapping[str, Any], problems: list[str]
) -> Iterable[tuple[str, str | bool | float | Window]]:
    known = [one.name for one in fields(UpdateSettings)]
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f", did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            problems.append(f"unknown key {key}{advice}")
            continue
        try:
            yield key, _decode_value(key, value)
        except ValueError as error:
            problems.append(f"{key} {error}")


def _decode_value(key: str, value: object) -> str | bool | float | Window:
    """Return the value of a key.

    Raises:
        ValueError: It is not of its kind; the message goes after the key's name.
    """
    if key == "automatic":
        if isinstance(value, bool):
            return value
        raise ValueError("must be true or false, without quotes")
    if key == "retention_days":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and isinstance(value, int | float) and 0 <= value <= _MOST_DAYS:
            return float(value)
        raise ValueError(f"must be a number of days, 0 to {_MOST_DAYS}")
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")
    if key == "window":
        return Window.parse(value)
    if not value.isprintable():
        raise ValueError("must be without control characters")
    if key == "proxy" and value and not value.startswith(_PROXIES):
        raise ValueError("must be a URL such as http://proxy.example:3128, or empty")
    if key == "repository" and value and not value.startswith((*_SERVERS, "/")):
        raise ValueError("must be a URL such as https://updates.example/, or an absolute path")
    if key == "channel" and (not value or " " in value):
        raise ValueError("must be the name of a channel, such as stable")
    return value
