"""QEMU's command line: what a machine is made of, and nothing that it is not."""

from __future__ import annotations

import errno
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.vm import overlays
from tests.vm.hardware import (
    Bus,
    Disk,
    Fault,
    Files,
    Hardware,
    Kernel,
    Served,
    command_line,
    nodes,
)
from tests.vm.machine import Machine

IMAGE = Path("/images/a.raw")


def values(hardware: Hardware, option: str, place: Path = Path("/place")) -> list[str]:
    words = command_line(hardware, Files(place), "tcg")
    return [word for before, word in itertools.pairwise(words) if before == option]


def test_nothing_by_default() -> None:
    words = command_line(Hardware(channel=False), Files(Path("/place")), "tcg")
    assert "-nodefaults" in words
    assert "-device" not in words
    assert "-netdev" not in words
    assert "-loadvm" not in words


@pytest.mark.parametrize(
    ("bus", "devices"),
    [
        (Bus.IDE, ["ide-hd,bus=ide.0,unit=0", "ide-hd,bus=ide.0,unit=1", "ide-hd,bus=ide.1"]),
        (Bus.AHCI, ["ahci,id=ahci", "ide-hd,bus=ahci.0", "ide-hd,bus=ahci.1", "ide-hd,bus=ahci.2"]),
        (Bus.VIRTIO, ["virtio-blk-pci,"] * 3),
        (Bus.SCSI, ["virtio-scsi-pci,id=scsi", *["scsi-hd,bus=scsi.0"] * 3]),
    ],
)
def test_buses(bus: Bus, devices: list[str]) -> None:
    found = values(Hardware((Disk(IMAGE, bus=bus),) * 3, channel=False), "-device")
    assert len(found) == len(devices)
    assert all(word.startswith(begin) for word, begin in zip(found, devices, strict=True))
    assert [f"bootindex={number}" in found[number - 3] for number in range(3)] == [True] * 3


def test_kernel_is_started_instead_of_the_disk() -> None:
    hardware = Hardware((Disk(IMAGE),), kernel=Kernel(Path("/k"), Path("/i"), "quiet"))
    assert values(hardware, "-kernel") == ["/k"]
    assert values(hardware, "-initrd") == ["/i"]
    assert values(hardware, "-append") == ["quiet"]
    assert not any("bootindex" in word for word in values(hardware, "-device"))


def test_network_has_no_way_out_and_is_reached_from_here_only() -> None:
    hardware = Hardware(network="e1000", forwards=((2222, 22), (0, 443)))
    (net,) = values(hardware, "-netdev")
    assert "restrict=on" in net
    assert net.count("hostfwd=tcp:127.0.0.1:") == 2
    assert "e1000,netdev=net" in values(hardware, "-device")


def test_what_is_served_is_one_port_and_a_program_for_each_connection() -> None:
    served = Served(8123)
    (net,) = values(Hardware(network="e1000", served=(served,)), "-netdev")
    assert net.startswith("user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:")
    assert net.endswith("relay.py 8123")
    assert served.url == "http://10.0.2.100/"
    assert Served(8123, guest_port=81).url == "http://10.0.2.100:81/"


def chain(disk: Disk, place: Path = Path("/place")) -> list[dict[str, Any]]:
    found = nodes(disk, 0, Files(place))
    assert found[-1]["node-name"] == "disk0"
    names = {node.get("node-name") for node in found}
    for node in found:
        for below in ("file", "image", "log"):
            assert not isinstance(node.get(below), str) or node[below] in names
    return found


def test_guest_writes_to_an_overlay_unless_the_disk_is_its_own() -> None:
    (node,) = chain(Disk(IMAGE))
    assert node["file"]["filename"] == "/place/disk0.qcow2"
    assert node["cache"] == {"no-flush": True}
    (node,) = chain(Disk(IMAGE, own=True))
    assert (node["driver"], node["file"]["filename"]) == ("raw", str(IMAGE))


def test_recorder_is_above_faults_and_both_above_the_overlay(tmp_path: Path) -> None:
    disk = Disk(IMAGE, record=True, faults=(Fault(errno.EIO, nth_write=3),))
    drivers = [node["driver"] for node in chain(disk, tmp_path)]
    assert drivers == ["qcow2", "blkdebug", "raw", "file", "blklogwrites"]
    assert chain(disk, tmp_path)[-1]["log-append"] is False
    Files(tmp_path).write_log(0).write_bytes(b"begun")
    assert chain(disk, tmp_path)[-1]["log-append"] is True
    (device,) = values(
        Hardware((Disk(IMAGE, bus=Bus.VIRTIO, record=True),), channel=False), "-device"
    )
    assert "discard=off,write-zeroes=off,request-merging=off" in device


def test_fault_counts_writes() -> None:
    node = chain(Disk(IMAGE, faults=(Fault(errno.ENOSPC, nth_write=3),)))[1]
    assert node["set-state"] == [
        {"event": "write_aio", "state": 1, "new_state": 2},
        {"event": "write_aio", "state": 2, "new_state": 3},
    ]
    (rule,) = node["inject-error"]
    assert (rule["state"], rule["errno"], rule["once"]) == (3, errno.ENOSPC, True)
    json.dumps(node)


def test_overlay_of_a_size(tmp_path: Path) -> None:
    image = tmp_path / "a.raw"
    image.write_bytes(b"\x5a" * 65536)
    overlays.prepare(Disk(image, size_bytes=1 << 20), tmp_path / "large")
    assert overlays.size_bytes(Disk(tmp_path / "large", "qcow2")) == 1 << 20
    assert overlays.read(tmp_path / "large", "qcow2", 65024, 1024) == b"\x5a" * 512 + bytes(512)
    overlays.flatten(tmp_path / "large", tmp_path / "flat")
    assert (tmp_path / "flat").read_bytes() == b"\x5a" * 65536 + bytes((1 << 20) - 65536)
    with pytest.raises(ValueError, match="is larger than 512 bytes"):
        overlays.prepare(Disk(image, size_bytes=512), tmp_path / "small")
    with pytest.raises(AssertionError, match="absent"):
        Machine(Hardware((Disk(tmp_path / "absent"),)))
