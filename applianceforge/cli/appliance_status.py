"""`applianceforge status`: where this appliance stands, in words."""

from datetime import UTC, datetime
from pathlib import Path

import click

from applianceforge.cli import update_status_words
from applianceforge.cli.settle import root_option
from applianceforge.cli.summary import duration, size, visible
from applianceforge.migrate import boot_overview, boot_services
from applianceforge.migrate.boot_overview import Failure, Overview, SlotView
from applianceforge.model.errors import ForgeError
from applianceforge.release.update import settings_files
from applianceforge.release.update import status as update_status
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.status import Seen
from applianceforge.slots import reasons
from applianceforge.slots.places import BootPlaces

WELL = 0
SHUT = 66
GIVEN_UP = 67
DOWN = 68
_LARGEST_SHOWN = 1e18
# It may start again, as soon as what hinders it is gone.
_PASSED_OVER = ("no-long-mode", "not-counted")
_STATES = {
    "migrating": "is running",
    "again": "failed, and is tried again",
    "stopped": "was stopped, and goes on at the next boot",
}


@click.command("status")
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def status_command(root: Path, as_json: bool) -> int:
    """Say where this appliance stands: its slots, its data, and what went wrong last.

    \b
    Exit status:
      0   all is well
      62  this machine is no appliance
      66  its services are shut; the text says why and what to do
      67  it runs, but the other slot was given up: an update or a migration failed
      68  a service that must be up has failed
    """
    places = UpdatePlaces(root)
    found = boot_overview.gather(BootPlaces(root), _show(root), _retention_days(places))
    update = update_status.read(places.status)
    if update is not None and not update_status_words.concerns(update, found.release):
        update = None
    if as_json:
        click.echo(boot_overview.document(found, None if update is None else update.fields))
    else:
        click.echo("\n".join(lines(found, update)))
    return exit_status(found)


def _retention_days(places: UpdatePlaces) -> float | None:
    try:
        return settings_files.read(places).retention_days
    except ForgeError:
        return None  # `applianceforge update` says what is wrong with them.


def _show(root: Path) -> tuple[str, ...]:
    """Return how to ask the systemd of that root; another than ours may bring a stand-in."""
    if root == Path("/"):
        return boot_services.SHOW
    own = root / "bin/systemctl"
    return (str(own), "show") if own.exists() else ()


def exit_status(found: Overview) -> int:
    """Return the status that the command ends with."""
    if found.shut:
        return SHUT
    if any(state not in boot_services.COMING for state in found.down.values()):
        return DOWN
    return GIVEN_UP if found.failure is not None else WELL


def lines(found: Overview, update: Seen | None = None) -> list[str]:
    """Return what a person reads.

    Args:
        found: Where the appliance stands.
        update: How far an update is, or how the last one ended.
    """
    release = found.release
    shown = [f"{release.name} {release.version}, {release.architecture.value}"]
    if found.epoch is not None:
        truth = {32: "32-bit (i386)", 64: "64-bit (amd64)"}[found.epoch.width]
        shown.append(f"  the data is {truth}")
    shown += [f"  {_slot(one)}" for one in found.slots]
    if not found.slots:
        shown.append("  the boot environment cannot be read; root may know more")
    if found.shut:
        reason = reasons.explain(found.shut)
        shown += ["", "The services are shut.", *_why(reason.sentence, reason.remedy)]
    if found.down:
        units = boot_services.in_words(found.down)
        shown += ["", f"Not up: {units}.", "  What to do: systemctl status UNIT says more."]
    if found.migration is not None:
        shown += ["", *_migration(found)]
    if found.failure is not None:
        shown += ["", *_failure(found.failure)]
    if update is not None and (told := update_status_words.lines(update)):
        shown += ["", *told]
    if found.went_back is not None:
        shown += [
            "",
            f"This box went back to 32 bits on {_date(found.went_back.time_s)}:"
            f" {found.went_back.message}",
        ]
    if found.way_back_until_s is not None:
        shown += [
            "",
            f"The old 32-bit data is kept until {_date(found.way_back_until_s)}, or until another"
            " release takes the 32-bit one's slot. Until then there is a way back:"
            " applianceforge migrate back --check",
        ]
    return [visible(line) for line in shown]


def _slot(one: SlotView) -> str:
    if one.good:
        state = "good"
    elif one.bootable:
        state = f"not proved yet, {one.tries} tries left"
    else:
        state = "not bootable"
    marks = [word for word, is_so in (("runs", one.booted), ("boots next", one.primary)) if is_so]
    return f"slot {one.slot.value}: {state}" + (f" ({', '.join(marks)})" if marks else "")


def _why(sentence: str, remedy: str) -> list[str]:
    return [f"  Why: {sentence}.", f"  What to do: {remedy}."]


def _failure(failure: Failure) -> list[str]:
    slot = f"Slot {failure.slot.value}" if failure.slot else "A slot"
    when = f" on {_date(failure.time_s)}" if failure.time_s else ""
    did = "passed over" if failure.word in _PASSED_OVER else "given up"
    shown = [f"{slot} was {did}{when}.", *_why(failure.sentence, failure.remedy)]
    if failure.message:
        shown.append(f"  It said: {failure.message}")
    shown += [f"  | {line}" for line in failure.evidence]
    if failure.hint:
        shown.append(f"  It advised: {failure.hint}")
    return shown


def _migration(found: Overview) -> list[str]:
    migration = found.migration or {}
    state = str(migration.get("state", ""))
    shown = [f"The migration {_STATES.get(state, state)}."]
    progress = migration.get("progress")
    if isinstance(progress, dict):
        shown.append(
            f"  step {progress.get('number')} of {progress.get('of')}: {progress.get('title')}"
        )
        done, total, elapsed_s = (
            _number(progress.get(key)) for key in ("done_bytes", "total_bytes", "elapsed_s")
        )
        amount = size(int(done)) + (f" of about {size(int(total))}" if total else "")
        shown.append(f"  {amount}, for {duration(elapsed_s)}")
    verdict = migration.get("verdict")
    if isinstance(verdict, dict):
        shown += _why(str(verdict.get("message")), str(verdict.get("hint")))
    return shown


def _number(value: object) -> float:
    """Return a number of a file that anybody may have written; 0 for what is none to be shown."""
    return value if isinstance(value, int | float) and 0 <= value < _LARGEST_SHOWN else 0


def _date(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
