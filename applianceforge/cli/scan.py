"""`applianceforge scan`: which data can 64-bit programs not read?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from applianceforge.cli import answering
from applianceforge.cli.ending import say
from applianceforge.cli.terminal import style
from applianceforge.model.architecture import Architecture
from applianceforge.model.report import Finding, Report
from applianceforge.model.version import VERSION
from applianceforge.preflight import release_file, scan_findings, scan_report, scanner
from applianceforge.preflight.answers import DISPOSITIONS, Answers
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.requirements import Release, for_target
from applianceforge.preflight.scan_result import Scan, Statement, shown

_PROGRESS_EVERY = 2000


def scan(options: argparse.Namespace) -> int:
    """Scan directories, say what is in them, and return the exit status."""
    release = (
        for_target(Architecture.AMD64)
        if options.release is None
        else release_file.read(options.release)
    )
    answered = answering.read(options)
    scans = scanned(options.directories, release, answered)
    report, counted = answering.applied(Report(found(scans)), answered, scans, options)
    if options.json:
        said = scan_report.document(scans, report, version=VERSION, accepted=counted)
        say(json.dumps(said, indent=1))
    else:
        say("\n".join(scan_report.lines(scans, report, style(verbose=options.verbose))))
    return report.exit_status


def scanned(directories: Sequence[Path], release: Release, answered: Answers) -> tuple[Scan, ...]:
    """Scan directories, told by the release and by the administrator what some files are.

    Raises:
        SettingsError: One is no directory, or holds no data.
        AccessDeniedError: One must not be read.
    """
    said = (
        Statement(one.pattern, DISPOSITIONS[one.disposition], one.reason, release.name)
        for one in release.data
    )
    # The first that fits counts: the administrator knows the box, the release all of its kind.
    statements = (*answered.statements, *said)
    return tuple(_one(directory, statements) for directory in directories)


def found(scans: Sequence[Scan]) -> tuple[Finding, ...]:
    """Return the findings of all scans, one of each key; its evidence names each directory."""
    merged: dict[str, Finding] = {}
    for scan in scans:
        for finding in scan_findings.findings(scan):
            evidence = (f"below {shown(scan.directory)}:", *finding.evidence)
            before = merged.get(finding.key)
            merged[finding.key] = (
                finding._replace(evidence=evidence)
                if before is None
                else before._replace(evidence=(*before.evidence, *evidence))
            )
    return tuple(merged.values())


def sizes(scans: Sequence[Scan]) -> DataSizes:
    """Return how much there is to migrate."""
    return DataSizes(
        cluster_bytes=sum(scan.postgresql_bytes for scan in scans),
        rrd_bytes=sum(scan.rrd_bytes for scan in scans),
        rrd_count=sum(scan.rrd_count for scan in scans),
    )


def clusters(scans: Sequence[Scan]) -> tuple[ClusterNeeds, ...]:
    """Return what is known of the PostgreSQL clusters without asking them."""
    return tuple(
        ClusterNeeds(str(Path(scan.directory, cluster.path)), int(cluster.major))
        for scan in scans
        for cluster in scan.clusters
        if cluster.major.isdecimal()
    )


def _one(directory: Path, statements: tuple[Statement, ...]) -> Scan:
    if not sys.stderr.isatty():
        return scanner.scan(directory, statements)

    def tell(files: int) -> None:
        if files % _PROGRESS_EVERY == 0:
            print(f"\r{directory}: {files} files", end="", file=sys.stderr, flush=True)

    try:
        return scanner.scan(directory, statements, tell)
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
