"""Gather what disks and file systems tell: sizes, free space, errors, unclean logs, GRUB.

The ext superblock, 1024 bytes into the file system, all little endian:

    004  u32  blocks, low half          03A  u16  state: 1 cleanly unmounted, 2 errors
    018  u32  block size, 1024 << n     038  u16  magic number EF53
    05C  u32  compatible features: 4 has a journal
    060  u32  incompatible features: 4 needs recovery, 40h extents
    078  16 bytes, label                194  u32  count of errors

While an ext file system is mounted it is always marked as one that needs recovery, so only one that
is not mounted tells. Whether one is in use is asked of the kernel (O_EXCL), as another mount
namespace or a volume may use it.

Source: Linux, Documentation/filesystems/ext4/super.rst; fs/ext4/sysfs.c (errors_count);
fs/xfs/libxfs/xfs_format.h (XFSB, big endian: u32 block size at 4, u64 blocks at 8, label at 108);
proc(5), mounts; Linux, Documentation/ABI/stable/sysfs-block; open(2), O_EXCL.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from applianceforge.formats import grub
from applianceforge.preflight import xfs_log
from applianceforge.preflight.facts import BootLoader, Disk, FileSystem, Partition
from applianceforge.preflight.looking import Tree

_NETWORK = frozenset(
    (
        "9p",
        "afs",
        "autofs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "lustre",
    ),
).union(("ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "virtiofs"))
# Without a device below /dev, and yet on disks of this machine.
_WITHOUT_DEVICE = frozenset(("zfs", "overlay", "ubifs", "bcachefs", "btrfs"))
_MADE_READ_ONLY = frozenset(("squashfs", "iso9660", "udf", "erofs", "cramfs"))
_NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock", "drbd")
_SECTOR = 512
_LABELS = ("/dev/disk/by-label", "/dev/disk/by-partlabel")
_MOST_DISKS = 64
_GRUB = ("/boot/loader", "/boot/grub/i386-pc", "/boot/grub2/i386-pc")
_SUPERBLOCKS = "errors and unclean logs of file systems, labels of partitions"


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo.

    Attributes:
        read_only: The file system itself, as the kernel makes it after an error. A service that
            systemd encloses sees all but its own directories as read-only, and those are not meant.
    """

    device: str
    point: str
    kind: str
    read_only: bool

    @property
    def network(self) -> bool:
        """Return whether a server answers for it, or may: FUSE tells only a name."""
        return self.kind in _NETWORK or (self.kind.startswith("fuse") and self.kind != "fuseblk")

    @property
    def on_disk(self) -> bool:
        """Return whether it lies on a disk of this machine and can take data."""
        if self.network or self.kind in _MADE_READ_ONLY:
            return False
        return self.device.startswith("/dev/") or self.kind in _WITHOUT_DEVICE


def mounts(tree: Tree) -> tuple[Mount, ...]:
    """Return what is mounted, in the order in which it was.

    Source: proc(5): the fifth field is the directory; behind a lone hyphen come kind, device and
    options of the file system, which may be mounted in many places.
    """
    found = []
    for line in tree.text("/proc/self/mountinfo").splitlines():
        place, _, system = line.partition(" - ")
        fields, of_system = place.split(" "), system.split(" ")
        if len(fields) >= 6 and len(of_system) >= 3:
            kind, device, options = (_unescaped(field) for field in of_system[:3])
            found.append(Mount(device, _unescaped(fields[4]), kind, "ro" in options.split(",")))
    return tuple(found)


def _unescaped(field: str) -> str:
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escaped, character)
    return field


def network(found: tuple[Mount, ...]) -> tuple[str, ...]:
    """Return the mount points that must not be touched; the root is past help."""
    return tuple(mount.point for mount in found if mount.network and mount.point != "/")


