"""Starting an image for a person: what is refused, and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm import overlays
from tests.vm import run as running
from tests.vm.hardware import Bus, Disk
from tests.vm.run import RunError, check


@pytest.mark.parametrize(
    ("name", "disk", "memory_mib", "cores", "message"),
    [
        ("absent.raw", "ide", 512, 2, "inv image.build"),
        (".", "ide", 512, 2, "is a directory"),
        ("a.slot", "ide", 512, 2, r"its name ends in \.img, \.qcow2, \.raw"),
        ("a.raw", "floppy", 512, 2, "known are ide, ahci, virtio, scsi"),
        ("a.raw", "ide", 8, 2, "8 MiB of memory are too few"),
        ("a.raw", "ide", 512, 0, "at least one core, not 0"),
    ],
)
def test_refused(
    tmp_path: Path, name: str, disk: str, memory_mib: int, cores: int, message: str
) -> None:
    (tmp_path / "a.raw").touch()
    (tmp_path / "a.slot").touch()
    with pytest.raises(RunError, match=message):
        check(tmp_path / name, disk, memory_mib, cores)


def test_taken(tmp_path: Path) -> None:
    (tmp_path / "a.qcow2").touch()
    disk = check(tmp_path / "a.qcow2", "ahci", 256, 1)
    assert (disk.format, disk.bus, disk.own) == ("qcow2", Bus.AHCI, False)


def test_what_a_person_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(1 << 20))
    script = tmp_path / "qemu"
    script.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\nexit "$(cat {tmp_path}/status)"\n')
    script.chmod(0o755)
    monkeypatch.setattr(running, "find", lambda name: str(script))
    monkeypatch.setenv("APPLIANCEFORGE_ACCELERATOR", "tcg")
    said: list[str] = []
    (tmp_path / "status").write_text("0")
    assert running.run(image, cpu="coreduo", tell=said.append) == 0
    text = "\n".join(said)
    assert "Ctrl-A X" in text
    assert "ssh -p" in text
    words = (tmp_path / "words").read_text()
    assert "-serial mon:stdio" in words
    assert "-cpu coreduo" in words
    assert list(tmp_path.glob("*.changes.qcow2")) == []
    running.run(image, keep=True, tell=said.append)
    running.run(image, keep=True, tell=said.append)
    kept = Disk(tmp_path / "a.raw.changes.qcow2", "qcow2")
    assert overlays.size_bytes(kept) == 4 << 30
    running.run(image, size_gib=6, tell=said.append)
    assert "6.0 GiB" in "\n".join(said)
    os.truncate(image, 5 << 30)
    running.run(image, tell=said.append)
    assert "5.0 GiB" in "\n".join(said)
    os.truncate(image, 1 << 20)
    assert image.read_bytes() == bytes(1 << 20)
    (tmp_path / "status").write_text("1")
    with pytest.raises(RunError, match="did not start"):
        running.run(image, tell=said.append)
