"""Where the files of a repository come from: a server, a directory, a USB stick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from applianceforge.model.errors import ServerAnswerError

CHUNK_BYTES = 1 << 16

_LONGEST_PATH = 500


class MissingFileError(ServerAnswerError):
    """The server has no such file, or does not give it to us."""


class Source(Protocol):
    """The files of a repository, by their paths below its root."""

    @property
    def received_bytes(self) -> int:
        """Return how many bytes of bodies came in so far."""

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return a file, or a part of it, in chunks of at most 64 KiB.

        A source does one thing at a time: an iterator that was not read to its end is worth
        nothing after the next call.

        Args:
            path: Below the repository's root, such as `metadata/timestamp.json`.
            largest_bytes: More is an error, however much the server sends.
            at_bytes: Where to begin.
            size_bytes: How much; None is to its end.

        Raises:
            NetworkError: The server cannot be reached, is too slow, or went away.
            ServerAnswerError: It sends elsewhere, or what was not asked for; MissingFileError if
                it has no such file.
            PayloadError: More came than was asked for, or less.
        """


def checked_path(path: str) -> str:
    """Return a path of a repository, or refuse one that leads out of it.

    Raises:
        ServerAnswerError: It is absolute, has an empty part, `.` or `..`, or odd characters.
    """
    parts = path.split("/")
    if (
        len(path) > _LONGEST_PATH
        or not (path.isascii() and path.isprintable())
        or any(odd in path for odd in "\\?#%:")
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise ServerAnswerError(
            f"the repository names a file {path[:80]!r}, which is no path inside it",
            hint="tell your vendor: the repository was made wrongly",
        )
    return path


def read_whole(
    source: Source, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
) -> bytes:
    """Return a small file, or a part of one, in one piece; as `Source.fetch` otherwise."""
    return b"".join(source.fetch(path, largest_bytes, at_bytes, size_bytes))
