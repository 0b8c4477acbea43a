"""The framing of commands: what is decoded, and what happens when a guest begins anew."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm import channel
from tests.vm.channel import Channel, ChannelError, Done, Message, decode

BOOTS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")


def hello(boot: str) -> bytes:
    return f"\nAFC1 hello {boot}\n".encode()


def answer(name: str, status: int, stdout: bytes = b"", stderr: bytes = b"") -> bytes:
    said = [base64.b64encode(part).decode() or "-" for part in (stdout, stderr)]
    return f"\nAFC1 done {name} {status} {said[0]} {said[1]}\n".encode()


@given(st.binary(), st.binary(), st.integers(0, 255), st.binary(max_size=50))
def test_round_trip(stdout: bytes, stderr: bytes, status: int, noise: bytes) -> None:
    message, rest = decode(noise + answer("a1", status, stdout, stderr) + b"more")
    assert message == Message("done", "a1", Done(status, stdout, stderr))
    assert rest == b"more"


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"\nAFC1 hello 123\n",
        b"\nAFC1 got \n",
        b"\nAFC1 done a1 0 -\n",
        b"\nAFC1 done a1 x - -\n",
        hello(BOOTS[0])[:-1],
        answer("a1", 0)[:-1],
    ],
)
def test_half_a_message_is_none(received: bytes) -> None:
    assert decode(received) == (None, received)


def test_damaged_output_is_an_error() -> None:
    with pytest.raises(ChannelError, match="damaged"):
        decode(b"\nAFC1 done a1 0 abcde -\n")


def serve(path: Path, script: Callable[[socket.socket], None]) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def run() -> None:
        with server, server.accept()[0] as peer:
            script(peer)

    threading.Thread(target=run, daemon=True).start()


def name_of(request: bytes) -> str:
    return request.split()[2].decode()


def open_channel(place: Path, script: Callable[[socket.socket], None]) -> Channel:
    serve(place / "channel", script)
    return Channel(place / "channel", lambda: None)


def test_command_is_sent_again_to_an_agent_that_never_got_it(place: Path) -> None:
    seen = []

    def agent(peer: socket.socket) -> None:
        peer.sendall(hello(BOOTS[0]))
        seen.append(peer.recv(4096))
        peer.sendall(b"\nAFC1 do" + hello(BOOTS[1]))
        seen.append(peer.recv(4096))
        name = name_of(seen[1])
        peer.sendall(f"\nAFC1 got {name}\n".encode() + answer(name, 3, b"\0x\n", b"e"))
        peer.recv(1)

    opened = open_channel(place, agent)
    assert opened.run("script", b"in\0put") == Done(3, b"\0x\n", b"e")
    assert seen[0] == seen[1]
    assert seen[0].endswith(b" 6 6 60\nscriptin\0put")
    assert opened.boot == BOOTS[1]
    opened.close()


def test_command_that_had_begun_is_not_repeated(place: Path) -> None:
    def agent(peer: socket.socket) -> None:
        peer.sendall(hello(BOOTS[0]))
        name = name_of(peer.recv(4096))
        peer.sendall(f"\nAFC1 got {name}\n".encode() + hello(BOOTS[1]))
        peer.recv(1)

    opened = open_channel(place, agent)
    with pytest.raises(ChannelError, match="began anew while a command ran"):
        opened.run("script")
    opened.close()


def test_answer_to_an_older_command_is_left(place: Path) -> None:
    def agent(peer: socket.socket) -> None:
        peer.sendall(hello(BOOTS[0]))
        name = name_of(peer.recv(4096))
        peer.sendall(answer("0000", 1, b"old") + answer(name, 0, b"new"))
        peer.recv(1)

    opened = open_channel(place, agent)
    assert opened.run("script").stdout == b"new"
    opened.close()


def test_silence_has_an_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_GRACE_S", 0.1)

    def agent(peer: socket.socket) -> None:
        peer.sendall(hello(BOOTS[0]))
        while peer.recv(4096):
            pass

    opened = open_channel(place, agent)
    opened.wait_for_agent(timeout_s=5)
    with pytest.raises(ChannelError, match="agent did not come"):
        opened.wait_for_agent(timeout_s=0.05, after=BOOTS[0])
    with pytest.raises(ChannelError, match=r"no answer within .* to: sleep|closed"):
        opened.run("sleep", timeout_s=0.1)
    opened.close()


def test_tick_can_end_the_waiting(place: Path) -> None:
    def tick() -> None:
        raise AssertionError("a panic")

    serve(place / "channel", lambda peer: (peer.recv(1), None)[1])
    opened = Channel(place / "channel", tick)
    with pytest.raises(AssertionError, match="a panic"):
        opened.wait_for_agent(timeout_s=30)
    opened.close()
