"""How a command ends: errors become text and a status here, and nowhere else."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from applianceforge.model.errors import DiskFullError, ForgeError, exit_status_of
from applianceforge.model.version import PROGRAM
from applianceforge.preflight.render import printable

INTERRUPTED = 130
TERMINATED = 143
_MOST_EVIDENCE = 20
_LONGEST_HINT = 4000
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RED, _BOLD, _PLAIN = "\033[31m", "\033[1m", "\033[0m"


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as cleanly as on Ctrl-C."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def guarded(run: Callable[[], int], *, stopped: str) -> int:
    """Run a command and return its exit status, whatever happens to it.

    Args:
        stopped: What to say when it was interrupted.
    """
    signal.signal(signal.SIGTERM, _terminate)
    _open_closed_streams()
    try:
        status = run()
        sys.stdout.flush()
        return status
    except ForgeError as error:
        tell(error)
        return exit_status_of(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        discard_output()
        return 0
    except OSError as error:
        if error.errno not in _DISK_FULL or error.filename is not None:
            raise
        # Nothing but the output is written without naming a file.
        discard_output()
        tell(
            DiskFullError(
                f"the output cannot be written: {error.strerror}",
                hint="make room where it goes, or send it elsewhere",
            )
        )
        return DiskFullError.exit_status
    except KeyboardInterrupt as error:
        _complain(f"{PROGRAM}: {stopped}")
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED


def _open_closed_streams() -> None:
    """Let what nobody can see go nowhere, rather than into the next file that is opened."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def discard_output() -> None:
    """Let standard output go nowhere, with what it still holds, so that no exit fails of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Print the result of a command, whose status counts even if nobody reads to the end."""
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a few last words be said while the machine goes down already, and ends every program."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.signal(one, lambda *_: None) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def coloured() -> bool:
    """Return whether standard error takes colours."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def tell(error: ForgeError) -> None:
    """Print an error as a person reads it: what is wrong, what shows it, what to do."""
    red, bold, plain = (_RED, _BOLD, _PLAIN) if coloured() else ("", "", "")
    # Names of files, and what stands in them, are foreign: nothing that a terminal would obey.
    lines = [f"{red}{PROGRAM}: {printable(error.message)}{plain}"]
    shown = [line for line in error.evidence if line and line not in error.message]
    lines += [f"  | {printable(line)}" for line in shown[:_MOST_EVIDENCE]]
    if len(shown) > _MOST_EVIDENCE:
        lines.append(f"  | and {len(shown) - _MOST_EVIDENCE} more")
    if error.hint:
        lines.append(f"{bold}  What to do: {printable(error.hint, _LONGEST_HINT)}{plain}")
    _complain("\n".join(lines))


def _complain(text: str) -> None:
    """Print what went wrong; how the command ended counts even if nobody can read that."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
