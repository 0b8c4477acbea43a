"""Spread work on many files over a few processes."""

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from applianceforge.model.errors import ProgramFailedError

JOBS = 2
"""Two processes keep a disk and the smallest appliances busy; more gained nothing there."""

_CHUNK_FILES = 32
_CHUNK_BYTES = 16 << 20
_PR_SET_PDEATHSIG = 1

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks(items: Sequence[Item], size_bytes: Callable[[Item], int]) -> list[tuple[Item, ...]]:
    """Cut a sequence into pieces of at most 32 files and about 16 MB, in its order."""
    made: list[tuple[Item, ...]] = []
    piece: list[Item] = []
    weight_bytes = 0
    for item in items:
        if piece and (len(piece) == _CHUNK_FILES or weight_bytes >= _CHUNK_BYTES):
            made.append(tuple(piece))
            piece, weight_bytes = [], 0
        piece.append(item)
        weight_bytes += size_bytes(item)
    return [*made, tuple(piece)] if piece else made


def in_workers(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int = JOBS
) -> Generator[Result, None, None]:
    """Yield what `work` returns for each item, in the order in which they are done.

    An exception, Ctrl-C among them, or `close` of what is returned lets running items finish,
    starts no other, and leaves no process; if we are killed, the kernel ends the processes too.
    Workers are forked, which is quick, and they touch nothing but files, so that no lock of
    another thread can stop them.

    Args:
        work: A function of a module; it runs in another process if `jobs` is above 1.
        items: What it is called with, each of a part of a second's work.
        jobs: How many processes; 1 means ourselves.

    Raises:
        ProgramFailedError: A process was killed.
    """
    if jobs < 2 or len(items) < 2:
        yield from map(work, items)
        return
    executor = ProcessPoolExecutor(
        min(jobs, len(items)),
        mp_context=multiprocessing.get_context("fork"),
        initializer=_begin_worker,
    )
    try:
        for done in as_completed([executor.submit(work, item) for item in items]):
            yield done.result()
    except BrokenProcessPool as error:
        raise ProgramFailedError(
            "a worker process was killed",
            hint="see the kernel's log whether memory ran out; the same command works again, and"
            " with one job it needs less",
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Leave interruptions to the parent, and do not outlive it (prctl(2))."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
