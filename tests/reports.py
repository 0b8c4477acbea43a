"""Reports of the real command, each held against the JSON Schema that is published for it."""

import json
from pathlib import Path
from typing import Any

import jsonschema

import applianceforge.preflight

SCHEMAS = {
    name: json.loads((Path(applianceforge.preflight.__file__).parent / name).read_text())
    for name in ("report.schema.json", "scan.schema.json")
}


def report_of(text: str) -> dict[str, Any]:
    """Return what `check --json` or `scan --json` printed.

    Raises:
        jsonschema.ValidationError: It is not of the form that is published.
    """
    document: dict[str, Any] = json.loads(text)
    name = "scan.schema.json" if "scans" in document else "report.schema.json"
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)
    return document
