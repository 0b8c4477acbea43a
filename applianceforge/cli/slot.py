"""`applianceforge slot`: look at both slots, write the one that does not run, let it start."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from applianceforge.cli import progress
from applianceforge.cli.summary import visible
from applianceforge.cpuid import probe
from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import NO_REASON, Environment
from applianceforge.model.errors import AccessDeniedError, ForgeError
from applianceforge.release import ordering
from applianceforge.slots import disk, floor, layout, reasons, states, writing
from applianceforge.slots.description import Description
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import BootPlaces
from applianceforge.slots.writing import SlotWriter
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress

_SCHEMA = 1
_BY_HAND = "by-hand"

Command = Callable[..., Any]


@dataclass(frozen=True)
class Place:
    """Where the slots are, and their boot environment.

    Attributes:
        disk: The disk with the slots.
        loader: Its boot environment.
        effects: Told of each write.
        passed_over: Why GRUB passed a slot over when it started this system, as it told the
            kernel; it may have been unable to write that down.
    """

    disk: BootDisk
    loader: Loader
    effects: Effects
    passed_over: str = ""


def _placed(command: Command) -> Command:
    """Add the options that name the parts of a disk; without them the kernel is asked."""
    for option in (
        click.option(
            "--booted",
            type=click.Choice([slot.value for slot in Slot]),
            help="The slot that runs, if it cannot be found out.",
        ),
        click.option(
            "--slot-device",
            type=click.Path(path_type=Path),
            help="The partition, or the file, of the slot that does not run.",
        ),
        click.option(
            "--boot-directory",
            type=click.Path(path_type=Path),
            help=f"Where the boot partition is mounted; by default {layout.BOOT_MOUNT_POINT}.",
        ),
    ):
        command = option(command)
    return command


def _place(
    boot_directory: Path | None, slot_device: Path | None, booted: str | None, *, changes: bool
) -> Place:
    """Return what the options name, and the rest as the kernel knows it.

    Raises:
        BootDiskError: The system does not run from a disk with two slots.
        AccessDeniedError: Only root may change that disk.
    """
    passed_over = ""
    if booted is not None and boot_directory is not None:
        found = BootDisk(Slot(booted), boot_directory)
    else:
        found = disk.find()
        passed_over = disk.passed_over()
        if changes and os.geteuid() != 0:
            raise AccessDeniedError(
                "only root may change what starts this machine",
                hint="run the same command with sudo, or as root",
            )
        found = replace(
            found,
            booted=found.booted if booted is None else Slot(booted),
            loader=boot_directory or found.loader,
        )
    if slot_device is not None:
        device = slot_device.absolute()
        if found.booted is Slot.A:
            found = replace(found, slot_b=device)
        else:
            found = replace(found, slot_a=device)
    effects = Effects()
    return Place(found, Loader(found.loader, effects), effects, passed_over)


@click.group()
def slot() -> None:
    """Look at both slots, write the one that does not run, and let it start.

    \b
    In this order a new system comes onto an appliance; until it is marked good, the slot that runs
    now is what starts when anything goes wrong:
      applianceforge slot write system.slot.zst     into the slot that does not run
      applianceforge slot activate                  start it next, with three tries
      applianceforge slot mark-good                 on the new system, when it works
    """


@slot.command()
@_placed
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def status(
    boot_directory: Path | None, slot_device: Path | None, booted: str | None, as_json: bool
) -> None:
    """Say which slot runs, which starts next, and why a slot was passed over."""
    place = _place(boot_directory, slot_device, booted, changes=False)
    environment = place.loader.read()
    if as_json:
        click.echo(json.dumps(_document(place, environment), indent=2, ensure_ascii=False))
    else:
        _show(place, environment, Console(highlight=False))


@slot.command()
@click.argument("image", type=click.Path(path_type=Path))
@_placed
@click.option(
    "--sha256", default="", metavar="DIGEST", help="Of the image, decompressed; checked first."
)
@click.option(
    "--progress",
    "shown",
    type=click.Choice(progress.KINDS),
    default="auto",
    show_default=True,
    help="How progress is shown: on the terminal, as lines, as JSON Lines, or not.",
)
def write(
    image: Path,
    boot_directory: Path | None,
    slot_device: Path | None,
    booted: str | None,
    sha256: str,
    shown: str,
) -> None:
    """Write the slot image IMAGE (.zst as well) into the slot that does not run.

    The image is checked before anything is changed. While it is written the slot cannot be started,
    and afterwards what the disk holds is read again and compared. It starts only after `activate`.
    """
    place = _place(boot_directory, slot_device, booted, changes=True)
    with progress.choose(shown) as sink:
        written = SlotWriter(place.disk, place.loader, place.effects, sink).write(image, sha256)
    if shown == "json":
        fields = _described(written.description) | {"sha256": written.sha256}
        click.echo(json.dumps({"schema": _SCHEMA, "event": "finished"} | fields))
        return
    click.echo(
        f"Slot {written.slot.value} holds {_title(written.description)}. Let it start next:"
        " applianceforge slot activate"
    )


@slot.command()
@_placed
def activate(boot_directory: Path | None, slot_device: Path | None, booted: str | None) -> None:
    """Let the slot that does not run start next, with three tries.

    It is refused if that slot holds no whole system, one that this processor cannot run, or one
    that is older than the release by which this box was migrated.
    """
    place = _place(boot_directory, slot_device, booted, changes=True)
    if boot_directory is None:
        held = writing.describe(place.disk.device(place.disk.booted.other), place.effects)
        floor.check(
            floor.read(BootPlaces()),
            (held.architecture, held.version),
            lambda version, other: ordering.compare(version, other) < 0,
        )
    writer = SlotWriter(place.disk, place.loader, place.effects, NoProgress())
    _, described = writer.activate(probe.long_mode())
    click.echo(
        f"Slot {place.disk.booted.other.value} starts next: {_title(described)}. Restart the"
        " machine when it suits you."
    )


@slot.command("mark-good")
@_placed
def mark_good(boot_directory: Path | None, slot_device: Path | None, booted: str | None) -> None:
    """Say that the slot that runs works: it starts from now on, and its starts are not counted.

    If both copies of the boot environment are lost, they are written anew.
    """
    place = _place(boot_directory, slot_device, booted, changes=True)
    place.loader.mark_good(place.disk.booted)
    click.echo(f"Slot {place.disk.booted.value} is good.")


@slot.command("mark-bad")
@click.option(
    "--slot",
    "which",
    type=click.Choice([slot.value for slot in Slot]),
    help="Which slot; by default the one that runs.",
)
@click.option("--reason", default=_BY_HAND, show_default=True, help="Why, in one word.")
@_placed
def mark_bad(
    which: str | None,
    reason: str,
    boot_directory: Path | None,
    slot_device: Path | None,
    booted: str | None,
) -> None:
    """Say that a slot does not work: it does not start any more, and the other one does."""
    place = _place(boot_directory, slot_device, booted, changes=True)
    marked = place.disk.booted if which is None else Slot(which)
    place.loader.mark_bad(marked, reason)
    click.echo(f"Slot {marked.value} does not start any more; slot {marked.other.value} does.")


@dataclass(frozen=True)
class _Content:
    """What a slot holds, or why that is not known."""

    description: Description | None
    problem: str


def _content(place: Place, which: Slot) -> _Content:
    try:
        return _Content(writing.describe(place.disk.device(which), place.effects), "")
    except ForgeError as error:
        return _Content(None, error.message)


def _described(description: Description | None) -> dict[str, Any]:
    if description is None:
        return {"name": None, "version": None, "architecture": None}
    return {
        "name": description.name,
        "version": description.version,
        "architecture": description.architecture.value,
    }


def _title(description: Description) -> str:
    # It comes from the image: nothing that a terminal would obey.
    return visible(f"{description.name} {description.version} ({description.architecture.value})")


def _problems(place: Place) -> tuple[str, ...]:
    return bootenv.sane(place.loader.copies())


def _reason(place: Place, environment: Environment) -> str:
    """Return why a slot was passed over or marked bad last; "" if none was."""
    return place.passed_over if environment.reason == NO_REASON else environment.reason


def _document(place: Place, environment: Environment) -> dict[str, Any]:
    marker = place.loader.marker()
    slots: dict[str, Any] = {}
    for which in Slot:
        content = _content(place, which)
        variables = environment.a if which is Slot.A else environment.b
        slots[which.value] = {
            "state": states.state_of(environment, which).value,
            "bootable": variables.boot,
            "tries": variables.tries,
            "good": variables.good,
            "problem": content.problem or None,
        } | _described(content.description)
    text = _reason(place, environment)
    about, word = reasons.split(text)
    known = reasons.explain(word) if text else None
    return {
        "schema": _SCHEMA,
        "booted": place.disk.booted.value,
        "primary": environment.primary,
        "generation": environment.generation,
        "reason": text or None,
        "reason_slot": None if known is None or about is None else about.value,
        "reason_sentence": None if known is None else known.sentence,
        "remedy": None if known is None else known.remedy,
        "good_marker": None if marker is None else marker.value,
        "problems": list(_problems(place)),
        "slots": slots,
    }


def _show(place: Place, environment: Environment, console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("slot", "state", "", "holds"):
        table.add_column(column, overflow="fold")
    for which in Slot:
        content = _content(place, which)
        marks = []
        if place.disk.booted is which:
            marks.append("runs")
        if environment.primary == which.value:
            marks.append("starts next")
        held = content.problem if content.description is None else _title(content.description)
        state = states.state_of(environment, which).value
        table.add_row(which.value, state, ", ".join(marks), Text(visible(held)))
    console.print(table)
    if text := _reason(place, environment):
        about, word = reasons.split(text)
        reason = reasons.explain(word)
        which_slot = "" if about is None else f"Slot {about.value}: "
        console.print()
        console.print(Text(visible(f"{which_slot}{reason.sentence}. To do: {reason.remedy}.")))
    for problem in _problems(place):
        console.print(Text(visible(f"The boot environment: {problem}.")))
