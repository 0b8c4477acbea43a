"""The machine itself, on the small guest: every word that tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import artefacts, small
from tests.vm.channel import ChannelError
from tests.vm.conftest import DISK_BYTES
from tests.vm.guest import Guest
from tests.vm.hardware import Bus, Disk, Hardware
from tests.vm.machine import Machine, MachineError

pytestmark = pytest.mark.real


@pytest.fixture
def machine(running: Machine) -> Iterator[Machine]:
    """Return the machine as it was when it had just started."""
    running.load("new")
    yield running
    running.console.bad_lines()


def test_status_apart_from_output(machine: Machine) -> None:
    assert machine.execute("echo out; echo err >&2; exit 7") == (7, "out\n")
    assert machine.run("echo err >&2").stderr == b"err\n"
    assert machine.succeed("true", "echo a", "echo b") == "a\nb\n"
    assert machine.fail("echo no; false") == "no\n"
    with pytest.raises(MachineError, match="status 3\nwhy not"):
        machine.succeed("echo why not >&2; exit 3")
    with pytest.raises(MachineError, match="it should fail"):
        machine.fail("true")


def test_bytes_come_as_they_went(machine: Machine, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000 + b"\nAFC1 hello \0\n"
    machine.copy_to(content, "/tmp/a file", mode=0o640)
    assert machine.copy_from("/tmp/a file", tmp_path / "back") == content
    assert (tmp_path / "back").read_bytes() == content
    assert machine.succeed("stat -c %a '/tmp/a file'") == "640\n"
    assert machine.run("cat", stdin=content[:3000]).stdout == content[:3000]
    machine.copy_to(b"", "/tmp/empty")
    assert machine.copy_from("/tmp/empty") == b""


def test_time_is_limited_in_the_guest(machine: Machine) -> None:
    status, _ = machine.execute("sleep 60", timeout_s=1)
    assert status in (124, 143)
    assert machine.succeed("echo still here") == "still here\n"


def test_waiting(machine: Machine) -> None:
    machine.succeed("(sleep 1; echo done >/tmp/done) >/dev/null 2>&1 &")
    assert machine.wait_until_succeeds("cat /tmp/done", timeout_s=20) == "done\n"
    machine.succeed("(sleep 1; rm /tmp/done) >/dev/null 2>&1 &")
    machine.wait_until_fails("test -e /tmp/done", timeout_s=20)
    with pytest.raises(MachineError, match="for 1 s"):
        machine.wait_until_succeeds("false", timeout_s=1)
    machine.succeed("echo from the guest >/dev/ttyS0")
    assert machine.wait_for_console_text("from [a-z]+ guest", timeout_s=20) == "from the guest"
    with pytest.raises(MachineError, match="has not said 'never'"):
        machine.wait_for_console_text("never", timeout_s=0.1)


def test_screen_and_console_input(machine: Machine) -> None:
    machine.wait_for_screen_text("Booting from ROM", timeout_s=20)
    machine.succeed("(head -n 1 /dev/ttyS0 >/tmp/typed) >/dev/null 2>&1 &")
    machine.send_console("typed here\n")
    assert "typed here" in machine.wait_until_succeeds("grep . /tmp/typed", timeout_s=20)


def test_disk_is_larger_and_its_image_untouched(machine: Machine) -> None:
    blocks = machine.succeed("cat /sys/block/vda/size")
    assert int(blocks) * 512 == 2 * DISK_BYTES
    machine.succeed("dd if=/dev/zero of=/dev/vda bs=1M count=1 && sync")
    assert machine.disk_bytes(0, 0, 16) == bytes(16)
    assert machine.disk_bytes(0, 1 << 20, 4) == b"\x5a" * 4


def test_snapshot_brings_back_memory_and_disk(machine: Machine) -> None:
    machine.succeed("echo x >/tmp/x; dd if=/dev/zero of=/dev/vda bs=512 count=1; sync")
    machine.load("new")
    machine.fail("test -e /tmp/x")
    assert machine.run("head -c 4 /dev/vda").stdout == b"\x5a" * 4
    machine.cut_power()
    machine.load("new")
    assert machine.succeed("echo again") == "again\n"
    with pytest.raises(MachineError, match="absent"):
        machine.load("absent")


def test_cut_and_start_keep_the_disk(machine: Machine) -> None:
    machine.succeed("echo kept | dd of=/dev/vda conv=fsync 2>/dev/null")
    machine.cut_power()
    assert not machine.running
    with pytest.raises(MachineError, match="not switched on"):
        machine.succeed("true")
    machine.start()
    with pytest.raises(MachineError, match="runs already"):
        machine.start()
    assert machine.run("head -c 5 /dev/vda").stdout == b"kept\n"


def test_reboot_and_shutdown(machine: Machine) -> None:
    machine.succeed("touch /tmp/x")
    before = machine.wait_for_agent()
    machine.reboot()
    assert machine.wait_for_agent() != before
    machine.fail("test -e /tmp/x")
    machine.shutdown()
    assert not machine.running
    machine.load("new")


def test_reset_in_a_command_is_told(machine: Machine) -> None:
    with pytest.raises(ChannelError, match="began anew"):
        machine.succeed("reboot -f; sleep 60")
    assert machine.succeed("echo and on") == "and on\n"


def test_panic_ends_the_waiting_and_is_kept(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    with pytest.raises(MachineError, match="Kernel panic") as caught, machine.subtest("a crash"):
        machine.succeed("echo c >/proc/sysrq-trigger; sleep 60")
    assert caught.value.__notes__ == ["in the part of the test: a crash"]


def test_failure_keeps_and_names_artefacts(
    small_guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setenv(artefacts.KEEP_DISKS, "1")
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    hardware = Hardware((Disk(image, bus=Bus.VIRTIO),), kernel=small.kernel_of(small_guest))
    broken = Machine(hardware, name="to fail")
    with pytest.raises(ZeroDivisionError) as caught, broken:
        broken.start()
        process = broken._process
        raise ZeroDivisionError
    assert process is not None
    assert process.poll() is not None
    assert not broken.files.directory.exists()
    notes = "\n".join(caught.value.__notes__)
    (kept,) = (tmp_path / "kept").iterdir()
    names = {path.name for path in kept.iterdir()}
    assert names == {"console.txt", "qemu.txt", "screen.txt", "qmp.log", "disk0.qcow2"}
    assert all(str(kept / name) in notes for name in names)
    assert "-accel" in (kept / "qemu.txt").read_text()


def test_wrong_option_is_told_in_qemus_words(small_guest: Guest) -> None:
    hardware = Hardware(kernel=small.kernel_of(small_guest), options=("-device", "flux-capacitor"))
    with (
        pytest.raises(MachineError, match="flux-capacitor"),
        Machine(hardware, name="wrong") as wrong,
    ):
        wrong.start()


def test_other_buses(small_guest: Guest, tmp_path: Path) -> None:
    buses = (Bus.IDE, Bus.AHCI, Bus.SCSI)
    content = {bus: os.urandom(1 << 20) for bus in buses}
    for bus in buses:
        (tmp_path / bus.value).write_bytes(content[bus])
    disks = tuple(Disk(tmp_path / bus.value, bus=bus) for bus in buses)
    kernel = small.kernel_of(small_guest)
    with Machine(Hardware(disks, memory_mib=96, kernel=kernel), name="buses") as machine:
        machine.start()
        machine.wait_until_succeeds("test -b /dev/sda -a -b /dev/sdb -a -b /dev/sdc", timeout_s=60)
        seen = {machine.run(f"cat /dev/{name}").stdout for name in ("sda", "sdb", "sdc")}
        assert seen == set(content.values())
