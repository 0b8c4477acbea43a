"""Say the report of the check in the form of Leapp's report, schema 1.2.0.

Leapp upgrades Red Hat's systems in place, and fleets have tools that read its reports. One is
`{"leapp_run_id": TEXT, "entries": [...]}`. An entry must have `hostname`, `severity` (info, low,
medium, high), `timeStamp`, `title`, `actor`, `summary`, `audience` (sysadmin, developer) and `id`
(not stable), all texts, and may have `groups` (a list of texts; an inhibitor is one whose groups
hold `inhibitor`), `key` (stable) and `detail`. A `detail` must have at least one of `external`,
`related_resources` and `remediations`. A remediation is `{"type": "hint" or "playbook",
"context": TEXT}` or `{"type": "command", "context": [TEXT, ...]}`; readers show one hint an entry.

Our remedies become one hint. They never become commands: tools run those on the machine that
reported, and many of ours belong on another, or hold a name to be filled in.

Source: Leapp, report-schema-v120.json, leapp/reporting/__init__.py, leapp/utils/report.py.
"""

from __future__ import annotations

import hashlib
from typing import Any

from applianceforge.model.report import Finding, Report, Severity, hardest_first
from applianceforge.preflight.document import text

SCHEMA_VERSION = "1.2.0"
_ACTOR = "applianceforge_check"
_SEVERITIES = {Severity.INHIBITOR: "high", Severity.WARNING: "medium", Severity.INFO: "info"}
# Leapp's own names of groups; "sanity" is its word for a check before an upgrade.
_GROUPS = {
    "boot": "boot",
    "clock": "time management",
    "cluster": "high availability",
    "filesystem": "filesystem",
    "kernel": "kernel",
    "postgresql": "services",
    "rrd": "monitoring",
}


def document(report: Report, *, run_id: str, hostname: str, time: str) -> dict[str, Any]:
    """Return the document, made of what the json module writes.

    Args:
        report: All findings.
        run_id: Names this run of the check, such as a UUID.
        hostname: The machine that was checked.
        time: When, in UTC, as in 2026-11-22T12:00:00.000000Z.
    """
    entries = [
        _entry(finding, number, run_id, hostname, time)
        for number, finding in enumerate(hardest_first(report.findings))
    ]
    return {"leapp_run_id": text(run_id), "entries": entries}


def _entry(finding: Finding, number: int, run_id: str, hostname: str, time: str) -> dict[str, Any]:
    unique = f"{run_id}\n{number}\n{finding.key}".encode("utf-8", "backslashreplace")
    entry: dict[str, Any] = {
        "id": hashlib.sha256(unique).hexdigest(),
        "key": text(finding.key),
        "actor": _ACTOR,
        "timeStamp": time,
        "hostname": text(hostname),
        "title": text(finding.title),
        "summary": text("\n".join((finding.summary, *(f"- {line}" for line in finding.evidence)))),
        "severity": _SEVERITIES[finding.severity],
        "audience": "sysadmin",
        "groups": _groups(finding),
    }
    if finding.remedies:
        entry["detail"] = {"remediations": [{"type": "hint", "context": _hint(finding)}]}
    return entry


def _groups(finding: Finding) -> list[str]:
    groups = ["inhibitor"] if finding.severity is Severity.INHIBITOR else []
    groups.append(_GROUPS.get(finding.key.partition(".")[0], "sanity"))
    return groups


def _hint(finding: Finding) -> str:
    pieces = []
    for remedy in finding.remedies:
        pieces.append(remedy.text)
        pieces.extend(f"  {command}" for command in remedy.command.splitlines())
        if remedy.verify:
            pieces.append(f"  To see that it helped: {remedy.verify}")
    return text("\n".join(pieces))
