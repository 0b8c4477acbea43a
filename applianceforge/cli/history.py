"""`applianceforge history`: what the updates, migrations and boots of this box came to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from applianceforge.cli.settle import root_option
from applianceforge.cli.summary import visible
from applianceforge.model.errors import BootDiskError
from applianceforge.slots import history
from applianceforge.slots.history import Past
from applianceforge.slots.places import BootPlaces

_DONE = 0
_SCHEMA = 1
_SHOWN = 20
_SAID = {
    "migrated": "the data was migrated to 64 bits and proved equal",
    "migration-ended": "the migration failed",
    "crossed": "crossed to 64 bits: its data is the truth from now on",
    "settled": "marked good",
    "given-up": "given up",
    "fell-back": "the other slot was given up, and this release runs again",
    "refused": "its services were shut",
    "went-back": "taken back to 32 bits by a person",
    "update-refused": "not updated",
    "update-installed": "installed, to start next",
    "update-failed": "the update failed",
    "updated": "updated",
}


@click.command("history")
@root_option
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=_SHOWN,
    show_default=True,
    metavar="N",
    help="How many entries, the newest last.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def history_command(root: Path, last: int, as_json: bool) -> int:
    """Say what happened to this appliance: updates, migrations, and what fell back and why.

    The history lies on the data partition and outlives the releases.
    """
    places = BootPlaces(root)
    if not places.release.exists():
        raise BootDiskError(
            "this machine is no appliance of ours: it has no /etc/applianceforge/release.env",
            hint="run it on an appliance with two slots",
        )
    found = history.read(places)
    shown = found[-last:]
    if as_json:
        click.echo(document(shown, len(found)))
    else:
        click.echo("\n".join(lines(shown, len(found))))
    return _DONE


def lines(shown: Sequence[Past], there_are: int) -> list[str]:
    """Return what a person reads: a line for each, and below it why.

    Args:
        shown: The entries.
        there_are: How many there are in all.
    """
    if not shown:
        return ["Nothing happened to this appliance yet that its history tells of."]
    told = []
    for one in shown:
        told.append(f"{_when(one.time_s)}  {_what(one)}")
        told += [f"{'':22}{text}" for text in _why(one)]
    if len(shown) < there_are:
        told.append(f"{there_are - len(shown)} older entries: applianceforge history --last N")
    return [visible(line) for line in told]


def _what(one: Past) -> str:
    said = _SAID.get(one.event, one.event)
    if one.origin and one.target:
        return f"{one.origin} -> {one.target}: {said}"
    if one.origin:
        return f"{one.origin}: {said}"
    slot = f", slot {one.slot}" if one.slot else ""
    return f"{one.release}{slot}: {said}"


def _why(one: Past) -> list[str]:
    told = []
    if one.message:
        told.append(f"Why: {one.message}" + (f" [{one.reason}]" if one.reason else ""))
    elif one.reason:
        told.append(f"Why: {one.reason}")
    if one.hint:
        told.append(f"What to do: {one.hint}")
    return told


def _when(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{'at an odd time':20}"


def document(shown: Sequence[Past], there_are: int) -> str:
    """Return the same for a program."""
    text = json.dumps(
        {"schema": _SCHEMA, "there_are": there_are, "entries": [_fields(one) for one in shown]},
        ensure_ascii=False,
        indent=1,
    )
    # With the bytes of a name that is not UTF-8 as escapes, or it could not be printed.
    return text.encode("utf-8", "backslashreplace").decode()


def _fields(one: Past) -> dict[str, Any]:
    return {
        "time": one.time_s,
        "event": one.event,
        "release": one.release,
        "architecture": one.architecture or None,
        "slot": one.slot or None,
        "from": one.origin or None,
        "to": one.target or None,
        "reason": one.reason or None,
        "message": one.message or None,
        "hint": one.hint or None,
    }
