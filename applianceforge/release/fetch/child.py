"""The process that talks to a server, as a user that may do nothing else.

Started by child_source with pipes as standard input and output, see frames. It holds no secret but
the proxy's password, writes no file, and ends with its owner.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from applianceforge.model.errors import (
    ForgeError,
    NetworkError,
    PayloadError,
    ServerAnswerError,
    SettingsError,
)
from applianceforge.release.fetch import frames
from applianceforge.release.fetch.frames import Frame
from applianceforge.release.fetch.http_source import HttpSource
from applianceforge.release.fetch.limits import HttpSettings, Limits
from applianceforge.release.fetch.source import MissingFileError

# The words of FAILED; the owner knows these and no others. The first that fits counts.
ERRORS: Mapping[str, type[ForgeError]] = {
    "missing": MissingFileError,
    "answer": ServerAnswerError,
    "network": NetworkError,
    "payload": PayloadError,
    "settings": SettingsError,
}

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_MEMORY_BYTES = 512 << 20
_MOST_FILES = 64


def confine() -> None:
    """Give up what fetching does not need.

    Source: prctl(2), getrlimit(2). No file can grow, no core is written, nothing that is executed
    gains privileges, and other processes of the same user cannot look into this one.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def settings_fields(settings: HttpSettings) -> dict[str, Any]:
    """Return settings as SETTINGS carries them."""
    return {
        "url": settings.url,
        "proxy": settings.proxy,
        "ca_file": settings.ca_file,
        "limits": vars(settings.limits),
    }


def _settings_of(fields: dict[str, Any]) -> HttpSettings:
    return HttpSettings(
        fields["url"], fields["proxy"], fields["ca_file"], Limits(**fields["limits"])
    )


def _failed(error: ForgeError) -> bytes:
    word = next(word for word, kind in ERRORS.items() if isinstance(error, kind))
    said = {"error": word, "message": error.message[:2000], "hint": error.hint[:2000]}
    return frames.encode_fields(Frame.FAILED, said)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""

    def exactly(size: int) -> bytes:
        data = requests.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def say(frame: bytes) -> None:
        answers.write(frame)
        answers.flush()

    _, body = frames.read(exactly)
    settings = _settings_of(frames.decode_fields(body))
    source: HttpSource | None = None
    while True:
        _, body = frames.read(exactly)
        asked = frames.decode_fields(body)
        try:
            if source is None:
                source = HttpSource(settings)
            for chunk in source.fetch(
                asked["path"], asked["largest_bytes"], asked["at_bytes"], asked["size_bytes"]
            ):
                say(frames.encode(Frame.DATA, chunk))
        except ForgeError as error:
            say(_failed(error))
            continue
        end = {"received_bytes": source.received_bytes, "server_date_s": source.server_date_s}
        say(frames.encode_fields(Frame.END, end))


def main() -> None:
    """Answer the owner's requests."""
    confine()
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except (EOFError, BrokenPipeError):
        # The owner has ended. What is in the buffer of standard output is for nobody.
        os._exit(0)


if __name__ == "__main__":
    main()