def mount_of(found: tuple[Mount, ...], path: str) -> Mount | None:
    """Return the mount that a path without links lies on; None for ""."""
    best = None
    for mount in found:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        # A later mount on the same point hides the earlier one.
        if path and inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def file_systems(
    tree: Tree,
    found: tuple[Mount, ...],
    known: tuple[Disk, ...],
    data: Mount | None,
    *,
    unmounted: bool,
) -> tuple[FileSystem, ...]:
    """Return the file systems on disks, each once; that of the data always.

    Args:
        data: The mount that takes the data.
        unmounted: Whether partitions that nobody uses are looked at too. Inside of a container
            they are somebody else's.
    """
    shown: list[Mount] = [] if data is None else [data]
    devices = {mount.device for mount in shown}
    for mount in found:
        layer = mount.kind == "overlay" and mount.point != "/"
        if mount.on_disk and not layer and mount.device not in devices:
            shown.append(mount)
            devices.add(mount.device)
    shown.sort(key=found.index)
    systems = [one for one in (_mounted(tree, m) for m in shown if not m.network) if one]
    if unmounted:
        used = {_kernel_name(tree, mount) for mount in shown}
        for disk in known:
            for partition in disk.partitions:
                idle = None if partition.name in used else _unmounted(tree, partition)
                if idle is not None:
                    systems.append(idle)
    return tuple(systems)


def _mounted(tree: Tree, mount: Mount) -> FileSystem | None:
    try:
        space = os.statvfs(tree.path(mount.point))
    except (OSError, ValueError):
        return None
    return FileSystem(
        device=mount.device,
        mount_point=mount.point,
        kind=mount.kind,
        size_bytes=space.f_blocks * space.f_frsize,
        free_bytes=space.f_bavail * space.f_frsize,
        read_only=mount.read_only,
        errors=_errors(tree, mount),
    )


def _errors(tree: Tree, mount: Mount) -> int | None:
    if mount.kind not in ("ext2", "ext3", "ext4"):
        return None
    name = _kernel_name(tree, mount)
    counted = tree.number(f"/sys/fs/ext4/{name}/errors_count")
    if counted is not None:
        return counted
    found = _superblock(tree.read(f"/dev/{name}", _SUPERBLOCKS, size=4096))
    return None if found is None else found.errors


