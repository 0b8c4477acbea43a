"""Record what a guest writes to a disk and what it flushes, and keep it together with the disk.

    disk = Disk(image, record=True)
    with Machine(Hardware((disk,)), name="cut") as machine:
        ...                                     # what is to be cut
        recording = recorder.take(machine, 0, directory)

QEMU's blklogwrites writes each write and each flush of the guest to a log, before it does it. Its
superblock is current after `quit`, which `take` gives: that loses nothing, so it is no power cut;
the cuts are rebuilt from the log (crash_states).
"""

from __future__ import annotations

import mmap
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm import overlays, write_log
from tests.vm.machine import Machine, MachineError
from tests.vm.write_log import WriteLog


@dataclass(frozen=True)
class Recording:
    """A disk as it was, and all that was written to it since.

    Attributes:
        base: The disk when the machine was switched on, raw, of its full size.
        log: The record.
    """

    base: Path
    log: Path

    @contextmanager
    def opened(self) -> Iterator[tuple[mmap.mmap, mmap.mmap, WriteLog]]:
        """Map both into memory: the disk as a copy that may be changed, the log to be read.

        Raises:
            WriteLogError: The log is damaged.
        """
        with (
            self.base.open("rb") as base,
            self.log.open("rb") as log,
            mmap.mmap(base.fileno(), 0, access=mmap.ACCESS_COPY) as disk,
            mmap.mmap(log.fileno(), 0, access=mmap.ACCESS_READ) as record,
        ):
            yield disk, record, write_log.decode(record, len(disk))


def take(machine: Machine, number: int, directory: Path) -> Recording:
    """End the machine, and move the record of a disk to a directory.

    Args:
        machine: It may run, or have ended by itself; not killed, for then the log lacks its end.
        number: Of the disk.
        directory: Where the record and the disk go.
    """
    if machine.running:
        machine.quit()
    disk = machine.hardware.disks[number]
    if not disk.record:
        raise MachineError(f"disk {number} of {machine.name} is not recorded")
    log = directory / f"disk{number}.writes"
    shutil.move(machine.files.write_log(number), log)
    base = directory / f"disk{number}.raw"
    before = directory / f"disk{number}.before.qcow2"
    # The overlay has what the guest wrote: an empty one shows the disk as it was.
    overlays.prepare(disk, before)
    overlays.flatten(before, base)
    before.unlink()
    return Recording(base, log)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy an image, holes as holes."""
    subprocess.run(
        ["/bin/cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True
    )
