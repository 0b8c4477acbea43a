"""`applianceforge release`: a vendor's repository of releases, made, signed and published."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from applianceforge.cli import commands, progress, release_view
from applianceforge.cli.release_secrets import Passphrases
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ExpiredError, RepositoryError, UsageError
from applianceforge.preflight import release_file
from applianceforge.preflight.render import printable
from applianceforge.release import bundle, keys, repository_state, repository_status, update_overlay
from applianceforge.release.adding import Addition
from applianceforge.release.expiry import Role, State
from applianceforge.release.graph import STABLE, WHOLE_FLEET, Offer
from applianceforge.release.keys import KeyPlaces, MadeKey
from applianceforge.release.repository import Repository
from applianceforge.release.repository_layout import ROOT_OVERLAY, UPDATE_OVERLAY, Layout
from applianceforge.release.rotation import Rotation
from applianceforge.release.staging import Wish, only_through, wished
from applianceforge.system.effects import Effects

_WARNINGS = 10
_EXPIRED = ExpiredError.exit_status
_PATH = click.Path(path_type=Path)
_DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ")

Command = Callable[..., Any]


def _keys_options(command: Command) -> Command:
    for option in (
        click.option(
            "--passphrase-file",
            "passphrases",
            multiple=True,
            metavar="[KEY=]FILE",
            help="Where a passphrase or PIN is: of the key KEY, or of all. /dev/fd/3 is a"
            " descriptor. Without it the terminal is asked.",
        ),
        click.option(
            "--keys",
            "directories",
            multiple=True,
            type=_PATH,
            metavar="KEYS",
            help="A directory with private keys; may be given several times.",
        ),
    ):
        command = option(command)
    return command


def _which(command: Command) -> Command:
    option = click.option(
        "--architecture",
        type=click.Choice([one.value for one in Architecture]),
        help="Where a version is there for both: only this one.",
    )
    return click.argument("version")(option(command))


_directory = click.argument("directory", metavar="DIR", type=_PATH)


@click.group()
def release() -> None:
    """Make a repository of releases, sign it, and say who gets which release.

    \b
    In this order a release comes to a fleet (docs/releases.md has all of it):
      applianceforge release init DIR --appliance NAME --keys KEYS    once
      applianceforge release add DIR --slot NAME.slot.zst --share 5
      applianceforge release publish DIR --keys KEYS                  then copy DIR/public
      applianceforge release offer DIR VERSION --share 100            then publish again
      applianceforge release withdraw DIR VERSION --reason WHY        then publish again
    \b
    So that it stays valid:
      applianceforge release publish DIR --renew --keys KEYS/online   by a timer, each day
      applianceforge release status DIR                               10: soon ends, 70: ended
    """


@release.command()
@_directory
@click.option("--appliance", required=True, help="What all its releases are for.")
@_keys_options
@click.option("--root-keys", default=3, show_default=True, help="How many root keys there are.")
@click.option("--root-threshold", default=2, show_default=True, help="How many must sign.")
@click.option("--targets-keys", default=2, show_default=True, help="How many targets keys.")
@click.option("--targets-threshold", default=1, show_default=True, help="How many must sign.")
@click.option(
    "--hsm",
    multiple=True,
    metavar="ROLE=URI",
    help="A key in a security module, instead of one of the role's files: hsm:2?label=TOKEN.",
)
@click.option("--encrypt", is_flag=True, help="Encrypt the offline keys with passphrases.")
@click.option(
    "--valid",
    multiple=True,
    metavar="ROLE=DAYS",
    help="How long a role signs for: root 365, targets 180, snapshot and timestamp 7.",
)
@click.option("--url", default="", help="Where DIR/public will be served, for the images.")
@click.option("--channel", default=STABLE, show_default=True, help="For the images, with --url.")
def init(
    directory: Path,
    appliance: str,
    directories: tuple[Path, ...],
    passphrases: tuple[str, ...],
    hsm: tuple[str, ...],
    encrypt: bool,
    valid: tuple[str, ...],
    url: str,
    channel: str,
    **numbers: int,
) -> None:
    """Make the repository DIR for an appliance, and its keys.

    The keys are files below KEYS/offline and KEYS/online, which must not hold any yet. What is
    below DIR/overlay goes into the images.
    """
    if len(directories) != 1:
        raise UsageError("a new repository needs one directory for its keys", hint="give --keys")
    place = directories[0]
    _require_apart(directory, place)
    days = {role: _number(text) for role, text in _by_role(valid)}
    state = repository_state.new(appliance, days)
    overlay = ((UPDATE_OVERLAY, update_overlay.encode(url, channel)),) if url else ()
    keys.require_none(place)
    secrets = Passphrases(passphrases)
    modules = _by_role(hsm)
    wanted = {Role.ROOT: numbers["root_keys"], Role.TARGETS: numbers["targets_keys"]}
    made: list[MadeKey] = []
    for role in Role:
        mine = [uri for one, uri in modules if one is role]
        number = wanted.get(role, 1)
        made += [keys.from_module(uri, role, at, secrets.ask) for at, uri in enumerate(mine, 1)]
        ask = secrets.ask if encrypt and role.offline else None
        made += [keys.make(place, role, at, ask) for at in range(len(mine) + 1, number + 1)]
    thresholds = {
        Role.ROOT: numbers["root_threshold"],
        Role.TARGETS: numbers["targets_threshold"],
    }
    outcome = _repository(directory).create(state, tuple(made), thresholds, time.time(), overlay)
    click.echo(f"The repository {directory} for {appliance} is made.")
    release_view.tell_keys(outcome.made)
    click.echo(f"Into the images: {directory / ROOT_OVERLAY}")
    if url:
        click.echo(f"                 {directory / UPDATE_OVERLAY}")
    click.echo(f"To be served: {directory / 'public'}")


@release.command()
@_directory
@click.option("--slot", required=True, type=_PATH, help="The slot image, NAME.slot or .slot.zst.")
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
@click.option("--since", type=click.DateTime(_DATES), help="Not before this time, in UTC.")
@click.option("--replaces", multiple=True, help="A withdrawn barrier for which it stands in.")
@click.option("--minimum-version", help="The oldest version that it may be installed over.")
@click.option(
    "--level",
    type=click.IntRange(1, bundle.LEVEL),
    default=bundle.LEVEL,
    show_default=True,
    help="zstd's: 3 packs in a tenth of the time, a third larger.",
)
@click.option(
    "--progress", "shown", type=click.Choice(progress.KINDS), default="auto", show_default=True
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
    shown: str,
    **offered: Any,
) -> None:
    """Take a slot image into the repository, to be published next.

    The bundle is made so that a box with an earlier release fetches little of it.
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
        outcome = _repository(directory).add(Addition(slot, offer, level), sink)
    release_view.tell_staged(outcome)


