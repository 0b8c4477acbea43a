"""Run a group of commands that click reads, and end with a status.

A command that was asked for --json and ends with an error says so on standard output as well; no
command does anything for that but have the option.
"""

import errno
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from applianceforge.cli.ending import discard_output, guarded, say
from applianceforge.model import error_document
from applianceforge.model.errors import ForgeError, UsageError
from applianceforge.model.version import PROGRAM
from applianceforge.system import files

_JSON = "--json"
# What a path does to whoever only asks whether something is there; anything else is a bug.
_OF_A_PATH = (errno.EACCES, errno.ENAMETOOLONG)
# In `meta`, which the contexts of a command line share.
_ASKED = f"{__name__}.asked"
_KNOWN = f"{__name__}.known"


class Group(click.Group):
    """The outermost group: it minds how its commands end.

    It does not mind if the reader of its output goes away.
    """

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click itself would call a closed pipe a failure.

        Raises:
            ForgeError: The command's; the document is printed by then, if one is wanted.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            discard_output()
            return 0
        except ForgeError as error:
            _answer(ctx, error)
            raise
        except click.UsageError as error:
            _answer(ctx, _wrong_usage(error))
            raise
        except OSError as error:
            if error.filename is None or error.errno not in _OF_A_PATH:
                raise
            named = files.describe(error, error.filename, "reach")
            _answer(ctx, named)
            raise named from error


def run(group: click.Group, arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit status."""
    _listen(group)
    return guarded(
        lambda: _run(group, arguments),
        stopped="stopped; nothing is lost, the same command continues",
    )


def know(fields: Mapping[str, Any]) -> None:
    """Keep what a document would say by now: if an error follows, its document says it too.

    Args:
        fields: As in the command's own document.
    """
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_KNOWN] = fields


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


def _listen(command: click.Command) -> None:
    """Let every command that has --json note when it is asked for it."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _listen(one)
    for parameter in command.params:
        if _JSON in parameter.opts:
            parameter.callback = _note
            # Before another option's value turns out to be wrong.
            parameter.is_eager = True


def _note(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    context.meta[_ASKED] = value
    return value


def _wrong_usage(error: click.UsageError) -> UsageError:
    hint = f"see `{error.ctx.command_path} --help`" if error.ctx is not None else ""
    return UsageError(error.format_message(), hint=hint)


def _answer(context: click.Context, error: ForgeError) -> None:
    """Print the document of an error, if JSON was asked for."""
    if not context.meta.get(_ASKED):
        return
    try:
        # ASCII: it is to be printed whatever the locale.
        say(json.dumps(error_document.document(error, context.meta.get(_KNOWN)), indent=1))
    except OSError:
        # The output is full or broken; what the command failed of counts, and is told yet.
        discard_output()
