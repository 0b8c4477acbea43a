"""The check before an update, with a real cluster that it asks."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.migrate.boxes import Box, applianceforge
from tests.reports import report_of

pytestmark = pytest.mark.real


def checked(box: Box, *words: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    settings = box.place / "box.toml"
    settings.write_text(box.text)
    said = applianceforge("check", "--json", "--settings", settings, *words)
    assert said.errors == ""
    findings = report_of(said.out)["findings"]
    return said.status, {finding["key"]: finding for finding in findings}


def release(box: Box, **postgresql: Any) -> Path:
    path = box.place / "release.json"
    path.write_text(
        json.dumps(
            {
                "schema": 1,
                "appliance": "mailgate",
                "version": "8.0",
                "architecture": "amd64",
                "postgresql": postgresql,
            }
        )
    )
    return path


def test_what_the_cluster_needs_is_compared_with_the_release(box: Box) -> None:
    status, found = checked(box, "--for", release(box, major=15, extensions=[], locales=[]))
    assert status == 24
    assert "pg_trgm" in str(found["postgresql.extensions"]["evidence"])
    assert "postgresql.collations" in found
    status, found = checked(box, "--for", release(box, major=13))
    assert status == 24
    assert "15" in str(found["postgresql.version"]["evidence"])
    assert not box.data.exists()


def test_a_release_that_has_it_all(box: Box) -> None:
    status, found = checked(box)
    assert status in {0, 10}
    assert not {key for key in found if key.startswith("postgres")}
