"""Do a piece of work in a child process, which it may kill, and collect what it answers.

The child is ended by its own alarm if it hangs, leaves no core dump, and does not outlive its
parent.

Source: prctl(2), sigprocmask(2), alarm(2).
"""

from __future__ import annotations

import os
import struct
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterator

PATIENCE_S = 5
_SIZE = struct.Struct("<I")
_PART_BYTES = 4096

# The module signal takes longer to import than a probe takes.
_KILL, _ALARM = 9, 14
_ENDINGS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 11: "SIGSEGV", 31: "SIGSYS"}
_SET_MASK = 2  # of sigprocmask
_MASK_BYTES = 128
_DUMPABLE, _PARENT_DEATH_SIGNAL = 4, 1  # of prctl


def run(
    libc: ctypes.CDLL, work: Callable[[], Iterator[bytes]], patience_s: int
) -> tuple[list[bytes], str]:
    """Do a piece of work in a child process.

    Args:
        libc: Loaded by the caller.
        work: Gives its answers one by one; together less than a pipe holds.
        patience_s: How long it may take.

    Returns:
        The answers that came in full, and why there are not more: it was ended by a fault, hung,
        or broke off.

    Raises:
        OSError: There can be no child.
    """
    readable, writable = os.pipe()
    try:
        child = _fork()
    except OSError:
        os.close(readable)
        os.close(writable)
        raise
    if child == 0:
        _be_child(libc, work, writable, patience_s)
    os.close(writable)
    said, ended, status = b"", False, 0
    try:
        said = _read(readable)
        ended = True
    finally:
        os.close(readable)
        if not ended:
            os.kill(child, _KILL)
        status = _wait(child)
    answers = []
    while len(said) >= _SIZE.size and len(said) >= _SIZE.size + _SIZE.unpack_from(said)[0]:
        end = _SIZE.size + _SIZE.unpack_from(said)[0]
        answers.append(said[_SIZE.size : end])
        said = said[end:]
    if not os.WIFSIGNALED(status):
        return answers, f"the answer is incomplete ({len(said)} bytes)"
    number = os.WTERMSIG(status)
    if number == _ALARM:
        return answers, f"the code gave no answer in {patience_s} s"
    return answers, f"the code was ended by {_ENDINGS.get(number, f'signal {number}')}"


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; this child takes no lock and never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _be_child(
    libc: ctypes.CDLL, work: Callable[[], Iterator[bytes]], writable: int, patience_s: int
) -> None:
    """Do the work, say what comes of it, and end this process without any cleaning up."""
    try:
        # No core dump, nor a program that collects them; and no life after the parent's.
        libc.prctl(_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PARENT_DEATH_SIGNAL, _KILL, 0, 0, 0)
        for ending in (*_ENDINGS, _ALARM):
            libc.signal(ending, None)
        libc.sigprocmask(_SET_MASK, bytes(_MASK_BYTES), None)
        libc.alarm(patience_s)
        for said in work():
            os.write(writable, _SIZE.pack(len(said)) + said)
        os._exit(0)
    finally:
        os._exit(1)


def _read(readable: int) -> bytes:
    said = b""
    while True:
        part = os.read(readable, _PART_BYTES)
        if not part:
            return said
        said += part


def _wait(child: int) -> int:
    try:
        return os.waitpid(child, 0)[1]
    except ChildProcessError:
        # Whoever runs us ignores SIGCHLD, and the kernel has cleared it away.
        return 0
