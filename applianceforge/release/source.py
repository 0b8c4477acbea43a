"""Where the files of a repository come from: a server, a directory, a USB stick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Source(Protocol):
    """The files of a repository, by their paths below its root."""

    @property
    def received_bytes(self) -> int:
        """Return how many bytes of bodies came in so far."""

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return a file, or a part of it, in chunks of at most 64 KiB.

        Args:
            path: Below the repository's root, such as `metadata/timestamp.json`.
            largest_bytes: More is an error, however much the server sends.
            at_bytes: Where to begin.
            size_bytes: How much; None is to its end.

        Raises:
            NetworkError: The server cannot be reached, is too slow, or went away.
            ServerAnswerError: It has no such file, or sends elsewhere; `status` 404 is told apart.
            PayloadError: More came than was asked for, or less.
        """
