"""What a virtual machine is made of, and QEMU's command line for it; nothing is started here."""

from __future__ import annotations

import errno
import json
import shlex
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from tests.vm.channel import PORT

WIDE, NARROW = "qemu-system-x86_64", "qemu-system-i386"
_RELAY = Path(__file__).parent / "relay.py"


class Bus(Enum):
    """How a disk is connected."""

    IDE = "ide"
    AHCI = "ahci"
    VIRTIO = "virtio"
    SCSI = "scsi"


@dataclass(frozen=True)
class Fault:
    """A write that fails.

    Attributes:
        error: The number, such as errno.EIO or errno.ENOSPC.
        nth_write: The write that fails, counted from 1; None is every one.
        sector: Only writes that touch this sector of 512 bytes; None is any.
        once: Only the first that fits; otherwise all after it fail too.
    """

    error: int = errno.EIO
    nth_write: int | None = None
    sector: int | None = None
    once: bool = True


@dataclass(frozen=True)
class Disk:
    """A disk.

    Attributes:
        image: The image, which is never changed: the guest writes to an overlay.
        format: The image's format.
        bus: How it is connected.
        size_bytes: As large as this, the rest empty; None is the image's size.
        record: Whether what the guest writes and flushes is recorded.
        faults: What fails.
        own: The image itself is written to; for images that nobody else has.
        read_only: The disk refuses writes; not over IDE, which knows no such disk.
    """

    image: Path
    format: str = "raw"
    bus: Bus = Bus.IDE
    size_bytes: int | None = None
    record: bool = False
    faults: tuple[Fault, ...] = ()
    own: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class Served:
    """A port of this machine's loopback that a guest reaches, and nothing else of this machine.

    Attributes:
        port: Here.
        address: Where the guest finds it; in the guest's own network, 10.0.2.0/24.
        guest_port: The port there.
    """

    port: int
    address: str = "10.0.2.100"
    guest_port: int = 80

    @property
    def url(self) -> str:
        """Return what the guest calls it."""
        port = "" if self.guest_port == 80 else f":{self.guest_port}"
        return f"http://{self.address}{port}/"


@dataclass(frozen=True)
class Kernel:
    """A kernel that QEMU starts itself, without a disk or a boot loader."""

    image: Path
    initrd: Path | None = None
    arguments: str = "console=ttyS0"


@dataclass(frozen=True)
class Hardware:
    """A virtual machine.

    Attributes:
        disks: In order; the first one is started from.
        processor: As QEMU's -cpu takes it.
        memory_mib: Memory.
        cores: Of the processor; each is a thread of QEMU.
        kernel: Started instead of the first disk.
        program: Which QEMU.
        network: Model of a network card in a network of its own, without a way out but `served`;
            None is none.
        forwards: Pairs of a port of this machine's loopback and one of the guest.
        served: Ports of this machine's loopback that the guest reaches.
        channel: Whether it has the port for commands.
        reboots: Whether it starts anew when the guest asks for it; otherwise it ends.
        terminal: Whether the serial console and QEMU's monitor are on this terminal, for people;
            otherwise the console goes to a log, and QEMU is spoken to over a socket.
        options: More of QEMU's options.
    """

    disks: tuple[Disk, ...] = ()
    processor: str = "qemu64"
    memory_mib: int = 512
    cores: int = 1
    kernel: Kernel | None = None
    program: str = WIDE
    network: str | None = None
    forwards: tuple[tuple[int, int], ...] = ()
    served: tuple[Served, ...] = ()
    channel: bool = True
    reboots: bool = True
    terminal: bool = False
    options: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Files:
    """Where one machine's files lie, all in its own directory."""

    directory: Path

    @property
    def console(self) -> Path:
        """Return the serial log."""
        return self.directory / "console.log"

    @property
    def console_socket(self) -> Path:
        """Return the socket of the serial port."""
        return self.directory / "console"

    @property
    def qmp(self) -> Path:
        """Return the socket of QEMU's protocol."""
        return self.directory / "qmp"

    @property
    def qmp_log(self) -> Path:
        """Return the log of QEMU's protocol."""
        return self.directory / "qmp.log"

    @property
    def channel(self) -> Path:
        """Return the socket of the command channel."""
        return self.directory / "channel"

    @property
    def said(self) -> Path:
        """Return what QEMU itself says."""
        return self.directory / "qemu.log"

    def overlay(self, number: int) -> Path:
        """Return what the guest wrote to a disk."""
        return self.directory / f"disk{number}.qcow2"

    def write_log(self, number: int) -> Path:
        """Return the record of a disk's writes."""
        return self.directory / f"disk{number}.writes"


