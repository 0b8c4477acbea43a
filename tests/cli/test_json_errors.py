"""What a command with --json prints when it ends with an error: one document, and the same text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

import applianceforge.model
import applianceforge.release.update
from applianceforge.cli import main, release, update
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model import error_document, errors
from applianceforge.model.errors import ForgeError, InhibitedError
from applianceforge.release.fetch.source import MissingFileError
from applianceforge.slots.layout import Slot
from tests.appliance import cluster
from tests.appliance.cache import CHECKOUT
from tests.crash.tiny import tiny
from tests.migrate.backs import bare, crossed
from tests.migrate.boxes import Said, command
from tests.migrate.boxes import applianceforge as run
from tests.release.server import Fault, Kind, Server
from tests.release.updating import I386, Maker, UpdatedBox, crossed_box, updated_box
from tests.release.vendor import Vendor

DOCUMENT = CHECKOUT / "docs" / "exit-statuses.md"
PATIENCE_S = 60
DAY_S = 86400
# With a file or directory that is not there as PLACE, an empty directory as EMPTY.
FAILING = {
    ("cluster", "info"): ("PLACE",),
    ("history",): ("--root", "EMPTY"),
    ("migrate", "back"): ("--root", "EMPTY"),
    ("migrate", "plan"): ("-c", "PLACE"),
    ("migrate", "report"): ("-c", "PLACE"),
    ("migrate", "status"): ("-c", "PLACE"),
    ("release", "status"): ("EMPTY",),
    ("rrd", "info"): ("PLACE",),
    ("slot", "status"): ("--boot-directory", "EMPTY", "--booted", "a"),
    ("status",): ("--root", "EMPTY"),
    ("update",): ("--root", "EMPTY"),
}


def schema(package: Any, name: str) -> jsonschema.Draft202012Validator:
    text = (Path(package.__file__).parent / name).read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


ERRORS = schema(applianceforge.model, "error.schema.json")
UPDATES = schema(applianceforge.release.update, "update.schema.json")


def held(said: Said, name: str, status: int) -> dict[str, Any]:
    """Return the one document of an error, held against its schema and the text."""
    assert said.status == status, said.errors
    document: dict[str, Any] = json.loads(said.out)
    ERRORS.validate(document)
    assert (document["exit_status"], document["error"]["name"]) == (status, name)
    assert said.errors.startswith("applianceforge: ")
    assert document["error"]["message"] in said.errors
    assert document["error"]["hint"] in said.errors
    return document


# Every command.


def with_json(group: click.Group, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from with_json(one, (*way, name))
        elif any("--json" in parameter.opts for parameter in one.params):
            yield (*way, name)


def test_every_command_of_an_appliance_with_json_is_tried_here() -> None:
    groups = (main.applianceforge, update._group)
    found = {way for group in groups for way in with_json(group)}
    assert found == {way for way in FAILING if way[0] != "release"}
    assert ("release", "status") in with_json(release._vendor)


@pytest.mark.parametrize("way", FAILING)
def test_an_error_is_a_document(way: tuple[str, ...], tmp_path: Path) -> None:
    places = {"PLACE": tmp_path / "gone", "EMPTY": tmp_path / "empty"}
    places["EMPTY"].mkdir()
    words = [*way, *(places.get(word, word) for word in FAILING[way])]
    text = run(*words)
    assert text.out == ""
    assert text.status != 0
    said = run(*words, "--json")
    name = json.loads(said.out)["error"]["name"]
    document = held(said, name, text.status)
    assert set(document) == {"schema", "exit_status", "error"}
    assert said.errors == text.errors


@pytest.mark.parametrize(
    "words",
    [
        ("history", "--root"),
        ("migrate", "plan", "-c"),
        ("migrate", "report", "-c"),
        ("release", "plan"),
        ("release", "status"),
        ("status", "--root"),
    ],
)
def test_a_path_that_is_too_long(words: tuple[str, ...]) -> None:
    held(run(*words, "a" * 300, "--json"), "settings", 40)


@pytest.mark.parametrize(
    "words", [("history", "--last", "0", "--json"), ("history", "--json", "--last", "0")]
)
def test_a_value_that_is_wrong(words: tuple[str, ...]) -> None:
    said = run(*words)
    assert said.status == 2
    document = json.loads(said.out)
    ERRORS.validate(document)
    assert (document["exit_status"], document["error"]["name"]) == (2, "usage")
    assert document["error"]["message"] in said.errors
    assert document["error"]["hint"] == "see `applianceforge history --help`"


@pytest.mark.parametrize(
    "words",
    [
        ("update", "--json", "--nonsense"),
        ("migrate", "rum", "--json"),
        ("update", "--to", "--json"),
    ],
)
def test_what_was_not_understood_prints_no_document(words: tuple[str, ...]) -> None:
    said = run(*words)
    assert said.status != 0
    assert said.out == ""
    assert said.errors


# The words of an error.


def classes() -> list[type[ForgeError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, ForgeError) and one is not ForgeError]


def made(kind: type[ForgeError]) -> ForgeError:
    return kind("no", status=20) if kind is InhibitedError else kind("no")


def test_the_document_lists_every_name_with_its_status() -> None:
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| ([0-9-]+) \|$", DOCUMENT.read_text(), re.M))
    assert listed.pop("inhibited") == "10-30"
    assert listed == {
        error_document.name_of(made(one)): str(one.exit_status)
        for one in classes()
        if one is not InhibitedError
    }


def test_what_is_derived_has_the_name_of_its_kind() -> None:
    assert error_document.name_of(MissingFileError("no")) == "server-answer"


def test_all_of_the_evidence_and_names_that_are_no_text() -> None:
    lines = tuple(f"line {number}" for number in range(50))
    odd = os.fsdecode(b"usb\xff\x1b")
    found = error_document.document(InhibitedError(odd, status=23, evidence=(*lines, odd)))
    ERRORS.validate(found)
    assert found["exit_status"] == 23
    assert found["error"]["evidence"][:50] == list(lines)
    json.dumps(found, ensure_ascii=False).encode()


# An update.


def test_a_directory_that_is_no_repository(tmp_path: Path, box: UpdatedBox) -> None:
    (tmp_path / "empty").mkdir()
    said = box.update("--json", "--check", "--from", tmp_path / "empty")
    document = held(said, "server-answer", 81)
    assert str(tmp_path / "empty") in document["error"]["message"] + document["error"]["hint"]


def test_a_name_that_is_no_text(tmp_path: Path, box: UpdatedBox) -> None:
    said = box.update("--json", "--check", "--from", tmp_path / os.fsdecode(b"usb\xff"))
    assert said.status == 40
    document = json.loads(said.out)
    ERRORS.validate(document)
    assert "usb\\udcff" in document["error"]["message"]


def test_metadata_that_is_out_of_date(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path / "vendor")
    past_s = time.time() - 60 * DAY_S
    vendor.create(now_s=past_s)
    old = Maker(vendor)
    old.add("1.0.0", I386)
    vendor.repository().publish(vendor.places, past_s)
    said = updated_box(tmp_path / "box", old).update("--json", "--check")
    document = held(said, "expired", 70)
    assert document["error"]["hint"]
    assert "installed" not in document


def test_what_was_found_stands_beside_a_missing_yes(box: UpdatedBox) -> None:
    document = held(box.update("--json"), "not-confirmed", 82)
    UPDATES.validate(document)
    assert document["state"] == "available"
    assert [hop["version"] for hop in document["hops"]] == ["2.0.0", "3.0.0"]


def test_what_was_found_stands_beside_why_it_waits(tmp_path: Path, maker: Maker) -> None:
    box = crossed_box(tmp_path, maker)
    box.appliance.write(
        "etc/applianceforge/migrate.toml", 'schema = 1\n[work]\ndirectory = "/data/forge/work"\n'
    )
    line = f'{{"schema": 1, "number": 1, "time": {time.time()}, "event": "published", "step": ""}}'
    box.appliance.write("data/forge/work/run/journal.jsonl", line + "\n")
    document = held(box.update("--json", "--yes"), "retention", 58)
    UPDATES.validate(document)
    assert (document["state"], document["reason"]["key"]) == ("waiting", "retention")
    # Who only looks is told of no error.
    looked = box.update("--json", "--check")
    assert looked.status == 0
    assert "error" not in json.loads(looked.out)


def test_an_installation_that_fails(tmp_path: Path, maker: Maker) -> None:
    with Server(maker.public) as server:
        box = updated_box(tmp_path, maker, repository=server.url)
        server.faults(Fault(Kind.STATUS, "*.payload.zst", number=404))
        said = box.update("--json", "--yes", "--progress", "none")
        assert server.happened(Kind.STATUS)
    document = held(said, "server-answer", 81)
    UPDATES.validate(document)
    assert (document["state"], document["restarts"]) == ("available", False)
    assert box.choose().slot is Slot.A


def test_a_restart_that_fails(box: UpdatedBox) -> None:
    box.appliance.write("bin/systemctl", "#!/bin/sh\necho not now >&2\nexit 1\n")
    said = box.update("--json", "--yes", "--reboot", "--progress", "none")
    document = held(said, "program-failed", 42)
    UPDATES.validate(document)
    assert (document["state"], document["restarts"]) == ("activated", False)
    assert document["error"]["evidence"] == ["not now"]
    assert box.choose().slot is Slot.B


def test_a_restart_that_ends_the_command_leaves_it_its_answer(box: UpdatedBox) -> None:
    path = box.root / "bin/systemctl"
    path.write_text(f"{path.read_text()}\nkill -TERM $PPID; kill -HUP $PPID\n")
    said = box.update("--json", "--yes", "--reboot", "--progress", "none")
    assert said.status == 0, said.errors
    document = json.loads(said.out)
    UPDATES.validate(document)
    assert (document["state"], document["restarts"], box.restarts) == ("activated", True, 1)


def test_units_take_no_json(box: UpdatedBox) -> None:
    held(box.update("--resume", "--json"), "usage", 2)


# The way back.


def test_no_way_back(tmp_path: Path) -> None:
    here = bare(tmp_path)
    here.box.release("i386", "a")
    said = run("migrate", "back", "--check", "--json", "--root", here.root)
    document = held(said, "no-way-back", 83)
    assert document["way_back"] is False
    assert document["message"] == document["error"]["message"]


@pytest.mark.real
def test_a_way_back_whose_restart_fails(native_tree: ProgramTree) -> None:
    with cluster.short_directory() as place:
        made = crossed(place, tiny(), native_tree)
        (made.root / "fails-reboot").touch()
        words = ("migrate", "back", "--yes", "--json", "--root", made.root)
        document = held(run(*words, "--reboot"), "program-failed", 42)
        assert made.ran[-1] == "reboot "
        assert made.box.places.epoch.read_text() == "i386\n"
    assert document["went_back"] is True
    assert str(made.root) in document["archive"]["path"]


# What must stay as it is.


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_prints_no_document(
    tmp_path: Path, maker: Maker, number: int, status: int
) -> None:
    with Server(maker.public) as server:
        box = updated_box(tmp_path, maker, repository=server.url)
        server.faults(Fault(Kind.SLOW, "*.payload.zst", at_bytes=50_000, number=20_000))
        process = subprocess.Popen(
            command("update", "--root", box.root, "--yes", "--json", "--progress", "none"),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        ends = time.monotonic() + PATIENCE_S
        while not server.happened(Kind.SLOW):
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.05)
        process.send_signal(number)
        said, told = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (status, b"")
    assert b"the same command continues" in told


def test_a_reader_that_goes_away_changes_no_status(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("history", "--root", tmp_path, "--json"),
        cwd=CHECKOUT,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 62
    assert done.stderr.startswith(b"applianceforge: this machine is no appliance")
    assert b"Traceback" not in done.stderr


def test_an_output_that_is_full_changes_no_status(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("history", "--root", tmp_path, "--json"),
            cwd=CHECKOUT,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 62
    assert done.stderr.startswith(b"applianceforge: this machine is no appliance")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_nobody_reads_what_went_wrong(tmp_path: Path, json_too: tuple[str, ...]) -> None:
    """As with `2>&1 | head -1`: the status is that of the error all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "applianceforge", "release", "status", str(tmp_path), *json_too]
    done = subprocess.run(words, stdout=writing, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == errors.RepositoryError.exit_status
