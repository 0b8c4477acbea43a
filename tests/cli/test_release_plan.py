"""`applianceforge release plan` and what `release add` says of sizes, on a real repository."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from applianceforge.cli import release
from applianceforge.model.architecture import Architecture
from applianceforge.preflight import release_file
from applianceforge.preflight.requirements import Release
from applianceforge.release import share
from tests.appliance.cache import CHECKOUT
from tests.migrate.boxes import command
from tests.release.bundled import noise
from tests.release.vendor import Vendor

I386, AMD64 = Architecture.I386, Architecture.AMD64
Run = Callable[..., int]
Read = Callable[..., dict[str, Any]]


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path)


@pytest.fixture
def run(vendor: Vendor, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a repository that is made, and return its exit status."""

    def call(command: str, *words: object) -> int:
        place = str(vendor.layout.directory)
        return release.main(["release", command, place, *(str(word) for word in words)])

    assert call("init", "--appliance", "gateway", "--keys", vendor.keys) == 0
    capsys.readouterr()
    return call


@pytest.fixture
def read(run: Run, capsys: pytest.CaptureFixture[str]) -> Read:
    """Run a command with --json and return its document."""

    def call(command: str, *words: object, status: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert run(command, *words, "--json") == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return call


def slot(vendor: Vendor, version: str, architecture: Architecture, content: bytes = b"") -> Path:
    """Return a slot image with the file that describes it beside it, as a build leaves them."""
    path = vendor.place / f"gateway-{version}-{architecture.value}.slot"
    shutil.move(vendor.slot(version, architecture, content), path)
    document = release_file.encode(Release(architecture, "gateway", version))
    path.with_suffix(".release.json").write_text(json.dumps(document))
    return path


def add(run: Run, vendor: Vendor, version: str, architecture: Architecture, *words: object) -> None:
    image = slot(vendor, version, architecture)
    assert run("add", "--slot", image, "--progress", "none", *words) == 0


@pytest.fixture
def line(run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]) -> Vendor:
    """Stage a 32-bit release, a crossing and what comes after it."""
    add(run, vendor, "1.0.0", I386)
    add(run, vendor, "2.0.0", AMD64, "--crossing", "--barrier", "--share", 5)
    add(run, vendor, "3.0.0", AMD64, "--title", "The third")
    capsys.readouterr()
    return vendor


def standings(document: dict[str, Any]) -> dict[tuple[str, bool], str]:
    return {(one["version"], one["long_mode"]): one["standing"] for one in document["boxes"]}


