"""What kernel and firmware say of the machine that they run on: DMI, Xen, containers.

Containers first: in one, DMI tells of the host. Xen's guest type is in /sys/hypervisor since Linux
4.13; before, the feature "auto translated physmap" tells an HVM guest (has it) from a PV one.

Source: Linux, Documentation/ABI (sysfs-firmware-dmi-entries, sysfs-hypervisor-xen); SMBIOS 3.4,
section 7.1 (type 0); Xen, xen/include/public/features.h; the Container Interface of systemd;
systemd-detect-virt(1).
"""

from __future__ import annotations

from pathlib import Path

from applianceforge.cpuid.facts import Machine

_DMI = "sys/class/dmi/id"
_BIOS = "sys/firmware/dmi/entries/0-0/raw"
_XEN_TYPES = frozenset({"PV", "HVM", "PVH"})
_XEN_TRANSLATED_BIT, _XEN_DOM0_BIT = 2, 11
# Words of a path in /proc/1/cgroup, and the kind of container they stand for.
_CGROUPS = (
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("lxc", "lxc"),
    ("machine.slice", "systemd-nspawn"),
)
_MARKS = (("run/.containerenv", "podman"), (".dockerenv", "docker"))
_WHOEVER = "other"


def gather(root: Path) -> Machine:
    """Read what there is; what may not be read is not told. Never raises.

    Args:
        root: "/", or a directory with the same files for a test.
    """
    return Machine(
        maker=text(root / _DMI / "sys_vendor").strip(),
        product=text(root / _DMI / "product_name").strip(),
        bios_segment=_bios_segment(_content(root / _BIOS)),
        xen=_xen(root),
        container=_container(root),
    )


def text(path: Path) -> str:
    """Return a file's text, or "" where it cannot be read."""
    return _content(path).decode("latin-1")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _bios_segment(raw: bytes) -> int | None:
    """Return the segment where the firmware starts; root alone sees it."""
    return int.from_bytes(raw[6:8], "little") if len(raw) >= 8 and raw[0] == 0 else None


def _xen(root: Path) -> str:
    hypervisor = root / "sys/hypervisor"
    if text(hypervisor / "type").strip() != "xen" and not _exists(root / "proc/xen"):
        return ""
    features = text(hypervisor / "properties/features").strip()
    try:
        bits = int(features, 16)
    except ValueError:
        bits = None
    if "control_d" in text(root / "proc/xen/capabilities") or (
        bits is not None and bits >> _XEN_DOM0_BIT & 1
    ):
        return "dom0"
    named = text(hypervisor / "guest_type").strip()
    if named in _XEN_TYPES:
        return named
    if bits is None:
        return "guest"
    return "HVM" if bits >> _XEN_TRANSLATED_BIT & 1 else "PV"


def _container(root: Path) -> str:
    # OpenVZ shows /proc/vz to host and guest, /proc/bc to the host alone.
    if _exists(root / "proc/vz") and not _exists(root / "proc/bc"):
        return "openvz"
    release = text(root / "proc/sys/kernel/osrelease")
    if "microsoft" in release.lower() or "WSL" in release:
        return "wsl"
    named = _named(root)
    marked = next((kind for mark, kind in _MARKS if _exists(root / mark)), "")
    if named and named != "oci":
        return named
    if marked or named:
        return marked or _WHOEVER
    groups = text(root / "proc/1/cgroup")
    for word, kind in _CGROUPS:
        if any(word in line.rpartition(":")[2] for line in groups.splitlines()):
            return kind
    # The root of the unified hierarchy has no events; that of a cgroup namespace does.
    unified = root / "sys/fs/cgroup"
    if _exists(unified / "cgroup.controllers") and _exists(unified / "cgroup.events"):
        return _WHOEVER
    return ""


def _named(root: Path) -> str:
    """Return what the container's manager calls itself, as it tells the container's init."""
    for path in ("run/host/container-manager", "run/systemd/container"):
        named = text(root / path).strip()
        if named:
            return named
    for variable in text(root / "proc/1/environ").split("\0"):
        name, _, value = variable.partition("=")
        if name == "container":
            return value.strip()
    return ""
