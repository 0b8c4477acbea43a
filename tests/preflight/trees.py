"""Roots of machines as files: what /proc, /sys and /etc show on systems of several ages."""

import struct
from collections.abc import Mapping
from pathlib import Path

ELF_32 = b"\x7fELF\x01\x01\x01" + bytes(45)
ELF_64 = b"\x7fELF\x02\x01\x01" + bytes(57)

_MEMINFO = (
    "MemTotal:  {total} kB\nMemFree: 1000 kB\n{more}SwapTotal: {swap} kB\nHugePages_Total: 0\n"
)


def grow(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a root; a name that ends in / is a directory, "-> X" is a link to X."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def meminfo(total_kib: int, swap_kib: int = 0, available_kib: int | None = None) -> str:
    more = "" if available_kib is None else f"MemAvailable: {available_kib} kB\n"
    return _MEMINFO.format(total=total_kib, swap=swap_kib, more=more)


def block(disk: str, sectors: int, *partitions: int) -> dict[str, str]:
    """Return what /sys/block shows of a disk with partitions of so many sectors."""
    files = {f"/sys/block/{disk}/size": f"{sectors}\n"}
    for number, size in enumerate(partitions, 1):
        files[f"/sys/block/{disk}/{disk}{number}/partition"] = f"{number}\n"
        files[f"/sys/block/{disk}/{disk}{number}/size"] = f"{size}\n"
    return files


def mountinfo(mounts: str) -> str:
    """Return /proc/self/mountinfo for what /proc/mounts would say: device, place, kind, options."""
    lines = (line.split(" ") for line in mounts.splitlines())
    return "".join(
        f"{number} 1 8:{number} / {place} {'ro' if options.startswith('ro') else 'rw'},relatime"
        f" shared:{number} - {kind} {device} {options}\n"
        for number, (device, place, kind, options, *_) in enumerate(lines, 20)
    )


def debian_7(root: Path) -> Path:
    """A Debian 7 on i386, kernel 3.2, ext3, BIOS, a CD drive, without MemAvailable."""
    return grow(
        root,
        {
            "/proc/sys/kernel/osrelease": "3.2.0-4-686-pae\n",
            "/proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-3.2.0-4-686-pae root=UUID=1 ro quiet\n",
            "/proc/meminfo": meminfo(1031084, 392188),
            "/proc/self/mountinfo": mountinfo(
                "rootfs / rootfs rw 0 0\nsysfs /sys sysfs rw 0 0\n"
                "proc /proc proc rw 0 0\n"
                "/dev/disk/by-uuid/1 / ext3 rw,relatime,errors=remount-ro 0 0\n"
                "tmpfs /run/lock tmpfs rw 0 0\n"
            ),
            "/dev/disk/by-uuid/1": "-> ../../sda1",
            "/sbin/init": ELF_32,
            "/sys/firmware/memmap/": "",
            "/sys/block/sr0/size": "2097151\n",
            "/sys/block/loop0/size": "0\n",
            **block("sda", 16777216, 15990784, 784384),
        },
    )


def debian_12_on_uefi(root: Path) -> Path:
    """A Debian 12 on i386 under a 64-bit kernel, 64-bit UEFI, systemd, NVMe, XFS data, an NFS."""
    return grow(
        root,
        {
            "/proc/sys/kernel/osrelease": "6.1.0-28-amd64\n",
            "/proc/sys/kernel/arch": "x86_64\n",
            "/proc/cmdline": "quiet ia32_emulation=on\n",
            "/proc/meminfo": meminfo(4000000, 0, 3000000),
            "/proc/self/mountinfo": mountinfo(
                "/dev/nvme0n1p2 / ext4 rw 0 0\n"
                "/dev/nvme0n1p1 /boot/efi vfat rw 0 0\n"
                "/dev/mapper/vg-data /data xfs ro,relatime 0 0\n"
                "filer:/home /home nfs4 rw 0 0\n"
                "systemd-1 /proc/sys/fs/binfmt_misc autofs rw 0 0\n"
                "/dev/loop3 /snap/x squashfs ro 0 0\n"
                "me@host:/ /mnt/my\\040ssh fuse.sshfs rw 0 0\n"
            ),
            "/dev/mapper/vg-data": "-> ../dm-0",
            "/sbin/init": "-> /lib/systemd/systemd",
            "/lib": "-> usr/lib",
            "/usr/lib/systemd/systemd": ELF_32,
            "/sys/firmware/efi/fw_platform_size": "64\n",
            "/sys/fs/ext4/nvme0n1p2/errors_count": "3\n",
            "/data/": "",
            "/boot/efi/": "",
            "/sys/block/nvme0n1/size": "1000000\n",
            "/sys/block/nvme0n1/nvme0n1p1/partition": "1\n",
            "/sys/block/nvme0n1/nvme0n1p1/size": "200000\n",
            "/sys/block/nvme0n1/nvme0n1p2/partition": "2\n",
            "/sys/block/nvme0n1/nvme0n1p2/size": "700000\n",
            "/dev/disk/by-partlabel/EFI\\x20System": "-> ../../nvme0n1p1",
        },
    )


def appliance(root: Path, environment: bytes) -> Path:
    """An appliance of ours: four partitions, a boot environment; /dev/sda is made by the test."""
    return grow(
        root,
        {
            "/proc/sys/kernel/osrelease": "6.1.0-28-686-pae\n",
            "/proc/meminfo": meminfo(2000000, 0, 1500000),
            "/proc/self/mountinfo": mountinfo(
                "/dev/sda2 / ext4 ro 0 0\n/dev/sda1 /boot ext2 rw 0 0\n"
                "/dev/sda4 /data ext4 rw 0 0\n"
            ),
            "/bin/sh": ELF_32,
            "/sys/firmware/acpi/": "",
            "/data/": "",
            "/boot/grub/env1": environment,
            "/boot/grub/env2": environment,
            "/dev/disk/by-label/boot": "-> ../../sda1",
            "/dev/disk/by-label/data": "-> ../../sda4",
            **block("sda", 16384, 4096, 2048, 2048, 4096),
        },
    )


def xfs_superblock(label: bytes) -> bytes:
    """Return the head of an XFS as xfs_format.h draws it: 4 KiB blocks, 1000 of them."""
    head = struct.pack(">4sIQ", b"XFSB", 4096, 1000).ljust(108, b"\0")
    return (head + label.ljust(12, b"\0")).ljust(4096, b"\0")
