"""Measure the scanner: a tree of 100,000 files, in a process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FILES = 100_000
_PER_DIRECTORY = 100
_SAMPLES = Path(__file__).parent.parent / "data" / "foreign"
_ROOT = Path(__file__).parent.parent.parent

_SCAN = """
import resource, sys, time
from pathlib import Path
from applianceforge.preflight.scanner import scan
began = time.monotonic()
found = scan(Path(sys.argv[1]))
elapsed_s = time.monotonic() - began
print(elapsed_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, found.files)
"""


class Scanned(NamedTuple):
    """What a scan took; the memory is all that was resident, the interpreter's too."""

    files: int
    elapsed_s: float
    peak_bytes: int


def plant(root: Path, files: int = FILES) -> None:
    """Make a tree like that of an appliance: mails and logs, pages and pictures, some databases."""
    samples = [path.read_bytes() for path in sorted(_SAMPLES.glob("*/*"))]
    kinds = [
        b"Received: from mail.example.org by box\nSubject: hello\n\nwords\n" * 40,
        b"2024-01-01 00:00:00 box daemon[17]: something happened\n" * 60,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
        b'{"key": [1, 2, 3]}\n',
        b"",
    ]
    for number in range(files):
        directory = root / f"{number // (_PER_DIRECTORY * 100):03}" / f"{number // _PER_DIRECTORY}"
        if number % _PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        # One in ten is a database or the like.
        content = samples[number // 10 % len(samples)] if number % 10 == 0 else kinds[number % 5]
        (directory / f"file-{number}").write_bytes(content)


def measure(root: Path, files: int = FILES) -> Scanned:
    """Plant a tree below `root`, scan it in a fresh interpreter, and remove it."""
    tree = root / "scanned"
    try:
        plant(tree, files)
        said = subprocess.run(
            [sys.executable, "-c", _SCAN, str(tree)],
            check=True,
            capture_output=True,
            text=True,
            cwd=_ROOT,
        ).stdout.split()
    finally:
        shutil.rmtree(tree)
    return Scanned(int(said[2]), float(said[0]), int(said[1]) * 1024)
