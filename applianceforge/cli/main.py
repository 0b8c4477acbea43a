"""`applianceforge`: one command for a person at a terminal."""

from collections.abc import Sequence

import click

from applianceforge.cli import commands, standalone
from applianceforge.cli.appliance_status import status_command
from applianceforge.cli.cluster import cluster
from applianceforge.cli.history import history_command
from applianceforge.cli.migrate import migrate, planned
from applianceforge.cli.rrd import rrd
from applianceforge.cli.settle import settle_command
from applianceforge.cli.slot import slot
from applianceforge.model.errors import UsageError
from applianceforge.model.version import PROGRAM, VERSION


@click.group(
    cls=commands.Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, prog_name=PROGRAM)
def applianceforge() -> None:
    """Take a 32-bit appliance to 64-bit, and prove that nothing was lost.

    \b
    Start here:
      applianceforge check                     may this machine go 64-bit, and if not, what to do
      applianceforge check --scan DIR          what in DIR can 64-bit programs not read?
      applianceforge error "LINE"              what a line of a log means, and what not to do
      applianceforge cluster info DIR          what is this PostgreSQL data directory?
      applianceforge rrd info FILE             what is this RRD?
      applianceforge migrate settings          a commented example of the settings file
      applianceforge migrate plan -c FILE      what would be done, how much space it takes
      applianceforge migrate run -c FILE       do it; the same command continues after any cut

    \b
    On an appliance with two slots:
      applianceforge status                    what runs, and why the last update came back
      applianceforge slot status               both slots, and which one starts next
      applianceforge update                    take it to the newest release that it may have
      applianceforge history                   what its updates and migrations came to

    \b
    On the vendor's build machine:
      applianceforge release --help            publish releases, signed, for a fleet

    Every failure has an exit status of its own and says what to do.

    \b
    Completion in bash (or zsh, fish):
      eval "$(_APPLIANCEFORGE_COMPLETE=bash_source applianceforge)"
    """


def _handed_over(name: str, summary: str) -> click.Command:
    """Return a command that is listed here, and has its arguments read elsewhere."""

    @click.command(
        name,
        help=f"{summary}\n\nSee `{PROGRAM} {name} --help`.",
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> int:
        return standalone.main([name, *arguments], planned)

    return command


def _first_word(name: str, summary: str) -> click.Command:
    """Return a command that is listed here; `entry` starts it before anything here is read."""

    @click.command(
        name,
        help=f"{summary}\n\nSee `{PROGRAM} {name} --help`.",
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        raise UsageError(
            f"`{name}` must be the first word of the command",
            hint=f"write: {PROGRAM} {name} {' '.join(arguments)}".rstrip(),
        )

    return command


# What they sign or prove with takes time to load, or may be missing where the others are needed.
_FIRST_WORDS = {
    "release": "Make a repository of releases, sign it, and say who gets which release.",
    "update": "Take this appliance to the newest release that it may have.",
}
for _name, _summary in standalone.COMMANDS.items():
    applianceforge.add_command(_handed_over(_name, _summary))
for _name, _summary in _FIRST_WORDS.items():
    applianceforge.add_command(_first_word(_name, _summary))
applianceforge.add_command(cluster)
applianceforge.add_command(history_command)
applianceforge.add_command(migrate)
applianceforge.add_command(rrd)
applianceforge.add_command(settle_command)
applianceforge.add_command(slot)
applianceforge.add_command(status_command)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status."""
    return commands.run(applianceforge, arguments)
