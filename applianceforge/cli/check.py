"""`applianceforge check`: may this machine go 64-bit, and if not, what to do.

    gather facts (of this machine, or a dump) -> check -> apply the answers -> say it

What only an option needs is imported where the option is used: on an old box those imports take
longer than the check.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from applianceforge.cli.ending import say
from applianceforge.cli.terminal import style
from applianceforge.cpuid import probe, remedies
from applianceforge.cpuid.verdict import Verdict, decide
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError, UsageError
from applianceforge.model.report import Report
from applianceforge.model.version import VERSION
from applianceforge.preflight import checks, gather, render
from applianceforge.preflight.checks import Planned
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release, for_target

if TYPE_CHECKING:
    from applianceforge.preflight.answers import Decision

# Looks at the migration that a settings file describes; only the installed program can.
Planner = Callable[[Path], Planned]


_NOTHING_PLANNED = Planned((), (), 0)


def check(options: argparse.Namespace, plan: Planner | None = None) -> int:
    """Check this machine, or a dump of another, say what was found, and return the exit status.

    Args:
        plan: Looks at a migration that a settings file describes; None where there is none.
    """
    _refuse_two_machines(options)
    if options.data is not None and not options.data.is_dir():
        raise SettingsError(
            f"--data {options.data} is no directory",
            hint="name one on the file system that takes the migrated data",
        )
    release = _release(options)
    facts = _facts(options)
    if options.dump:
        _dump(facts)
        return 0
    verdict = decide(facts.processor)
    planned = plan(options.settings) if plan and options.settings else _NOTHING_PLANNED
    report, accepted = _checked(options, facts, verdict, release, planned)
    if options.json:
        _say_json(verdict, report, release, accepted)
    elif options.leapp:
        _say_leapp(facts, report)
    else:
        lines = render.lines(
            verdict, report, style(verbose=options.verbose), long_mode=release.long_mode
        )
        say("\n".join(lines))
    return report.exit_status


def _refuse_two_machines(options: argparse.Namespace) -> None:
    here = {
        "--scan": options.scan,
        "--cross-check": options.cross_check,
        "--data": options.data,
        "--settings": getattr(options, "settings", None),
    }
    given = [name for name, value in here.items() if value]
    if options.from_dump is not None and given:
        raise UsageError(
            f"--from-dump decides about another machine, {', '.join(given)} about this one",
            hint="run it on the machine itself, or leave one of them out",
        )


def _release(options: argparse.Namespace) -> Release:
    if options.release is None:
        return for_target(Architecture(options.target or Architecture.AMD64.value))
    from applianceforge.preflight import release_file

    return release_file.read(options.release)


def _facts(options: argparse.Namespace) -> Facts:
    if options.from_dump is None:
        return gather.gather(processor=probe.gather(), data=options.data)
    from applianceforge.preflight import dump

    if options.from_dump == "-":
        return dump.read(sys.stdin.buffer.read(dump.LONGEST_READ_BYTES), "standard input")
    return dump.read_file(Path(options.from_dump))


def _dump(facts: Facts) -> None:
    from applianceforge.preflight import dump

    say(dump.encode(facts).rstrip("\n"))


def _checked(
    options: argparse.Namespace, facts: Facts, verdict: Verdict, release: Release, planned: Planned
) -> tuple[Report, tuple[Decision, ...]]:
    """Check, with the data and the administrator's answers if the options name them."""
    # The check tells of the processor itself.
    more = tuple(found for found in planned.findings if found.key != remedies.KEY)
    if options.cross_check:
        from applianceforge.preflight.crosscheck import cross_check

        more += (cross_check(verdict),)
    sizes = DataSizes(peak_bytes=planned.peak_bytes) if planned.peak_bytes else None
    clusters = planned.clusters
    if not (options.scan or options.answers):
        report = checks.check(facts, verdict, release, sizes=sizes, clusters=clusters, more=more)
        return report, ()
    from applianceforge.cli import answering, scan

    answered = answering.read(options)
    scans = scan.scanned(options.scan, release, answered)
    if scans:
        sizes = scan.sizes(scans)._replace(peak_bytes=planned.peak_bytes or None)
    asked = {cluster.name for cluster in clusters}
    clusters += tuple(one for one in scan.clusters(scans) if one.name not in asked)
    report = checks.check(
        facts,
        verdict,
        release,
        sizes=sizes,
        clusters=clusters,
        more=(*more, *scan.found(scans)),
    )
    return answering.applied(report, answered, scans, options)


def _say_json(
    verdict: Verdict, report: Report, release: Release, accepted: tuple[Decision, ...]
) -> None:
    import json

    from applianceforge.preflight import document

    said = document.document(
        verdict,
        report,
        target=release.name if release.version else release.architecture.value,
        version=VERSION,
        accepted=accepted,
    )
    say(json.dumps(said, indent=1))


def _say_leapp(facts: Facts, report: Report) -> None:
    import json
    import os
    import time

    from applianceforge.preflight import leapp

    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    said = leapp.document(report, run_id=os.urandom(16).hex(), hostname=facts.hostname, time=now)
    say(json.dumps(said, indent=1))
