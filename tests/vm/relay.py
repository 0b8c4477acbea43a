"""Carry one connection of a guest to one port of this machine's loopback.

QEMU starts it for each connection that a guest makes to a `Served` port: the connection is its
standard input and output. It imports nothing of ours, so that it starts in some milliseconds.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

_CHUNK_BYTES = 1 << 16


def _carry(source: socket.socket, target: socket.socket) -> None:
    # Whichever side goes away, the other is to see the end; there is nobody to tell more.
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main(port: int) -> None:
    """Carry both directions until both have ended."""
    guest = socket.socket(fileno=0)
    try:
        server = socket.create_connection(("127.0.0.1", port))
    except OSError:
        return  # Nobody listens: the guest sees its connection end at once.
    with guest, server:
        back = threading.Thread(target=_carry, args=(server, guest), daemon=True)
        back.start()
        _carry(guest, server)
        back.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
