"""Say what a scan found: how much of what there is, in words and as a JSON document.

The document's form is published as `scan.schema.json` beside this module.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence

from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.report import Report
from applianceforge.preflight import render
from applianceforge.preflight.answers import DISPOSITIONS, Decision
from applianceforge.preflight.document import PROGRAM, decisions, findings, text
from applianceforge.preflight.scan_findings import in_bytes
from applianceforge.preflight.scan_result import Group, Scan

SCHEMA = 1
SCHEMA_FILE = "scan.schema.json"
_WORDS = {
    **{disposition: word for word, disposition in DISPOSITIONS.items()},
    Disposition.SUSPECT: "suspect",
    Disposition.UNKNOWN: "unknown",
}


def lines(scans: Iterable[Scan], report: Report, style: render.Style) -> tuple[str, ...]:
    """Return the whole of it as lines, without line ends: figures first, then the findings."""
    opening: list[str] = []
    for scan in scans:
        if opening:
            opening.append("")
        opening.append(
            f"{scan.directory}: {scan.files} files, {in_bytes(scan.size_bytes)};"
            f" directories: {scan.directories}"
        )
        opening += [
            f"  {scan.count(disposition):>8}  {disposition.value}"
            for disposition in Disposition
            if scan.count(disposition)
        ]
    return render.opened(opening, report, style)


def document(
    scans: Sequence[Scan], report: Report, *, version: str, accepted: Iterable[Decision] = ()
) -> dict[str, Any]:
    """Return the document, made of what the json module writes.

    Args:
        scans: One for each directory.
        report: All findings, after the answers.
        version: The version of this program.
        accepted: The answers that counted.
    """
    return {
        "schema": SCHEMA,
        "program": PROGRAM,
        "version": version,
        "scans": [_scan(scan) for scan in scans],
        "findings": findings(report),
        "accepted": decisions(accepted),
        "exit_status": report.exit_status,
    }


def _scan(scan: Scan) -> dict[str, Any]:
    return {
        "directory": text(scan.directory),
        "files": scan.files,
        "directories": scan.directories,
        "size_bytes": scan.size_bytes,
        "unreadable": scan.unreadable.number,
        "groups": [_group(group) for group in scan.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "format": group.format,
        "width_bits": group.width_bits,
        "is": _WORDS[group.disposition],
        "number": group.number,
        "size_bytes": group.size_bytes,
        "examples": [text(item.path) for item in group.items],
    }
