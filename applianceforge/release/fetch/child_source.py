"""The files of a repository through a process of its own, which may be nobody's friend.

Whatever a server does to the code that speaks HTTP and TLS with it, happens to a process without
privileges. All that this process says is data from outside: sizes are checked, errors are of a
short list, words are cleaned, time is limited; and what the data is worth, signatures decide.
"""

from __future__ import annotations

import fcntl
import math
import os
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from applianceforge.model.errors import ForgeError, NetworkError
from applianceforge.release.fetch import frames
from applianceforge.release.fetch.answers import Asked
from applianceforge.release.fetch.child import ERRORS, settings_fields
from applianceforge.release.fetch.frames import Frame, FrameError
from applianceforge.release.fetch.limits import HttpSettings
from applianceforge.release.fetch.source import CHUNK_BYTES, checked_path
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, Process, User
from applianceforge.system.signals import deferred

_MODULE = "applianceforge.release.fetch.child"
_LONGEST_WORDS = 600
_KEPT_BYTES = 4096
_PIPE_BYTES = 1 << 20
_HINT = "run the same command again; if it stays so, tell your vendor what it says here"


class _EndedError(Exception):
    """The process ended, or said nothing for too long."""


def command(user: User | None) -> Command:
    """Return the command that starts the fetching process.

    Nothing of the settings is among its arguments, which every user can read.
    """
    # -P, -s: no module from the working directory or somebody's home; -B: nothing is written.
    arguments = (sys.executable, "-P", "-s", "-B", "-m", _MODULE)
    return Command(arguments, user=user, name="the fetching process")


