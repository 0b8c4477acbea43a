"""Know at every moment whether a part of a disk holds what it should, by its changes alone."""

from __future__ import annotations

from collections.abc import Sequence

from tests.vm.crash_states import SECTOR_BYTES, Disk


class Region:
    """A part of a disk, compared with what it should hold.

    Its digest would have to be taken anew for each of thousands of states; here only the sectors
    that changed are compared again, and equal is equal to the byte.

    Args:
        disk: The whole disk.
        first_byte: Where it begins; at a sector.
        expected: What it should hold; it may end within a sector.
    """

    def __init__(self, disk: Disk, first_byte: int, expected: bytes | memoryview) -> None:
        self._disk = disk
        self._first = first_byte
        self._expected = memoryview(expected)
        self._wrong = bytearray(-(-len(expected) // SECTOR_BYTES))
        self.wrong_sectors = 0
        self.changed(first_byte, len(expected))

    @property
    def complete(self) -> bool:
        """Return whether all of it is as it should be."""
        return self.wrong_sectors == 0

    def changed(self, at: int, size_bytes: int) -> None:
        """Look again at what changed, by its place on the disk."""
        start = max(at - self._first, 0) // SECTOR_BYTES
        end = min(-(-(at + size_bytes - self._first) // SECTOR_BYTES), len(self._wrong))
        if start >= end:
            return
        self.wrong_sectors -= self._wrong.count(1, start, end)
        found = self._disk[self._first + start * SECTOR_BYTES : self._first + end * SECTOR_BYTES]
        expected = bytes(self._expected[start * SECTOR_BYTES : end * SECTOR_BYTES])
        if found[: len(expected)] == expected:
            self._wrong[start:end] = bytes(end - start)
            return
        marks = bytes(_marks(found, expected))
        self._wrong[start:end] = marks
        self.wrong_sectors += marks.count(1)


def _marks(found: bytes | bytearray, expected: bytes) -> Sequence[int]:
    return [
        found[at : at + len(part)] != part
        for at in range(0, len(expected), SECTOR_BYTES)
        for part in (expected[at : at + SECTOR_BYTES],)
    ]
