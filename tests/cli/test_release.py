"""`applianceforge release`, as a vendor meets it."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from applianceforge.cli import entry, release
from applianceforge.cli import main as others
from applianceforge.model.architecture import Architecture
from applianceforge.preflight import release_file
from applianceforge.preflight.requirements import Release
from applianceforge.release.update import settings
from tests.release.vendor import Box, Vendor

Run = Callable[..., int]


URL = ("--url", "http://updates.example/")


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path)


@pytest.fixture
def run(vendor: Vendor) -> Run:
    """Run a command on the repository and return its exit status."""

    def call(command: str, *words: object) -> int:
        return release.main(
            ["release", command, str(vendor.layout.directory), *(str(word) for word in words)]
        )

    return call


@pytest.fixture
def made(run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]) -> Vendor:
    assert run("init", "--appliance", "gateway", "--keys", vendor.keys) == 0
    capsys.readouterr()
    return vendor


def _image(vendor: Vendor, version: str, architecture: Architecture = Architecture.AMD64) -> Path:
    """Return a slot image with the file that describes it beside it, as a build leaves them."""
    slot = vendor.place / f"gateway-{version}.slot"
    shutil.move(vendor.slot(version, architecture), slot)
    described = Release(architecture, "gateway", version, slot_bytes=4 << 20)
    document = json.dumps(release_file.encode(described)).encode()
    (vendor.place / f"gateway-{version}.release.json").write_bytes(document)
    return slot


def _json(run: Run, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert run("status", "--json") == status
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_from_keys_to_rollout(run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://updates.example/gateway/"
    words: tuple[object, ...] = (
        "--appliance",
        "gateway",
        "--keys",
        vendor.keys,
        "--url",
        url,
        "--channel",
        "beta",
    )
    assert run("init", *words) == 0
    said = capsys.readouterr().out
    assert "root-3.pem: take it offline" in said
    assert "timestamp-1.pem: for the machine that renews" in said
    overlay = vendor.layout.directory / "overlay/etc/applianceforge"
    assert str(overlay / "root.json") in said
    shipped = settings.decode([("update.toml", (overlay / "update.toml").read_text())])
    assert (shipped.repository, shipped.channel) == (url, "beta")

    box = Box(vendor.place / "box", vendor.layout.public, (overlay / "root.json").read_bytes())
    slot = _image(vendor, "1.0.0", Architecture.I386)
    assert run("add", "--slot", slot, "--title", "The first", "--progress", "none") == 0
    assert "1.0.0 (i386): new, stable, 100 % of the fleet" in capsys.readouterr().out
    assert run("publish", "--keys", vendor.keys) == 0
    assert "Published: root 1, targets 2, snapshot 2, timestamp 2." in capsys.readouterr().out
    assert [one.title for one in box.look().graph.offers] == ["The first"]

    described = vendor.place / "elsewhere.json"
    slot = _image(vendor, "2.0.0")
    shutil.move(vendor.place / "gateway-2.0.0.release.json", described)
    options = ("--crossing", "--barrier", "--share", 5, "--by-request", "--since", "2026-12-01")
    more = ("--channel", "beta", "--channel", "stable", "--minimum-version", "0.9")
    words = ("--slot", slot, "--release", described, *options, *more, "--progress", "none")
    assert run("add", *words) == 0
    assert run("publish", "--keys", vendor.keys) == 0
    offer = box.look().graph.offers[1]
    assert (offer.crossing, offer.barrier, offer.by_request) == (True, True, True)
    assert (offer.share_percent, offer.since_s) == (5, 1796083200)
    assert offer.channels == ("beta", "stable")
    assert offer.release.minimum_version == "0.9"

    assert run("offer", "2.0.0", "--share", 50, "--for-all", "--no-barrier") == 0
    assert run("withdraw", "1.0.0", "--reason", "it loses mail", "--architecture", "i386") == 0
    assert len(_json(run, capsys)["staged"]) == 2  # type: ignore[arg-type]
    assert run("status") == 0
    said = capsys.readouterr().out
    assert "Staged, and not published:" in said
    assert "1.0.0 (i386): withdrawn: it loses mail; before: stable, 100 % of the fleet" in said
    assert run("publish", "--keys", vendor.keys) == 0
    first, second = box.look().graph.offers
    assert first.withdrawn == "it loses mail"
    assert (second.share_percent, second.by_request, second.barrier) == (50, False, False)
    assert run("withdraw", "1.0.0", "--undo") == 0
    assert run("discard") == 0
    assert "is forgotten" in capsys.readouterr().out
    assert run("discard") == 0
    assert "Nothing was staged" in capsys.readouterr().out


def test_keys_come_and_go(made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    box = made.box("box")
    box.look()
    made.key_file("root-2").unlink()
    stick = made.place / "stick"
    words: tuple[object, ...] = ("--remove", "root-2", "--keys", made.keys, "--new-keys", stick)
    assert run("rotate-keys", "root", *words) == 0
    assert str(stick / "offline/root-4.pem") in capsys.readouterr().out
    assert run("rotate-keys", "timestamp", "--keys", made.keys, "--keys", stick) == 0
    said = capsys.readouterr().out
    assert "timestamp-2.pem" in said
    assert "can be destroyed once this is served: timestamp-1\n" in said
    made.key_file("snapshot-1").unlink()
    assert run("rotate-keys", "snapshot", "--keys", made.keys, "--keys", stick) == 0
    assert "The former keys were not at hand" in capsys.readouterr().out
    words = ("--add", "1", "--threshold", "2", "--keys", made.keys, "--keys", stick)
    assert run("rotate-keys", "targets", *words) == 0
    assert "can be destroyed" not in capsys.readouterr().out
    seen = _json(run, capsys)["roles"]
    assert isinstance(seen, dict)
    assert seen["root"]["keys"] == ["root-1", "root-3", "root-4"]
    assert seen["targets"]["keys"] == ["targets-1", "targets-2", "targets-3"]
    assert (seen["targets"]["threshold"], seen["root"]["version"]) == (2, 5)
    assert run("publish", "--root", "--keys", made.keys, "--keys", stick) == 0
    assert run("publish", "--renew", "--keys", made.keys / "online") == 0
    assert box.look() == made.box("new").look()
    assert box.look().root == 6


def test_status_has_a_status_of_its_own(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("status") == 0
    assert "none" in capsys.readouterr().out
    assert run("status", "--warn-days", "8") == 10
    assert "release publish DIR --renew --keys KEYS/online" in capsys.readouterr().out
    assert _json(run, capsys)["state"] == "valid"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 8 * 86400)
    assert run("status") == 70
    assert "ended 1 days ago" in capsys.readouterr().out
    seen = _json(run, capsys, 70)
    assert seen["state"] == "expired"
    roles = seen["roles"]
    assert isinstance(roles, dict)
    assert {name: one["state"] for name, one in roles.items()} == {
        "root": "valid",
        "targets": "valid",
        "snapshot": "expired",
        "timestamp": "expired",
    }
    assert run("publish", "--renew", "--keys", made.keys) == 0
    assert run("status") == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("init", "--appliance", "gateway", "--keys", "KEYS"), 79, "holds a repository already"),
        (("init", "--appliance", "Gate way", "--keys", "NEW"), 79, "cannot be the name"),
        (("init", "--appliance", "gateway"), 2, "one directory for its keys"),
        (("init", "--appliance", "gateway", "--keys", "INSIDE"), 79, "inside the repository"),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--valid", "root=0"),
            79,
            "0 days",
        ),
        (("init", "--appliance", "gateway", "--keys", "NEW", "--valid", "boss=1"), 2, "ROLE=VALUE"),
        (("init", "--appliance", "gateway", "--keys", "NEW", "--valid", "root=x"), 2, "no number"),
        (("init", "--appliance", "gateway", "--keys", "NEW", "--hsm", "root=x"), 80, "no URI"),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--url", "updates"),
            79,
            "repository must be a URL",
        ),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--url", "http://a:x/"),
            79,
            "none of HTTP",
        ),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--url", "http://a/\nb"),
            79,
            "without control characters",
        ),
        (
            (*("init", "--appliance", "gateway", "--keys", "NEW"), *URL, "--channel", "Beta"),
            79,
            "cannot be a channel",
        ),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--root-keys", "1000000"),
            80,
            "would have 1000000 keys",
        ),
        (
            ("init", "--appliance", "gateway", "--keys", "NEW", "--root-keys", "-1"),
            80,
            "of which 2 must sign",
        ),
        (("add", "--slot", "/nowhere.slot"), 64, "there is no slot image /nowhere.slot"),
        (("add", "--slot", "/etc/passwd"), 2, "/etc/passwd has no passwd.release.json beside it"),
        (("offer", "1.0.0", "--share", "5"), 79, "no release 1.0.0"),
        (("offer", "1.0.0"), 2, "nothing is to change"),
        (("withdraw", "1.0.0", "--reason", "why"), 79, "no release 1.0.0"),
        (("withdraw", "1.0.0"), 2, "say why"),
        (("withdraw", "1.0.0", "--undo", "--reason", "why"), 2, "say why"),
        (("publish",), 80, "targets-1, targets-2 are not at hand"),
        (("publish", "--keys", "EMPTY"), 80, "targets-1, targets-2 are not at hand"),
        (("publish", "--keys", "/nowhere"), 80, "targets-2 (no directory: /nowhere) are not at"),
        (("publish", "--keys", "KEYS", "--keys", "INSIDE"), 79, "inside the repository"),
        (("publish", "--renew", "--root", "--keys", "KEYS"), 2, "goes with neither"),
        (("rotate-keys", "root"), 2, "where new keys go"),
        (("rotate-keys", "root", "--keys", "INSIDE"), 79, "inside the repository"),
        (("rotate-keys", "root", "--keys", "KEYS", "--remove", "root-9"), 80, "is no key of root"),
        (("rotate-keys", "root", "--keys", "EMPTY"), 80, "are not at hand"),
        (("rotate-keys", "root", "--keys", "KEYS", "--add", "-1"), 2, "no key would be"),
        (("rotate-keys", "root", "--keys", "KEYS", "--add", "0"), 2, "no key would be"),
        (("rotate-keys", "root", "--keys", "KEYS", "--add", "99"), 80, "would have 102 keys"),
    ],
)
def test_errors_have_their_status_and_a_remedy(
    words: tuple[str, ...],
    status: int,
    message: str,
    made: Vendor,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "KEYS": made.keys,
        "NEW": made.place / "new",
        "EMPTY": made.place / "empty",
        "INSIDE": made.layout.directory / "keys",
    }
    places["EMPTY"].mkdir()
    if words[0] == "init" and "KEYS" in words:
        shutil.move(made.keys, made.place / "away")
    seen = made.box("box").look()
    assert run(*(places.get(word, word) for word in words)) == status
    said = capsys.readouterr().err
    assert message in said
    assert "What to do:" in said
    assert made.box("box").look() == seen


def test_a_release_of_another_appliance(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    slot = _image(made, "1.0.0")
    described = Release(Architecture.AMD64, "router", "1.0.0")
    document = json.dumps(release_file.encode(described)).encode()
    (made.place / "gateway-1.0.0.release.json").write_bytes(document)
    assert run("add", "--slot", slot, "--progress", "none") == 73
    assert "for the appliance 'router'" in capsys.readouterr().err


def test_withdrawing_a_barrier_says_what_follows(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add", "--slot", _image(made, "1.0.0"), "--barrier", "--progress", "none") == 0
    assert run("publish", "--keys", made.keys) == 0
    assert run("withdraw", "1.0.0", "--reason", "bad") == 0
    assert "--replaces 1.0.0" in capsys.readouterr().out
    assert run("publish", "--keys", made.keys) == 0
    words = ("--replaces", "1.0.0", "--barrier", "--progress", "none")
    assert run("add", "--slot", _image(made, "1.0.1"), *words) == 0
    assert run("publish", "--keys", made.keys) == 0
    assert made.box("box").look().graph.offers[1].replaces == ("1.0.0",)


def test_what_is_staged_tells_dates_and_titles(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    slot = _image(made, "3.0.0")
    assert run("add", "--slot", slot, "--since", "2027-02-01", "--progress", "none") == 0
    said = "3.0.0 (amd64): new, stable, 100 % of the fleet, from 2027-02-01 00:00 UTC"
    assert said in capsys.readouterr().out
    assert run("publish", "--keys", made.keys) == 0
    capsys.readouterr()
    assert run("offer", "3.0.0", "--title", "The third", "--since", "2027-03-01T12:00Z") == 0
    said = capsys.readouterr().out
    assert "from 2027-03-01 12:00 UTC, entitled 'The third'; before: stable" in said
    assert said.count("2027-02-01 00:00 UTC") == 1


def test_a_crossing_that_was_forgotten(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add", "--slot", _image(made, "1.0", Architecture.I386), "--progress", "none") == 0
    assert "--crossing" not in capsys.readouterr().out
    slot = _image(made, "2.0")
    assert run("add", "--slot", slot, "--progress", "none") == 0
    assert "none was added with --crossing. If 2.0 does it" in capsys.readouterr().out
    assert run("discard") == 0
    assert run("add", "--slot", slot, "--crossing", "--progress", "none") == 0
    assert run("publish", "--keys", made.keys) == 0
    slot = _image(made, "1.1", Architecture.I386)
    assert run("add", "--slot", slot, "--progress", "none") == 0
    assert "none was added" not in capsys.readouterr().out


def test_a_version_by_another_spelling(
    made: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add", "--slot", _image(made, "3.0.0"), "--barrier", "--progress", "none") == 0
    assert run("publish", "--keys", made.keys) == 0
    assert run("offer", "3.0", "--share", 5) == 0
    assert "3.0.0 (amd64): stable, 5 % of the fleet" in capsys.readouterr().out
    assert run("offer", "3.0.1", "--share", 5) == 79
    assert run("offer", "three", "--share", 5) == 79
    assert "there is no release three" in capsys.readouterr().err
    assert run("withdraw", "3", "--reason", "bad") == 0
    assert "--replaces 3.0.0" in capsys.readouterr().out


def test_passphrases_from_files_and_descriptors(
    run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = vendor.place / "secret"
    secret.write_text("correct horse\nmore\n")
    words: tuple[object, ...] = ("--appliance", "gateway", "--keys", vendor.keys, "--encrypt")
    assert run("init", *words, "--passphrase-file", secret) == 0
    assert b"ENCRYPTED" in vendor.key_file("root-1").read_bytes()
    assert b"ENCRYPTED" not in vendor.key_file("timestamp-1").read_bytes()
    reading, writing = os.pipe()
    os.write(writing, b"correct horse\n")
    os.close(writing)
    words = ("--keys", vendor.keys, "--root", "--passphrase-file", f"/dev/fd/{reading}")
    assert run("publish", *words) == 0
    os.close(reading)
    wrong = vendor.place / "wrong"
    wrong.write_text("battery staple\n")
    words = ("--passphrase-file", secret, "--passphrase-file", f"targets-1={wrong}")
    assert run("publish", "--keys", vendor.keys, *words) == 80
    assert "targets-1.pem cannot be opened: wrong passphrase" in capsys.readouterr().err
    # Renewing needs none of them.
    assert run("publish", "--renew", "--keys", vendor.keys) == 0
    assert run("publish", "--keys", vendor.keys, "--passphrase-file", "/nowhere") == 40


def _at_a_terminal(words: tuple[object, ...], answers: tuple[str, ...]) -> tuple[int, str]:
    """Run the command with a terminal, answer its questions, and return what it showed."""
    master, slave = pty.openpty()
    command = ("setsid", "--ctty", "--wait", sys.executable, "-m", "applianceforge", "release")
    with subprocess.Popen(
        [*command, *(str(word) for word in words)], stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown, left = b"", list(answers)
        try:
            while select.select([master], [], [], 60)[0]:
                shown += os.read(master, 4096)
                if left and re.search(rb"(root-1|targets-1|more): $", shown):
                    os.write(master, f"{left.pop(0)}\n".encode())
                    shown += b"\n"
        except OSError:
            pass  # Linux says so when the other end of a terminal is closed.
        finally:
            os.close(master)
    assert not left, shown.decode()
    return process.returncode, shown.decode()


def test_passphrases_from_a_terminal(vendor: Vendor) -> None:
    few = ("--root-keys", 1, "--root-threshold", 1, "--targets-keys", 1)
    words: tuple[object, ...] = (
        "init",
        vendor.layout.directory,
        "--appliance",
        "x",
        "--keys",
        vendor.keys,
        *few,
    )
    status, shown = _at_a_terminal((*words, "--encrypt"), ("first", "other"))
    assert (status, "the two passphrases for root-1 differ" in shown) == (80, True)
    assert not vendor.keys.exists()
    status, shown = _at_a_terminal((*words, "--encrypt"), ("first", "first", "two", "two"))
    assert status == 0
    assert "first" not in shown
    words = ("publish", vendor.layout.directory, "--root", "--keys", vendor.keys)
    assert _at_a_terminal(words, ("first", "two"))[0] == 0
    status, shown = _at_a_terminal(words, ("wrong",))
    assert (status, "wrong passphrase" in shown) == (80, True)


def test_without_a_terminal_it_says_how(vendor: Vendor) -> None:
    words = ("init", str(vendor.layout.directory), "--appliance", "x", "--keys", str(vendor.keys))
    command = ("setsid", "--wait", sys.executable, "-m", "applianceforge", "release", *words)
    done = subprocess.run(
        (*command, "--encrypt"), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 80
    assert "no terminal to ask for it" in done.stderr
    assert "--passphrase-file" in done.stderr


def test_signing_is_loaded_for_this_group_alone() -> None:
    script = (
        "import sys; from applianceforge.cli import main, appliance;"
        " sys.exit('tuf' in sys.modules or 'securesystemslib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_the_way_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["applianceforge", "release", "status", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 79
    assert "holds no repository" in capsys.readouterr().err
    assert others.main(["--", "release", "status"]) == 2
    assert "must be the first word" in capsys.readouterr().err
    assert others.main(["--help"]) == 0
    assert "Make a repository of releases" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], *([name] for name in release.release.commands)])
def test_help_names_every_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["release", *words, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
