"""The version floor: below which release a box that was migrated is not taken any more.

/data/forge/floor is JSON: schema (1), version, architecture. It is written by the last step of a
migration, directly before the epoch is raised, and it counts from the instant at which the epoch
names its architecture: so it appears with the epoch's one write, whatever cuts the power between
the two. For the same reason it counts no more as soon as the epoch is taken back to 32 bits; the
file that is left then is removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError, SlotError
from applianceforge.slots.places import BootPlaces, Release, read_epoch
from applianceforge.system import files
from applianceforge.system.effects import Effects

SCHEMA = 1
_PUBLIC = 0o644
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Floor:
    """The release that the box was migrated by."""

    version: str
    architecture: Architecture


def path(places: BootPlaces) -> Path:
    """Return the file."""
    return places.forge / "floor"


def encode(floor: Floor) -> bytes:
    """Return the file's content."""
    fields = {
        "schema": SCHEMA,
        "version": floor.version,
        "architecture": floor.architecture.value,
    }
    return f"{json.dumps(fields)}\n".encode()


def decode(content: bytes, name: str) -> Floor:
    """Return what the file says.

    Args:
        content: Of the file.
        name: What messages call it.

    Raises:
        SettingsError: It is damaged, or of a newer schema.
    """
    try:
        fields = json.loads(content)
        schema = int(fields["schema"])
        if schema > SCHEMA:
            raise SettingsError(
                f"{name} is of schema {schema}, and this program knows {SCHEMA}",
                hint="a newer release wrote it: start that one",
            )
        floor = Floor(fields["version"], Architecture(fields["architecture"]))
    except _DAMAGED as error:
        raise _damaged(name) from error
    if not isinstance(floor.version, str) or not floor.version:
        raise _damaged(name)
    return floor


def _damaged(name: str) -> SettingsError:
    return SettingsError(
        f"{name} is damaged: it does not say below which release this box must not be taken",
        hint=f'write it anew: {{"schema": {SCHEMA}, "version": ..., "architecture": "amd64"}} with'
        " the version of the release that migrated the data, which /data/forge/history.jsonl names"
        " in its line `crossed`",
    )


def read(places: BootPlaces) -> Floor | None:
    """Return the floor that counts; None if the box was never migrated, or has gone back.

    Raises:
        SettingsError: The file, or the epoch, is damaged.
        AccessDeniedError: It may not be read.
    """
    file = path(places)
    content = files.read_plain(file)
    if content is None:
        return None
    found = decode(content, str(file))
    return found if read_epoch(places) is found.architecture else None


def write(places: BootPlaces, release: Release, effects: Effects) -> None:
    """Note durably that the data was migrated by this release; it counts from the epoch on."""
    content = encode(Floor(release.version, release.architecture))
    files.write_file(path(places), content, effects, mode=_PUBLIC)


def remove(places: BootPlaces, effects: Effects) -> None:
    """Remove the floor; it is no error if there is none."""
    files.remove_tree(path(places), effects)


def check(
    floor: Floor | None,
    release: tuple[Architecture, str],
    is_older: Callable[[str, str], bool],
) -> None:
    """Refuse a release that lies below the floor.

    Args:
        floor: As `read` returns it.
        release: Architecture and version of the release that is to start.
        is_older: Tells whether the first version is older than the second.

    Raises:
        SlotError: It is below.
    """
    architecture, version = release
    if floor is None:
        return
    if architecture is not floor.architecture:
        raise SlotError(
            f"this box was migrated to {floor.architecture.value}, and the other slot holds"
            f" a release of {architecture.value}: started so, it would keep its services shut",
            hint="go back with the data: `applianceforge migrate back --check` says whether there"
            " is a way",
        )
    if is_older(version, floor.version):
        raise SlotError(
            f"release {version} is older than {floor.version}, by which the data of this box was"
            " migrated: it may not understand that data",
            hint=f"install {floor.version} or a newer release",
        )
