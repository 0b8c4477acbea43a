"""`applianceforge settle`: the last step of a boot."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from applianceforge.cli.consoles import Consoles
from applianceforge.migrate.boot_settle import Settling, Tools
from applianceforge.migrate.boot_slots import marks_of
from applianceforge.migrate.boot_verdict import PROVED
from applianceforge.slots import reasons
from applianceforge.slots.places import BootPlaces, read_release
from applianceforge.system.effects import Effects

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    hidden=True,
    help="Another root directory, for tests.",
)


@click.command("settle")
@root_option
def settle_command(root: Path) -> int:
    """Mark the release good once its services are up, raise the epoch, open the ports.

    The unit forge-settle runs this at boot; it does what is not done yet, and may be run again.
    Exit status 76: the services did not come up, and the slot was marked bad with the reason.
    """
    return _settle(root, Tools(), time.time)


def _settle(root: Path, tools: Tools, clock: Callable[[], float]) -> int:
    places = BootPlaces(root)
    effects = Effects()
    marks = marks_of(places, effects)
    settled = Settling(places, marks, read_release(places), tools, effects, clock).carry_out()
    if settled.verdict.status == PROVED:
        click.echo(f"settled; ports: {settled.ports}")
        return PROVED
    reason = reasons.explain(settled.verdict.reason)
    text = f"applianceforge: this release is given up: {reason.sentence}\n  {settled.message}\n"
    print(text, end="", file=sys.stderr)
    Consoles().write(f"\n{text}")
    return settled.verdict.status