@release.command()
@_directory
@_which
@click.option("--share", type=int, help="Percent of the fleet.")
@click.option("--by-request/--for-all", default=None, help="Only for whoever asks for it by name.")
@click.option("--channel", "channels", multiple=True, help="All its channels from now on.")
@click.option("--since", type=click.DateTime(_DATES), help="Not before this time, in UTC.")
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
    outcome = _repository(directory).offer(version, _architecture(architecture), wish)
    release_view.tell_staged(outcome)


@release.command()
@_directory
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
    place = _repository(directory)
    outcome = place.withdraw(version, _architecture(architecture), "" if undo else reason)
    release_view.tell_staged(outcome)
    for one in outcome.published.graph.offers:
        if not undo and one.version == version and only_through(outcome.published.graph, one):
            click.echo(
                f"{version} is a barrier: boxes before it get no newer release until one is added"
                f" with --replaces {version}."
            )


@release.command()
@_directory
def discard(directory: Path) -> None:
    """Forget what is staged and not published."""
    was = _repository(directory).discard()
    click.echo("What was staged is forgotten." if was else "Nothing was staged.")


@release.command()
@_directory
@_keys_options
@click.option("--renew", is_flag=True, help="Only sign snapshot and timestamp anew, as a timer.")
@click.option("--root", "sign_root", is_flag=True, help="Sign the root anew, too.")
def publish(
    directory: Path,
    directories: tuple[Path, ...],
    passphrases: tuple[str, ...],
    renew: bool,
    sign_root: bool,
) -> None:
    """Sign what is staged and put it into DIR/public, so that no client sees half of it.

    Without anything staged, what is there is signed anew and so valid longer. After a power cut the
    same command ends what was begun.
    """
    if renew and sign_root:
        raise UsageError("--renew and --root exclude each other", hint="leave one out")
    places = _places(directories, passphrases)
    place = _repository(directory)
    if renew:
        outcome = place.renew(places, time.time())
    else:
        outcome = place.publish(places, time.time(), sign_root=sign_root)
    release_view.tell_resumed(outcome)
    for line in outcome.changed:
        click.echo(printable(line, 1000))
    signed = outcome.published
    parts = (signed.root.signed, signed.targets.signed, signed.snapshot.signed)
    ends = min(one.expires for one in (*parts, signed.timestamp.signed))
    versions = ", ".join(f"{one.type} {one.version}" for one in (*parts, signed.timestamp.signed))
    click.echo(f"Published: {versions}. Valid until {release_view.date(ends)}.")


