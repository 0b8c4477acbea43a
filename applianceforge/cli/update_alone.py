"""The update without a person: what the timer starts, and what a boot goes on with."""

from __future__ import annotations

import json
from datetime import datetime

import click

from applianceforge.cli import update_words
from applianceforge.cli.summary import visible
from applianceforge.cli.update_session import Session, require_root
from applianceforge.model.errors import ForgeError
from applianceforge.release.fetch.source import Source
from applianceforge.release.update import bundle_cache, readiness, recording, resuming
from applianceforge.release.update.applying import Update
from applianceforge.release.update.intent import Consent, Intent
from applianceforge.release.update.proposal import Proposal
from applianceforge.release.update.resuming import Next
from applianceforge.release.update.window import is_due
from applianceforge.system import files

_DONE = 0


def _say(text: str) -> None:
    """Say it in the journal, as nothing that a terminal would obey."""
    click.echo("\n".join(visible(line) for line in text.splitlines()))


def resume(session: Session, origin: str = "") -> int:
    """Conclude what is over, go on with what was begun, and return the exit status.

    Raises:
        ForgeError: It failed; the next boot and the timer try again.
    """
    require_root()
    found = resuming.look(session.around, session.box)
    if found.story:
        _say(found.story)
    if found.agreed is None or found.next is not Next.GO_ON:
        return _DONE
    return _go_on(session, found.agreed, origin)


def unattended(session: Session, origin: str = "") -> int:
    """Do what the settings allow now, and return the exit status.

    Raises:
        ForgeError: It failed; the timer tries again.
    """
    require_root()
    box = session.box
    found = resuming.look(session.around, box)
    if found.story:
        _say(found.story)
    if found.agreed is not None and found.next is Next.GO_ON:
        return _go_on(session, found.agreed, origin)
    if found.agreed is not None and found.next is Next.RESTART:
        return _restart_when_agreed(session, found.agreed)
    if not (origin or box.settings.repository):
        _say("no repository is named, so nothing is looked for")
        return _DONE
    if not is_due(
        box.settings.window, box.local_time, _looked_last(session), automatic=box.settings.automatic
    ):
        return _DONE
    return _look(session, origin)


def _look(session: Session, origin: str) -> int:
    settings = session.box.settings
    with session.source(origin) as source:
        found = _looked(session, source)
        _say(update_words.proposal_text(found))
        if found.refused:
            return found.report.exit_status
        if found.hop is None or found.starts_next or found.waits or found.given_up:
            return _DONE
        if not settings.automatic:
            _say("Automatic updates are off: `applianceforge update` installs it.")
            return _DONE
        if not settings.window.is_open(session.box.local_time):
            _say(f"It is installed in the window {settings.window}.")
            return _DONE
        readiness.check_settled(session.box)
        Update(session.around, source).carry_out(found, Consent.TIMER, reboot=True)
    return _restart_in_window(session)


def _looked(session: Session, source: Source, wanted: str = "") -> Proposal:
    try:
        found = session.look(source, wanted)
    except ForgeError as error:
        recording.record_error(session.around, session.box, error, Consent.TIMER)
        raise
    recording.record(session.around, found, Consent.TIMER)
    _note_looked(session)
    return found


def _go_on(session: Session, agreed: Intent, origin: str) -> int:
    """Go on with what was agreed to, if that is what is offered still."""
    box = session.box
    if agreed.by is Consent.TIMER and not box.settings.window.is_open(box.local_time):
        _say(f"{agreed.target} is installed further in the window {box.settings.window}.")
        return _DONE
    readiness.check_settled(box)
    with session.source(origin or agreed.repository) as source:
        kept = bundle_cache.kept_manifest(session.around.update_places, agreed.manifest)
        found = session.look(source, agreed.version, kept)
        changed = resuming.changed(agreed, found)
        if changed is not None:
            _say(resuming.abandon(session.around, box, agreed, changed).story)
            return found.report.exit_status if found.refused else _DONE
        _say(f"{agreed.target}: its installation goes on")
        Update(session.around, source).carry_out(
            found, agreed.by, reboot=agreed.reboot, agreed=agreed
        )
    _say(f"{agreed.target} is installed and starts next")
    if agreed.by is Consent.TIMER:
        return _restart_in_window(session)
    if agreed.reboot:
        session.restart()
    return _DONE


def _restart_when_agreed(session: Session, agreed: Intent) -> int:
    if agreed.by is Consent.TIMER:
        return _restart_in_window(session)
    # Whoever asked for a restart may be at work on this machine again by now.
    _say(f"{agreed.target} is installed: restart the machine")
    return _DONE


def _restart_in_window(session: Session) -> int:
    window = session.box.settings.window
    if window.is_open(datetime.fromtimestamp(session.around.clock())):
        _say("the machine restarts")
        session.restart()
    else:
        _say(f"the machine restarts in the window {window}")
    return _DONE


def _looked_last(session: Session) -> datetime | None:
    try:
        text = files.read_plain(session.around.update_places.checked) or b""
        return datetime.fromtimestamp(float(json.loads(text)["time"]))
    except (ForgeError, OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _note_looked(session: Session) -> None:
    content = json.dumps({"schema": 1, "time": session.around.clock()}).encode()
    files.write_file(session.around.update_places.checked, content, session.around.effects)
