"""What only looks: `check`, `scan` and `error`, with the standard library alone.

These are asked on old and slow boxes, and before every update, so they start without what the
other commands import; and they travel, as one file, to boxes that have nothing of ours.

    gather facts (of this machine, or a dump) -> check -> apply the answers -> say it
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from applianceforge.cli.ending import guarded
from applianceforge.cpuid import probe, remedies
from applianceforge.cpuid.verdict import Verdict, decide
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import UnexplainedError, UsageError
from applianceforge.model.report import Finding, Report
from applianceforge.model.version import PROGRAM, VERSION
from applianceforge.preflight import (
    answers,
    checks,
    crosscheck,
    decisions,
    document,
    dump,
    gather,
    leapp,
    messages,
    render,
    requirements,
    scan_findings,
    scan_report,
    scanner,
)
from applianceforge.preflight.answers import Answers, Decision
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release
from applianceforge.preflight.scan_result import Scan, Statement
from applianceforge.system.effects import Effects

COMMANDS = {
    "check": "Check whether this machine may go 64-bit, and say what to do if not.",
    "scan": "Look for data that 64-bit programs cannot read.",
    "error": "Explain a line of a log: what it means, what not to do, what to run instead.",
}
_LOG_OF_APPLIANCE = Path("/data/forge/decisions.jsonl")
_MOST_LINE_BYTES = 1 << 16
_PROGRESS_EVERY = 2000
_WIDTH = 80
_TARGET = "amd64"

# Gives the findings of a planned migration; only the installed program can plan one.
Planner = Callable[[Path], "tuple[Finding, ...]"]


class Examination(NamedTuple):
    """What a check came to."""

    facts: Facts
    verdict: Verdict
    report: Report
    decisions: tuple[Decision, ...] = ()


def main(arguments: Sequence[str], plan: Planner | None = None) -> int:
    """Run one of the commands and return its exit status.

    Args:
        plan: Looks at a migration that a settings file describes; None where there is none.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return guarded(lambda: _run(arguments, plan), stopped="stopped; nothing was changed")


def _run(arguments: Sequence[str], plan: Planner | None) -> int:
    options = _parser(plan is not None).parse_args(arguments)
    if options.command == "check":
        return _check(options, plan)
    if options.command == "scan":
        return _scan(options)
    return _error(options)


