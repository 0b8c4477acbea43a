"""Run a group of commands that click reads, and end with a status."""

import os
import sys
from collections.abc import Sequence

import click

from applianceforge.cli.ending import guarded
from applianceforge.model.version import PROGRAM


class Group(click.Group):
    """A group that does not mind if the reader of its output goes away."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click itself would call a closed pipe a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def run(group: click.Group, arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit status."""
    return guarded(
        lambda: _run(group, arguments),
        stopped="stopped; nothing is lost, the same command continues",
    )


def _run(group: click.Group, arguments: Sequence[str]) -> int:
    try:
        status = group.main(list(arguments), standalone_mode=False, prog_name=PROGRAM)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        # click turns every KeyboardInterrupt into an Abort of its own.
        cause = error.__cause__
        raise cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt from error
    return status if isinstance(status, int) else 0
