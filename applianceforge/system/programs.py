"""Start programs: the only module that imports subprocess.

No shell, /dev/null as standard input unless a file is given, the C.UTF-8 locale, UTC, and a session
of its own for each program, so that a signal to our process group never reaches a server.
"""

import ctypes
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    ForgeError,
    ProgramFailedError,
    ProgramMissingError,
)
from applianceforge.system.effects import EffectKind, Effects
from applianceforge.system.signals import deferred

Process = subprocess.Popen[bytes]

_KEPT_VARIABLES = ("HOME", "PATH", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED")
_TAIL_LINES = 12
# How the C library says it, and how apt does, which looks beforehand.
NO_SPACE = (
    "No space left on device",
    "Disk quota exceeded",
    "You don't have enough free space",
)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class User:
    """Whom a program runs as: numeric user and group."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """A program with its arguments and surroundings, ready to start.

    Attributes:
        arguments: The program's absolute path, then its arguments; never a secret.
        environment: Added to the fixed small environment.
        user: Run as this user; None is ourselves. Only root may name another.
        directory: The working directory.
        name: What messages call it; by default the name of the first argument.
        umask: Of the program; files that it makes are ours alone by default.
    """

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    user: User | None = None
    directory: Path = Path("/")
    name: str = ""
    umask: int = 0o077

    @property
    def label(self) -> str:
        """Return what messages call the program."""
        return self.name or Path(self.arguments[0]).name

    def __str__(self) -> str:
        words = [f"{key}={shlex.quote(value)}" for key, value in self.environment]
        return " ".join([*words, shlex.join(self.arguments)])


@dataclass(frozen=True)
class Output:
    """What a finished program said: its standard output and error as bytes."""

    stdout: bytes
    stderr: bytes


def environment_of(extra: Sequence[tuple[str, str]] | Mapping[str, str] = ()) -> dict[str, str]:
    """Return the small fixed environment that programs get, with `extra` added."""
    kept = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | dict(extra)


def start(
    command: Command,
    effects: Effects,
    *,
    stdin: Path | None = None,
    output: Path | None = None,
    errors: Path | None = None,
    outlives_us: bool = True,
) -> Process:
    """Start a program and return it running.

    Whoever keeps it, calls this within `deferred`: otherwise Ctrl-C may come before it is kept.

    Args:
        command: What to start.
        effects: Told of the start.
        stdin: A file to read from, instead of /dev/null.
        output: A file for standard output (0600, replaced); without it, standard output is a pipe.
        errors: A file for standard error (0600, appended to); without it, standard error is a pipe.
        outlives_us: It may go on if we are killed, as a server does, which is found again by its
            pid file; otherwise the kernel ends it together with the thread that started it.

    Raises:
        ProgramMissingError: There is no such program, or this machine cannot run it.
        AccessDeniedError: We may not run it, or not as that user.
    """
    opened: list[int] = []

    def opening(path: Path | None, flags: int) -> int | None:
        if path is None:
            return None
        handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
        opened.append(handle)
        return handle

    truncate = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    user = command.user if os.geteuid() == 0 else None
    try:
        source = opening(stdin, os.O_RDONLY)
        target = opening(output, truncate)
        log = opening(errors, append)
        process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.DEVNULL if source is None else source,
            stdout=subprocess.PIPE if target is None else target,
            stderr=subprocess.PIPE if log is None else log,
            env=environment_of(command.environment),
            cwd=command.directory,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
            umask=command.umask,
            start_new_session=True,
            preexec_fn=None if outlives_us else _dying_with_us(),
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(
            f"the program {command.arguments[0]} is not there",
            hint="install it, or name the right program tree in the settings",
        ) from error
    except PermissionError as error:
        raise AccessDeniedError(
            f"may not run {command.arguments[0]}"
            + ("" if user is None else f" as user {user.uid}")
            + f": {error.strerror}",
            hint="make the program, and every directory above it, readable and executable for"
            " the user who runs it",
        ) from error
    except OSError as error:
        raise ProgramMissingError(
            f"this machine cannot run {command.arguments[0]}: {error.strerror}",
            hint="32-bit programs need a kernel with IA32 emulation: boot with ia32_emulation=on",
        ) from error
    finally:
        for handle in opened:
            os.close(handle)
    effects.happened(EffectKind.PROGRAM, command.label)
    return process


def _dying_with_us() -> Callable[[], None]:
    """Return what a new process calls to be killed when we are (prctl(2))."""
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def call() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # We were killed before that call.
            os._exit(1)

    return call


def run(
    command: Command,
    effects: Effects,
    *,
    stdin: Path | None = None,
    output: Path | None = None,
    errors: Path | None = None,
    timeout_s: float | None = None,
) -> Output:
    """Run a program to its end and return what it said.

    An exception on the way, Ctrl-C among them, stops the program first; if we are killed, so is
    the program, or it would go on writing where the next run begins anew.

    Raises:
        ProgramFailedError: It ended with another status than 0, by a signal, or took too long.
        DiskFullError: It failed, and says that no space is left.
        ProgramMissingError: See `start`.
        AccessDeniedError: See `start`.
    """
    process: Process | None = None
    try:
        with deferred():
            process = start(
                command, effects, stdin=stdin, output=output, errors=errors, outlives_us=False
            )
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        assert process is not None
        stop(process)
        raise ProgramFailedError(f"{command} did not end within {timeout_s} s") from error
    except BaseException:
        if process is not None:
            stop(process)
        raise
    result = Output(stdout or b"", stderr or b"")
    if process.returncode != 0:
        raise failure(command, process.returncode, result.stderr or result.stdout)
    return result


def failure(command: Command, status: int, said: bytes) -> ForgeError:
    """Return the error for a program that ended with `status`, with the last lines it said."""
    name = command.label
    if status < 0:
        how = f"was ended by {signal.Signals(-status).name}"
    elif status == 127:
        how = "ended with status 127: a program or library that it needs is missing"
    else:
        how = f"ended with status {status}"
    lines = tuple(said.decode(errors="replace").splitlines()[-_TAIL_LINES:])
    full = next((line for line in lines if any(mark in line for mark in NO_SPACE)), "")
    if full:
        return DiskFullError(
            f"{name} {how}: {full}",
            hint="make room on that file system, then run the same command again: it continues",
            evidence=lines,
        )
    return ProgramFailedError(
        f"{name} {how}" + (f": {lines[-1]}" if lines else ""),
        hint=f"the command was: {command}",
        evidence=lines,
    )


def wait(process: Process, *, timeout_s: float) -> bool:
    """Wait for a program's end; return False if it is still running after `timeout_s`."""
    try:
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop(process: Process, *, patience_s: float = 10.0) -> None:
    """End a program that we started, and the session that it leads: first kindly, then not."""
    with deferred():
        for request in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            os.killpg(process.pid, request)
            wait(process, timeout_s=patience_s)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
