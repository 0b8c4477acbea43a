"""The writer on a real ext2: by strace what it asks for, by debugfs where the blocks are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from applianceforge.imaging import grub
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import ENVIRONMENT_COPIES, Slot
from tests.slots import planted

ROOT = Path(__file__).parent.parent.parent
SECTOR = 512
NAMES = (*ENVIRONMENT_COPIES, "good")
_CALLS = (
    "trace=open,openat,creat,truncate,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat"
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        os.getuid() != 0
        or shutil.which("strace") is None
        or not Path("/dev/loop-control").exists(),
        reason="needs root, loop devices and strace",
    ),
]

# $1 image, $2 mount point, $3 strace's log, $4 strace's calls, then the program that is watched.
_SCRIPT = """
set -e
point=$2 log=$3 calls=$4
mount -t ext2 -o loop,noatime "$1" "$point"
trap 'umount "$point"' EXIT
shift 4
strace -f -o "$log" -e "$calls" "$@"
"""
_PROGRAM = """
import sys
from pathlib import Path
from applianceforge.slots.environment import Loader
from applianceforge.system.effects import Effects
from tests.slots.test_in_place import KNOWN, change
change(KNOWN[sys.argv[1]](Path(sys.argv[2]), Effects()))
"""
KNOWN: dict[str, type[Loader]] = {"Loader": Loader} | {bug.__name__: bug for bug in planted.PLACE}


def change(loader: Loader) -> None:
    """One write of the environment."""
    loader.activate(Slot.B)


@dataclass(frozen=True)
class Change:
    """What one change did.

    Attributes:
        calls: What was asked of the kernel for a file of the boot partition.
        moved: The files whose blocks are not where they were.
        sectors: The sectors that differ, as name and number.
    """

    calls: tuple[str, ...]
    moved: tuple[str, ...]
    sectors: tuple[tuple[str, int], ...]


def _debugfs(image: Path, request: str) -> str:
    program = shutil.which("debugfs") or "/usr/sbin/debugfs"
    done = subprocess.run([program, "-R", request, str(image)], capture_output=True, check=True)
    return done.stdout.decode().strip()


def _contents(image: Path) -> dict[str, tuple[str, bytes]]:
    found = {}
    for name in NAMES:
        blocks = _debugfs(image, f"blocks /{name}")
        assert re.fullmatch(r"\d+( \d+)*", blocks), blocks
        data = image.read_bytes()
        parts = [data[int(block) * 1024 : (int(block) + 1) * 1024] for block in blocks.split()]
        found[name] = (blocks, b"".join(parts))
    return found


def watched(kind: str, place: Path) -> Change:
    """Let a writer make one change on a real ext2, and watch it."""
    tree, image, point, log = (place / name for name in ("tree", "image", "point", "log"))
    tree.mkdir()
    point.mkdir()
    for name, content in grub.boot_files(1, grub.CoreImage(b"b", b"c")).items():
        (tree / name).write_bytes(content)
    mke2fs = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    subprocess.run(
        [mke2fs, "-q", "-t", "ext2", "-b", "1024", "-d", str(tree), str(image), "4M"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    before = _contents(image)
    subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", _SCRIPT, "sh", str(image), str(point), str(log), _CALLS),
            *(sys.executable, "-B", "-c", _PROGRAM, kind, str(point)),
        ],
        check=True,
        cwd=ROOT,
    )
    after = _contents(image)
    calls = tuple(line for line in log.read_text().splitlines() if str(point) in line)
    sectors = [
        (name, at // SECTOR)
        for name in NAMES
        for at in range(0, len(before[name][1]), SECTOR)
        if before[name][1][at : at + SECTOR] != after[name][1][at : at + SECTOR]
    ]
    moved = tuple(name for name in NAMES if before[name][0] != after[name][0])
    return Change(calls, moved, tuple(sectors))


def faults(seen: Change) -> list[str]:
    """Return what a change did that it must not."""
    found = []
    for call in seen.calls:
        name = call.split("(")[0].split()[-1]
        if name not in ("open", "openat") or re.search(r"O_TRUNC|O_CREAT|O_APPEND", call):
            found.append(call)
    if seen.moved:
        found.append(f"the blocks of {', '.join(seen.moved)} moved")
    if len(seen.sectors) != 1 or seen.sectors[0][1] != 0:
        found.append(f"the sectors {seen.sectors} changed")
    return found


def test_one_sector_is_changed_where_it_lies(tmp_path: Path) -> None:
    seen = watched("Loader", tmp_path)
    assert faults(seen) == []
    # The copy that GRUB did not use: the newer one was the second.
    assert seen.sectors == (("env1", 0),)
    assert any("O_RDWR" in call for call in seen.calls)


@pytest.mark.parametrize("kind", [bug.__name__ for bug in planted.PLACE])
def test_a_planted_bug_is_found(kind: str, tmp_path: Path) -> None:
    assert faults(watched(kind, tmp_path)) != []
