"""What kernel and firmware say of a machine, from small trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from applianceforge.cpuid import machine, probe
from applianceforge.cpuid.facts import Machine


def tree(root: Path, **files: str | bytes) -> Path:
    """Make files; two underlines stand for a slash, DOT for a dot."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def test_nothing_to_read(tmp_path: Path) -> None:
    assert machine.gather(tmp_path) == Machine()


def test_dmi_and_firmware(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        sys__class__dmi__id__sys_vendor="VMware, Inc.\n",
        sys__class__dmi__id__product_name="VMware Virtual Platform\n",
        **{"sys__firmware__dmi__entries__0-0__raw": b"\x00\x18\x00\x00\x01\x02\x91\xe7\x03\x00"},
    )
    found = machine.gather(root)
    assert (found.maker, found.product) == ("VMware, Inc.", "VMware Virtual Platform")
    assert found.bios_segment == 0xE791


@pytest.mark.parametrize("raw", [b"", b"\x00\x18\x00\x00\x01\x02\x91", b"\x01" + bytes(20)])
def test_firmware_tables_that_say_nothing(raw: bytes, tmp_path: Path) -> None:
    root = tree(tmp_path, **{"sys__firmware__dmi__entries__0-0__raw": raw})
    assert machine.gather(root).bios_segment is None


@pytest.mark.parametrize(
    ("expected", "files"),
    [
        ("", {"sys__hypervisor__type": "other\n"}),
        ("guest", {"sys__hypervisor__type": "xen\n"}),
        ("guest", {"proc__xen__capabilities": "\n"}),
        ("PV", {"sys__hypervisor__type": "xen", "sys__hypervisor__guest_type": "PV\n"}),
        ("HVM", {"sys__hypervisor__type": "xen", "sys__hypervisor__guest_type": "HVM\n"}),
        ("PVH", {"sys__hypervisor__type": "xen", "sys__hypervisor__guest_type": "PVH\n"}),
        (
            "PV",
            {"sys__hypervisor__type": "xen", "sys__hypervisor__properties__features": "000002f0\n"},
        ),
        (
            "HVM",
            {"sys__hypervisor__type": "xen", "sys__hypervisor__properties__features": "00000705\n"},
        ),
        ("guest", {"sys__hypervisor__type": "xen", "sys__hypervisor__properties__features": "?"}),
        ("dom0", {"sys__hypervisor__type": "xen", "proc__xen__capabilities": "control_d\n"}),
        (
            "dom0",
            {"sys__hypervisor__type": "xen", "sys__hypervisor__properties__features": "00000800\n"},
        ),
    ],
)
def test_xen(expected: str, files: dict[str, str], tmp_path: Path) -> None:
    assert machine.gather(tree(tmp_path, **files)).xen == expected


@pytest.mark.parametrize(
    ("expected", "files"),
    [
        ("", {"proc__1__cgroup": "0::/init.scope\n", "proc__1__environ": "TERM=linux\0"}),
        ("", {"proc__vz__version": "", "proc__bc__0": ""}),
        ("", {"proc__1__environ": "container=\0"}),
        ("", {"sys__fs__cgroup__cgroupDOTcontrollers": "cpu"}),
        ("", {"sys__fs__cgroup__cgroupDOTevents": ""}),
        ("", {"proc__sys__kernel__osrelease": "6.1.0-18-686\n"}),
        ("openvz", {"proc__vz__version": ""}),
        ("wsl", {"proc__sys__kernel__osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}),
        ("wsl", {"proc__sys__kernel__osrelease": "4.4.0-19041-Microsoft\n"}),
        ("systemd-nspawn", {"run__systemd__container": "systemd-nspawn\n"}),
        ("podman", {"run__host__container-manager": "podman\n", "run__systemd__container": "oci"}),
        ("lxc", {"proc__1__environ": "TERM=linux\0container=lxc\0HOME=/\0"}),
        ("docker", {"DOTdockerenv": ""}),
        ("podman", {"run__DOTcontainerenv": "", "DOTdockerenv": ""}),
        ("docker", {"run__systemd__container": "oci\n", "DOTdockerenv": ""}),
        ("other", {"run__systemd__container": "oci\n"}),
        ("docker", {"proc__1__cgroup": "12:cpu:/docker/0123456789abcdef\n"}),
        ("kubernetes", {"proc__1__cgroup": "0::/kubepods.slice/pod1/docker-0.scope\n"}),
        ("podman", {"proc__1__cgroup": "0::/machine.slice/libpod-0123.scope\n"}),
        ("lxc", {"proc__1__cgroup": "0::/lxc.payload.name\n"}),
        ("systemd-nspawn", {"proc__1__cgroup": "1:name=systemd:/machine.slice/x\n"}),
        ("", {"proc__1__cgroup": "1:name=lxc:/\n"}),
        (
            "other",
            {"sys__fs__cgroup__cgroupDOTcontrollers": "", "sys__fs__cgroup__cgroupDOTevents": ""},
        ),
    ],
)
def test_containers(expected: str, files: dict[str, str], tmp_path: Path) -> None:
    assert machine.gather(tree(tmp_path, **files)).container == expected


def test_what_may_not_be_read_or_is_no_text(tmp_path: Path) -> None:
    root = tree(tmp_path, proc__1__environ=b"\xff\xfe\0container=\xe4\0")
    (root / "sys/class/dmi/id/sys_vendor").mkdir(parents=True)
    found = machine.gather(root)
    assert found.maker == ""
    assert found.container == "\xe4"


def test_probe_reads_below_the_root(tmp_path: Path) -> None:
    cpuinfo = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 13\nflags\t\t: fpu\n"
    facts = probe.gather(tree(tmp_path, proc__cpuinfo=cpuinfo, DOTdockerenv=""))
    assert facts.procinfo is not None
    assert (facts.procinfo.model, facts.machine.container) == (13, "docker")
