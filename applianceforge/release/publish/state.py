"""What a repository says of itself on the build machine: `repository.json`, bytes to values.

    {
      "schema": 1,
      "appliance": "gateway",
      "roles": {"root": {"days": 365, "warn_days": 60}, "targets": ..., "snapshot": ...,
                "timestamp": ...},
      "keys": [{"name": "root-1", "role": "root", "id": KEY ID, "uri": "file:root-1.pem"}, ...]
    }

`days` and `warn_days` may be edited. Which keys count, and how many of them, stands in the signed
root alone; here is where their private halves are found. No private key is in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from applianceforge.model.errors import RepositoryError
from applianceforge.release.publish.expiry import DEFAULTS, Role, Validity

SCHEMA = 1
FILE_SCHEME = "file:"
_MOST_DAYS = 36_500
_LARGEST_BYTES = 1 << 20
_HINT = "restore repository.json from a copy; days and warn_days alone are meant to be edited"
_APPLIANCE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class KeyEntry:
    """A key, without its private half.

    Attributes:
        name: Such as `root-1`; no name is ever used again.
        role: What it signs.
        key_id: As in the root.
        uri: Where its private half is: `file:NAME.pem` below a directory that each command is
            given, or `hsm:...` as securesystemslib reads it.
    """

    name: str
    role: Role
    key_id: str
    uri: str


@dataclass(frozen=True)
class RepositoryState:
    """What a repository says of itself.

    Attributes:
        appliance: What all its releases are for.
        validities: How long each role signs for.
        keys: Those that count, and those that did.
    """

    appliance: str
    validities: tuple[tuple[Role, Validity], ...]
    keys: tuple[KeyEntry, ...] = ()

    def validity(self, role: Role) -> Validity:
        """Return how long a role signs for."""
        return dict(self.validities)[role]

    def named(self, key_id: str) -> KeyEntry | None:
        """Return a key by its id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def next_name(self, role: Role) -> int:
        """Return the number of a role's next key."""
        numbers = (key.name.rpartition("-")[2] for key in self.keys if key.role is role)
        return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)

    def with_keys(self, keys: tuple[KeyEntry, ...]) -> RepositoryState:
        """Return the same with more keys."""
        return replace(self, keys=self.keys + keys)


def require_appliance(name: str) -> None:
    """Let a name of an appliance pass that can be a part of a file's name.

    Raises:
        RepositoryError: It is none.
    """
    if not _APPLIANCE.fullmatch(name):
        raise RepositoryError(
            f"{name[:80]!r} cannot be the name of an appliance",
            hint="take up to 64 small letters, digits and '-', beginning with a letter or digit;"
            " the same as `appliance` in the recipes",
        )


def new(appliance: str, days: dict[Role, int]) -> RepositoryState:
    """Return the state of a new repository.

    Args:
        appliance: What its releases are for.
        days: Where a role signs for another time than by default.

    Raises:
        RepositoryError: The name, or a number of days, cannot be.
    """
    require_appliance(appliance)
    validities = []
    for role, usual in DEFAULTS.items():
        wanted = days.get(role, usual.days)
        if not 1 <= wanted <= _MOST_DAYS:
            raise RepositoryError(
                f"{role.value} cannot be valid for {wanted} days",
                hint=f"take 1 to {_MOST_DAYS} days",
            )
        # Whoever signs for a shorter time than usual wants no warning from the first day on.
        validities.append((role, Validity(wanted, min(usual.warn_days, max(1, wanted // 2)))))
    return RepositoryState(appliance, tuple(validities))


def encode(state: RepositoryState) -> bytes:
    """Return the document."""
    document = {
        "schema": SCHEMA,
        "appliance": state.appliance,
        "roles": {
            role.value: {"days": validity.days, "warn_days": validity.warn_days}
            for role, validity in state.validities
        },
        "keys": [
            {"name": key.name, "role": key.role.value, "id": key.key_id, "uri": key.uri}
            for key in state.keys
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def decode(data: bytes, name: str = "repository.json") -> RepositoryState:
    """Decode the document.

    Raises:
        RepositoryError: It is wrong.
    """
    try:
        document = json.loads(data) if len(data) <= _LARGEST_BYTES else None
    except (ValueError, RecursionError) as error:
        raise RepositoryError(f"{name} is not JSON: {error}", hint=_HINT) from None
    if not isinstance(document, dict):
        raise RepositoryError(f"{name} is not a JSON object of a repository", hint=_HINT)
    schema = document.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise RepositoryError(
            f"{name} has schema {schema}; this program knows schemas up to {SCHEMA}",
            hint="use the program that wrote it, or a newer one",
        )
    try:
        return _state(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepositoryError(f"{name} is wrong: {_told(error)}", hint=_HINT) from None


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _state(document: dict[str, Any]) -> RepositoryState:
    if document.get("schema") != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}")
    roles = document["roles"]
    validities = tuple((role, _validity(role, roles[role.value])) for role in Role)
    keys = tuple(
        KeyEntry(_text(key["name"]), Role(key["role"]), _text(key["id"]), _text(key["uri"]))
        for key in document["keys"]
    )
    for key in keys:
        if "/" in key.name or key.name.startswith("."):
            raise ValueError(f"a key is named {key.name!r}")
    appliance = _text(document["appliance"])
    if not _APPLIANCE.fullmatch(appliance):
        raise ValueError(f"the appliance is called {appliance!r}")
    return RepositoryState(appliance, validities, keys)


def _validity(role: Role, part: dict[str, Any]) -> Validity:
    days, warn = part["days"], part["warn_days"]
    for value, least in ((days, 1), (warn, 0)):
        if type(value) is not int or not least <= value <= _MOST_DAYS:
            raise ValueError(f"days of {role.value} must be whole numbers up to {_MOST_DAYS}")
    return Validity(days, warn)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError(f"{value!r} is not a text of up to 1000 characters")
    return value
