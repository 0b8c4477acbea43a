"""The smallest guest: a 32-bit kernel, busybox, modules for every disk, and the channel's agent.

It starts in a few seconds where an appliance takes a minute, so it proves the harness itself, and
it writes what the tests of power cuts need. The agent is the very file that goes into images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from applianceforge.migrate.tree import ProgramTree
from tests.vm.cpio import Archive
from tests.vm.guest import CHECKOUT, Guest
from tests.vm.hardware import Kernel

AGENT = CHECKOUT / "images/overlay-channel/usr/lib/applianceforge/forge-channel"
_MODULES = (
    *("virtio_pci", "virtio_console", "virtio_blk", "virtio_scsi", "virtio_net"),
    *("ata_piix", "ahci", "sd_mod", "crc32c_generic", "ext4"),
)
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
for module in MODULES; do
    insmod /modules/$module.ko
done
sh /agent &
echo "the small guest is up"
while :; do
    sleep 3600
done
"""


def build(tree: ProgramTree, directory: Path) -> Guest:
    """Put together the guest.

    Args:
        tree: Made from `guest.RECIPE`.
        directory: Where its archive goes.
    """
    archive = Archive()
    for path in ("proc", "sys", "dev", "run", "tmp", "mnt"):
        archive.add_directory(path)
    archive.add("bin/busybox", tree.path("/bin/busybox").read_bytes(), 0o755)
    archive.add("agent", AGENT.read_bytes(), 0o755)
    names = []
    for name, module in _in_order(tree.root, _MODULES):
        archive.add(f"modules/{name}.ko", module.read_bytes())
        names.append(name)
    archive.add("init", _INIT.replace("MODULES", " ".join(names)).encode(), 0o755)
    initramfs = directory / "small.gz"
    initramfs.write_bytes(archive.encode())
    (kernel,) = tree.root.glob("boot/vmlinuz-*-686")
    return Guest(kernel, initramfs)


def kernel_of(built: Guest) -> Kernel:
    """Return the guest as what QEMU starts; it starts anew after a panic."""
    return Kernel(built.kernel, built.initramfs, "console=ttyS0 panic=5")


def _in_order(root: Path, wanted: Iterable[str]) -> list[tuple[str, Path]]:
    """Return modules and what they need, each after what it needs.

    Source: Linux, kernel/module: `depends=` in the section .modinfo, names joined by commas.
    """
    files = {path.stem.replace("-", "_"): path for path in root.glob("lib/modules/*/**/*.ko")}
    found: dict[str, Path] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        path = files[name]
        depends = _DEPENDS.search(path.read_bytes())
        assert depends is not None, path
        for other in depends.group(1).decode().split(","):
            if other:
                visit(other.replace("-", "_"))
        found[name] = path

    for name in wanted:
        visit(name)
    return list(found.items())
