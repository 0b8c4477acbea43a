"""The administrator's answers to findings, as values, and what they do to a report.

An accepted inhibitor becomes a warning and an accepted warning becomes information: it is still
told, with its reason. What is said about the processor cannot be accepted, for no answer makes a
processor run what it cannot. What is said about data is told to the scanner.

The file in which they are written: answer_file.py.
"""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches
from typing import Iterable, NamedTuple, Sequence

from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.report import Finding, Remedy, Report, Severity
from applianceforge.preflight.keys import KNOWN_KEYS, is_possible
from applianceforge.preflight.scan_result import Scan, Statement

DISPOSITIONS = {
    "portable": Disposition.PORTABLE,
    "converted": Disposition.CONVERTED,
    "rebuilt": Disposition.REBUILT,
    "discard": Disposition.DISCARD,
    "carried-over": Disposition.CARRY_OVER,
}
NEVER_ACCEPTED = ("processor", "answers")
# More than this nobody reads.
_MOST_LINES = 100
_LIGHTER = {
    Severity.INHIBITOR: Severity.WARNING,
    Severity.WARNING: Severity.INFO,
    Severity.INFO: Severity.INFO,
}


class Accept(NamedTuple):
    """That a finding is accepted; `expires` is the last day on which it is."""

    key: str
    reason: str
    expires: date
    by: str = ""


class DataAnswer(NamedTuple):
    """What the files that match a pattern are; `expires` is the last day, None is no end."""

    pattern: str
    disposition: str
    reason: str
    expires: date | None = None
    by: str = ""


class Answers(NamedTuple):
    """All that an answer file says, in its order.

    Attributes:
        statements: What the scanner is told: `data` without what has expired.
        name: What the file is called, for messages.
    """

    accepts: tuple[Accept, ...] = ()
    data: tuple[DataAnswer, ...] = ()
    statements: tuple[Statement, ...] = ()
    name: str = ""


class Decision(NamedTuple):
    """One answer that counted in a run, for the report and the decision log.

    Attributes:
        kind: `accept` or `data`.
        subject: The key of the finding, or the pattern.
        answer: `accepted`, or what the files are.
        expires: The last day, as in 2026-12-31; "" is no end.
    """

    kind: str
    subject: str
    answer: str
    reason: str
    expires: str = ""
    by: str = ""


def apply(
    answers: Answers, report: Report, today: date, scans: Sequence[Scan] | None = None
) -> tuple[Report, tuple[Decision, ...]]:
    """Return the report with the answers taken into account, and the answers that counted.

    An accepted inhibitor becomes a warning, an accepted warning information; its title stays and
    its summary begins with the reason. An answer that has expired does not count, and is told as
    `answers.expired`; one that fits no finding is told as `answers.unused`.

    Args:
        answers: What the administrator said.
        report: What the check found.
        today: The day of the check.
        scans: What was scanned, so that only what is said of files that are there counts; None
            counts all that is said.
    """
    valid = {a.key: a for a in answers.accepts if a.expires >= today and _may_accept(a.key)}
    found = {f.key for f in report.findings}
    findings = tuple(
        _accepted(finding, valid[finding.key]) if finding.key in valid else finding
        for finding in report.findings
    )
    decisions = [
        Decision("accept", a.key, "accepted", a.reason, a.expires.isoformat(), a.by)
        for a in valid.values()
        if a.key in found
    ]
    decisions.extend(
        Decision("data", d.pattern, d.disposition, d.reason, _iso(d.expires), d.by)
        for d in current(answers.data, today)
        if scans is None or any(d.pattern not in scan.unused for scan in scans)
    )
    told = _expired(answers, today) + _unused(valid, found)
    return Report(findings + told), tuple(decisions)


def current(data: Iterable[DataAnswer], today: date) -> tuple[DataAnswer, ...]:
    """Return the answers about data that have not expired."""
    return tuple(d for d in data if d.expires is None or d.expires >= today)


def statements(data: Iterable[DataAnswer], today: date) -> tuple[Statement, ...]:
    """Return what the scanner is told."""
    return tuple(
        Statement(d.pattern, DISPOSITIONS[d.disposition], d.reason, d.by or "answer file")
        for d in current(data, today)
    )


def _may_accept(key: str) -> bool:
    return key.partition(".")[0] not in NEVER_ACCEPTED


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _accepted(finding: Finding, answer: Accept) -> Finding:
    by = f" by {answer.by}" if answer.by else ""
    return finding._replace(
        severity=_LIGHTER[finding.severity],
        summary=f"Accepted{by} until {answer.expires.isoformat()} because: {answer.reason}. "
        + finding.summary,
    )


def _expired(answers: Answers, today: date) -> tuple[Finding, ...]:
    late = [(f"accept {a.key}", a.expires) for a in answers.accepts if a.expires < today]
    late += [
        (f"data {d.pattern}", d.expires)
        for d in answers.data
        if d.expires is not None and d.expires < today
    ]
    if not late:
        return ()
    return (
        Finding(
            "answers.expired",
            Severity.WARNING,
            "Some answers have expired",
            "They do not count any more, and what they answered is told as if they were not there.",
            _some([f"[{section}] expired on {day.isoformat()}" for section, day in late]),
            (
                Remedy(
                    "Look whether each reason still holds. If it does, write a new day; if not,"
                    f" remove the section from {answers.name or 'the answer file'}.",
                    "",
                    "`applianceforge check` with the same answer file does not tell this any more",
                ),
            ),
        ),
    )


def _unused(valid: dict[str, Accept], found: set[str]) -> tuple[Finding, ...]:
    unused = sorted(set(valid) - found)
    if not unused:
        return ()
    evidence = [f"[accept {key}]{_instead(key, found)}" for key in unused[:_MOST_LINES]]
    evidence += unused[_MOST_LINES:]
    summary = "Nothing of these keys was found this time."
    if any(is_possible(key) for key in unused):
        summary += " It may have been mended since."
    if any(key not in KNOWN_KEYS for key in unused):
        summary += (
            " A key that is misspelt accepts nothing: take it from the brackets behind the"
            " finding's title."
        )
    return (
        Finding(
            "answers.unused",
            Severity.INFO,
            "Some answers fit no finding",
            summary,
            _some(evidence),
        ),
    )


def _instead(key: str, found: set[str]) -> str:
    """Return what may have been meant, if the check cannot make a finding of this key."""
    if key in KNOWN_KEYS:
        return ""
    # What was found this time was meant more likely than what was not.
    for known in (sorted(found), KNOWN_KEYS):
        close = get_close_matches(key, known, 1, 0.8)
        if close:
            return f"; did you mean {close[0]}?"
    return "" if is_possible(key) else "; the check has no such key"


def _some(lines: list[str]) -> tuple[str, ...]:
    if len(lines) <= _MOST_LINES:
        return tuple(lines)
    return (*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more")
