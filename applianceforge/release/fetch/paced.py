"""Connections that end what is slow, and heads of answers that never end.

A time limit for each read is not enough: a server that sends a byte every few seconds keeps it, and
so does one whose answer's head has no end. So all that comes in over a connection is weighed where
it comes in, below HTTP: bytes against the seconds that were spent on waiting for them.
"""

from __future__ import annotations

import io
import socket
import time
from dataclasses import dataclass
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# A head has a dozen lines; http.client alone would read a hundred of 64 KiB, and any number of
# heads that announce another one ("100 Continue").
_LONGEST_HEAD_BYTES = 1 << 15


class TooSlowError(Exception):
    """Less came within the window than the slowest connection that is worth waiting for."""


class EndlessHeadError(Exception):
    """The head of an answer is too long."""


@dataclass
class Pace:
    """How fast a connection must be, and how it is.

    Attributes:
        rate_bytes_s: At least so much must come in on the average,
        window_s: over so many seconds of waiting; the time that our side takes is not counted.
        read_s: Something must come within so many seconds.
    """

    rate_bytes_s: float
    window_s: float
    read_s: float
    _waited_s: float = 0.0
    _came_bytes: int = 0
    _head_bytes: int | None = None

    def begin_head(self) -> None:
        """Expect the head of an answer; the window begins anew."""
        self._waited_s, self._came_bytes, self._head_bytes = 0.0, 0, 0

    def end_head(self) -> None:
        """Expect the body."""
        self._head_bytes = None

    def patience_s(self) -> float:
        """Return how long the next read may take."""
        return max(0.01, min(self.read_s, self.window_s - self._waited_s))

    def timed_out(self, waited_s: float) -> None:
        """Weigh that nothing came.

        For most of a window, that is a server that went away, and may come back. Otherwise it is
        the end of a window in which something came.

        Raises:
            TooSlowError: And that was too little.
        """
        if waited_s >= self.window_s / 2:
            self._waited_s, self._came_bytes = 0.0, 0
        else:
            self.came(0, waited_s)

    def came(self, count: int, waited_s: float) -> None:
        """Weigh what came in.

        Raises:
            TooSlowError: It was too little in all of the window.
            EndlessHeadError: The head goes on and on.
        """
        self._waited_s += waited_s
        self._came_bytes += count
        if self._head_bytes is not None:
            self._head_bytes += count
            if self._head_bytes > _LONGEST_HEAD_BYTES:
                raise EndlessHeadError
        if self._waited_s >= self.window_s:
            if self._came_bytes < self.rate_bytes_s * self.window_s:
                raise TooSlowError
            self._waited_s, self._came_bytes = 0.0, 0


class _PacedStream(io.RawIOBase):
    """What http.client reads from."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock, self._pace = sock, pace
        # It keeps the socket open for the rest of an answer after the connection was closed.
        self._stream = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        patience_s = self._pace.patience_s()
        self._sock.settimeout(patience_s)
        begin = time.monotonic()
        try:
            count = self._stream.readinto(buffer)
        except TimeoutError:
            self._pace.timed_out(patience_s)
            raise
        self._pace.came(count or 0, time.monotonic() - begin)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _PacedSocket:
    """A connected socket, TLS or not, whose answers are read at a pace."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock, self._pace = sock, pace

    def makefile(self, *_how: object) -> io.BufferedReader:
        return io.BufferedReader(_PacedStream(self._sock, self._pace))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _PacedConnection(HTTPConnection):
    pace: Pace

    def connect(self) -> None:
        super().connect()
        self.sock = cast(socket.socket, _PacedSocket(self.sock, self.pace))

    def getresponse(self) -> Any:
        self.pace.begin_head()
        response = super().getresponse()
        self.pace.end_head()
        return response


class _PacedTlsConnection(_PacedConnection, HTTPSConnection):
    """The same over TLS: what `super` means above comes next here."""


def pools(pace: Pace) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools of connections at a pace, by scheme, for urllib3's pool managers."""
    given = pace

    class Plain(_PacedConnection):
        pace = given

    class Secure(_PacedTlsConnection):
        pace = given

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