@release.command("rotate-keys")
@_directory
@click.argument("role", type=click.Choice([one.value for one in Role]))
@_keys_options
@click.option("--remove", multiple=True, metavar="NAME", help="A key that signs no more: root-2.")
@click.option("--add", type=int, help="How many new keys; by default as many as are removed.")
@click.option("--hsm", multiple=True, metavar="URI", help="A new key in a security module.")
@click.option("--threshold", type=int, help="How many must sign from now on.")
@click.option("--new-keys", type=_PATH, help="Where new keys are written; by default first KEYS.")
@click.option("--encrypt", is_flag=True, help="Encrypt the new keys with passphrases.")
def rotate_keys(
    directory: Path,
    role: str,
    directories: tuple[Path, ...],
    passphrases: tuple[str, ...],
    remove: tuple[str, ...],
    add: int | None,
    hsm: tuple[str, ...],
    threshold: int | None,
    new_keys: Path | None,
    encrypt: bool,
) -> None:
    """Replace keys of a role; boxes follow by themselves at their next look.

    Without --remove, --add, --hsm and --threshold all keys of the role are replaced. The root keys
    must be at hand, and those of the role and the online keys.
    """
    places = _places(directories, passphrases)
    if not directories and new_keys is None:
        raise UsageError("nothing says where new keys go", hint="give --keys or --new-keys")
    target = new_keys or directories[0]
    _require_apart(directory, target)
    which, secrets = Role(role), Passphrases(passphrases)
    replaces_all = not remove and add is None and not hsm and threshold is None
    if add is None:
        add = _number_of_keys(directory, which) if replaces_all else len(remove) - len(hsm)
    ask = secrets.ask if encrypt else None
    modules = [lambda at, uri=uri: keys.from_module(uri, which, at, secrets.ask) for uri in hsm]
    made = [lambda at: keys.make(target, which, at, ask)] * max(0, add)
    wanted = Rotation(which, (*modules, *made), remove, replaces_all, threshold)
    outcome = _repository(directory).rotate(wanted, places, time.time())
    release_view.tell_resumed(outcome)
    if outcome.resumed == f"rotate-keys {role}":
        click.echo("Run the same command again to replace keys once more.")
        return
    click.echo(f"Published: root {outcome.published.root.signed.version}.")
    release_view.tell_keys(outcome.made)
    if not outcome.seamless:
        click.echo(
            "The former keys were not at hand: a box that looked at this very moment saw a"
            " signature that did not verify, and finds everything in order when it looks again."
        )


@release.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option("--warn-days", type=click.IntRange(0), help="Warn so many days before an end.")
def status(directory: Path, as_json: bool, warn_days: int | None) -> int:
    """Say what is published and staged, and until when it is valid.

    Exit status 0: valid; 10: something ends soon; 70: something has ended.
    """
    found = repository_status.look(Layout(directory), time.time(), warn_days)
    if as_json:
        click.echo(json.dumps(release_view.document(found), indent=2, ensure_ascii=False))
    else:
        release_view.show(found)
    return {State.VALID: 0, State.ENDS_SOON: _WARNINGS, State.EXPIRED: _EXPIRED}[found.state]


def _repository(directory: Path) -> Repository:
    return Repository(Layout(directory), Effects())


def _number_of_keys(directory: Path, role: Role) -> int:
    found = repository_status.look(Layout(directory), time.time())
    return next(len(one.names) for one in found.keys if one.role is role)


def _places(directories: tuple[Path, ...], passphrases: tuple[str, ...]) -> KeyPlaces:
    return KeyPlaces(directories, Passphrases(passphrases).ask)


def _require_apart(directory: Path, place: Path) -> None:
    if place.resolve().is_relative_to(directory.resolve()):
        raise RepositoryError(
            f"{place} is inside the repository, which is copied to servers",
            hint="keep private keys outside of it",
        )


def _by_role(texts: tuple[str, ...]) -> list[tuple[Role, str]]:
    found = []
    known = {role.value: role for role in Role}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in known or not equals or not value:
            raise UsageError(
                f"{text} is not ROLE=VALUE", hint=f"a role is one of {', '.join(known)}"
            )
        found.append((known[name], value))
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"{text} is no number of days", hint="write a whole number")
    return int(text)


def _beside(slot: Path) -> Path:
    return slot.with_name(slot.name.removesuffix(".zst").removesuffix(".slot") + ".release.json")


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


_vendor.add_command(release)


def main(arguments: Sequence[str]) -> int:
    """Run a command of the group and return its exit status."""
    return commands.run(_vendor, arguments)
