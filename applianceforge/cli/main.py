"""`applianceforge`: one command for a person at a terminal."""

import os
import signal
import sys
from types import FrameType

import click

from applianceforge.cli.check import check
from applianceforge.cli.cluster import cluster
from applianceforge.cli.migrate import migrate
from applianceforge.cli.rrd import rrd
from applianceforge.cli.version import PROGRAM, version
from applianceforge.model.errors import ForgeError, exit_status_of

_INTERRUPTED = 130
_TERMINATED = 143
_MOST_EVIDENCE = 20


class _Terminated(KeyboardInterrupt):
    """SIGTERM: stop as cleanly as on Ctrl-C."""


class _Group(click.Group):
    """A group that does not mind if the reader of its output goes away."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click itself would call a closed pipe a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(version(), prog_name=PROGRAM)
def applianceforge() -> None:
    """Take a 32-bit appliance to 64-bit, and prove that nothing was lost.

    \b
    Start here:
      applianceforge check                     may this machine run 64-bit programs?
      applianceforge cluster info DIR          what is this PostgreSQL data directory?
      applianceforge rrd info FILE             what is this RRD?
      applianceforge migrate settings          a commented example of the settings file
      applianceforge migrate plan -c FILE      what would be done, how much space it takes
      applianceforge migrate run -c FILE       do it; the same command continues after any cut

    Every failure has an exit status of its own and says what to do.

    \b
    Completion in bash (or zsh, fish):
      eval "$(_APPLIANCEFORGE_COMPLETE=bash_source applianceforge)"
    """


applianceforge.add_command(check)
applianceforge.add_command(cluster)
applianceforge.add_command(migrate)
applianceforge.add_command(rrd)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line; this is the only place where errors become text and a status."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = applianceforge.main(standalone_mode=False, prog_name=PROGRAM)
    except ForgeError as error:
        tell(error)
        sys.exit(exit_status_of(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        # click turns every KeyboardInterrupt into an Abort of its own.
        _say_stopped()
        terminated = isinstance(error, _Terminated) or isinstance(error.__cause__, _Terminated)
        sys.exit(_TERMINATED if terminated else _INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _say_stopped() -> None:
    click.echo(f"{PROGRAM}: stopped; nothing is lost, the same command continues", err=True)


def tell(error: ForgeError) -> None:
    """Print an error as a person reads it: what is wrong, what shows it, what to do."""
    click.secho(f"{PROGRAM}: {error.message}", err=True, fg="red")
    shown = [line for line in error.evidence if line and line not in error.message]
    for line in shown[:_MOST_EVIDENCE]:
        click.echo(f"  | {line}", err=True)
    if len(shown) > _MOST_EVIDENCE:
        click.echo(f"  | and {len(shown) - _MOST_EVIDENCE} more", err=True)
    if error.hint:
        click.secho(f"  What to do: {error.hint}", err=True, bold=True)
