"""Small slot images, made by the real mke2fs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.slots import description, layout
from applianceforge.slots.description import Description

SIZE_MIB = 4


def slot_image(
    place: Path,
    architecture: Architecture,
    content: bytes = b"kernel",
    *,
    said: bytes | None = None,
    kind: str = "ext4",
    options: tuple[str, ...] = (),
    without: str = "",
    size_mib: int = SIZE_MIB,
) -> Path:
    """Make an image with a description, and files that stand for kernel and initrd."""
    tree = place / "tree"
    described = Description(architecture, "reference", "1.2", "console=ttyS0 panic=10")
    files = {
        layout.DESCRIPTION: description.encode(described) if said is None else said,
        layout.KERNEL: content,
        layout.INITRD: content[::-1],
    }
    for name, data in files.items():
        if name != without:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
    image = place / "slot"
    mke2fs = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    subprocess.run(
        [mke2fs, "-q", "-t", kind, *options, "-d", str(tree), str(image), f"{size_mib}M"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return image