def _parser(installed: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Check whether a 32-bit machine may go 64-bit. Changes nothing.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_check(_command(commands, "check", _CHECK_END), installed)
    _add_scan(_command(commands, "scan", _SCAN_END))
    _add_error(_command(commands, "error", _ERROR_END))
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=COMMANDS[name],
        description=COMMANDS[name],
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


_CHECK_END = """\
Changes nothing, needs no privileges, and opens no connection. As root it sees more.

exit status: 0 may go, 10 may go with warnings, 20 the hypervisor hides 64-bit mode, 21 the
firmware hides it, 22 this machine cannot, 23 too little memory or space, 24 something in the data
stands in the way, 30 not known, 2 wrong usage. Of several the least mendable counts.

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
        type=Path,
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
            help="also check the migration that FILE describes (starts the old server for a"
            " moment to ask it)",
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
        f" {_LOG_OF_APPLIANCE} on an appliance)",
    )


def _add_scan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path)
    parser.add_argument(
        "--for", dest="release", metavar="RELEASE.json", type=Path, help="what the release says"
    )
    parser.set_defaults(target=None)
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    _add_answers(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell all there is to tell")


def _add_error(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "line", metavar="LINE", nargs="*", help="the line; without one, standard input is read"
    )


def _check(options: argparse.Namespace, plan: Planner | None) -> int:
    if options.from_dump and (options.cross_check or options.scan):
        raise UsageError(
            "--from-dump decides about another machine, --scan and --cross-check about this one",
            hint="run them on the machine itself",
        )
    release = _release(options)
    today = date.today()
    answered = answers.read(str(options.answers), today) if options.answers else Answers()
    facts = _facts(options)
    if options.dump:
        sys.stdout.write(dump.encode(facts))
        return 0
    scans = _scans(options.scan, release, answered)
    verdict = decide(facts.processor)
    more = _found(scans)
    if options.cross_check:
        more += (crosscheck.cross_check(verdict),)
    if plan is not None and options.settings is not None:
        more += tuple(found for found in plan(options.settings) if found.key != remedies.KEY)
    report = checks.check(
        facts, verdict, release, sizes=_sizes(scans), clusters=_clusters(scans), more=more
    )
    report, counted = _answered(report, answered, scans, options, today)
    _say(Examination(facts, verdict, report, counted), options, release)
    return report.exit_status


def _release(options: argparse.Namespace) -> Release:
    if options.release is not None:
        return requirements.read(options.release)
    return requirements.for_target(Architecture(options.target or _TARGET))


def _facts(options: argparse.Namespace) -> Facts:
    if options.from_dump:
        return _from_dump(options.from_dump)
    return gather.gather(processor=probe.gather(), data=options.data)


def _from_dump(name: str) -> Facts:
    if name == "-":
        return dump.read(sys.stdin.buffer.read(dump.LONGEST_READ_BYTES), "standard input")
    return dump.read_file(Path(name))


def _scans(directories: Sequence[Path], release: Release, answered: Answers) -> tuple[Scan, ...]:
    statements = _statements(release, answered)
    return tuple(_scanned(directory, statements) for directory in directories)


def _found(scans: Sequence[Scan]) -> tuple[Finding, ...]:
    return tuple(finding for scan in scans for finding in scan_findings.findings(scan))


def _sizes(scans: Sequence[Scan]) -> DataSizes | None:
    if not scans:
        return None
    return DataSizes(
        cluster_bytes=sum(scan.postgresql_bytes for scan in scans),
        rrd_bytes=sum(scan.rrd_bytes for scan in scans),
        rrd_count=sum(scan.rrd_count for scan in scans),
    )


def _clusters(scans: Sequence[Scan]) -> tuple[ClusterNeeds, ...]:
    return tuple(
        ClusterNeeds(str(Path(scan.directory, cluster.path)), int(cluster.major))
        for scan in scans
        for cluster in scan.clusters
        if cluster.major.isdecimal()
    )


def _scanned(directory: Path, statements: tuple[Statement, ...]) -> Scan:
    if not sys.stderr.isatty():
        return scanner.scan(directory, statements)

    def tell(files: int) -> None:
        if files % _PROGRESS_EVERY == 0:
            print(f"\r{directory}: {files} files", end="", file=sys.stderr, flush=True)

    try:
        return scanner.scan(directory, statements, tell)
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _statements(release: Release, answered: Answers) -> tuple[Statement, ...]:
    """Return what is said of files; the administrator comes first, who knows the box."""
    said = (
        Statement(one.pattern, answers.DISPOSITIONS[one.disposition], one.reason, release.name)
        for one in release.data
    )
    return (*answered.statements, *said)


def _answered(
    report: Report,
    answered: Answers,
    scans: Sequence[Scan],
    options: argparse.Namespace,
    today: date,
) -> tuple[Report, tuple[Decision, ...]]:
    """Apply the answers; what is not on record in the log does not count."""
    if not options.answers:
        return report, ()
    mended, counted = answers.apply(answered, report, today, scans)
    decisions.record(
        _log(options),
        counted,
        Effects(),
        time_s=time.time(),
        user_id=os.getuid(),
        report=decisions.digest(report),
    )
    return mended, counted


def _log(options: argparse.Namespace) -> Path:
    if options.decisions is not None:
        return Path(options.decisions)
    if _LOG_OF_APPLIANCE.parent.is_dir():
        return _LOG_OF_APPLIANCE
    return Path(f"{options.answers}.decisions.jsonl")


def _say(done: Examination, options: argparse.Namespace, release: Release) -> None:
    if options.json:
        said = document.document(
            done.verdict,
            done.report,
            target=release.name if release.version else release.architecture.value,
            version=VERSION,
            accepted=done.decisions,
        )
        print(json.dumps(said, indent=1))
    elif options.leapp:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        said = leapp.document(
            done.report, run_id=os.urandom(16).hex(), hostname=done.facts.hostname, time=now
        )
        print(json.dumps(said, indent=1))
    else:
        print("\n".join(render.lines(done.verdict, done.report, _style(options))))


def _style(options: argparse.Namespace) -> render.Style:
    return render.Style(
        width=min(_columns(), 100),
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        verbose=getattr(options, "verbose", False),
        encoding=sys.stdout.encoding or "ascii",
    )


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH
    except (OSError, ValueError):
        return _WIDTH


def _scan(options: argparse.Namespace) -> int:
    release = _release(options)
    today = date.today()
    answered = answers.read(str(options.answers), today) if options.answers else Answers()
    scans = _scans(options.directories, release, answered)
    report, counted = _answered(Report(_found(scans)), answered, scans, options, today)
    if options.json:
        said = scan_report.document(scans, report, version=VERSION, accepted=counted)
        print(json.dumps(said, indent=1))
    else:
        print("\n".join(scan_report.lines(scans, report, _style(options))))
    return report.exit_status


def _error(options: argparse.Namespace) -> int:
    line = " ".join(options.line)
    if not options.line:
        read = sys.stdin.buffer.read(_MOST_LINE_BYTES)
        line = read.decode("utf-8", "replace")
    if not line.strip():
        raise UsageError(
            "there is no line to explain", hint='give it in quotes, as in error "LINE"'
        )
    explanations = messages.explain(line)
    style = _style(options)
    if not explanations:
        raise UnexplainedError(
            f"nothing is known about this line: {render.printable(line, 200)}",
            hint=messages.NOT_KNOWN,
        )
    for number, explanation in enumerate(explanations):
        if number:
            print()
        for said in messages.lines(explanation, style.width):
            print(render.encodable(said, style.encoding))
    return 0
