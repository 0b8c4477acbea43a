"""`applianceforge update` as an administrator meets it: the real command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jsonschema
import pytest

import applianceforge.release.update
from applianceforge.cli import update
from applianceforge.release.update.intent import Phase
from applianceforge.slots.layout import Slot
from tests.appliance.cache import CHECKOUT
from tests.migrate.boxes import NOBODY, command
from tests.migrate.boxes import applianceforge as run
from tests.release.server import Fault, Kind, Server
from tests.release.updating import AMD64, Maker, UpdatedBox, updated_box

SCHEMA = json.loads(
    (Path(applianceforge.release.update.__file__).parent / "update.schema.json").read_text()
)
PAYLOAD = "*.payload.zst"
PATIENCE_S = 60
UNITS = ("--resume", "--unattended")


def told(box: UpdatedBox, *options: str, status: int = 0) -> dict[str, object]:
    """Return the document, held against its schema."""
    said = box.update("--json", "--progress", "none", *options)
    assert said.status == status, said.errors
    document: dict[str, object] = json.loads(said.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def test_from_32_bits_to_the_newest_with_two_commands(box: UpdatedBox) -> None:
    said = box.update("--yes", "--reboot", "--progress", "none")
    assert said.status == 0, said.errors
    assert "in 2 steps" in said.out
    assert box.restarts == 1
    assert box.start() is Slot.B
    assert run("update", "--root", box.root, "--resume").out.startswith("updated from 1.0.0 (i386)")
    said = box.update("--yes", "--progress", "none")
    assert said.status == 0, said.errors
    assert "no way back" in said.out
    assert box.start() is Slot.A
    assert "Nothing newer is offered" in box.update("--yes").out
    assert box.events == ["update-installed", "updated", "update-installed", "updated"]


def test_documents(box: UpdatedBox) -> None:
    assert told(box, "--check")["state"] == "available"
    done = told(box, "--yes")
    assert (done["state"], done["restarts"]) == ("activated", False)
    assert isinstance(done["fetched_bytes"], int)
    assert done["fetched_bytes"] < 1_000_000
    assert told(box, "--check")["state"] == "activated"
    assert told(box, "--check", "--to", "9", status=78)["state"] == "refused"


def test_what_is_only_tried_is_not_told_of_the_box(tmp_path: Path, box: UpdatedBox) -> None:
    assert box.update("--check", "--to", "9").status == 78
    assert box.update("--check", "--from", tmp_path).status != 0
    assert box.events == []


def test_a_dry_run_writes_no_slot(box: UpdatedBox) -> None:
    before = {slot: box.device(slot).read_bytes() for slot in Slot}
    environment = box.appliance.environment
    said = box.update("--dry-run")
    assert said.status == 0
    assert "written into slot b" in " ".join(said.out.split())
    assert {slot: box.device(slot).read_bytes() for slot in Slot} == before
    assert box.appliance.environment == environment
    assert box.agreed is None


def test_from_a_stick_without_a_network(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker, repository="http://127.0.0.1:9/")
    said = box.update("--from", str(maker.public), "--yes", "--progress", "none")
    assert said.status == 0, said.errors
    assert box.choose().slot is Slot.B


def test_from_a_stick_whose_name_is_no_text(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path / "box", maker)
    stick = tmp_path / os.fsdecode(b"usb\xff\n")
    shutil.copytree(maker.public, stick)
    # Where it can be told, and nothing is lost: in the text, the document, and the history.
    away = box.update("--from", stick / "gone", "--yes")
    assert (away.status, "\\xff\\n/gone" in away.errors) == (40, True)
    unknown = box.update("--from", stick, "--json", "--to", os.fsdecode(b"\xff"), "--yes")
    assert (unknown.status, json.loads(unknown.out)["state"]) == (78, "refused")
    assert box.events == ["update-refused"]
    done = box.update("--from", stick, "--yes", "--progress", "none")
    assert done.status == 0, done.errors
    assert box.agreed is not None
    assert box.agreed.repository == str(stick)


def test_from_a_directory_that_is_gone(tmp_path: Path, box: UpdatedBox) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = ["-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", str(gone)]
    done = subprocess.run(
        ["sh", *words, *command("update", "--root", box.root, "--yes", "--from", "usb")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 40, done.stderr
    assert "cannot find usb" in done.stderr
    assert "What to do" in done.stderr


def test_what_only_root_may_read_is_shut_again(box: UpdatedBox) -> None:
    box.places.directory.mkdir()
    box.places.directory.chmod(0o755)
    assert box.update("--check").status == 0
    assert box.places.directory.stat().st_mode & 0o777 == 0o700


def test_units_take_no_other_options(box: UpdatedBox) -> None:
    for options in (
        ("--unattended", "--yes"),
        ("--resume", "--check"),
        ("--resume", "--unattended"),
    ):
        assert box.update(*options).status == 2


def as_nobody(box: UpdatedBox, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user without rights, who may not read our interpreter either.

    So it is run once before with another box, and what it loads late is there.
    """
    other = box.copied_to(box.root.parent / f"{box.root.name}-{len(words[0])}")
    become = (
        "import os, sys; from applianceforge.cli import update;"
        f" update.main(['update', '--root', {str(other.root)!r}, '--check']);"
        f" os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY});"
        " sys.exit(update.main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", become, "update", "--root", str(box.root), *words],
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_any_user_may_look(maker: Maker) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        public = Path(place) / "public"
        shutil.copytree(maker.public, public)
        box = updated_box(Path(place) / "box", maker, repository=str(public))
        box.root.chmod(0o755)
        said = as_nobody(box, "--check")
        assert said.returncode == 0, said.stderr
        assert "3.0.0 (amd64) is offered" in said.stdout
        assert "Only root sees what slot b holds" in said.stdout
        assert not box.places.directory.exists()
        assert not box.places.status.exists()
        said = as_nobody(box, "--yes")
        assert said.returncode == 52
        assert "sudo" in said.stderr


