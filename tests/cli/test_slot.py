"""`applianceforge slot`, on plain files that stand for a disk."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from applianceforge.cli import slot as slot_view
from applianceforge.cli.ending import guarded
from applianceforge.cpuid import probe
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.slots import description, disk
from applianceforge.slots.description import Description
from applianceforge.slots.layout import Slot
from tests.slots.power import new_ground
from tests.slots.slot_images import SIZE_MIB, slot_image

Run = Callable[..., int]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    new_ground(tmp_path / "boot")
    (tmp_path / "partition").write_bytes(bytes((SIZE_MIB + 1) << 20))
    return tmp_path


@pytest.fixture
def run(place: Path) -> Run:
    """Run a command on the files and return its exit status."""

    def call(*words: str, booted: str = "a") -> int:
        options = [
            *("--boot-directory", str(place / "boot"), "--booted", booted),
            *("--slot-device", str(place / "partition")),
        ]
        arguments = [words[0], *options, *words[1:]]

        def invoke() -> int:
            slot_view.slot.main(arguments, standalone_mode=False)
            return 0

        return guarded(invoke, stopped="stopped")

    return call


def _json(run: Run, capsys: pytest.CaptureFixture[str], booted: str = "a") -> dict[str, object]:
    capsys.readouterr()
    assert run("status", "--json", booted=booted) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_way_of_a_release(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capable = Verdict(Capability.CAPABLE, True, "metal", None, 1, ())
    monkeypatch.setattr(probe, "long_mode", lambda: capable)
    image = slot_image(place / "image", Architecture.AMD64)
    assert run("write", str(image), "--progress", "none") == 0
    assert "Slot b holds reference 1.2 (amd64)" in capsys.readouterr().out
    seen = _json(run, capsys)
    assert (seen["schema"], seen["booted"], seen["primary"]) == (1, "a", "a")
    slots = seen["slots"]
    assert isinstance(slots, dict)
    assert slots["b"] == {
        "state": "not bootable",
        "bootable": False,
        "tries": 0,
        "good": False,
        "problem": None,
        "name": "reference",
        "version": "1.2",
        "architecture": "amd64",
    }
    assert run("activate") == 0
    assert "Slot b starts next: reference 1.2 (amd64)" in capsys.readouterr().out
    assert _json(run, capsys)["primary"] == "b"
    assert run("mark-good", booted="b") == 0
    assert _json(run, capsys, "b")["good_marker"] == "b"
    assert run("mark-bad", "--reason", "services", booted="b") == 0
    seen = _json(run, capsys)
    assert (seen["primary"], seen["reason"], seen["reason_slot"]) == ("a", "b-services", "b")
    assert str(seen["reason_sentence"]).startswith("the release started")
    capsys.readouterr()
    assert run("status") == 0
    text = capsys.readouterr().out
    assert "runs, starts next" in text
    assert "Slot b: the release started" in text


def test_progress_for_a_program(run: Run, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = slot_image(place / "image", Architecture.I386)
    assert run("write", str(image), "--progress", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "finished"
    assert lines[-1]["architecture"] == "i386"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("write", "/nowhere"), 40, "No such file"),
        (("write", __file__), 64, "holds no ext2 or ext4"),
        (("activate",), 64, "holds no ext2 or ext4"),
        (("mark-bad",), 64, "nothing would be left to start"),
        (("mark-bad", "--slot", "b", "--reason", "two words"), 64, "cannot be a reason"),
    ],
)
def test_errors_have_their_status_and_a_remedy(
    words: tuple[str, ...],
    status: int,
    message: str,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*words) == status
    said = capsys.readouterr().err
    assert message in said
    assert "What to do:" in said


def test_a_lost_environment_has_a_status_of_its_own(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("env1", "env2"):
        (place / "boot" / name).write_bytes(b"")
    assert run("status") == 63
    assert "mark-good" in capsys.readouterr().err
    assert run("mark-good") == 0
    assert run("status") == 0


def test_a_64_bit_slot_is_not_activated_without_long_mode(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = Verdict(Capability.MASKED_BY_HYPERVISOR, False, "vm:qemu", None, None, ("no lm",))
    monkeypatch.setattr(probe, "long_mode", lambda: masked)
    assert run("write", str(slot_image(place / "image", Architecture.AMD64))) == 0
    assert run("activate") == 20
    assert "applianceforge check" in capsys.readouterr().err
    assert _json(run, capsys)["primary"] == "a"


def test_what_grub_could_only_tell_the_kernel(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "find", lambda: disk.BootDisk(Slot.A, place / "boot"))
    monkeypatch.setattr(disk, "passed_over", lambda: "b-not-counted")
    slot_view.slot.main(["status", "--json"], standalone_mode=False)
    seen = json.loads(capsys.readouterr().out)
    assert (seen["reason"], seen["reason_slot"]) == ("b-not-counted", "b")
    slot_view.slot.main(["status"], standalone_mode=False)
    assert "could not write the number of tries" in capsys.readouterr().out


def test_a_machine_without_slots(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def invoke() -> int:
        slot_view.slot.main(["status", "--boot-directory", str(tmp_path)], standalone_mode=False)
        return 0

    assert guarded(invoke, stopped="stopped") == 62
    assert "--booted" in capsys.readouterr().err


def test_only_root_changes_the_disk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "find", lambda: disk.BootDisk(Slot.A, tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def invoke() -> int:
        slot_view.slot.main(["mark-good"], standalone_mode=False)
        return 0

    assert guarded(invoke, stopped="stopped") == 52
    assert "only root may change what starts this machine" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["status"], ["write"], ["activate"], ["mark-bad"]])
def test_help_names_every_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    slot_view.slot.main([*words, "--help"], standalone_mode=False)
    assert "Usage" in capsys.readouterr().out


def test_a_bomb_is_not_unpacked(run: Run, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = slot_image(place / "image", Architecture.I386).read_bytes()
    packed = zstandard.ZstdCompressor()
    # 2 GiB in some KB.
    frame = packed.compress(bytes(1 << 28))
    bomb = place / "bomb.zst"
    bomb.write_bytes(packed.compress(whole) + frame * 8)
    assert run("write", str(bomb), "--progress", "none") == 64
    said = capsys.readouterr().err
    found = re.search(r"has (\d+) bytes or more, and the slot only (\d+)", said)
    assert found is not None
    assert int(found[1]) - int(found[2]) <= 1 << 20
    assert not any((place / "partition").read_bytes())


def test_an_image_is_not_written_onto_itself(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = slot_image(place / "image", Architecture.I386)
    before = image.read_bytes()
    for device in (image, place / "link"):
        (place / "partition").unlink()
        (place / "partition").symlink_to(device)
        if device.name == "link":
            os.link(image, device)
        assert run("write", str(image)) == 64
        assert "is the slot itself" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_what_an_image_says_is_nothing_that_a_terminal_obeys(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Description(Architecture.I386, "na\x1b[31mme\x07", "1\x1b]0;x\x07\x85")
    image = slot_image(place / "image", Architecture.I386, said=description.encode(said))
    assert run("write", str(image), "--progress", "plain") == 0
    assert run("status") == 0
    shown = capsys.readouterr()
    assert "na\\x1b[31mme" in shown.out
    assert not set(shown.out + shown.err) & set("\x1b\x07\x85")
    seen = _json(run, capsys)["slots"]
    assert isinstance(seen, dict)
    assert seen["b"]["name"] == said.name


@pytest.mark.parametrize("kind", ["directory", "pipe", "link to itself"])
def test_a_copy_that_cannot_be_read_leaves_the_other(
    kind: str, run: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = place / "boot/env2"
    copy.unlink()
    if kind == "directory":
        copy.mkdir()
    elif kind == "pipe":
        os.mkfifo(copy)
    else:
        copy.symlink_to(copy)
    assert run("status") == 0
    assert "copy 2: it is missing or empty" in capsys.readouterr().out
    # What is no file cannot be written in place; a link that leads nowhere is replaced.
    replaced = kind == "link to itself"
    assert (run("mark-bad", "--slot", "b") == 0) is replaced
    assert replaced or "env2" in capsys.readouterr().err
    assert run("status") == 0
