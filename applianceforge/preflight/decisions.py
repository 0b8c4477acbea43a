"""Keep a log of the answers that counted, durably, one line of JSON for each.

A line says when, what was answered, why, until when, by whom, which user ran the check, and the
digest of the report as it was before the answers, so that it can be shown later what was accepted
and on what grounds. The log is readable by its owner alone, and is only ever appended to. It is
written when an answer file is used, and never else.

Fields of a line: `schema` (1), `time` (UTC, as in 2026-11-22T12:00:00Z), `kind`, `subject`,
`answer`, `reason`, `expires` and `by` as in the JSON document, `user_id`, `report` (SHA-256).
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterable

from applianceforge.model.errors import AccessDeniedError, DiskFullError, SettingsError
from applianceforge.model.report import Report
from applianceforge.preflight.answers import Decision
from applianceforge.preflight.document import text
from applianceforge.system import files
from applianceforge.system.effects import Effects

_SCHEMA = 1


def digest(report: Report) -> str:
    """Return the SHA-256 of all that a report's findings say, in hexadecimal.

    Over the findings in their order, each as the JSON list of its fields, without spaces, in
    ASCII, one a line.
    """
    sha256 = hashlib.sha256()
    for finding in report.findings:
        fields = [
            finding.key,
            finding.severity.value,
            finding.title,
            finding.summary,
            list(finding.evidence),
            [list(remedy) for remedy in finding.remedies],
            finding.exit_status,
        ]
        sha256.update(json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n")
    return sha256.hexdigest()


def encode(decision: Decision, *, time_s: float, user_id: int, report: str) -> bytes:
    """Return the line of one decision, without its line end.

    Args:
        decision: The answer that counted.
        time_s: Seconds since 1970 in UTC.
        user_id: Who ran the check.
        report: The digest of the report before the answers.
    """
    moment = datetime.fromtimestamp(int(time_s), timezone.utc)
    line = {
        "schema": _SCHEMA,
        "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": decision.kind,
        "subject": text(decision.subject),
        "answer": decision.answer,
        "reason": text(decision.reason),
        "expires": decision.expires or None,
        "by": text(decision.by) or None,
        "user_id": user_id,
        "report": report,
    }
    return json.dumps(line).encode("ascii")


def record(
    path: Path,
    decisions: Iterable[Decision],
    effects: Effects,
    *,
    time_s: float,
    user_id: int,
    report: str,
) -> None:
    """Append the decisions of one run to the log, each once, all of them or none.

    Nothing is written where there are no decisions. The caller must not go on with the answers
    if this raises: an acceptance that leaves no trace does not count.

    Args:
        path: The log, a plain file and no link; it is made if it is not there, for its owner
            alone, and the rights of others on one that is there are taken away.
        decisions: The answers that counted.
        effects: Told of the write.
        time_s: Seconds since 1970 in UTC.
        user_id: Who ran the check.
        report: `digest` of the report before the answers.

    Raises:
        DiskFullError: No space is left.
        AccessDeniedError: It may not be written, its file system is read-only, or others may read
            it and it is not ours.
        SettingsError: A part of the path is missing, or it is no plain file.
    """
    unique = tuple(dict.fromkeys(decisions))
    if not unique:
        return
    lines = [encode(d, time_s=time_s, user_id=user_id, report=report) for d in unique]
    try:
        files.append_line(path, b"\n".join(lines), effects, owner_only=True)
    except (DiskFullError, AccessDeniedError, SettingsError) as error:
        raise type(error)(
            f"{error.message}; so no answer counts, for each must be logged",
            hint=f"{error.hint}; or run the check without the answer file",
        ) from error
