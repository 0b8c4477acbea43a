"""What the tests of the harness share: the small guest, and the machine that it runs on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from applianceforge.system.effects import Effects
from tests.appliance import trees
from tests.conftest import shown
from tests.vm import guest, small
from tests.vm.guest import Guest
from tests.vm.hardware import WIDE, Bus, Disk, Hardware
from tests.vm.machine import Machine

DISK_BYTES = 8 << 20


@pytest.fixture(scope="session")
def small_guest(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Guest:
    if shutil.which(WIDE) is None or shutil.which("qemu-img") is None:
        pytest.skip("needs qemu-system-x86 and qemu-utils")
    with shown(pytestconfig) as lines:
        tree = trees.tree(guest.RECIPE, Effects(), lines)
        return small.build(tree, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def running(small_guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a machine that was started once for all tests of a file, with a snapshot "new"."""
    image = tmp_path_factory.mktemp("disk") / "disk.raw"
    image.write_bytes(b"\x5a" * DISK_BYTES)
    disk = Disk(image, bus=Bus.VIRTIO, size_bytes=2 * DISK_BYTES)
    hardware = Hardware((disk,), memory_mib=96, kernel=small.kernel_of(small_guest))
    with Machine(hardware, name="small") as machine:
        machine.start()
        machine.wait_for_agent()
        machine.save("new")
        yield machine
    assert image.read_bytes() == b"\x5a" * DISK_BYTES
