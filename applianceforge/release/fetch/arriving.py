"""Take frames out of the answer of a source, which comes in chunks of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from applianceforge.model.errors import PayloadError


class Arriving:
    """The bytes of an answer, read forward.

    Args:
        chunks: What the source sends.
        at_bytes: Where the answer begins in the file.
        told: Is told of the bytes of each chunk.
    """

    def __init__(self, chunks: Iterator[bytes], at_bytes: int, told: Callable[[int], None]) -> None:
        self._chunks, self._told = chunks, told
        self._left = b""
        self._at_bytes = at_bytes

    def read(self, at_bytes: int, size_bytes: int) -> bytes:
        """Return bytes of the file, and forget all that lies before them.

        Raises:
            PayloadError: The answer ends before.
        """
        self._take(at_bytes - self._at_bytes)
        return self._take(size_bytes)

    def end(self) -> None:
        """Let the source see the end of its answer.

        Raises:
            PayloadError: More comes than was asked for.
        """
        if self._left or next(self._chunks, b""):
            raise PayloadError(
                "the source sends more than it was asked for",
                hint="tell your vendor: the server is broken",
            )

    def _take(self, size_bytes: int) -> bytes:
        parts = [self._left]
        held = len(self._left)
        while held < size_bytes:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise PayloadError(
                    "the payload was cut short",
                    hint="run the same command again: what was proved is not fetched again",
                )
            self._told(len(chunk))
            parts.append(chunk)
            held += len(chunk)
        last = parts.pop()
        used = len(last) - (held - size_bytes)
        self._left = last[used:]
        self._at_bytes += size_bytes
        return b"".join((*parts, last[:used]))