class ChildSource:
    """Fetch files through a process that is started when it is needed first.

    Args:
        settings: Which server, and the limits, which hold here, too.
        effects: Told of each start.
        started: The command; by default our own, as the same user.
    """

    def __init__(
        self, settings: HttpSettings, effects: Effects, started: Command | None = None
    ) -> None:
        self._settings, self._effects = settings, effects
        self._command = command(None) if started is None else started
        self._process: Process | None = None
        self._requests = -1
        self._received = 0
        self._before = 0  # Before this process.
        self._turn = 0
        self._busy = False
        self._said = b""
        self._buffer = bytearray()
        self._patience_s = 0.0
        self.server_date_s: float | None = None

    @property
    def received_bytes(self) -> int:
        """Return how many bytes of bodies came in so far, as far as we were told."""
        return self._received

    @property
    def pid(self) -> int | None:
        """Return the process's number while it runs."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1
        if process is not None:
            programs.stop(process, patience_s=2.0)

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return a file, or a part of it, as `Source.fetch` says."""
        self._turn += 1
        asked = Asked(checked_path(path), largest_bytes, at_bytes, size_bytes)
        return self._chunks(asked, self._turn)

    def _chunks(self, asked: Asked, turn: int) -> Iterator[bytes]:
        if turn != self._turn:
            raise RuntimeError("another file was asked for before this one was read")
        if asked.size_bytes is not None and asked.size_bytes > asked.largest_bytes:
            raise asked.too_much("the server")
        most = asked.largest_bytes if asked.size_bytes is None else asked.size_bytes
        done, finished = 0, False
        self._patience_s = self._settings.limits.silence_s
        if self._busy:
            self.close()  # In the middle of an answer there is no other way to another one.
        self._busy = True
        try:
            self._ask(asked)
            while True:
                kind, body = frames.read(self._exactly)
                if kind is Frame.DATA and body and done + len(body) <= most:
                    done += len(body)
                    self._received += len(body)
                    yield body
                    if turn != self._turn:
                        raise RuntimeError("another file was asked for before this one was read")
                elif kind is Frame.END and asked.size_bytes in (None, done):
                    self._note_end(frames.decode_fields(body))
                    finished = True
                    return
                elif kind is Frame.FAILED:
                    error = _failure(frames.decode_fields(body))
                    finished = True
                    raise error
                else:
                    raise FrameError(f"{kind.name} with {len(body)} bytes after {done}")
        except FrameError as error:
            self._refuse(f"the fetching process talks nonsense: {error}", asked)
        except _EndedError as error:
            self._refuse(f"the fetching process {error}", asked)
        finally:
            if turn == self._turn:
                if not finished:
                    self.close()
                self._busy = False

    def _refuse(self, message: str, asked: Asked) -> NoReturn:
        said = clean(self._said.decode("utf-8", "replace"))
        for secret in (self._settings.proxy, self._settings.url):
            said = said.replace(secret, "(an address)") if secret else said
        self.close()
        raise NetworkError(
            f"{message}, asked for {asked.path}", hint=_HINT, evidence=(said,) if said else ()
        ) from None

    def _note_end(self, fields: dict[str, object]) -> None:
        """Take over what is told beside the data; only what people see depends on it."""
        told, date = fields.get("received_bytes"), fields.get("server_date_s")
        if type(told) is int and 0 <= told < 1 << 62:
            self._received = max(self._received, self._before + told)
        good = type(date) in (int, float) and math.isfinite(float(str(date)))
        self.server_date_s = float(str(date)) if good else None

    def _ask(self, asked: Asked) -> None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
            self._send(frames.encode_fields(Frame.SETTINGS, settings_fields(self._settings)))
        fields = {
            "path": asked.path,
            "largest_bytes": asked.largest_bytes,
            "at_bytes": asked.at_bytes,
            "size_bytes": asked.size_bytes,
        }
        self._send(frames.encode_fields(Frame.ASK, fields))

    def _start(self) -> None:
        self._buffer, self._said = bytearray(), b""
        self._before = self._received
        reading, writing = os.pipe()
        try:
            with deferred():
                self._process = programs.start(
                    self._command,
                    self._effects,
                    stdin=Path(f"/proc/self/fd/{reading}"),
                    outlives_us=False,
                )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._requests = writing
        os.set_blocking(writing, False)
        if self._process.stdout is not None:
            with suppress(OSError):  # Room for many frames spares many turns; less does, too.
                fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def _send(self, frame: bytes) -> None:
        """Write a request, which is smaller than the pipe: so it never has to wait."""
        try:
            if os.write(self._requests, frame) == len(frame):
                return
        except (BrokenPipeError, BlockingIOError):
            pass
        self._listen(0.5)
        raise _EndedError("takes no request")

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            begin = time.monotonic()
            if self._patience_s <= 0 or not self._listen(self._patience_s):
                if self._process is not None and self._process.poll() is not None:
                    raise _EndedError(f"ended with status {self._process.returncode}")
                raise _EndedError(f"says nothing for {self._settings.limits.silence_s:.0f} s")
            self._patience_s -= time.monotonic() - begin
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _listen(self, patience_s: float) -> bool:
        """Take in what is said on either pipe; False if that is nothing, or the end."""
        process = self._process
        if process is None or process.stdout is None or process.stderr is None:
            return False
        until = time.monotonic() + patience_s
        with selectors.DefaultSelector() as both:
            both.register(process.stdout, selectors.EVENT_READ)
            both.register(process.stderr, selectors.EVENT_READ)
            while (left_s := until - time.monotonic()) > 0 and both.get_map():
                for key, _ in both.select(left_s):
                    data = os.read(key.fd, CHUNK_BYTES)
                    if not data:
                        both.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        self._said = (self._said + data)[-_KEPT_BYTES:]
                    else:
                        self._buffer += data
                        # Who sends at the slowest rate that is allowed, is never impatient with.
                        earned_s = len(data) / max(self._settings.limits.rate_bytes_s, 1e-3)
                        limit_s = self._settings.limits.silence_s
                        self._patience_s = min(limit_s, self._patience_s + earned_s)
                        return True
            if not both.get_map():
                programs.wait(process, timeout_s=2.0)  # It ends; `close` ends it otherwise.
        return False


def clean(words: object) -> str:
    """Return words from outside as they may be shown: one line, no control characters."""
    text = words if isinstance(words, str) else ""
    shown = "".join(one if one.isprintable() else " " for one in text[-4 * _LONGEST_WORDS :])
    return " ".join(shown.split())[-_LONGEST_WORDS:]


def _failure(fields: dict[str, object]) -> ForgeError:
    kind = ERRORS.get(str(fields.get("error")))
    message, hint = clean(fields.get("message")), clean(fields.get("hint"))
    if kind is None or not message:
        raise FrameError("an error that has no name")
    return kind(message, hint=hint or _HINT)
