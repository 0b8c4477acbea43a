"""What only looks: `check`, `scan` and `error`, with the standard library alone.

These are asked on old and slow boxes, and before every update, so they start without what the
other commands import, and each without what the others of them need; and they travel, as one file,
to boxes that have nothing of ours.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from applianceforge.cli.ending import guarded
from applianceforge.cli.terminal import columns
from applianceforge.model.version import PROGRAM, VERSION

if TYPE_CHECKING:
    from applianceforge.cli.check import Planner

COMMANDS = {
    "check": "Check whether this machine may go 64-bit, and say what to do if not.",
    "scan": "Look for data that 64-bit programs cannot read.",
    "error": "Explain a line of a log: what it means, what not to do, what to run instead.",
}


def main(arguments: Sequence[str], plan: Planner | None = None) -> int:
    """Run one of the commands and return its exit status.

    Args:
        plan: Looks at a migration that a settings file describes; None where there is none.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return guarded(lambda: _run(arguments, plan), stopped="stopped; nothing was changed")


def _run(arguments: Sequence[str], plan: Planner | None) -> int:
    options = _parser(plan is not None).parse_args(arguments)
    if options.command == "check":
        from applianceforge.cli.check import check

        return check(options, plan)
    if options.command == "scan":
        from applianceforge.cli.scan import scan

        return scan(options)
    from applianceforge.cli.error import error

    return error(options)


def _parser(installed: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Check whether a 32-bit machine may go 64-bit. Changes nothing.",
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    # Without `prog` argparse formats a usage line to find it out, which imports shutil.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog=PROGRAM)
    _add_check(_command(commands, "check", _CHECK_END), installed)
    _add_scan(_command(commands, "scan", _SCAN_END))
    _add_error(_command(commands, "error", _ERROR_END))
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width argparse imports shutil to find one out, at every argument that is added.
    return argparse.RawDescriptionHelpFormatter(prog, width=columns())


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=COMMANDS[name],
        description=COMMANDS[name],
        epilog=epilog,
        formatter_class=_formatter,
        allow_abbrev=False,
    )


_CHECK_END = """\
Changes nothing (but see --settings and --answers), needs no privileges, and opens no connection.
As root it sees more.

exit status: 0 may go, 10 may go with warnings, 20 the hypervisor hides 64-bit mode, 21 the
firmware hides it, 22 this machine cannot, 23 too little memory or space, 24 something in the data
stands in the way, 30 not known, 2 wrong usage. Of several the least mendable counts. 40 and above:
a file or path that was given is wrong, or may not be read.

on a box without Python: sh check.sh > facts.txt, and elsewhere: check --from-dump facts.txt"""
_SCAN_END = "exit status: 0 all is portable or ours to convert, 10 warnings, 24 something is not."
_ERROR_END = "exit status: 0 explained, 59 nothing is known about it."


def _add_check(parser: argparse.ArgumentParser, installed: bool) -> None:
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--for", dest="release", metavar="RELEASE.json", type=Path, help="what the release requires"
    )
    target.add_argument(
        "--target",
        choices=("amd64", "i386"),
        help="the architecture to go to, without a release in mind (default: amd64)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON for a program")
    output.add_argument(
        "--leapp", action="store_true", help="print JSON as Leapp's report 1.2.0 has it"
    )
    output.add_argument(
        "--dump", action="store_true", help="print the facts, for a support desk; decide nothing"
    )
    parser.add_argument(
        "--from-dump",
        metavar="FILE",
        help="decide from the facts in FILE (- is standard input): of --dump, of check.sh, or"
        " registers as InstLatx64, libcpuid or `cpuid -r` write them",
    )
    parser.add_argument(
        "--cross-check", action="store_true", help="ask py-cpuinfo too, if it is installed"
    )
    parser.add_argument(
        "--scan",
        metavar="DIR",
        action="append",
        default=[],
        type=_directory,
        help="look for data in DIR that 64-bit programs cannot read; may be repeated",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="where the migrated data will be: its file system must have the space",
    )
    if installed:
        parser.add_argument(
            "--settings",
            metavar="FILE",
            type=Path,
            help="also check the migration that FILE describes, as `migrate plan` does: makes its"
            " work directory, and starts the old server for a moment to ask it",
        )
    _add_answers(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell all there is to tell")


def _add_answers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--answers", metavar="FILE", type=Path, help="accept findings, with reason and expiry"
    )
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        type=Path,
        help="where to log which answers counted (default: beside the answers, or"
        " /data/forge/decisions.jsonl on an appliance)",
    )


def _add_scan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", metavar="DIR", nargs="+", type=_directory)
    parser.add_argument(
        "--for", dest="release", metavar="RELEASE.json", type=Path, help="what the release says"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    _add_answers(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell all there is to tell")


def _directory(name: str) -> Path:
    # An unset variable in a script is not the current directory.
    if not name:
        raise argparse.ArgumentTypeError("the name of the directory is empty")
    return Path(name)


def _add_error(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "line",
        metavar="LINE",
        nargs="*",
        help="the line; without one, or as -, standard input is read",
    )
