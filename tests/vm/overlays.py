"""Make the overlays that machines write to, so that an image is never changed."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path

from tests.vm.hardware import Disk
from tests.vm.program import find


def prepare(disk: Disk, path: Path) -> None:
    """Make the overlay of a disk at `path`; none for a disk of the machine's own.

    Raises:
        ValueError: The disk would be smaller than its image.
    """
    if disk.own:
        return
    words = ["create", "-q", "-f", "qcow2", "-F", disk.format, "-b", str(disk.image.resolve())]
    if disk.size_bytes is not None:
        if disk.size_bytes < size_bytes(disk):
            raise ValueError(f"{disk.image} is larger than {disk.size_bytes} bytes")
        words += [str(path), str(disk.size_bytes)]
    else:
        words.append(str(path))
    _run(*words)


def size_bytes(disk: Disk) -> int:
    """Return the size of a disk's image, as a guest sees it."""
    said = _run("info", "--output=json", "-f", disk.format, "-U", str(disk.image))
    return int(json.loads(said)["virtual-size"])


def flatten(disk_overlay: Path, target: Path) -> None:
    """Write all that a guest sees of an overlay as a sparse raw image."""
    _run("convert", "-f", "qcow2", "-O", "raw", str(disk_overlay), str(target))


def _run(*words: str) -> str:
    done = subprocess.run(
        [find("qemu-img"), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise AssertionError(f"qemu-img {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def read(path: Path, kind: str, offset: int, size_bytes: int) -> bytes:
    """Return bytes of an image, whoever has it open."""
    with tempfile.NamedTemporaryFile(prefix="vm-") as target:
        block = math.gcd(offset, size_bytes)
        # qemu-img counts from the start, whatever it skips; and it fills the last sector.
        end = (offset + size_bytes) // block
        _run(
            *("dd", "-U", "-f", kind, "-O", "raw", f"if={path}", f"of={target.name}"),
            *(f"bs={block}", f"skip={offset // block}", f"count={end}"),
        )
        return Path(target.name).read_bytes()[:size_bytes]
