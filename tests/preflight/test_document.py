"""Every document fits the published schema, and the schema refuses what is wrong."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Report
from applianceforge.preflight import answers, document
from applianceforge.preflight.answers import Decision
from tests.preflight import reports
from tests.preflight.reports import MASKED, VERDICTS, WHOLE

SCHEMA = json.loads((Path(document.__file__).parent / document.SCHEMA_FILE).read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DECISION = Decision("accept", "data.unknown", "accepted", "a cache", "2026-12-31", "Erika")


def make(processor: Verdict = MASKED, report: Report = WHOLE) -> dict[str, Any]:
    made = document.document(
        processor, report, target="amd64", version="1.2.3", accepted=(DECISION,)
    )
    said: dict[str, Any] = json.loads(json.dumps(made))
    return said


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == document.SCHEMA


def test_what_a_program_reads() -> None:
    said = make()
    VALIDATOR.validate(said)
    assert said["schema"] == 1
    assert (said["program"], said["version"], said["target"]) == (
        "applianceforge",
        "1.2.3",
        "amd64",
    )
    assert said["processor"] == {
        "verdict": "masked-by-hypervisor",
        "long_mode": False,
        "environment": "vm:VMware",
        "level": None,
        "hypervisor": "VMware ESX 3.5",
        "evidence": list(MASKED.evidence),
    }
    assert [finding["key"] for finding in said["findings"]] == [
        "processor.masked-by-hypervisor",
        "data.unknown",
        "resources.data-space",
        "resources.memory",
        "clock.unsynchronized",
    ]
    assert said["findings"][2] == {
        "key": "resources.data-space",
        "severity": "inhibitor",
        "title": "/data has too little space",
        "summary": "The migration takes 12 GiB at its peak.",
        "evidence": ["free: 3 GiB"],
        "remedies": [
            {
                "text": "Make room.",
                "command": "du -xh /data | sort -h | tail",
                "verify": "df -h /data",
            }
        ],
    }
    assert said["accepted"] == [
        {
            "kind": "accept",
            "subject": "data.unknown",
            "answer": "accepted",
            "reason": "a cache",
            "expires": "2026-12-31",
            "by": "Erika",
        }
    ]
    assert said["exit_status"] == 20


@pytest.mark.parametrize("processor", VERDICTS, ids=lambda v: v.capability.value)
@pytest.mark.parametrize("report", [Report(), WHOLE], ids=["empty", "whole"])
def test_every_verdict_fits(processor: Verdict, report: Report) -> None:
    VALIDATOR.validate(make(processor, report))


def test_a_name_that_is_not_utf_8() -> None:
    (evidence,) = (f["evidence"] for f in make()["findings"] if f["key"].startswith("data."))
    assert evidence[1] == "spool/b\\xff\x1b[2J.dat"
    assert document.text("\ud800\udcff\U0001f600") == "\\ud800\\xff\U0001f600"


@given(reports.verdicts(), reports.reports, st.lists(reports.decisions, max_size=3))
def test_any_report_fits(processor: Verdict, report: Report, accepted: list[Decision]) -> None:
    made = document.document(processor, report, target="a", version="b", accepted=accepted)
    VALIDATOR.validate(made)
    assert json.loads(json.dumps(made, ensure_ascii=False).encode("utf-8")) == made
    assert made["exit_status"] == report.exit_status


def set_to(place: str, value: object) -> dict[str, Any]:
    said = copy.deepcopy(make())
    *way, last = place.split(".")
    part: Any = said
    for step in way:
        part = part[int(step) if step.isdigit() else step]
    part[int(last) if last.isdigit() else last] = value
    return said


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", 2),
        ("schema", "1"),
        ("program", "other"),
        ("version", ""),
        ("target", None),
        ("more", 1),
        ("exit_status", 1),
        ("exit_status", "0"),
        ("processor", {}),
        ("processor.verdict", "Capable"),
        ("processor.verdict", "capable"),
        ("processor.verdict", None),
        ("processor.long_mode", "yes"),
        ("processor.environment", "vm"),
        ("processor.environment", "vm:"),
        ("processor.environment", "bare"),
        ("processor.level", 0),
        ("processor.level", 5),
        ("processor.level", "v2"),
        ("processor.hypervisor", ""),
        ("processor.evidence", "line"),
        ("processor.more", 1),
        ("findings", {}),
        ("findings.0.key", "processor"),
        ("findings.0.key", "Processor.masked"),
        ("findings.0.severity", "error"),
        ("findings.0.title", ""),
        ("findings.0.evidence", [1]),
        ("findings.0.exit_status", 20),
        ("findings.0.remedies.0", "do this"),
        ("findings.0.remedies.0.text", ""),
        ("findings.0.remedies.0.command", None),
        ("findings.0.remedies.0.more", ""),
        ("accepted", None),
        ("accepted.0.kind", "other"),
        ("accepted.0.kind", "data"),
        ("accepted.0.subject", "processor.incapable"),
        ("accepted.0.answer", "discard"),
        ("accepted.0.reason", ""),
        ("accepted.0.expires", "31.12.2026"),
        ("accepted.0.expires", None),
        ("accepted.0.by", ""),
    ],
)
def test_the_schema_refuses(place: str, value: object) -> None:
    assert not VALIDATOR.is_valid(set_to(place, value))


def parts(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for part in schema for found in parts(part)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(found for part in schema.values() for found in parts(part))]


def test_every_object_of_the_schema_is_closed_and_complete() -> None:
    objects = [part for part in parts(SCHEMA) if part.get("type") == "object"]
    assert len(objects) == 5
    for part in objects:
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])


@pytest.mark.parametrize(
    "place", ["schema", "processor", "processor.level", "findings.0.key", "accepted.0.by"]
)
def test_the_schema_misses_what_is_not_there(place: str) -> None:
    said = make()
    *way, last = place.split(".")
    part: Any = said
    for step in way:
        part = part[int(step) if step.isdigit() else step]
    del part[last]
    assert not VALIDATOR.is_valid(said)


def test_the_schema_has_the_words_of_an_answer() -> None:
    words = SCHEMA["$defs"]["decision"]["properties"]["answer"]["enum"]
    assert words == ["accepted", *answers.DISPOSITIONS]
