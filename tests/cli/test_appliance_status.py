"""`applianceforge status`: what a person reads of a box, in every place where it can stand."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

import applianceforge.migrate
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.migrate import boot_overview, boot_verdict
from applianceforge.migrate.boot_record import BootRecord
from applianceforge.model.errors import InhibitedError
from applianceforge.slots import reasons
from applianceforge.system.effects import Effects
from tests import snapshots
from tests.appliance.cache import CHECKOUT
from tests.migrate.appliances import FRESH, Appliance, appliance
from tests.migrate.boxes import applianceforge as command

SCHEMA = json.loads(
    (Path(applianceforge.migrate.__file__).parent / "status.schema.json").read_text()
)
DOCUMENT = CHECKOUT / "docs/crossing.md"


def told(box: Appliance, name: str, status: int) -> dict[str, object]:
    """Hold the text against its snapshot and the document against its schema; return that."""
    text = command("status", "--root", box.root)
    assert text.status == status, text.out + text.errors
    snapshots.same(f"status/{name}", text.out)
    said = command("status", "--json", "--root", box.root)
    assert said.status == status
    document: dict[str, object] = json.loads(said.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def open_gate(box: Appliance) -> Appliance:
    box.write("run/forge/gate", "open\n")
    return box


def history(box: Appliance, **fields: object) -> None:
    line = {"schema": 1, "time": 1_790_000_000, "release": "migration 1.0.0", "slot": "b"}
    box.write("data/forge/history.jsonl", json.dumps(line | fields) + "\n")


@pytest.fixture
def legacy(tmp_path: Path) -> Appliance:
    box = open_gate(appliance(tmp_path))
    box.release("i386", "a")
    box.set_environment(Environment(1, "a", KNOWN_GOOD, NOT_BOOTABLE))
    return box


def test_a_32_bit_appliance_that_serves(legacy: Appliance) -> None:
    document = told(legacy, "legacy", 0)
    assert document["failure"] is None
    assert document["booted"] == "a"


def test_a_slot_that_is_about_to_be_tried(legacy: Appliance) -> None:
    legacy.set_environment(Environment(2, "b", KNOWN_GOOD, FRESH._replace(tries=3)))
    told(legacy, "activated", 0)


def test_a_fall_back_with_what_the_history_knows(legacy: Appliance) -> None:
    legacy.set_environment(Environment(5, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-disk-full"))
    history(
        legacy,
        event="migration-ended",
        status=76,
        reason="disk-full",
        message="cannot write /data/forge/work/run/archive: No space left on device",
        hint="make room. At most 812 MiB are needed besides what is already there",
    )
    document = told(legacy, "fell-back", 67)
    assert isinstance(document["failure"], dict)
    assert document["failure"]["reason"] == "disk-full"
    assert "812 MiB" in document["failure"]["hint"]


def test_a_service_that_is_down(legacy: Appliance) -> None:
    legacy.units("failed")
    document = told(legacy, "service-failed", 68)
    assert isinstance(document["services"], dict)
    assert document["services"]["down"]["ssh.service"] == "failed"
    legacy.units("activating")
    assert told(legacy, "service-coming", 0)["failure"] is None


def test_root_is_told_what_showed_it(legacy: Appliance) -> None:
    legacy.set_environment(Environment(5, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-inhibited"))
    legacy.write("data/forge/work/boots.jsonl", "")
    record = BootRecord(legacy.places.record, Effects(), lambda: 1.0)
    record.end(0, boot_verdict.BACK, "inhibited", "no usable RRD", "", ("torn\x1b[1m.rrd",))
    assert "  | torn" in command("status", "--root", legacy.root).out
    failure = json.loads(command("status", "--json", "--root", legacy.root).out)["failure"]
    assert failure["evidence"] == ["torn\x1b[1m.rrd"]
    assert "\x1b" not in command("status", "--root", legacy.root).out
    # Of another failure it says nothing.
    legacy.set_environment(Environment(6, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-no-tries"))
    assert "torn" not in command("status", "--root", legacy.root).out


def test_a_fall_back_of_the_boot_loader(legacy: Appliance) -> None:
    legacy.set_environment(Environment(5, "b", KNOWN_GOOD, FRESH, "b-no-long-mode"))
    told(legacy, "no-long-mode", 67)


def test_a_crossed_disk_under_a_32_bit_processor(legacy: Appliance) -> None:
    legacy.set_environment(Environment(5, "b", KNOWN_GOOD, KNOWN_GOOD, "b-no-long-mode"))
    legacy.write("data/forge/epoch", "amd64\n")
    legacy.write("run/forge/gate", "epoch-amd64\n")
    document = told(legacy, "epoch-amd64", 66)
    assert document["epoch"] == "amd64"


def test_a_migration_that_runs(tmp_path: Path) -> None:
    box = appliance(tmp_path)
    progress = {
        "updated_s": 1.0,
        "step": "postgres.load:gateway",
        "title": "load the database gateway",
        "number": 7,
        "of": 15,
        "done_bytes": 100 << 20,
        "total_bytes": 400 << 20,
        "done_rows": 0,
        "elapsed_s": 61.0,
        "item": "",
    }
    status = {
        "schema": 1,
        "release": "migration 1.0.0",
        "slot": "b",
        "state": "migrating",
        "updated_s": 1.0,
        "boots_before": 0,
        "failed_attempts": 0,
        "boots_without_end": 0,
        "progress": progress,
        "verdict": None,
    }
    box.write("data/forge/status.json", json.dumps(status))
    document = told(box, "migrating", 66)
    assert document["migration"] == status


def test_a_box_that_has_crossed(tmp_path: Path) -> None:
    box = open_gate(appliance(tmp_path))
    box.set_environment(Environment(6, "b", KNOWN_GOOD, KNOWN_GOOD))
    box.write("data/forge/epoch", "amd64\n")
    # Where the paths of the settings are those of the box itself.
    settings = box.places.settings.read_text().replace(str(tmp_path), "")
    box.write("etc/applianceforge/migrate.toml", settings)
    line = {"schema": 1, "number": 1, "time": 1_790_000_000.0, "event": "published", "step": ""}
    box.write("data/forge/work/run/journal.jsonl", json.dumps(line) + "\n")
    document = told(box, "crossed", 0)
    assert document["way_back_until"] == 1_790_000_000 + 7 * 86400


def test_the_way_back_is_over_with_the_slot_that_it_leads_to(tmp_path: Path) -> None:
    box = open_gate(appliance(tmp_path))
    box.set_environment(Environment(6, "b", NOT_BOOTABLE, KNOWN_GOOD))
    box.write("data/forge/epoch", "amd64\n")
    line = {"schema": 1, "number": 1, "time": 1_790_000_000.0, "event": "published", "step": ""}
    box.write("data/forge/work/run/journal.jsonl", json.dumps(line) + "\n")
    done = command("status", "--root", box.root, "--json")
    assert json.loads(done.out)["way_back_until"] is None


def test_a_box_that_went_back(legacy: Appliance) -> None:
    legacy.set_environment(Environment(9, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-went-back"))
    line = {
        "schema": 1,
        "time": 1_790_000_000.0,
        "event": "went-back",
        "release": "migration 2.0.0",
        "architecture": "amd64",
        "slot": "b",
        "message": "what the 64-bit release held is archived in /data/forge/archive/back",
    }
    legacy.write("data/forge/history.jsonl", json.dumps(line) + "\n")
    document = told(legacy, "went-back", 0)
    assert document["failure"] is None


def test_a_box_whose_boot_environment_is_lost(legacy: Appliance) -> None:
    for name in ("env1", "env2"):
        (legacy.root / "boot/loader" / name).write_bytes(b"")
    told(legacy, "environment-lost", 0)


def test_a_machine_that_is_no_appliance(tmp_path: Path) -> None:
    done = command("status", "--root", tmp_path)
    assert done.status == 62
    assert "no appliance" in done.errors
    assert "applianceforge check" in done.hint


@pytest.mark.parametrize(
    "spoil",
    [
        lambda box: box.write("data/forge/history.jsonl", "nonsense\n[]\n{}\n"),
        lambda box: box.write("data/forge/status.json", "nonsense"),
        lambda box: box.write("data/forge/status.json", '{"schema": 2, "state": "dancing"}'),
        lambda box: box.write("data/forge/epoch", "\x1b[31m"),
        lambda box: box.write("proc/cmdline", "quiet"),
    ],
)
def test_what_cannot_be_read_is_left_out(
    legacy: Appliance, spoil: Callable[[Appliance], None]
) -> None:
    spoil(legacy)
    done = command("status", "--root", legacy.root)
    assert done.status == 0, done.errors
    assert "\x1b" not in done.out


def test_the_words_of_a_newer_release_are_shown_plainly(legacy: Appliance) -> None:
    legacy.set_environment(Environment(5, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-from-the-future"))
    done = command("status", "--root", legacy.root)
    assert done.status == 67
    assert "`from-the-future`" in done.out


# The document.


def _rows(columns: int) -> list[list[str]]:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [one for one in split if len(one) == columns]


def test_the_document_tells_every_reason_as_the_table_has_it() -> None:
    listed = {word: (why, remedy) for word, why, remedy in _rows(3) if word.startswith("`")}
    assert listed == {
        f"`{word}`": (one.sentence, one.remedy) for word, one in reasons.REASONS.items()
    }


def test_the_document_tells_every_verdict_as_the_table_has_it() -> None:
    listed = {
        status: (int(verdict), word.strip("`"))
        for status, _, verdict, word in _rows(4)
        if re.fullmatch(r"\d+", status)
    }
    table = {
        str(kind.exit_status): (one.status, one.reason)
        for kind, one in boot_verdict._VERDICTS.items()
        if kind is not InhibitedError
    }
    assert listed == table | {"23": (76, "no-space")}


def test_the_document_tells_the_bounds() -> None:
    text = DOCUMENT.read_text()
    assert f"{boot_verdict.MOST_SILENT_BOOTS} in a row" in text
    assert boot_verdict.MOST_ATTEMPTS == 2
    assert "Two ends in 75" in text


def test_a_slot_that_was_given_up_long_ago_is_no_failure_of_the_one_that_runs(
    tmp_path: Path,
) -> None:
    box = open_gate(appliance(tmp_path))
    box.set_environment(Environment(6, "b", KNOWN_GOOD, KNOWN_GOOD, "b-no-long-mode"))
    box.write("data/forge/epoch", "amd64\n")
    found = boot_overview.gather(box.places)
    assert found.failure is None


@pytest.mark.parametrize("number", ["x", None, [1], -1, 10**400, float("inf"), float("nan")])
def test_numbers_that_are_none_are_not_shown(legacy: Appliance, number: object) -> None:
    progress = {"done_bytes": number, "total_bytes": number, "elapsed_s": number}
    fields = {"schema": 1, "state": "migrating", "progress": progress}
    legacy.write("data/forge/status.json", json.dumps(fields))
    said = command("status", "--root", legacy.root)
    assert said.status == 0
    assert "0 B, for 0.0 s" in said.out
