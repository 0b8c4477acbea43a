"""Run commands in a guest over a port of its own, apart from every console.

The agent in images/overlay-channel reads requests from the virtio port `PORT` and answers there:

    to the guest    AFC1 run ID SCRIPT_BYTES INPUT_BYTES SECONDS\\n script input
    to the host     AFC1 hello BOOT_ID\\n                        the agent has begun
                    AFC1 got ID\\n                               it will run the script now
                    AFC1 done ID STATUS OUTPUT ERRORS\\n         both base64, "-" if empty

A line feed comes before every AFC1, so that both sides find the next message after a reset in the
middle of one. A request that was not "got" when the agent begins anew is sent again; the agent
leaves out one whose ID it had last. So each script runs once, or its end is told as unknown.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PORT = "org.applianceforge.channel"
_MESSAGE = re.compile(
    rb"AFC1 (?:(hello) ([0-9a-f-]{36})|(got) (\w+)|(done) (\w+) (\d+) (\S+) (\S+))\r?\n"
)
# How long after the guest's own limit an answer may take.
_GRACE_S = 30.0
_TICK_S = 0.5


class ChannelError(AssertionError):
    """The guest did not answer, or began anew while a command ran."""


@dataclass(frozen=True)
class Done:
    """How a command ended in the guest.

    Attributes:
        status: Its exit status; 124 if it was ended as its time was over.
        stdout: What it wrote there.
        stderr: What it wrote there.
    """

    status: int
    stdout: bytes
    stderr: bytes


def encode_request(name: str, script: bytes, stdin: bytes, timeout_s: int) -> bytes:
    """Return the bytes that ask the agent to run a script."""
    return b"\nAFC1 run %s %d %d %d\n%s%s" % (
        *(name.encode(), len(script), len(stdin), timeout_s),
        *(script, stdin),
    )


@dataclass(frozen=True)
class Message:
    """What the agent said: hello with its boot, got with a request, or done with all."""

    verb: str
    subject: str
    done: Done | None = None


def decode(received: bytes) -> tuple[Message | None, bytes]:
    """Return the first whole message, and what comes after it; all before it is noise.

    Raises:
        ChannelError: Output that is no base64.
    """
    found = _MESSAGE.search(received)
    if found is None:
        return None, received
    rest = received[found.end() :]
    hello, boot, got, request, done, name, status, output, errors = found.groups()
    if hello:
        return Message("hello", boot.decode()), rest
    if got:
        return Message("got", request.decode()), rest
    if not done:
        raise ChannelError(f"no message of the agent: {found.group()!r}")
    try:
        said = [
            b"" if part == b"-" else base64.b64decode(part, validate=True)
            for part in (output, errors)
        ]
    except binascii.Error as error:
        raise ChannelError(f"what the agent said is damaged: {error}") from error
    return Message("done", name.decode(), Done(int(status), *said)), rest


class Channel:
    """The host's end.

    Args:
        path: QEMU's socket.
        tick: Called at least every half second while this waits; may raise to end the waiting.
    """

    def __init__(self, path: Path, tick: Callable[[], None]) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.connect(str(path))
        self._tick = tick
        self._received = b""
        self._searched = 0
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self.boot: str | None = None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def resume(self, boot: str | None) -> None:
        """Take it that the agent of that boot listens: the guest was loaded from a snapshot."""
        self.boot = boot
        self._received = b""
        self._searched = 0

    def wait_for_agent(self, *, timeout_s: float, after: str | None = None) -> str:
        """Wait until the agent listens; return the boot that it runs in.

        Args:
            timeout_s: How long.
            after: Not in this boot.
        """
        until = time.monotonic() + timeout_s
        while self.boot is None or self.boot == after:
            message = self._message(until)
            if message is None:
                raise ChannelError(f"the guest's agent did not come within {timeout_s:g} s")
            if message.verb == "hello":
                self.boot = message.subject
        return self.boot

    def run(self, script: str | bytes, stdin: bytes = b"", *, timeout_s: float = 60) -> Done:
        """Run a shell script in the guest.

        Raises:
            ChannelError: No answer, or the guest began anew while it ran.
        """
        self.wait_for_agent(timeout_s=timeout_s + _GRACE_S)
        self._count += 1
        name = f"{self._prefix}{self._count}"
        content = script.encode() if isinstance(script, str) else script
        request = encode_request(name, content, stdin, max(1, round(timeout_s)))
        until = time.monotonic() + timeout_s + _GRACE_S
        self._send(request, until)
        begun = False
        while True:
            message = self._message(until)
            if message is None:
                shown = content.decode(errors="replace")[:200]
                raise ChannelError(f"no answer within {timeout_s + _GRACE_S:g} s to: {shown}")
            if message.verb == "hello":
                self.boot = message.subject
                if begun:
                    raise ChannelError("the guest began anew while a command ran")
                self._send(request, until)
            elif message.subject == name:
                begun = True
                if message.done is not None:
                    return message.done

    def _send(self, content: bytes, until: float) -> None:
        view = memoryview(content)
        while view:
            self._tick()
            self._connection.settimeout(_TICK_S)
            try:
                view = view[self._connection.send(view) :]
            except TimeoutError:
                if time.monotonic() > until:
                    raise ChannelError("the guest does not take what is sent") from None
            except OSError as error:
                raise ChannelError(f"QEMU is gone: {error}") from error

    def _message(self, until: float) -> Message | None:
        while True:
            # A message ends in a line feed: without a new one there is nothing new to find.
            if self._received.find(b"\n", self._searched) >= 0:
                message, self._received = decode(self._received)
                self._searched = 0
                if message is not None:
                    return message
                # Noise is kept until the last line feed only, or it would be searched for ever.
                self._received = self._received[self._received.rfind(b"\n") :]
            self._searched = len(self._received)
            self._tick()
            left_s = until - time.monotonic()
            if left_s <= 0:
                return None
            self._connection.settimeout(min(left_s, _TICK_S))
            try:
                part = self._connection.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError as error:
                raise ChannelError(f"QEMU is gone: {error}") from error
            if not part:
                raise ChannelError("QEMU closed the channel")
            self._received += part
