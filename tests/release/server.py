"""A repository's server on loopback that can do wrong, and knows what it sent.

    with Server(directory, [Fault(Kind.CUT, "targets/*", at_bytes=100, times=1)]) as server:
        HttpSource(server.url)...
        assert server.happened(Kind.CUT) == 1

For a virtual machine or another process: `python -m tests.release.server DIR --port N --log FILE`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import unquote, urlsplit

_CHUNK_BYTES = 1 << 16
FOREVER = -1
_SETTLED_S = 70  # Longer than an answer waits for whoever does not read it.


class Kind(Enum):
    """What a server does wrong."""

    STATUS = "status"  # it answers with `number`
    REDIRECT = "redirect"  # it sends to `text`
    HANG_UP = "hang-up"  # it closes the connection without an answer
    HANG = "hang"  # it takes the request and says nothing
    RESET = "reset"  # it resets the connection after `at_bytes` of the body
    CUT = "cut"  # it closes the connection after `at_bytes` of the body, having promised all
    SHORT = "short"  # the file has `at_bytes` only, and the answer says so
    CHANGE = "change"  # the byte at `at_bytes` is another
    REPLACE = "replace"  # the file is `content`
    ENDLESS = "endless"  # after the file comes more and more, without a promised length
    LONGER = "longer"  # the file is followed by `number` bytes, and the answer says so
    SLOW = "slow"  # after `at_bytes`, it sends `number` bytes a second
    SLOW_HEADERS = "slow-headers"  # it sends the answer's head a byte every 1/`number` s
    ENDLESS_HEADERS = "endless-headers"  # its answer's head never ends
    WRONG_LENGTH = "wrong-length"  # it promises `number` bytes more than it has
    WRONG_RANGE = "wrong-range"  # it says that the part begins `number` bytes later
    NO_RANGE = "no-range"  # it sends the whole file, whatever part was asked for
    GZIP = "gzip"  # it packs the file, which nobody asked for
    GARBAGE = "garbage"  # it does not speak HTTP
    DATE = "date"  # it says that the time is `text`


@dataclass(frozen=True)
class Fault:
    """Something that the server does wrong.

    Attributes:
        kind: What.
        path: To which files, as a pattern such as `metadata/*.root.json`.
        times: To how many requests; then it does right again.
        skip: How many requests for such a file are served well before.
    """

    kind: Kind
    path: str = "*"
    at_bytes: int = 0
    number: int = 0
    text: str = ""
    content: bytes = b""
    times: int = FOREVER
    skip: int = 0


class Entry(NamedTuple):
    """A request, and the bytes of the body that were sent."""

    method: str
    path: str
    range: str
    status: int
    bytes_sent: int


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that a client went away is what many tests are about."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner._opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.owner._closed(request)
        super().shutdown_request(request)


class Server:
    """Serve a directory's files over HTTP/1.1 on loopback, from threads of our own.

    Attributes:
        log: What was asked for and sent, in the order of the answers' ends.
        asked: The paths that were asked for, in the order of the questions.
        headers: Of each request.
        connections: How many were made.
        tunnel_to: Where CONNECT leads to, whatever it names: this is a proxy then.
    """

    def __init__(
        self,
        directory: Path,
        faults: Sequence[Fault] = (),
        *,
        port: int = 0,
        bind: str = "127.0.0.1",
        log_file: TextIO | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "",
    ) -> None:
        self.directory = directory
        self.log: list[Entry] = []
        self.asked: list[str] = []
        self.connections = 0
        self.headers: list[dict[str, str]] = []
        self.port = port
        self.tunnel_to: tuple[str, int] | None = None
        self._bind, self._tls, self._host = bind, tls, host or bind
        self._faults: list[Fault] = list(faults)
        self._met: dict[Fault, int] = {}
        self._counts: dict[Kind, int] = {}
        self._lock = threading.Lock()
        self._answering = 0
        self._answered = threading.Condition(self._lock)
        self._open: set[Any] = set()
        self._log_file = log_file
        self._server: _Listening | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_ended: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return where the directory is, with a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/"

    @property
    def bytes_sent(self) -> int:
        """Return the bytes of all bodies."""
        return sum(entry.bytes_sent for entry in self.log)

    def settled(self) -> Server:
        """Wait until no answer is being given: who has its last byte may be ahead of the log.

        What was asked for and not begun to be answered is not waited for.
        """
        with self._answered:
            ended = self._answered.wait_for(lambda: self._answering == 0, timeout=_SETTLED_S)
            assert ended, f"of {self.asked[-5:]} one is still being answered"
        return self

    def faults(self, *faults: Fault) -> None:
        """Do these wrong from now on, and nothing else."""
        with self._lock:
            self._faults, self._met, self._counts = list(faults), {}, {}

    def happened(self, kind: Kind) -> int:
        """Return how often it did such a thing since the faults were set."""
        with self._lock:
            return self._counts.get(kind, 0)

    def start(self) -> None:
        """Listen; on the same port as before, if it did."""
        self._stopping.clear()
        server = _Listening((self._bind, self.port), _Answering)
        server.owner = self
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Vanish: nobody listens any more, and what was open is reset."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._server.socket.close()
        self._thread.join()
        with self._lock:
            opened, self._open = list(self._open), set()
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server = self._thread = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be gone while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _opened(self, connection: Any) -> None:
        with self._lock:
            self.connections += 1
            self._open.add(connection)

    def _closed(self, connection: Any) -> None:
        with self._lock:
            self._open.discard(connection)

    def _next_fault(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if not fnmatchcase(path, fault.path):
                    continue
                met = self._met.get(fault, 0)
                self._met[fault] = met + 1
                if met < fault.skip or (fault.times >= 0 and met >= fault.skip + fault.times):
                    continue
                return fault
        return None

    def _did(self, kind: Kind) -> None:
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1

    def _asked_for(self, path: str, headers: dict[str, str]) -> None:
        with self._lock:
            self._answering += 1
            self.asked.append(path)
            self.headers.append(headers)

    def _note(self, entry: Entry) -> None:
        with self._answered:
            self._answering -= 1
            self._answered.notify_all()
            self.log.append(entry)
            if self._log_file is not None:
                print(json.dumps(entry._asdict()), file=self._log_file, flush=True)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: _Listening

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing on standard error."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        fault = getattr(self, "fault", None)
        if fault is not None and fault.kind is Kind.DATE and timestamp is None:
            self.server.owner._did(Kind.DATE)
            return str(fault.text)
        return super().date_time_string(timestamp)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_CONNECT(self) -> None:
        owner = self.server.owner
        owner.asked.append(self.path)
        owner.headers.append(dict(self.headers.items()))
        fault = owner._next_fault(self.path)
        if fault is not None or owner.tunnel_to is None:
            if fault is not None:
                owner._did(fault.kind)
            self._empty(403 if fault is None else fault.number)
            return
        with socket.create_connection(owner.tunnel_to) as other:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            ends = {self.connection: other, other: self.connection}
            while ready := select.select(list(ends), (), (), 10)[0]:
                for one in ready:
                    data = one.recv(_CHUNK_BYTES)
                    if not data:
                        return
                    ends[one].sendall(data)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        owner = self.server.owner
        self.path_asked = unquote(urlsplit(self.path).path).lstrip("/")
        self.status, self.sent = 0, 0
        owner._asked_for(self.path_asked, dict(self.headers.items()))
        try:
            self.fault = owner._next_fault(self.path_asked)
            if self.fault is None or not self._instead(self.fault):
                self._file(self.fault, body=body)
        except (OSError, ValueError):
            self.close_connection = True
        finally:
            asked = self.headers.get("Range", "")
            owner._note(Entry(self.command, self.path_asked, asked, self.status, self.sent))

    def _instead(self, fault: Fault) -> bool:
        """Do what is no answer with a file in it; return whether that was all."""
        owner = self.server.owner
        if fault.kind is Kind.STATUS:
            owner._did(fault.kind)
            self._empty(fault.number)
        elif fault.kind is Kind.REDIRECT:
            owner._did(fault.kind)
            self._empty(fault.number or 302, (("Location", fault.text),))
        elif fault.kind is Kind.HANG_UP:
            owner._did(fault.kind)
            self.close_connection = True
        elif fault.kind is Kind.HANG:
            owner._did(fault.kind)
            self.close_connection = True
            owner._stopping.wait(60)
        elif fault.kind is Kind.GARBAGE:
            owner._did(fault.kind)
            self.close_connection = True
            self.wfile.write(b"\x00\xffSSH-2.0-nothing\r\n\r\n" * 20)
        elif fault.kind is Kind.SLOW_HEADERS:
            self.close_connection = True
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Wait: 1\r\n" * 100_000:
                self.wfile.write(bytes((byte,)))
                owner._did(fault.kind)
                if owner._stopping.wait(1 / fault.number):
                    break
        elif fault.kind is Kind.ENDLESS_HEADERS:
            self.close_connection = True
            owner._did(fault.kind)
            while not owner._stopping.is_set():
                # Heads that announce another one: a client that skips them never ends.
                self.wfile.write(b"HTTP/1.1 100 Continue\r\nX-More: 1\r\n\r\n" * 100)
        else:
            return False
        return True

    def _empty(self, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, fault: Fault | None, *, body: bool) -> None:
        owner = self.server.owner
        path = owner.directory / self.path_asked
        replaced = fault is not None and fault.kind is Kind.REPLACE
        if not replaced and (".." in self.path_asked.split("/") or not path.is_file()):
            self._empty(404)
            return
        kind = fault.kind if fault is not None else None
        edit = fault if kind in (Kind.SHORT, Kind.CHANGE, Kind.REPLACE, Kind.LONGER) else None
        content = None if edit is None else self._edited(edit, path)
        size = path.stat().st_size if content is None else len(content)
        first, last = self._part(size)
        headers = [("Accept-Ranges", "bytes")]
        ranged = "Range" in self.headers and kind is not Kind.NO_RANGE
        if kind is Kind.NO_RANGE and "Range" in self.headers:
            owner._did(Kind.NO_RANGE)
        if not ranged:
            first, last = 0, size - 1
        elif first >= size or first > last:
            self._empty(416, (("Content-Range", f"bytes */{size}"),))
            return
        if ranged:
            shift = 0
            if fault is not None and kind is Kind.WRONG_RANGE:
                owner._did(Kind.WRONG_RANGE)
                shift = fault.number
            headers.append(("Content-Range", f"bytes {first + shift}-{last + shift}/{size}"))
        length = last - first + 1
        if kind is Kind.GZIP:
            content = gzip.compress(path.read_bytes()[first : last + 1])
            first, length = 0, len(content)
            owner._did(Kind.GZIP)
            headers.append(("Content-Encoding", "gzip"))
        if fault is not None and kind is Kind.WRONG_LENGTH:
            owner._did(Kind.WRONG_LENGTH)
            headers.append(("Content-Length", str(length + fault.number)))
            self.close_connection = True
        elif kind is Kind.ENDLESS:
            headers.append(("Connection", "close"))
            self.close_connection = True
        else:
            headers.append(("Content-Length", str(length)))
        self.status = 206 if ranged else 200
        self.send_response(self.status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if body:
            self._body(fault, self._chunks(path, content, first, length))

    def _part(self, size: int) -> tuple[int, int]:
        """Return the first and the last byte that were asked for."""
        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            return 0, size - 1
        begin, _, end = asked.removeprefix("bytes=").partition("-")
        return int(begin), min(int(end), size - 1) if end else size - 1

    def _edited(self, fault: Fault, path: Path) -> bytes:
        self.server.owner._did(fault.kind)
        if fault.kind is Kind.REPLACE:
            return fault.content
        content = bytearray(path.read_bytes())
        if fault.kind is Kind.SHORT:
            assert fault.at_bytes < len(content), "a file that is shorter cannot be cut there"
            del content[fault.at_bytes :]
        elif fault.kind is Kind.LONGER:
            content += bytes(fault.number)
        else:
            content[fault.at_bytes] ^= 0x01
        return bytes(content)

    def _chunks(
        self, path: Path, content: bytes | None, first: int, length: int
    ) -> Iterator[bytes]:
        if content is not None:
            yield content[first : first + length]
            return
        with path.open("rb") as stream:
            stream.seek(first)
            while length > 0 and (chunk := stream.read(min(_CHUNK_BYTES, length))):
                length -= len(chunk)
                yield chunk

    def _body(self, fault: Fault | None, chunks: Iterator[bytes]) -> None:
        kind = None if fault is None else fault.kind
        for chunk in chunks:
            if (
                fault is None
                or kind not in (Kind.CUT, Kind.RESET, Kind.SLOW)
                or self.sent + len(chunk) <= fault.at_bytes
            ):
                self._send(chunk)
            else:
                before = fault.at_bytes - self.sent
                self._send(chunk[:before])
                if kind is not Kind.SLOW:
                    self._end_early(fault)
                    return
                self._drip(fault, chunk[before:])
        if kind is Kind.ENDLESS:
            self.server.owner._did(Kind.ENDLESS)
            while not self.server.owner._stopping.is_set():
                self._send(bytes(_CHUNK_BYTES))

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.sent += len(data)

    def _end_early(self, fault: Fault) -> None:
        self.server.owner._did(fault.kind)
        self.close_connection = True
        if fault.kind is Kind.RESET:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _drip(self, fault: Fault, rest: bytes) -> None:
        """Send the rest slowly, ten times a second."""
        owner = self.server.owner
        step = max(1, fault.number // 10)
        for at in range(0, len(rest), step):
            owner._did(Kind.SLOW)
            if owner._stopping.wait(step / fault.number):
                return
            self._send(rest[at : at + step])


def _main() -> None:
    parser = argparse.ArgumentParser(description="Serve a repository and log what was sent.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--log", type=Path, help="one JSON object a line for each request")
    arguments = parser.parse_args()
    log = arguments.log.open("a") if arguments.log else None
    server = Server(arguments.directory, port=arguments.port, bind=arguments.bind, log_file=log)
    with server:
        print(f"serving {arguments.directory} at {server.url}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    _main()
