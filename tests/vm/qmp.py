"""Speak to a running QEMU: a small synchronous client of its machine protocol.

Each message is one line of JSON. QEMU greets, the client asks for the capabilities, and then each
command gets one answer; events may come at any time between them, and are kept.

Source: QEMU 7.2, docs/interop/qmp-spec.txt.
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GREETING_S = 30.0
_ANSWER_S = 120.0


class QmpError(Exception):
    """QEMU refused a command, ended, or did not answer in time."""


@dataclass(frozen=True)
class Event:
    """What QEMU told by itself.

    Attributes:
        name: Such as SHUTDOWN or RESET.
        data: What belongs to it.
    """

    name: str
    data: Mapping[str, Any]


class Qmp:
    """A connection to one QEMU.

    Args:
        connection: A stream socket, not greeted yet.
        log: Gets every message, for those who look into a failure.
    """

    def __init__(self, connection: socket.socket, log: Path | None = None) -> None:
        self._connection = connection
        self._log = log
        self._received = b""
        self._events: deque[Event] = deque()
        self._last_id = 0
        try:
            greeting = self._message(time.monotonic() + _GREETING_S)
            if greeting is None or "QMP" not in greeting:
                raise QmpError(f"this is no greeting of QEMU: {greeting}")
            self.version: dict[str, int] = greeting["QMP"]["version"]["qemu"]
            self.command("qmp_capabilities")
        except QmpError:
            connection.close()
            raise

    def close(self) -> None:
        """End the connection; QEMU goes on."""
        self._connection.close()

    def command(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = _ANSWER_S,
    ) -> Any:
        """Run a command, and return what it answers.

        Raises:
            QmpError: It was refused, QEMU ended, or the time is over.
        """
        self._last_id += 1
        request: dict[str, Any] = {"execute": name, "id": self._last_id}
        if arguments:
            request["arguments"] = arguments
        line = json.dumps(request)
        self._note("> " + line)
        until = time.monotonic() + timeout_s
        try:
            self._connection.settimeout(timeout_s)
            self._connection.sendall(line.encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{name}: QEMU does not listen: {error}") from error
        while True:
            answer = self._message(until)
            if answer is None:
                raise QmpError(f"{name}: no answer within {timeout_s:g} s")
            if "event" in answer:
                self._events.append(Event(answer["event"], answer.get("data", {})))
            elif answer.get("id") == self._last_id or "id" not in answer:
                if "error" in answer:
                    refusal = answer["error"]
                    raise QmpError(f"{name}: {refusal['class']}: {refusal['desc']}")
                return answer["return"]
            # Anything else is the late answer to a command that was given up.

    def monitor(self, line: str, *, timeout_s: float = _ANSWER_S) -> str:
        """Run a command of the monitor that people use; return what it says."""
        arguments = {"command-line": line}
        said: str = self.command("human-monitor-command", arguments, timeout_s=timeout_s)
        return said

    def events(self) -> list[Event]:
        """Return what happened since the last call, without waiting.

        Raises:
            QmpError: QEMU ended, and all that it told before was returned.
        """
        try:
            while (message := self._message(time.monotonic())) is not None:
                if "event" in message:
                    self._events.append(Event(message["event"], message.get("data", {})))
        except QmpError:
            if not self._events:
                raise
        found = list(self._events)
        self._events.clear()
        return found

    def wait_for_event(self, name: str, *, timeout_s: float) -> Event:
        """Return the next event of a name; others before it are let go.

        Raises:
            QmpError: It did not come in time, or QEMU ended.
        """
        until = time.monotonic() + timeout_s
        while True:
            while self._events:
                event = self._events.popleft()
                if event.name == name:
                    return event
            message = self._message(until)
            if message is None:
                raise QmpError(f"the event {name} did not come within {timeout_s:g} s")
            if "event" in message:
                self._events.append(Event(message["event"], message.get("data", {})))

    def _message(self, until: float) -> dict[str, Any] | None:
        """Return the next message, or None if none came until then."""
        while b"\n" not in self._received:
            # Not 0, which would mean to never wait, and end in another exception.
            self._connection.settimeout(max(until - time.monotonic(), 0.000_1))
            try:
                part = self._connection.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise QmpError(f"QEMU is gone: {error}") from error
            if not part:
                raise QmpError("QEMU is gone")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        self._note("< " + line.decode(errors="replace").strip())
        try:
            message = json.loads(line)
        except ValueError as error:
            raise QmpError(f"this is no message of QEMU: {line[:200]!r}") from error
        if not isinstance(message, dict):
            raise QmpError(f"this is no message of QEMU: {line[:200]!r}")
        return message

    def _note(self, line: str) -> None:
        if self._log is not None:
            with self._log.open("a") as stream:
                stream.write(f"{time.strftime('%H:%M:%S')} {line}\n")
