"""The commands of an appliance with two slots, without what a migration takes to load.

They run at every boot, and on old, slow boxes; PostgreSQL's client alone takes a third of a second
on a fast one.
"""

from collections.abc import Sequence

import click

from applianceforge.cli import commands
from applianceforge.cli.appliance_status import status_command
from applianceforge.cli.history import history_command
from applianceforge.cli.settle import settle_command
from applianceforge.cli.slot import slot

COMMANDS = ("history", "settle", "slot", "status")


@click.group(
    cls=commands.Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def _appliance() -> None:
    """Hold what `main` lists in full."""


for _command in (history_command, settle_command, slot, status_command):
    _appliance.add_command(_command)


def main(arguments: Sequence[str]) -> int:
    """Run one of COMMANDS and return its exit status."""
    return commands.run(_appliance, arguments)
