"""`applianceforge update`: to the newest release that this appliance may take.

    gather -> refresh and plan -> check -> show it -> ask -> install -> restart

`update_alone` is the same without a person: the timer's runs, and the one at boot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from applianceforge.cli import commands, progress, update_alone, update_words
from applianceforge.cli.ending import undisturbed
from applianceforge.cli.settle import root_option
from applianceforge.cli.update_session import Session, opened, require_root
from applianceforge.model.errors import ForgeError, NotConfirmedError, UsageError
from applianceforge.release.fetch.source import Source
from applianceforge.release.update import readiness, recording, resuming
from applianceforge.release.update.applying import Update
from applianceforge.release.update.installation import Installed
from applianceforge.release.update.intent import Consent
from applianceforge.release.update.proposal import Proposal
from applianceforge.system.files import named_errors

_DONE = 0


@dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
        changes: Install, and do not only look.
        wanted: A version; "" for the newest.
        origin: A repository in place of the settings'; "" for theirs.
        yes: Agreed to beforehand.
        reboot: Restart the machine afterwards.
        as_json: Answer with a document.
    """

    changes: bool
    wanted: str
    origin: str
    yes: bool
    reboot: bool
    as_json: bool


@click.command("update")
@click.option("--check", is_flag=True, help="Only look for releases, as any user.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--to", "wanted", default="", metavar="VERSION", help="Not the newest, but this one.")
@click.option(
    "--from",
    "origin",
    default="",
    metavar="PATH",
    help="A directory with a repository, such as a USB stick, or a URL; not the settings' one.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reboot", is_flag=True, help="Restart the machine when it is installed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option(
    "--progress",
    "shown",
    type=click.Choice(progress.KINDS),
    default="auto",
    show_default=True,
    help="How progress is shown: on the terminal, as lines, as JSON Lines, or not.",
)
@click.option("--unattended", is_flag=True, help="For the timer: as the settings say.")
@click.option("--resume", is_flag=True, help="For the boot: go on with what was begun.")
@root_option
def update_command(
    check: bool,
    dry_run: bool,
    wanted: str,
    origin: str,
    yes: bool,
    reboot: bool,
    as_json: bool,
    shown: str,
    unattended: bool,
    resume: bool,
    root: Path,
) -> int:
    """Take this appliance to the newest release that it may have.

    It looks what is offered, checks that this machine can run it before a byte of it is fetched,
    shows what would be done, and asks. The release goes into the slot that does not run; the system
    that runs is not touched. It starts when the machine is restarted, and if it does not prove
    itself, this system comes back.

    After any interruption the same command continues, and so does the next boot.

    \b
    Exit status:
      0          done, or nothing newer is offered
      20-30      this machine cannot take it as it is; the text says what to change
      53         another update is at work: applianceforge status
      58         too early: it would end the way back to 32 bits
      69-77, 81  the repository: each says what is wrong with it
      78         no release can be installed, and why
      82         nobody agreed: --yes
    """
    if unattended or resume:
        if (unattended and resume) or any((check, dry_run, wanted, yes, reboot, as_json)):
            raise UsageError(
                "--unattended and --resume are for units of systemd, and go with no other option",
                hint="leave them out",
            )
        run = update_alone.resume if resume else update_alone.unattended
        with progress.choose(shown) as sink, opened(root, sink) as session:
            return run(session, origin)
    request = Request(
        changes=not (check or dry_run),
        wanted=wanted,
        origin=_wherever(origin),
        yes=yes,
        reboot=reboot,
        as_json=as_json,
    )
    if request.changes:
        require_root()
    with progress.choose(shown) as sink, opened(root, sink) as session:
        return _update(session, request)


def _wherever(origin: str) -> str:
    """Return what names a repository from any working directory: a boot that goes on has another.

    Raises:
        SettingsError: Our own is gone.
    """
    if not origin or "://" in origin:
        return origin
    with named_errors(origin, "find"):
        return str(Path(origin).absolute())


def _update(session: Session, request: Request) -> int:
    if session.privileged:
        concluded = resuming.look(session.around, session.box).story
        if concluded and not request.as_json:
            click.echo(concluded)
    if request.changes:
        readiness.check_settled(session.box)
    with session.source(request.origin) as source:
        found = _looked(session, source, request)
        if request.as_json:
            commands.know(update_words.fields(found))
        else:
            click.echo(update_words.proposal_text(found))
        if found.refused or found.hop is None or not request.changes:
            return _told(found, request)
        if found.starts_next:
            return _restarted(session, found, request, None)
        if found.waits is not None:
            raise found.waits
        _ask(found, request)
        carried_out = Update(session.around, source).carry_out(
            found, Consent.PERSON, reboot=request.reboot, repository=request.origin
        )
        return _restarted(session, found, request, carried_out)


def _looked(session: Session, source: Source, request: Request) -> Proposal:
    try:
        found = session.look(source, request.wanted)
    except ForgeError as error:
        if _is_recorded(session, request):
            recording.record_error(session.around, session.box, error, Consent.PERSON)
        raise
    if _is_recorded(session, request):
        recording.record(session.around, found, Consent.PERSON)
    return found


def _is_recorded(session: Session, request: Request) -> bool:
    """Tell whether what is found says something of the box, and not of what was only tried."""
    return session.privileged and (request.changes or not (request.wanted or request.origin))


def _told(found: Proposal, request: Request) -> int:
    if request.as_json:
        click.echo(update_words.document(update_words.fields(found)))
    return found.report.exit_status if found.refused else _DONE


def _ask(found: Proposal, request: Request) -> None:
    """Let a person agree.

    Raises:
        NotConfirmedError: Nobody did.
    """
    if request.yes:
        return
    hop = found.hop
    name = "" if hop is None else update_words.named(hop)
    if request.as_json or not sys.stdin.isatty():
        raise NotConfirmedError(
            f"{name} was not installed: nobody agreed to it",
            hint="add --yes to agree beforehand, or run it on a terminal",
        )
    if not click.confirm(f"Install {name}?", default=False):
        raise NotConfirmedError(
            f"{name} was not installed: you did not agree to it",
            hint="run the same command again when you want it",
        )


def _restarted(
    session: Session, found: Proposal, request: Request, installed: Installed | None
) -> int:
    if request.as_json:
        _restarted_as_json(session, found, request, installed)
        return _DONE
    hop = found.hop
    if hop is not None and installed is not None:
        slot = session.box.disk.booted.other.value
        click.echo(update_words.wrapped(update_words.installed_lines(hop, installed, slot)))
    if request.reboot:
        session.restart()
    elif installed is not None:
        click.echo("Restart the machine when it suits you: reboot")
    return _DONE


def _restarted_as_json(
    session: Session, found: Proposal, request: Request, installed: Installed | None
) -> None:
    """Restart first if that is asked for: there is one document, and it says whether it failed."""
    done = update_words.fields(found, installed=installed, done=True)
    commands.know(done)
    with undisturbed():
        if request.reboot:
            session.restart()
        click.echo(update_words.document(done | {"restarts": request.reboot}))


@click.group(
    cls=commands.Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def _group() -> None:
    """Hold what `main` lists in full."""


_group.add_command(update_command)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    return commands.run(_group, arguments)
