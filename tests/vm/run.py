"""Start an image for a person, with its serial console on the terminal."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.vm import accelerator, overlays
from tests.vm.hardware import Bus, Disk, Files, Hardware, command_line
from tests.vm.program import find

_FORMATS = {".raw": "raw", ".img": "raw", ".qcow2": "qcow2", ".vmdk": "vmdk", ".vhd": "vpc"}
_SSH = 22
DISK_GIB = 4


class RunError(Exception):
    """It cannot be started; the message says why, and what to do."""


def check(image: Path, disk: str, memory_mib: int, cores: int) -> Disk:
    """Return the disk for an image.

    Raises:
        RunError: There is no such image, or no such bus; says what there is.
    """
    if image.is_dir():
        raise RunError(f"{image} is a directory: name an image in it, such as legacy.raw")
    if not image.exists():
        raise RunError(f"there is no {image}: build one with inv image.build NAME")
    kind = _FORMATS.get(image.suffix)
    if kind is None:
        known = ", ".join(sorted(_FORMATS))
        raise RunError(f"{image.name} is no disk that QEMU starts here: its name ends in {known}")
    try:
        bus = Bus(disk)
    except ValueError:
        known = ", ".join(bus.value for bus in Bus)
        raise RunError(f"there is no disk {disk!r}; known are {known}") from None
    if memory_mib < 64:
        raise RunError(f"{memory_mib} MiB of memory are too few: take 256 or more")
    if cores < 1:
        raise RunError(f"a processor has at least one core, not {cores}")
    return Disk(image, kind, bus)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def run(
    image: Path,
    *,
    cpu: str = "qemu64",
    memory_mib: int = 512,
    cores: int = 2,
    disk: str = "ide",
    size_gib: int = DISK_GIB,
    keep: bool = False,
    tell: Callable[[str], None] = print,
) -> int:
    """Start an image until the guest or the person ends it; return QEMU's status.

    Args:
        image: Never changed: what the guest writes goes into an overlay.
        cpu: As QEMU's -cpu takes it.
        memory_mib: Memory.
        cores: Of the processor.
        disk: How it is connected: ide, ahci, virtio or scsi.
        size_gib: The disk is as large as this, or as the image if that is larger: an image has
            little room for data, and is meant to grow at first boot.
        keep: Keep the overlay beside the image, and go on with it the next time.
        tell: Takes lines for the person.

    Raises:
        RunError: It cannot be started.
    """
    chosen = check(image, disk, memory_mib, cores)
    try:
        program = find(Hardware.program)
    except FileNotFoundError as error:
        raise RunError(str(error)) from error
    size_bytes = max(size_gib << 30, overlays.size_bytes(chosen))
    how = accelerator.choose()
    port = free_port()
    overlay = image.with_name(f"{image.name}.changes.qcow2")
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        files = Files(Path(name))
        chosen = replace(chosen, size_bytes=size_bytes)
        if keep:
            if not overlay.exists():
                overlays.prepare(chosen, overlay)
            chosen = Disk(overlay, "qcow2", chosen.bus, own=True)
            size_bytes = overlays.size_bytes(chosen)
        else:
            overlays.prepare(chosen, files.overlay(0))
        hardware = Hardware(
            (chosen,),
            processor=cpu,
            memory_mib=memory_mib,
            cores=cores,
            network="e1000",
            forwards=((port, _SSH),),
            channel=False,
            terminal=True,
        )
        tell(f"accelerator  {how.name} ({how.why})")
        tell(f"processor    {cpu}; cores {cores}; {memory_mib} MiB")
        tell(f"disk         {disk}; {size_bytes / (1 << 30):.1f} GiB, as the machine sees it")
        tell(f"changes      {f'kept in {overlay}' if keep else 'forgotten at the end'}")
        tell(f"ssh          ssh -p {port} root@127.0.0.1")
        tell("to leave     Ctrl-A X; Ctrl-A C is QEMU's monitor, Ctrl-A H tells more")
        command = (program, *command_line(hardware, files, how.name))
        done = subprocess.run(command, check=False)
    if done.returncode == 1:
        raise RunError("QEMU did not start; what it said is above")
    return done.returncode
