"""Measure how long file systems, disks and outputs take, against the bare programs they use."""

import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from applianceforge.imaging import disk, filesystem, outputs
from applianceforge.imaging.disk import MIB
from applianceforge.imaging.filesystem import Kind
from applianceforge.imaging.outputs import Identity, Output
from applianceforge.imaging.ovf import Machine
from applianceforge.system.effects import Effects
from tests.imaging import disks

# The sizes of a Debian with PostgreSQL: 15,000 files, most of them small, and half compressible.
FILES = 15_000
_SEED = 1


def _tree(place: Path, size_bytes: int) -> Path:
    chance = random.Random(_SEED)
    tree = place / "big tree"
    sizes = [chance.paretovariate(0.6) for _ in range(FILES)]
    scale = size_bytes / sum(min(size, 3000) for size in sizes)
    for number, size in enumerate(sizes):
        file = tree / f"directory{number % 700}" / f"file{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        length = int(min(size, 3000) * scale)
        file.write_bytes((chance.randbytes(length // 2) + b"text " * (length // 5))[:length])
    return tree


def _timed(what: str, act: Callable[[], object], limit_s: float | None = None) -> bool:
    began_s = time.monotonic()
    act()
    took_s = time.monotonic() - began_s
    limit = "" if limit_s is None else f"   limit {limit_s:.0f} s"
    print(f"{what:<44} {took_s:6.2f} s{limit}")
    return limit_s is None or took_s <= limit_s


def run(size_bytes: int = 400 * MIB, place: Path | None = None) -> bool:
    """Measure, print, and return whether all limits were kept.

    Args:
        size_bytes: Of the slot's content.
        place: Where to work; the system's temporary directory by default.
    """
    with tempfile.TemporaryDirectory(prefix="disk-", dir=place) as name:
        return _run(size_bytes, Path(name))


def _run(size_bytes: int, work: Path) -> bool:
    tree = _tree(work, size_bytes)
    image, raw = work / "big.img", work / "big.raw"
    identity = disk.uuid_of("bench", "slot")

    def bare() -> None:
        image.unlink(missing_ok=True)
        size = f"{size_bytes * 5 // 4 >> 20}M"
        words = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image), size]
        subprocess.run(words, check=True, capture_output=True)

    _timed("mke2fs -d alone", bare)
    made: list[filesystem.Made] = []
    kept = _timed(
        "a slot's file system, fitted and mended",
        lambda: made.append(
            filesystem.make(
                Kind.SLOT, tree, image, None, identity, "bench", disks.EPOCH_S, Effects()
            )
        ),
    )
    size = made[0].size_bytes
    print(
        f"{'':<44} {size / MIB:.0f} MiB, of which {(size - made[0].used_bytes) / MIB:.1f} are free"
    )
    plan = replace(disks.plan(work), slot=image, slot_bytes=1024 * MIB)
    kept &= _timed("a disk of 2 GiB", lambda: disk.write(plan, raw, Effects()), 2)
    about = Identity(Machine("bench", "bench", "1"), disks.EPOCH_S)
    for output in list(Output)[1:]:
        path = output.path(work, "bench")

        def act(output: Output = output, path: Path = path) -> None:
            there = output is Output.OVA
            outputs.write(output, raw, path, about, Effects(), vmdk_is_there=there)

        kept &= _timed(f"{output.value}, read back and compared", act)
        print(f"{'':<44} {path.stat().st_blocks * 512 / MIB:.0f} MiB on disk")
    return kept