def test_all_boxes_of_what_is_staged(
    line: Vendor, run: Run, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan") == 0
    said = capsys.readouterr().out
    assert "gateway, with what is staged, for a machine that each share takes in:" in said
    assert "newest     gateway 2.0.0 amd64  ->  3.0.0 amd64\n" in said
    assert "  ->  2.0.0 amd64 (crossing, barrier, 5 % of the fleet)" in said
    assert "  processor  1.0.0 i386\n" in said
    found = read("plan")
    assert (found["schema"], found["graph"], found["exit_status"]) == (1, "staged", 0)
    assert standings(found) == {
        ("1.0.0", True): "newest",
        ("2.0.0", True): "newest",
        ("3.0.0", True): "newest",
        ("1.0.0", False): "processor",
    }
    hops = found["boxes"][0]["hops"]
    assert [(one["version"], one["crossing"], one["barrier"]) for one in hops] == [
        ("2.0.0", True, True),
        ("3.0.0", False, False),
    ]
    # Nothing of it is published, and to look changes nothing.
    assert read("plan", "--published")["boxes"] == []
    assert run("plan", "--published") == 0
    assert "gateway, as it is published: no releases." in capsys.readouterr().out
    assert run("publish", "--keys", line.keys) == 0
    published = read("plan", "--published")
    assert published["boxes"] == found["boxes"]
    assert published["graph"] == "published"


def test_one_kind_of_box(
    line: Vendor, run: Run, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "--version", "1.0", "--architecture", "i386", "--long-mode") == 0
    said = capsys.readouterr().out
    assert "1. 2.0.0 amd64: stable, 5 % of the fleet, barrier, crossing\n" in said
    assert "2. 3.0.0 amd64: stable, 100 % of the fleet  The third\n" in said
    assert "without long mode" not in said
    # Of a release that was dropped long ago, boxes are still there.
    (old,) = read("plan", "--version", "0.5", "--architecture", "i386", "--no-long-mode")["boxes"]
    assert [one["version"] for one in old["hops"]] == ["1.0.0"]
    assert (old["channel"], old["standing"]) == ("stable", "processor")
    drawn = {share.draw(f"{one:032x}", "2.0.0", AMD64): f"{one:032x}" for one in range(2000)}
    for number, standing in ((4, "newest"), (5, "waits")):
        found = read("plan", "--version", "1.0.0", "--long-mode", "--id", drawn[number])
        assert found["machine_id"] == drawn[number]
        assert [one["standing"] for one in found["boxes"]] == [standing]
    capsys.readouterr()
    assert run("plan", "--version", "1.0.0", "--long-mode", "--id", drawn[5]) == 0
    said = capsys.readouterr().out
    assert "  waits      1.0.0 i386\n" in said
    command = f"$ applianceforge release offer {line.layout.directory} 2.0.0"
    assert f"{command} --architecture amd64 --share 100\n" in said


def test_who_is_left_behind(
    line: Vendor, run: Run, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("publish", "--keys", line.keys) == 0
    assert run("withdraw", "2.0.0", "--reason", "It loses mail.") == 0
    capsys.readouterr()
    assert run("plan") == 78
    said = capsys.readouterr().out
    assert "  stranded   1.0.0 i386\n" in said
    assert "[release.barrier-withdrawn]" in said
    assert "What to do: Add a release that stands in for it\n" in said
    assert "--slot NAME.slot --crossing --barrier --replaces 2.0.0\n" in said
    assert "Tell your vendor" not in said
    found = read("plan", status=78)
    assert found["exit_status"] == 78
    assert standings(found)["1.0.0", True] == "stranded"
    assert run("plan", "--version", "3.0.0") == 0
    assert run("plan", "--published") == 0
    # What is staged mends it.
    add(run, line, "2.0.1", AMD64, "--crossing", "--barrier", "--replaces", "2.0.0")
    assert standings(read("plan"))["1.0.0", True] == "newest"


@pytest.mark.parametrize(
    ("cause", "kind", "mended", "status"),
    [
        (("withdraw", "2.0.0", "--reason", "It loses mail."), ("1.0.0", True), "newest", 0),
        (("offer", "3.0.0", "--by-request"), ("2.0.0", True), "newest", 0),
        # No crossing is above 2.1.0, so what has that release now misses one.
        (("add", "2.1.0", "--architecture", "i386"), ("1.0.0", False), "processor", 78),
    ],
)
def test_a_command_that_helps_is_carried_out_as_it_is_printed(
    line: Vendor,
    run: Run,
    read: Read,
    cause: tuple[str, ...],
    kind: tuple[str, bool],
    mended: str,
    status: int,
) -> None:
    if cause[0] == "add":
        add(run, line, "2.1.0", I386)
    else:
        assert run("publish", "--keys", line.keys) == 0
        assert run(*cause) == 0
    found = read("plan", status=78 if cause[0] != "offer" else 0)
    assert standings(found)[kind] in ("stranded", "waits")
    told = [
        remedy["command"]
        for box in found["boxes"]
        if (box["version"], box["long_mode"]) == kind
        for finding in box["findings"]
        for remedy in finding["remedies"]
        if remedy["command"] and "NAME.slot" not in remedy["command"]
    ]
    program, *words = shlex.split(told[0])
    assert (program, release.main(words)) == ("applianceforge", 0)
    assert standings(read("plan", status=status))[kind] == mended


def test_a_command_that_adds_is_for_the_channels_of_those_who_are_stranded(
    vendor: Vendor, run: Run, read: Read
) -> None:
    add(run, vendor, "1.0.0", AMD64, "--channel", "stable", "--channel", "beta")
    add(run, vendor, "3.0.0", AMD64, "--channel", "beta", "--minimum-version", "2.5")
    assert standings(read("plan", "--channel", "beta", status=78))["1.0.0", True] == "stranded"
    (command,) = commands(read("plan", status=78), "--slot")
    program, *words = shlex.split(command)
    assert (program, words[:2]) == ("applianceforge", ["release", "add"])
    words[words.index("NAME.slot")] = str(slot(vendor, "2.5.0", AMD64))
    assert release.main([*words, "--progress", "none"]) == 0
    assert standings(read("plan", "--channel", "beta"))["1.0.0", True] == "newest"
    # The stable fleet is offered nothing new.
    assert standings(read("plan", "--channel", "stable"))["1.0.0", True] == "newest"
    assert not read("plan", "--channel", "stable")["boxes"][0]["hops"]


def test_what_is_published_is_mended_and_not_what_is_staged_since(
    vendor: Vendor, run: Run, read: Read
) -> None:
    add(run, vendor, "1.0.0", I386)
    add(run, vendor, "2.0.0", I386, "--by-request")
    assert run("publish", "--keys", vendor.keys) == 0
    add(run, vendor, "2.0.0", AMD64, "--crossing", "--by-request")
    (command,) = commands(read("plan", "--published"), "--for-all")
    assert release.main(shlex.split(command)[1:]) == 0
    ways = read("plan", "--version", "1.0.0", "--long-mode")["boxes"]
    assert [hop["architecture"] for hop in ways[0]["hops"]] == ["i386"]


def test_boxes_that_need_another_command_are_told_apart(
    vendor: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--channel", "stable", "--channel", "beta")
    add(run, vendor, "1.0.0", AMD64, *both)
    add(run, vendor, "2.0.0", AMD64)
    add(run, vendor, "4.0.0", AMD64, *both, "--minimum-version", "3.0")
    capsys.readouterr()
    assert run("plan") == 78
    said = capsys.readouterr().out
    for version in ("1.0.0", "2.0.0"):
        assert f"--channel stable --channel beta --minimum-version {version}\n" in said


@pytest.mark.parametrize("name", ["-odd", "two words", "it's $HOME", "bell\a"])
def test_commands_for_a_directory_with_an_odd_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    vendor = Vendor(tmp_path)
    place = f"./{name}"
    assert release.main(["release", "init", place, "--appliance", "gateway", "--keys", "keys"]) == 0
    image = slot(vendor, "1.0.0", AMD64)
    words = ["release", "add", place, "--slot", str(image), "--progress", "none", "--level", "1"]
    assert release.main(words) == 0
    image = slot(vendor, "2.0.0", AMD64)
    words[4] = str(image)
    assert release.main([*words, "--by-request"]) == 0
    capsys.readouterr()
    assert release.main(["release", "plan", place, "--json"]) == 0
    (command,) = commands(json.loads(capsys.readouterr().out), "--for-all")
    typed = f"{sys.executable} -m {command}"
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    assert subprocess.run(["sh", "-c", typed], env=env, check=False).returncode == 0
    assert release.main(["release", "plan", place]) == 0
    assert "\a" not in capsys.readouterr().out


def commands(found: dict[str, Any], word: str) -> set[str]:
    """Return the commands of a plan that help and have a word."""
    return {
        remedy["command"]
        for box in found["boxes"]
        for finding in box["findings"]
        for remedy in finding["remedies"]
        if word in remedy["command"].split()
    }


def test_boxes_with_a_release_that_is_dropped_are_not_forgotten(
    line: Vendor, run: Run, read: Read
) -> None:
    assert run("publish", "--keys", line.keys) == 0
    assert run("drop", "1.0.0") == 0
    assert standings(read("plan"))["1.0.0", True] == "newest"


def test_a_crossing_that_was_forgotten(
    run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]
) -> None:
    add(run, vendor, "1.0.0", I386)
    add(run, vendor, "2.0.0", AMD64)
    assert run("plan") == 78
    said = capsys.readouterr().out
    assert "[release.no-crossing]" in said
    command = f"$ applianceforge release add {vendor.layout.directory} --slot NAME.slot --crossing"
    assert f"{command} --barrier\n" in said


def test_a_32_bit_release_behind_the_crossing(
    line: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    add(run, line, "2.1.0", I386)
    assert run("plan", "--version", "1.0.0", "--no-long-mode") == 78
    assert "2.1.0 i386 lies behind a crossing" in " ".join(capsys.readouterr().out.split())
    assert run("offer", "2.0.0", "--no-barrier") == 0
    assert run("plan", "--version", "1.0.0", "--no-long-mode") == 0


def test_each_channel_is_looked_at(run: Run, vendor: Vendor, read: Read) -> None:
    add(run, vendor, "1.0.0", AMD64, "--channel", "stable", "--channel", "beta")
    add(run, vendor, "2.0.0", AMD64, "--channel", "beta")
    add(run, vendor, "3.0.0", AMD64, "--channel", "beta", "--minimum-version", "2.5")
    found = read("plan", status=78)["boxes"]
    assert [(one["channel"], one["version"], one["standing"]) for one in found] == [
        ("stable", "1.0.0", "newest"),
        ("beta", "1.0.0", "stranded"),
        ("beta", "2.0.0", "stranded"),
        ("beta", "3.0.0", "newest"),
    ]
    assert [one["version"] for one in found[1]["hops"]] == ["2.0.0"]
    assert run("plan", "--channel", "stable") == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--version", "three"), 2, "'three' is no version of a release"),
        (("--version", "3.0.0", "--no-long-mode"), 2, "no box is like that"),
        (("--version", "3.0.0", "--architecture", "i386"), 2, "no box is like that"),
        (("--channel", "beta"), 2, "no release is in the channel 'beta'"),
        # Else a slip of the pen would say that all is well.
        (("--version", "3.0.0", "--channel", "stabel"), 2, "no release is in the channel 'stabel'"),
        (("--version", "9", "--channel", "\x1b[31m"), 2, "in the channel '\\x1b[31m'"),
        (("--id", "nonsense"), 2, "'nonsense' is no id of a machine"),
        (("--id", "\x1b[31m\x9b"), 2, "'\\x1b[31m\\x9b' is no id of a machine"),
        (("--id", " "), 2, "' ' is no id of a machine"),
    ],
)
def test_what_cannot_be_asked(
    words: tuple[str, ...],
    status: int,
    message: str,
    line: Vendor,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("plan", *words) == status
    said = capsys.readouterr().err
    assert message in said
    assert "What to do:" in said


def test_what_cannot_be_asked_is_a_document(
    line: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "--json", "--id", "\x1b[31m\x9b") == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["name"] == "usage"
    assert "\x1b" not in said.out + said.err
    assert "\x9b" not in said.out + said.err


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_whoever_stops_reading_does_not_hide_that_a_box_is_stranded(
    words: tuple[str, ...], run: Run, vendor: Vendor
) -> None:
    add(run, vendor, "1.0.0", I386)
    add(run, vendor, "2.0.0", AMD64)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("release", "plan", vendor.layout.directory, *words),
        cwd=CHECKOUT,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (78, b"")


def test_a_terminal_that_has_no_character_for_a_title(
    run: Run, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(run, vendor, "1.0.0", AMD64)
    add(run, vendor, "2.0.0", AMD64, "--title", "Größer")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for words, shown in (((), b"  Gr\\xf6\\xdfer\n"), (("--json",), b'"Gr\\u00f6\\u00dfer"')):
        done = subprocess.run(
            command("release", "plan", vendor.layout.directory, "--version", "1.0.0", *words),
            cwd=CHECKOUT,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert shown in done.stdout


def test_without_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["release", "plan", str(tmp_path)]) == 79
    assert "holds no repository" in capsys.readouterr().err


def test_what_another_user_may_not_reach(
    line: Vendor, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    line.layout.staged.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        status = run("plan", "--json")
    finally:
        os.seteuid(before)
        line.layout.staged.chmod(0o755)
    said = capsys.readouterr()
    assert status == 52
    assert json.loads(said.out)["error"]["name"] == "access-denied"
    assert "Permission denied" in said.err


def test_a_graph_that_was_changed_is_not_believed(line: Vendor, run: Run) -> None:
    assert run("publish", "--keys", line.keys) == 0
    served = max(line.layout.targets.glob("*.graph.json"), key=lambda one: one.stat().st_mtime_ns)
    served.write_bytes(served.read_bytes().replace(b'"3.0.0"', b'"3.0.9"'))
    assert run("plan") == 71


def test_adding_says_how_much_boxes_fetch(
    run: Run, vendor: Vendor, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    same, one, other = (noise(seed, 400_000) for seed in (1, 2, 3))
    first = slot(vendor, "1.0.0", I386, same + one)
    assert run("add", "--slot", first, "--progress", "none") == 0
    said = capsys.readouterr().out
    assert "Slot 4.2 MB, packed " in said
    assert "A box that runs" not in said
    second = slot(vendor, "2.0.0", AMD64, same + other)
    found = read("add", "--slot", second, "--progress", "none", "--crossing")
    assert (found["appliance"], found["version"]) == ("gateway", "2.0.0")
    bundles = vendor.layout.staged / "bundles"
    sizes = {path.stat().st_size for path in bundles.iterdir()}
    assert {found["payload_bytes"], found["index_bytes"]} <= sizes
    assert found["slot_bytes"] == 4 << 20
    (fetched,) = found["fetched"]
    assert fetched["from"] == {"version": "1.0.0", "architecture": "i386"}
    whole = found["payload_bytes"] + found["index_bytes"]
    assert 400_000 < fetched["fetched_bytes"] < whole - 300_000
    assert fetched["percent"] == round(100 * fetched["fetched_bytes"] / whole, 1)
    assert found["staged"][-1].startswith("2.0.0 (amd64): new")
    third = slot(vendor, "3.0.0", AMD64, same + other)
    assert run("add", "--slot", third, "--progress", "none") == 0
    said = capsys.readouterr().out
    assert "  A box that runs 2.0.0 (amd64) fetches" in said
    # None of 32 bits goes there but by 2.0.0.
    assert "runs 1.0.0" not in said


def test_what_adding_says_beside_its_document(
    run: Run, vendor: Vendor, capsys: pytest.CaptureFixture[str]
) -> None:
    add(run, vendor, "1.0.0", I386)
    capsys.readouterr()
    image = slot(vendor, "2.0.0", AMD64)
    assert run("add", "--slot", image, "--progress", "json", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["version"] == "2.0.0"
    assert all(json.loads(one)["schema"] == 1 for one in said.out.splitlines())
    assert "none was added with --crossing" in said.err
