"""What the units of an appliance run when it boots, and `applianceforge migrate abort`."""

import sys
from pathlib import Path

import click

from applianceforge.cli.consoles import Consoles
from applianceforge.cli.ending import tell
from applianceforge.cli.progress import LineProgress
from applianceforge.cli.settings_file import read_settings
from applianceforge.cli.settle import root_option
from applianceforge.migrate import boot_abort
from applianceforge.migrate.boot import BootMigration, Ending
from applianceforge.migrate.boot_slots import Marks, marks_of
from applianceforge.migrate.boot_verdict import AGAIN, BACK, PROVED
from applianceforge.migrate.settings import Settings, WorkSettings
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.model.errors import ForgeError
from applianceforge.slots import reasons
from applianceforge.slots.places import BootPlaces, read_release
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressEvent

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNREAD = Settings(WorkSettings(Path("/data/forge/work")))


class _Told:
    """Progress as lines, for the journal and for every console."""

    def __init__(self, consoles: Consoles) -> None:
        self._sinks = (LineProgress(sys.stderr), LineProgress(consoles))  # type: ignore[arg-type]

    def emit(self, event: ProgressEvent) -> None:
        """Show one event."""
        for sink in self._sinks:
            sink.emit(event)


@click.command("boot")
@root_option
def boot_command(root: Path) -> int:
    """Migrate unattended at boot; the unit forge-migrate runs this.

    \b
    Exit status:
      0   proved, or nothing to do
      75  failed, may succeed next time: the same slot boots again and goes on
      76  cannot succeed: the slot is marked bad, the other one boots; the data is as before
    """
    consoles = Consoles()
    places = BootPlaces(root)
    effects = Effects()
    marks = marks_of(places, effects)
    ending = _migrate(places, marks, effects, consoles)
    _tell_ending(ending, consoles)
    return ending.verdict.status


def _migrate(places: BootPlaces, marks: Marks, effects: Effects, consoles: Consoles) -> Ending:
    release = read_release(places)
    boot = _BOOT_ID.read_text().strip()

    def migration(settings: Settings) -> BootMigration:
        around = Surroundings(settings, effects, _Told(consoles))
        return BootMigration(around, places, marks, release, boot)

    try:
        settings = read_settings(places.settings)
    except ForgeError as error:
        return migration(_UNREAD).give_up(error)
    return migration(settings).carry_out()


_ENDS = {
    PROVED: "the data is 64-bit and proved; the services start",
    AGAIN: "the migration failed and may succeed next time: this machine starts again and goes on",
    BACK: "the migration cannot succeed: this machine goes back to the 32-bit release, with its"
    " data as it was",
}


def _tell_ending(ending: Ending, consoles: Consoles) -> None:
    """Say how it ended, in the journal and on every console."""
    lines = [f"applianceforge: {_ENDS[ending.verdict.status]}"]
    if ending.verdict.status != PROVED:
        reason = reasons.explain(ending.verdict.reason)
        message = ending.error.message if ending.error else reason.sentence
        hint = ending.error.hint if ending.error else reason.remedy
        lines += [f"  why: {message}", f"  what to do: {hint}"]
    text = "\n".join(lines) + "\n"
    print(text, end="", file=sys.stderr)
    consoles.write(f"\n{text}")
    if ending.error is not None and ending.error.evidence:
        tell(ending.error)


@click.command("abort")
@root_option
def abort_command(root: Path) -> None:
    """End the migration that runs at boot, and go back to the 32-bit release.

    The data is as before. Where nothing runs yet or any more, the next step of this boot sees the
    request.
    """
    places = BootPlaces(root)
    effects = Effects()
    boot_abort.request(places, marks_of(places, effects), effects)
    ended = boot_abort.interrupt(read_settings(places.settings))
    click.echo(
        "the migration ended; this machine goes back to the 32-bit release"
        if ended
        else "noted: this machine goes back to the 32-bit release as soon as its next step looks"
    )