def command_line(
    hardware: Hardware, files: Files, accelerator: str, snapshot: str | None = None
) -> tuple[str, ...]:
    """Return QEMU's options, without the program.

    Args:
        hardware: The machine.
        files: Its directory, with the disks' overlays in place.
        accelerator: As QEMU's -accel takes it.
        snapshot: A snapshot to begin with.
    """
    words = [
        *("-accel", accelerator, "-cpu", hardware.processor, "-machine", "pc"),
        *("-smp", str(hardware.cores)),
        *("-m", str(hardware.memory_mib), "-nodefaults", "-vga", "std", "-display", "none"),
    ]
    words += _dialogue(hardware, files)
    if not hardware.reboots:
        words.append("-no-reboot")
    if hardware.kernel is not None:
        words += ["-kernel", str(hardware.kernel.image)]
        words += ["-append", hardware.kernel.arguments]
        if hardware.kernel.initrd is not None:
            words += ["-initrd", str(hardware.kernel.initrd)]
    if hardware.channel:
        words += [
            *("-chardev", f"socket,id=channel,path={files.channel},server=on,wait=off"),
            *("-device", "virtio-serial-pci"),
            *("-device", f"virtserialport,id=channel,chardev=channel,name={PORT}"),
        ]
    if hardware.network is not None:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in hardware.forwards
        )
        ways = "".join(_way(served) for served in hardware.served)
        words += ["-netdev", f"user,id=net,restrict=on{forwards}{ways}"]
        words += ["-device", f"{hardware.network},netdev=net"]
    words += _disks(hardware, files)
    words += hardware.options
    if snapshot is not None:
        words += ["-loadvm", snapshot]
    return tuple(words)


def _way(served: Served) -> str:
    # A program for each connection: a port that QEMU itself connects to takes one in all its life.
    relay = shlex.join((sys.executable, "-I", "-S", str(_RELAY), str(served.port)))
    escaped = relay.replace(",", ",,")  # Commas part QEMU's options.
    return f",guestfwd=tcp:{served.address}:{served.guest_port}-cmd:{escaped}"


def _dialogue(hardware: Hardware, files: Files) -> list[str]:
    if hardware.terminal:
        return ["-serial", "mon:stdio"]
    console = f"socket,id=console,path={files.console_socket},server=on,wait=off"
    return [
        # The log is written whether anyone is connected or not.
        *("-chardev", f"{console},logfile={files.console},logappend=on"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=qmp,path={files.qmp},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def _disks(hardware: Hardware, files: Files) -> list[str]:
    words = []
    buses = {disk.bus for disk in hardware.disks}
    if Bus.AHCI in buses:
        words += ["-device", "ahci,id=ahci"]
    if Bus.SCSI in buses:
        words += ["-device", "virtio-scsi-pci,id=scsi"]
    for number, disk in enumerate(hardware.disks):
        for node in nodes(disk, number, files):
            words += ["-blockdev", json.dumps(node, separators=(",", ":"))]
        device = {
            Bus.IDE: f"ide-hd,bus=ide.{number // 2},unit={number % 2}",
            Bus.AHCI: f"ide-hd,bus=ahci.{number}",
            Bus.VIRTIO: "virtio-blk-pci",
            Bus.SCSI: "scsi-hd,bus=scsi.0",
        }[disk.bus]
        if disk.record and disk.bus is Bus.VIRTIO:
            # What QEMU makes of several writes can have more parts than are left beside the log's.
            device += ",discard=off,write-zeroes=off,request-merging=off"
        # A full host must not stop the guest silently, as QEMU's default is for ENOSPC.
        device += ",rerror=report,werror=report"
        if hardware.kernel is None:
            device += f",bootindex={number}"
        words += ["-device", f"{device},drive=disk{number},id=drive{number}"]
    return words


def nodes(disk: Disk, number: int, files: Files) -> list[dict[str, Any]]:
    """Return the block nodes of a disk, the lowest first; the last is named diskN.

    Flushes are left out below: the files need only outlive QEMU, not this machine.
    """
    path, kind = (disk.image, disk.format) if disk.own else (files.overlay(number), "qcow2")
    quick = {"no-flush": True}
    found: list[dict[str, Any]] = [
        {
            "driver": kind,
            "cache": quick,
            "file": {"driver": "file", "filename": str(path), "cache": quick},
            "read-only": disk.read_only,
        }
    ]
    if disk.faults:
        found[-1]["node-name"] = f"sound{number}"
        rules, steps = _rules(disk.faults)
        debug: dict[str, Any] = {"driver": "blkdebug", "node-name": f"faulty{number}"}
        debug |= {"image": f"sound{number}", "inject-error": rules}
        if steps:  # QEMU refuses an empty list.
            debug["set-state"] = steps
        found.append(debug)
        # Only a format above it tells blkdebug of each write.
        found.append({"driver": "raw", "file": f"faulty{number}"})
    if disk.record:
        found[-1]["node-name"] = f"recorded{number}"
        log = files.write_log(number)
        found.append(
            {
                "driver": "file",
                "node-name": f"log{number}",
                "filename": str(log),
                "cache": quick,
            }
        )
        found.append(
            {
                "driver": "blklogwrites",
                "file": f"recorded{number}",
                "log": f"log{number}",
                "log-sector-size": 512,
                # A machine that is switched on again goes on with its record.
                "log-append": log.exists() and log.stat().st_size > 0,
            }
        )
    found[-1]["node-name"] = f"disk{number}"
    return found


def _rules(faults: tuple[Fault, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return blkdebug's rules: its state counts the writes, and an error belongs to a state."""
    rules: list[dict[str, Any]] = []
    last = 0
    for fault in faults:
        rule: dict[str, Any] = {"event": "write_aio", "iotype": "write", "errno": fault.error}
        rule["once"] = fault.once
        if fault.sector is not None:
            rule["sector"] = fault.sector
        if fault.nth_write is None:
            rules.append(rule)
            continue
        rules.append({**rule, "state": fault.nth_write})
        last = max(last, fault.nth_write)
    # After the last one the state stays: so the error stays, unless it is for once.
    steps = [
        {"event": "write_aio", "state": state, "new_state": state + 1} for state in range(1, last)
    ]
    return rules, steps
