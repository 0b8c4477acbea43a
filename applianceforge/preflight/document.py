"""Say the report of the check as a JSON document, for a program.

The document's form is published as `report.schema.json` beside this module (JSON Schema, draft
2020-12). `schema` counts its versions: it grows by one when a field goes or changes its meaning;
a program should refuse a number that it does not know.

Texts are Unicode without lone surrogates: a byte of a file name that is not UTF-8 is written as
`\\xNN`. What is not known is null; a remedy without a command has "" there.
"""

from __future__ import annotations

from typing import Any, Iterable

from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding, Remedy, Report, hardest_first
from applianceforge.preflight.answers import Decision
from applianceforge.preflight.render import printable

SCHEMA = 1
PROGRAM = "applianceforge"
SCHEMA_FILE = "report.schema.json"


def document(
    processor: Verdict,
    report: Report,
    *,
    target: str,
    version: str,
    accepted: Iterable[Decision] = (),
) -> dict[str, Any]:
    """Return the document, made of what the json module writes.

    Args:
        processor: What was found out about the processor.
        report: All findings, the processor's among them, after the answers.
        target: For what was checked: the name of a release, or an architecture such as `amd64`.
        version: The version of this program.
        accepted: The answers that counted.
    """
    return {
        "schema": SCHEMA,
        "program": PROGRAM,
        "version": text(version),
        "target": text(target),
        "processor": {
            "verdict": processor.capability.value,
            "long_mode": processor.long_mode,
            "environment": printable(processor.environment),
            "level": processor.level,
            "hypervisor": _hypervisor(processor),
            "evidence": [text(line) for line in processor.evidence],
        },
        "findings": findings(report),
        "accepted": decisions(accepted),
        "exit_status": report.exit_status,
    }


def findings(report: Report) -> list[dict[str, Any]]:
    """Return the findings of a report, the hardest to mend first."""
    return [_finding(finding) for finding in hardest_first(report.findings)]


def decisions(accepted: Iterable[Decision]) -> list[dict[str, Any]]:
    """Return the answers that counted."""
    return [_decision(decision) for decision in accepted]


def text(foreign: str) -> str:
    """Return a text without lone surrogates, which JSON cannot carry."""
    if not any("\ud800" <= c <= "\udfff" for c in foreign):
        return foreign
    return "".join(_well_formed(c) for c in foreign)


def _well_formed(character: str) -> str:
    code = ord(character)
    if not 0xD800 <= code <= 0xDFFF:
        return character
    # A byte of a file name that is not UTF-8 comes as U+DC80 to U+DCFF (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _hypervisor(processor: Verdict) -> str | None:
    return None if processor.hypervisor is None else text(processor.hypervisor)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "key": text(finding.key),
        "severity": finding.severity.value,
        "title": text(finding.title),
        "summary": text(finding.summary),
        "evidence": [text(line) for line in finding.evidence],
        "remedies": [_remedy(remedy) for remedy in finding.remedies],
    }


def _remedy(remedy: Remedy) -> dict[str, str]:
    return {
        "text": text(remedy.text),
        "command": text(remedy.command),
        "verify": text(remedy.verify),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "kind": decision.kind,
        "subject": text(decision.subject),
        "answer": decision.answer,
        "reason": text(decision.reason),
        "expires": decision.expires or None,
        "by": text(decision.by) or None,
    }
