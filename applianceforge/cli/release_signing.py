"""`applianceforge release init | publish | rotate-keys`: what takes private keys."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from applianceforge.cli import release_view
from applianceforge.cli.release_place import directory_argument, repository
from applianceforge.cli.release_secrets import Passphrases
from applianceforge.model.errors import RepositoryError, UsageError
from applianceforge.release.graph import STABLE
from applianceforge.release.publish import keys
from applianceforge.release.publish import state as repository_state
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import KeyPlaces, MadeKey
from applianceforge.release.publish.layout import ROOT_OVERLAY, UPDATE_OVERLAY, Layout
from applianceforge.release.publish.rotation import Rotation, require_threshold
from applianceforge.release.update import overlay as update_overlay

_PATH = click.Path(path_type=Path)

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


@click.command()
@directory_argument
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
    thresholds = {
        Role.ROOT: numbers["root_threshold"],
        Role.TARGETS: numbers["targets_threshold"],
    }
    for role, threshold in thresholds.items():
        mine = [uri for one, uri in modules if one is role]
        # Before so many are made, and passphrases asked for.
        require_threshold(role, threshold, max(len(mine), wanted[role]))
    made: list[MadeKey] = []
    for role in Role:
        mine = [uri for one, uri in modules if one is role]
        number = wanted.get(role, 1)
        made += [keys.from_module(uri, role, at, secrets.ask) for at, uri in enumerate(mine, 1)]
        ask = secrets.ask if encrypt and role.offline else None
        made += [keys.make(place, role, at, ask) for at in range(len(mine) + 1, number + 1)]
    outcome = repository(directory).create(state, tuple(made), thresholds, time.time(), overlay)
    click.echo(f"The repository {directory} for {appliance} is made.")
    release_view.tell_keys(outcome.made)
    click.echo(f"Into the images: {directory / ROOT_OVERLAY}")
    if url:
        click.echo(f"                 {directory / UPDATE_OVERLAY}")
    click.echo(f"To be served: {directory / 'public'}")


@click.command()
@directory_argument
@_keys_options
@click.option("--renew", is_flag=True, help="Only sign snapshot and timestamp anew, as a timer.")
@click.option("--root", "sign_root", is_flag=True, help="Sign the root anew, too.")
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Sign although the last signature has a later time: the clock stood too far ahead then.",
)
def publish(
    directory: Path,
    directories: tuple[Path, ...],
    passphrases: tuple[str, ...],
    renew: bool,
    sign_root: bool,
    clock_is_right: bool,
) -> None:
    """Sign what is staged and put it into DIR/public, so that no client sees half of it.

    Without anything staged, what is there is signed anew and so valid longer. After a power cut the
    same command ends what was begun.
    """
    if renew and (sign_root or clock_is_right):
        raise UsageError(
            "--renew goes with neither --root nor --clock-is-right", hint="leave out --renew"
        )
    places = _places(directory, directories, passphrases)
    place = repository(directory)
    if renew:
        outcome = place.renew(places, time.time())
    else:
        outcome = place.publish(
            places, time.time(), sign_root=sign_root, clock_is_right=clock_is_right
        )
    release_view.tell_resumed(outcome)
    release_view.tell_changed(outcome)
    signed = outcome.published
    parts = (signed.root.signed, signed.targets.signed, signed.snapshot.signed)
    ends = min(one.expires for one in (*parts, signed.timestamp.signed))
    versions = ", ".join(f"{one.type} {one.version}" for one in (*parts, signed.timestamp.signed))
    click.echo(f"Published: {versions}. Valid until {release_view.date(ends)}.")


@click.command("rotate-keys")
@directory_argument
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
    places = _places(directory, directories, passphrases)
    if not directories and new_keys is None:
        raise UsageError("nothing says where new keys go", hint="give --keys or --new-keys")
    target = new_keys or directories[0]
    _require_apart(directory, target)
    which, secrets = Role(role), Passphrases(passphrases)
    if add is not None and (add < 0 or not (add or remove or hsm or threshold is not None)):
        raise UsageError("no key would be replaced or added", hint="give --add 1, or leave it out")
    replaces_all = not remove and add is None and not hsm and threshold is None
    if add is None:
        add = len(_names_of_keys(directory, which)) if replaces_all else len(remove) - len(hsm)
    ask = secrets.ask if encrypt else None
    modules = [lambda at, uri=uri: keys.from_module(uri, which, at, secrets.ask) for uri in hsm]
    made = [lambda at: keys.make(target, which, at, ask)] * max(0, add)
    before = _names_of_keys(directory, which)
    wanted = Rotation(which, (*modules, *made), remove, replaces_all, threshold)
    outcome = repository(directory).rotate(wanted, places, time.time())
    release_view.tell_resumed(outcome)
    if outcome.resumed == f"rotate-keys {role}":
        click.echo("Run the same command again to replace keys once more.")
        return
    click.echo(f"Published: root {outcome.published.root.signed.version}.")
    release_view.tell_keys(outcome.made)
    left = [name for name in before if name not in _names_of_keys(directory, which)]
    if left:
        click.echo(f"Sign no more, and can be destroyed once this is served: {', '.join(left)}")
    if not outcome.seamless:
        click.echo(
            "The former keys were not at hand: a box that looked at this very moment saw a"
            " signature that did not verify, and finds everything in order when it looks again."
        )


def _names_of_keys(directory: Path, role: Role) -> tuple[str, ...]:
    found = repository_status.look(Layout(directory), time.time())
    return next(tuple(one.names) for one in found.keys if one.role is role)


def _places(
    directory: Path, directories: tuple[Path, ...], passphrases: tuple[str, ...]
) -> KeyPlaces:
    for place in directories:
        _require_apart(directory, place)
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
