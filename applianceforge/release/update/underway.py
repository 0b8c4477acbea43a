"""Frames on their way to the disk: how many at once, when they are flushed, and proved after that.

What is on its way is what an interruption costs: a kill at most the packed bytes of the largest
frame, a power cut what was not flushed besides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from applianceforge.release.index import BLOCK_BYTES, Frame

# So much is flushed at once if the disk is ready for it; with more it is waited for.
FLUSHED_BYTES = 20 << 20
UNFLUSHED_BYTES = 32 << 20
# So much is unpacked and written at the same time, or one frame.
UNPACKED_BYTES = 8 << 20


class Flushing:
    """Flush what was written, and prove what was flushed, while more is fetched.

    A flush waits for the disk and never for a proof, which takes longer: so what a power cut takes
    back is bounded.

    Args:
        pool: Works at both.
        flush: Waits until the disk has all that was written.
        prove: Is given how many of the first bytes are whole and flushed; never called twice at
            the same time.
        whole_bytes: Tells how many of the first bytes were written.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        flush: Callable[[], None],
        prove: Callable[[int], None],
        whole_bytes: Callable[[], int],
    ) -> None:
        self._pool, self._work, self._prove, self._whole = pool, flush, prove, whole_bytes
        self._proof: Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._unflushed_bytes = 0
        # Taken before the flush, which so has all of it.
        self._whole_bytes = self._whole()
        self._flush = self._pool.submit(self._work)

    def wrote(self, size_bytes: int) -> None:
        """Flush if it is time to, and wait for the disk if it is far behind."""
        self._unflushed_bytes += size_bytes
        late = self._unflushed_bytes >= UNFLUSHED_BYTES
        if not late and (self._unflushed_bytes < FLUSHED_BYTES or not self._flush.done()):
            return
        self._flush.result()
        if self._proof is None or self._proof.done():
            self._proved()
            self._proof = self._pool.submit(self._prove, self._whole_bytes)
        self._begin()

    def end(self) -> None:
        """Wait for what was begun."""
        self._flush.result()
        self._proved()

    def _proved(self) -> None:
        if self._proof is not None:
            self._proof.result()


class Underway:
    """Frames that are fetched, unpacked and written, several at a time and in order.

    Args:
        pool: Unpacks and writes.
        put: Unpacks a frame and writes it.
        wrote: Told of the bytes of each frame, unpacked, once it was written.
        most_bytes: So much may be fetched, packed, and not be written yet.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        put: Callable[[Frame, bytes], None],
        wrote: Callable[[int], None],
        most_bytes: int,
    ) -> None:
        self._pool, self._put, self._wrote, self._most_bytes = pool, put, wrote, most_bytes
        self._frames: deque[tuple[Frame, Future[None]]] = deque()
        self._packed_bytes = self._unpacked_bytes = 0

    def make_room(self, frame: Frame) -> None:
        """Wait until a frame may be fetched."""
        while self._frames and not self._has_room(frame):
            self._take_oldest()

    def _has_room(self, frame: Frame) -> bool:
        unpacked_bytes = self._unpacked_bytes + frame.blocks * BLOCK_BYTES
        packed_bytes = self._packed_bytes + frame.size_bytes
        return packed_bytes <= self._most_bytes and unpacked_bytes <= UNPACKED_BYTES

    def add(self, frame: Frame, packed: bytes) -> None:
        """Take a frame that was fetched."""
        self._packed_bytes += frame.size_bytes
        self._unpacked_bytes += frame.blocks * BLOCK_BYTES
        self._frames.append((frame, self._pool.submit(self._put, frame, packed)))

    def end(self) -> None:
        """Wait until all is written."""
        while self._frames:
            self._take_oldest()

    def _take_oldest(self) -> None:
        frame, future = self._frames.popleft()
        future.result()
        self._packed_bytes -= frame.size_bytes
        self._unpacked_bytes -= frame.blocks * BLOCK_BYTES
        self._wrote(frame.blocks * BLOCK_BYTES)
