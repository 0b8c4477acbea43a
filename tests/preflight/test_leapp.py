"""The export has the form that Leapp's report schema 1.2.0 asks for.

SCHEMA is written from what that schema says, not taken from it: see leapp.py for its source.
"""

import json

import jsonschema
import pytest
from hypothesis import given

from applianceforge.model.report import Finding, Report, Severity
from applianceforge.preflight import leapp
from tests.preflight import reports
from tests.preflight.reports import WHOLE

_TEXT = {"type": "string"}
SCHEMA = {
    "type": "object",
    "required": ["leapp_run_id", "entries"],
    "properties": {
        "leapp_run_id": _TEXT,
        "entries": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "hostname",
                    "severity",
                    "timeStamp",
                    "title",
                    "actor",
                    "summary",
                    "audience",
                    "id",
                ],
                "properties": {
                    "hostname": _TEXT,
                    "severity": {"enum": ["info", "low", "medium", "high"]},
                    "timeStamp": _TEXT,
                    "title": _TEXT,
                    "actor": _TEXT,
                    "summary": _TEXT,
                    "audience": {"enum": ["sysadmin", "developer"]},
                    "groups": {"type": "array", "items": _TEXT},
                    "key": {"type": "string", "pattern": "\\S"},
                    "id": _TEXT,
                    "detail": {
                        "type": "object",
                        "anyOf": [
                            {"required": ["external"]},
                            {"required": ["remediations"]},
                            {"required": ["related_resources"]},
                        ],
                        "properties": {
                            "remediations": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["type", "context"],
                                    "anyOf": [
                                        {
                                            "properties": {
                                                "type": {"enum": ["hint", "playbook"]},
                                                "context": _TEXT,
                                            }
                                        },
                                        {
                                            "properties": {
                                                "type": {"const": "command"},
                                                "context": {"type": "array", "items": _TEXT},
                                            }
                                        },
                                    ],
                                },
                            }
                        },
                    },
                },
            },
        },
    },
}
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
TIME = "2026-11-22T12:00:00.000000Z"


def make(report: Report) -> dict[str, object]:
    return leapp.document(report, run_id="run-1", hostname="box", time=TIME)


def test_what_a_fleet_s_tool_reads() -> None:
    said = make(WHOLE)
    VALIDATOR.validate(said)
    entries = said["entries"]
    assert isinstance(entries, list)
    first = dict(entries[0])
    assert len(first.pop("id")) == 64
    assert first == {
        "key": "processor.masked-by-hypervisor",
        "actor": "applianceforge_check",
        "timeStamp": TIME,
        "hostname": "box",
        "title": "VMware ESX 3.5 hides 64-bit mode",
        "summary": "The host's processor can run 64-bit programs; a setting of the virtual machine"
        " hides that.\n- linear addresses have 48 bits",
        "severity": "high",
        "audience": "sysadmin",
        "groups": ["inhibitor", "sanity"],
        "detail": {
            "remediations": [
                {
                    "type": "hint",
                    "context": "Power the virtual machine off, and choose a 64-bit guest operating"
                    " system for it.\n  To see that it helped: `applianceforge check` says"
                    " capable\nMove it to another host.\n  vmware-cmd /vm/box.vmx stop hard",
                }
            ]
        },
    }
    assert [entry["severity"] for entry in entries] == ["high", "high", "high", "medium", "info"]
    assert [entry["groups"] for entry in entries] == [
        ["inhibitor", "sanity"],
        ["inhibitor", "sanity"],
        ["inhibitor", "sanity"],
        ["sanity"],
        ["time management"],
    ]
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert "detail" not in entries[-1]


@given(reports.reports)
def test_any_report_fits(report: Report) -> None:
    said = make(report)
    VALIDATOR.validate(said)
    assert json.loads(json.dumps(said, ensure_ascii=False).encode("utf-8")) == said
    assert "command" not in {
        remediation["type"]
        for entry in said["entries"]  # type: ignore[attr-defined]
        for remediation in entry.get("detail", {"remediations": []})["remediations"]
    }


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("boot.loader", "boot"),
        ("clock.wrong", "time management"),
        ("cluster.partners", "high availability"),
        ("data.gdbm", "sanity"),
        ("filesystem.errors", "filesystem"),
        ("kernel.userland", "kernel"),
        ("postgresql.major", "services"),
        ("processor.level", "sanity"),
        ("rrd.unreadable", "monitoring"),
    ],
)
def test_a_finding_is_in_a_group_that_leapp_knows(key: str, group: str) -> None:
    entries = make(Report((Finding(key, Severity.WARNING, "t", "s"),)))["entries"]
    assert isinstance(entries, list)
    assert entries[0]["groups"] == [group]


def test_ids_are_of_one_run() -> None:
    one = make(WHOLE)["entries"]
    other = leapp.document(WHOLE, run_id="run-2", hostname="box", time=TIME)["entries"]
    assert isinstance(one, list)
    assert not {e["id"] for e in one} & {e["id"] for e in other}
    assert [e["key"] for e in one] == [e["key"] for e in other]


@pytest.mark.parametrize("missing", ["hostname", "severity", "id", "audience"])
def test_the_schema_can_fail(missing: str) -> None:
    said = make(Report((Finding("a.b", Severity.INFO, "t", "s"),)))
    entries = said["entries"]
    assert isinstance(entries, list)
    del entries[0][missing]
    assert not VALIDATOR.is_valid(said)