# Interruptions.


def started(box: UpdatedBox) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("update", "--root", box.root, "--yes", "--progress", "none"),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until_it_fetches(server: Server, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not server.happened(Kind.SLOW):
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "status", "phase"),
    [(signal.SIGINT, 130, Phase.STOPPED), (signal.SIGTERM, 143, Phase.INSTALLING)],
)
def test_it_can_be_stopped_at_any_time(
    tmp_path: Path, maker: Maker, server: Server, number: int, status: int, phase: Phase
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    server.faults(Fault(Kind.SLOW, PAYLOAD, at_bytes=50_000, number=20_000))
    process = started(box)
    wait_until_it_fetches(server, process)
    # Any other terminal sees it work.
    said = run("status", "--root", box.root)
    assert "is being installed; this system goes on" in said.out
    assert json.loads(run("status", "--json", "--root", box.root).out)["update"]["progress"]
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert b"the same command continues" in errors
    assert box.agreed is not None
    assert box.agreed.phase is phase
    assert box.choose().slot is Slot.A
    assert "was stopped" in run("status", "--root", box.root).out
    server.faults()
    before = server.settled().bytes_sent
    again = run(
        "update", "--root", box.root, *(("--resume",) if number == signal.SIGTERM else ("--yes",))
    )
    assert again.status == 0, again.errors
    assert box.holds(Slot.B, "2.0.0", AMD64)
    assert box.choose().slot is Slot.B
    # What was proved before the stop is not fetched again: less than the whole.
    assert server.settled().bytes_sent - before < 1_000_000


def test_one_that_was_killed_is_told_by_status(
    tmp_path: Path, maker: Maker, server: Server
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    server.faults(Fault(Kind.SLOW, PAYLOAD, at_bytes=50_000, number=20_000))
    process = started(box)
    wait_until_it_fetches(server, process)
    second = box.update("--yes")
    assert second.status == 53
    assert str(process.pid) in second.errors
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert "was cut" in run("status", "--root", box.root).out
    assert box.choose().slot is Slot.A
    server.faults()
    assert run("update", "--root", box.root, "--resume").status == 0
    assert box.choose().slot is Slot.B


# What it loads.


def loaded(module: str) -> set[str]:
    program = f"import sys, {module}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return set(said.stdout.decode().split())


@pytest.mark.parametrize("module", ["applianceforge.cli.appliance", "applianceforge.cli.main"])
def test_other_commands_do_without_what_proves_a_repository(module: str) -> None:
    found = loaded(module)
    assert "applianceforge.release.update.status" in found
    for name in ("tuf", "securesystemslib", "urllib3"):
        assert name not in found, name


def test_the_command_explains_itself() -> None:
    said = run("update", "--help")
    assert said.status == 0
    for parameter in update.update_command.params:
        for option in parameter.opts:
            assert option in said.out or option == "--root"
    for status in ("58", "78", "82"):
        assert status in said.out
