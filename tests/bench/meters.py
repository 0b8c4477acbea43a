"""Measure a piece of work: its time, the most memory of all its processes, its peak of disk."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.system import files

_PAUSE_S = 0.1


@dataclass(frozen=True)
class Measured:
    """What a piece of work took.

    Attributes:
        own_bytes: The most resident memory of this process's own workers and itself.
        disk_bytes: The most disk that the watched directories took.
        left_bytes: What they took at the end.
    """

    elapsed_s: float
    memory_bytes: int
    own_bytes: int
    disk_bytes: int
    left_bytes: int

    @property
    def temporary_bytes(self) -> int:
        """Return the disk that was needed beyond what stayed."""
        return self.disk_bytes - self.left_bytes


def measure(work: Callable[[], None], watched: Sequence[Path]) -> Measured:
    """Do a piece of work and measure it; what is in the page cache is first written out."""
    os.sync()
    finished = threading.Event()
    most = {"all": 0, "own": 0, "disk": 0}

    def look() -> None:
        while not finished.wait(_PAUSE_S):
            everyone, own = _memory_bytes()
            most["all"], most["own"] = max(most["all"], everyone), max(most["own"], own)
            most["disk"] = max(most["disk"], sum(files.used_bytes(path) for path in watched))

    watcher = threading.Thread(target=look)
    watcher.start()
    began = time.monotonic()
    try:
        work()
    finally:
        elapsed_s = time.monotonic() - began
        finished.set()
        watcher.join()
    left = sum(files.used_bytes(path) for path in watched)
    return Measured(elapsed_s, most["all"], most["own"], max(most["disk"], left), left)


def _memory_bytes() -> tuple[int, int]:
    """Return the proportional memory of us and all descendants, and of our own Python ones."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = entry.joinpath("stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    everyone = own = 0
    for pid in parents:
        if not _descends(pid, parents):
            continue
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            program = Path(f"/proc/{pid}/exe").readlink().name
        except OSError:
            continue
        size = next(int(line.split()[1]) * 1024 for line in text.splitlines() if "Pss:" in line)
        everyone += size
        own += size if program.startswith("python") else 0
    return everyone, own


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False
