"""`applianceforge release`: a vendor's repository of releases, made, signed and published."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from applianceforge.cli import commands, progress, release_view
from applianceforge.cli.release_place import directory_argument, repository
from applianceforge.cli.release_plan import plan
from applianceforge.cli.release_signing import init, publish, rotate_keys
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ExpiredError, SlotError, UsageError
from applianceforge.preflight import release_file
from applianceforge.release.graph import STABLE, WHOLE_FLEET, Offer
from applianceforge.release.publish import bundle, staging, weighing
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.adding import Addition
from applianceforge.release.publish.expiry import State
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.staging import (
    Wish,
    leaves_32_bit_behind,
    only_through,
    same_version,
    wished,
)

_WARNINGS = 10
_EXPIRED = ExpiredError.exit_status
_PATH = click.Path(path_type=Path)
_DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ")

Command = Callable[..., Any]


def _which(command: Command) -> Command:
    option = click.option(
        "--architecture",
        type=click.Choice([one.value for one in Architecture]),
        help="Where a version is there for both: only this one.",
    )
    return click.argument("version")(option(command))


def _since(command: Command) -> Command:
    option = click.option(
        "--since",
        type=click.DateTime(_DATES),
        metavar="DATE",
        help="Not before this time, in UTC: 2027-01-31 or 2027-01-31T12:00Z.",
    )
    return option(command)


@click.group()
def release() -> None:
    """Make a repository of releases, sign it, and say who gets which release.

    \b
    In this order a release comes to a fleet (docs/releases.md has all of it):
      applianceforge release init DIR --appliance NAME --keys KEYS    once
      applianceforge release add DIR --slot NAME.slot --share 5
      applianceforge release plan DIR                                 78: a box is left behind
      applianceforge release publish DIR --keys KEYS                  then copy DIR/public
      applianceforge release offer DIR VERSION --share 100            then publish again
      applianceforge release withdraw DIR VERSION --reason WHY        then publish again
    \b
    So that it stays valid:
      applianceforge release publish DIR --renew --keys KEYS/online   by a timer, each day
      applianceforge release status DIR                               10: soon ends, 70: ended
    """


@release.command()
@directory_argument
@click.option("--slot", required=True, type=_PATH, help="Its image, NAME.slot or NAME.slot.zst.")
@click.option(
    "--release",
    "described",
    type=_PATH,
    help="What it requires: its NAME.release.json; by default the one beside the image.",
)
@click.option("--title", default="", help="One line for people.")
@click.option("--channel", "channels", multiple=True, help=f"By default {STABLE}.")
@click.option("--barrier", is_flag=True, help="It must be installed on the way to newer ones.")
@click.option("--crossing", is_flag=True, help="It takes a 32-bit system to 64 bits.")
@click.option("--share", default=WHOLE_FLEET, show_default=True, help="Percent of the fleet.")
@click.option("--by-request", is_flag=True, help="Only for whoever asks for it by name.")
@_since
@click.option("--replaces", multiple=True, help="A withdrawn barrier for which it stands in.")
@click.option("--minimum-version", help="The oldest version that it may be installed over.")
@click.option(
    "--level",
    type=click.IntRange(1, bundle.LEVEL),
    default=bundle.LEVEL,
    show_default=True,
    help="zstd's: 3 packs in a tenth of the time, a third larger.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option(
    "--progress",
    "shown",
    type=click.Choice(progress.KINDS),
    default="auto",
    show_default=True,
    help="How progress is shown: on the terminal, as lines, as JSON Lines, or not.",
)
def add(
    directory: Path,
    slot: Path,
    described: Path | None,
    channels: tuple[str, ...],
    share: int,
    since: datetime | None,
    minimum_version: str | None,
    level: int,
    as_json: bool,
    shown: str,
    **offered: Any,
) -> None:
    """Take a slot image into the repository, to be published next.

    The bundle is made so that a box with an earlier release fetches little of it; how much, it
    says.
    """
    read = release_file.read(described or _beside(slot))
    if minimum_version is not None:
        read = read._replace(minimum_version=minimum_version)
    wish = Wish(
        share_percent=share,
        by_request=offered["by_request"],
        channels=channels or None,
        since_s=_seconds(since),
        title=offered["title"],
        barrier=offered["barrier"],
    )
    offer = wished(
        Offer(read, crossing=offered["crossing"], replaces=tuple(offered["replaces"])), wish
    )
    with progress.choose(shown) as sink:
        outcome = repository(directory).add(Addition(slot, offer, level), sink)
    layout = Layout(directory)
    graph = staging.read(layout, outcome.published.graph)
    (added,) = staging.chosen(graph, read.version, read.architecture)
    weight = weighing.weigh(layout, graph, added)
    if as_json:
        told = release_view.added_document(outcome, graph, added, weight)
        # After progress as JSON Lines it is one line more.
        click.echo(json.dumps(told, indent=None if shown == "json" else 2))
    else:
        release_view.tell_weight(weight)
        release_view.tell_staged(outcome)
    if leaves_32_bit_behind(graph):
        click.echo(
            "No release takes 32-bit systems to 64 bits: none was added with --crossing. If"
            f" {read.version} does it, say so before it is published: release discard, and add it"
            " again.",
            err=as_json,
        )


@release.command()
@directory_argument
@_which
@click.option("--share", type=int, help="Percent of the fleet.")
@click.option("--by-request/--for-all", default=None, help="Only for whoever asks for it by name.")
@click.option("--channel", "channels", multiple=True, help="All its channels from now on.")
@_since
@click.option("--title", help="One line for people.")
@click.option("--barrier/--no-barrier", default=None, help="Whether newer ones need it first.")
def offer(
    directory: Path,
    version: str,
    architecture: str | None,
    share: int | None,
    by_request: bool | None,
    channels: tuple[str, ...],
    since: datetime | None,
    title: str | None,
    barrier: bool | None,
) -> None:
    """Change to whom a release is offered, with the next publication.

    Raising the share takes nobody out; lowering it takes out those who came in last, if they have
    not installed the release yet.
    """
    wish = Wish(share, by_request, channels or None, _seconds(since), title, barrier)
    if wish == Wish():
        raise UsageError("nothing is to change", hint="give --share or another option")
    outcome = repository(directory).offer(version, _architecture(architecture), wish)
    release_view.tell_staged(outcome)


@release.command()
@directory_argument
@_which
@click.option("--reason", default="", help="Why; boxes and their owners read it.")
@click.option("--undo", is_flag=True, help="Offer it again.")
def withdraw(
    directory: Path, version: str, architecture: str | None, reason: str, undo: bool
) -> None:
    """Offer a release no more, with the next publication; boxes that have it keep it."""
    if undo is bool(reason.strip()):
        raise UsageError(
            "say why a release is withdrawn, or undo it", hint="give --reason or --undo"
        )
    place = repository(directory)
    outcome = place.withdraw(version, _architecture(architecture), "" if undo else reason)
    release_view.tell_staged(outcome)
    for one in outcome.published.graph.offers:
        same = same_version(one.version, version)
        if same and not undo and only_through(outcome.published.graph, one):
            click.echo(
                f"{one.version} is a barrier: boxes before it get no newer release until one is"
                f" added with --replaces {one.version}."
            )


@release.command()
@directory_argument
@_which
def drop(directory: Path, version: str, architecture: str | None) -> None:
    """Take a release out of the graph, with the next publication.

    For old ones that nobody needs, so that the metadata stays small; boxes that have it keep it.
    Its files stay in DIR/public.
    """
    release_view.tell_staged(repository(directory).drop(version, _architecture(architecture)))


@release.command()
@directory_argument
def discard(directory: Path) -> None:
    """Forget what is staged and not published."""
    was = repository(directory).discard()
    click.echo("What was staged is forgotten." if was else "Nothing was staged.")


@release.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option("--warn-days", type=click.IntRange(0), help="Warn so many days before an end.")
def status(directory: Path, as_json: bool, warn_days: int | None) -> int:
    """Say what is published and staged, and until when it is valid.

    Exit status 0: valid; 10: something ends soon; 70: something has ended.
    """
    found = repository_status.look(Layout(directory), time.time(), warn_days)
    if as_json:
        click.echo(json.dumps(release_view.document(found), indent=2))
    else:
        release_view.show(found)
    return {State.VALID: 0, State.ENDS_SOON: _WARNINGS, State.EXPIRED: _EXPIRED}[found.state]


def _beside(slot: Path) -> Path:
    """Return the release's file that a build left beside a slot image.

    Raises:
        SlotError: The image is not there.
        UsageError: Nothing of that name is.
    """
    if not slot.is_file():
        raise SlotError(
            f"there is no slot image {slot}",
            hint="name NAME.slot, as `inv image.build` leaves it in build/images",
        )
    found = slot.with_name(slot.name.removesuffix(".zst").removesuffix(".slot") + ".release.json")
    if not found.exists():
        raise UsageError(
            f"{slot} has no {found.name} beside it",
            hint="name the slot image of a build, NAME.slot, and keep its NAME.release.json in the"
            " same directory, or say where it is with --release",
        )
    return found


def _seconds(since: datetime | None) -> int | None:
    return None if since is None else int(since.replace(tzinfo=UTC).timestamp())


def _architecture(value: str | None) -> Architecture | None:
    return None if value is None else Architecture(value)


@click.group(
    cls=commands.Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def _vendor() -> None:
    """Hold what `main` lists in full."""


for _command in (init, plan, publish, rotate_keys):
    release.add_command(_command)
_vendor.add_command(release)


def main(arguments: Sequence[str]) -> int:
    """Run a command of the group and return its exit status."""
    return commands.run(_vendor, arguments)
