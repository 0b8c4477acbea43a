"""The services that must be up before a release is good, and what systemd says of them."""

from collections.abc import Mapping

from applianceforge.slots.places import BootPlaces
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

SHOW = ("/usr/bin/systemctl", "show", "--property=Id,ActiveState,Job")
UP = "active"
_WAITING = "waiting"
COMING = (_WAITING, "activating", "reloading")


def listed(places: BootPlaces) -> tuple[str, ...]:
    """Return the units that must be up.

    Raises:
        SettingsError: There is no list.
    """
    with files.named_errors(places.services, "read"):
        lines = [line.strip() for line in places.services.read_text(errors="replace").splitlines()]
    return tuple(line for line in lines if line and not line.startswith("#"))


def not_up(
    units: tuple[str, ...], effects: Effects, show: tuple[str, ...] = SHOW
) -> Mapping[str, str]:
    """Return the units that are not up, with the state of each: systemd's word, or "waiting".

    Args:
        units: Their names.
        effects: Told of the program.
        show: Prints the states of the units that are named after it.

    Raises:
        ProgramFailedError: systemd does not answer.
        ProgramMissingError: There is none.
    """
    if not units:
        return {}
    said = programs.run(Command((*show, *units)), effects)
    states: dict[str, str] = {}
    # One block of lines a unit, in the order in which they were asked for.
    blocks = said.stdout.decode(errors="replace").strip().split("\n\n")
    for unit, block in zip(units, blocks, strict=False):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        state = fields.get("ActiveState", "unknown")
        # A unit that waits for others is inactive, and has a job.
        states[unit] = _WAITING if state == "inactive" and "Job" in fields else state
    found = {unit: states.get(unit, "unknown") for unit in units}
    return {unit: state for unit, state in found.items() if state != UP}


def in_words(down: Mapping[str, str]) -> str:
    """Return the units that are not up as a list for a person."""
    return ", ".join(f"{unit} is {state}" for unit, state in down.items())