def _kernel_name(tree: Tree, mount: Mount) -> str:
    """Return the kernel's name of a mount's device, such as sda1 or dm-0.

    The mount table says /dev/root, /dev/mapper/NAME or /dev/disk/by-uuid/... on some systems.
    """
    if tree.live:
        try:
            number = os.stat(mount.point).st_dev  # noqa: PTH116 - no Path is needed for a number
        except (OSError, ValueError):
            number = 0
        link = tree.link(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
        if link:
            return link.rpartition("/")[2]
    return tree.resolved(mount.device).rpartition("/")[2]


class _Superblock(NamedTuple):
    """What a superblock says of its file system."""

    kind: str
    size_bytes: int
    label: str
    errors: int | None
    needs_recovery: bool | None


def _superblock(head: bytes) -> _Superblock | None:
    """Decode the first 4 KiB of a partition; None if it holds no file system known here."""
    if head[:4] == b"XFSB" and len(head) >= 120:
        block_bytes, blocks = struct.unpack_from(">IQ", head, 4)
        return _Superblock("xfs", block_bytes * blocks, _label(head[108:120]), None, None)
    if len(head) < 2048 or head[0x438:0x43A] != b"\x53\xef":
        return None
    at = 1024
    (blocks,) = struct.unpack_from("<I", head, at + 0x04)
    (shift,) = struct.unpack_from("<I", head, at + 0x18)
    (state,) = struct.unpack_from("<H", head, at + 0x3A)
    compatible, incompatible = struct.unpack_from("<II", head, at + 0x5C)
    (errors,) = struct.unpack_from("<I", head, at + 0x194)
    journal = bool(compatible & 4)
    kind = "ext4" if incompatible & 0x40 else "ext3" if journal else "ext2"
    unclean = bool(incompatible & 4) if journal else not state & 1
    return _Superblock(
        kind,
        blocks << (10 + min(shift, 6)),
        _label(head[at + 0x78 : at + 0x88]),
        errors or int(bool(state & 2)),
        unclean,
    )


def _label(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _unmounted(tree: Tree, partition: Partition) -> FileSystem | None:
    device = f"/dev/{partition.name}"
    found = _superblock(tree.read(device, _SUPERBLOCKS, size=4096, alone=True))
    if found is None:
        return None
    if found.kind == "xfs":

        def read(at: int, size: int) -> bytes:
            return tree.read(device, size=size, at=at)

        found = found._replace(needs_recovery=xfs_log.needs_recovery(read))
    return FileSystem(
        device=device,
        mount_point="",
        kind=found.kind,
        size_bytes=found.size_bytes,
        free_bytes=0,
        errors=found.errors,
        needs_recovery=found.needs_recovery,
    )


def disks(tree: Tree) -> tuple[Disk, ...]:
    """Return the disks of the machine with their partitions."""
    labels: dict[str, str] = {}
    for directory in _LABELS:
        for label in tree.names(directory):
            name = tree.link(f"{directory}/{label}").rpartition("/")[2]
            labels.setdefault(name, _udev_unescaped(label))
    names = [name for name in tree.names("/sys/block") if not name.startswith(_NO_DISKS)]
    return tuple(_disk(tree, name, labels) for name in names[:_MOST_DISKS])


def _disk(tree: Tree, name: str, labels: dict[str, str]) -> Disk:
    numbered = []
    for entry in tree.names(f"/sys/block/{name}"):
        number = None
        if entry.startswith(name):
            number = tree.number(f"/sys/block/{name}/{entry}/partition")
        if number is not None:
            size = tree.number(f"/sys/block/{name}/{entry}/size") or 0
            label = labels.get(entry) or _own_label(tree, entry)
            numbered.append((number, Partition(entry, size * _SECTOR, label)))
    size = tree.number(f"/sys/block/{name}/size") or 0
    return Disk(name, size * _SECTOR, tuple(partition for _, partition in sorted(numbered)))


def _own_label(tree: Tree, name: str) -> str:
    """Return the label that the file system holds, for a system without udev's links."""
    found = _superblock(tree.read(f"/dev/{name}", _SUPERBLOCKS, size=4096))
    return "" if found is None else found.label


def _udev_unescaped(name: str) -> str:
    r"""Return a label as it is: udev writes what is no letter as \x and two digits."""
    found = name.split("\\x")
    text = found[0]
    for part in found[1:]:
        try:
            text += chr(int(part[:2], 16)) + part[2:]
        except ValueError:
            text += "\\x" + part
    return text


def boot_loader(tree: Tree, found: tuple[Mount, ...], known: tuple[Disk, ...]) -> BootLoader | None:
    """Compare GRUB on the boot disk with its files; None where there is no GRUB for BIOS."""
    directory = next((one for one in _GRUB if tree.exists(f"{one}/core.img")), "")
    if not directory:
        return None
    mount = mount_of(found, tree.resolved(directory))
    name = "" if mount is None else _kernel_name(tree, mount)
    holding = [
        disk for disk in known if name == disk.name or name in [p.name for p in disk.partitions]
    ]
    disk = holding[0] if holding else known[0] if len(known) == 1 else None
    if disk is None:
        tree.miss("the boot loader", f"{directory} is on no disk that is known here")
        return BootLoader("", None)
    images = [
        tree.read(f"{directory}/{name}", "the boot loader", size=grub.LARGEST_CORE_BYTES)
        for name in ("boot.img", "core.img")
    ]
    device = f"/dev/{disk.name}"
    sector = tree.read(device, "the boot loader", size=_SECTOR)
    if not all(images) or len(sector) < _SECTOR:
        return BootLoader(disk.name, None)
    core = _core(tree, device, grub.core_sector(sector), disk.size_bytes, len(images[1]))
    differences = grub.compare(sector, core, images[0], images[1])
    evidence = differences or (f"sector 0 and core image of {device} are as in {directory}",)
    return BootLoader(disk.name, not differences, evidence)


def _core(tree: Tree, device: str, first: int, disk_bytes: int, wanted: int) -> bytes:
    """Return the core image by GRUB's list of its sectors, no more than `wanted` bytes."""
    if not 0 < first * _SECTOR < disk_bytes:
        return b""
    core = tree.read(device, size=_SECTOR, at=first * _SECTOR)
    for run in grub.runs(core):
        left = wanted - len(core)
        if left <= 0 or run.first * _SECTOR >= disk_bytes:
            break
        core += tree.read(device, size=min(left, run.sectors * _SECTOR), at=run.first * _SECTOR)
    return core
