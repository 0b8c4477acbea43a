"""A guest reaches the port that is served to it, and nothing else of this machine or beyond."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.vm import small
from tests.vm.guest import Guest
from tests.vm.hardware import Hardware, Served
from tests.vm.machine import Machine

pytestmark = pytest.mark.real

_BODY = random.Random(5).randbytes(3_000_000)
_UP = "ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up && route add default gw 10.0.2.2"
_CARD = "virtio-net-pci"


class _Answers(BaseHTTPRequestHandler):
    """Answer everything with the same body."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.asked: list[str] = []


@contextmanager
def _serving(port: int = 0) -> Iterator[_Server]:
    with _Server(port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _guest(built: Guest, hardware: Hardware) -> Iterator[Machine]:
    with Machine(hardware, name="network") as machine:
        machine.start()
        machine.wait_for_agent()
        machine.succeed(_UP)
        yield machine


def _get(place: str) -> str:
    # busybox has no limit of its own for a connection that nobody answers.
    return f"timeout 5 wget -q -O - http://{place}"


def test_one_port_and_nothing_else(small_guest: Guest) -> None:
    kernel = small.kernel_of(small_guest)
    with _serving() as served, _serving() as secret:
        hardware = Hardware(
            memory_mib=96, kernel=kernel, network=_CARD, served=(Served(served.server_port),)
        )
        with _guest(small_guest, hardware) as machine:
            url = hardware.served[0].url.removeprefix("http://")
            # One after the other: each is a connection of its own.
            for number in range(3):
                said = machine.succeed(f"timeout 60 wget -q -O - http://{url}{number} | md5sum")
                assert said.split()[0] == hashlib.md5(_BODY).hexdigest()
            # And side by side.
            get = f"timeout 60 wget -q -O - http://{url}side | md5sum >/tmp/$n"
            machine.succeed(f"for n in 1 2 3 4; do ({get}) & done; wait", timeout_s=120)
            sums = machine.succeed("cat /tmp/1 /tmp/2 /tmp/3 /tmp/4").split()[::2]
            assert sums == [hashlib.md5(_BODY).hexdigest()] * 4
            assert served.asked == ["/0", "/1", "/2", *["/side"] * 4]
            for place in (
                f"10.0.2.2:{secret.server_port}/",
                f"10.0.2.2:{served.server_port}/",
                f"10.0.2.100:{secret.server_port}/",
                f"10.0.2.100:{served.server_port}/",
                f"127.0.0.1:{secret.server_port}/",
                "10.0.2.101/",
                "192.0.2.1/",
            ):
                machine.fail(_get(place))
            machine.fail("timeout 5 nslookup debian.org 10.0.2.3")
        assert secret.asked == []
        assert len(served.asked) == 7


def test_without_the_restriction_the_other_port_is_reached(small_guest: Guest) -> None:
    """A test of the test above: it would see what it says is shut."""
    options = ("-netdev", "user,id=net", "-device", f"{_CARD},netdev=net")
    hardware = Hardware(memory_mib=96, kernel=small.kernel_of(small_guest), options=options)
    with _serving() as secret, _guest(small_guest, hardware) as machine:
        machine.succeed(
            f"timeout 60 wget -q -O /dev/null http://10.0.2.2:{secret.server_port}/here"
        )
        assert secret.asked == ["/here"]


def test_a_port_that_nobody_serves_ends_at_once(small_guest: Guest) -> None:
    with _serving() as gone:
        port = gone.server_port
    hardware = Hardware(
        memory_mib=96, kernel=small.kernel_of(small_guest), network=_CARD, served=(Served(port),)
    )
    with _guest(small_guest, hardware) as machine:
        machine.fail("timeout 30 wget -q -O - http://10.0.2.100/")
        # No verdict for good: whoever listens there later is reached.
        with _serving(port):
            machine.succeed("timeout 60 wget -q -O /dev/null http://10.0.2.100/")
