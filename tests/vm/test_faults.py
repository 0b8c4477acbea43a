"""Writes that fail: at the nth, at a sector, with EIO and with ENOSPC; on the small guest."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.vm import small
from tests.vm.guest import Guest
from tests.vm.hardware import Bus, Disk, Fault, Hardware
from tests.vm.machine import Machine

pytestmark = pytest.mark.real
# With O_DIRECT each is one write of the disk, and fails where it is made.
WRITE = "dd if=/dev/zero of=/dev/{} bs=4096 count=1 seek={} oflag=direct conv=notrunc 2>/dev/null"


def reasons(machine: Machine) -> list[int]:
    """Return why writes failed, as QEMU tells it."""
    numbers = {os.strerror(number): number for number in (errno.EIO, errno.ENOSPC)}
    return [numbers[event.data["reason"]] for event in machine.failed_writes()]


def test_faults(small_guest: Guest, tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"\x5a" * (1 << 20))
    faults = (
        Fault(errno.EIO, nth_write=3),
        Fault(errno.ENOSPC, nth_write=2, once=False),
        Fault(errno.EIO, sector=8),
        Fault(errno.EIO, sector=16, once=False),
    )
    disks = tuple(Disk(image, bus=Bus.VIRTIO, faults=(fault,)) for fault in faults)
    hardware = Hardware(disks, memory_mib=96, kernel=small.kernel_of(small_guest))
    with Machine(hardware, name="faults", allowed=["I/O error, dev vd", "on dev vd"]) as machine:
        machine.start()

        def statuses(disk: str, places: list[int]) -> list[bool]:
            return [machine.execute(WRITE.format(disk, place))[0] == 0 for place in places]

        assert statuses("vda", [0, 0, 0, 0]) == [True, True, False, True]
        assert reasons(machine) == [errno.EIO]
        assert statuses("vdb", [0, 0, 0]) == [True, False, False]
        assert reasons(machine)[1:] == [errno.ENOSPC] * 2
        # A place of 4096 bytes is 8 sectors.
        assert statuses("vdc", [0, 1, 1]) == [True, False, True]
        assert statuses("vdd", [0, 2, 2, 3]) == [True, False, False, True]
        assert reasons(machine)[3:] == [errno.EIO] * 3
        machine.wait_for_console_text("I/O error, dev vdd", timeout_s=20)
        assert machine.disk_bytes(0, 0, 4) == bytes(4)
        assert machine.disk_bytes(2, 4096, 4) == bytes(4)
        assert machine.disk_bytes(3, 8192, 4) == b"\x5a" * 4
