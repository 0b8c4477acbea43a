"""Know which blocks of a new file system are there already, and where others are wanted.

Memory is 29 to 37 bytes for each block of 4 KiB, 2.8 MB for a slot of 346 MB: digests, a table from
the first bytes of a digest to a block, and a chain through all blocks that are alike.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator

from applianceforge.release.index import BLOCK_BYTES, DIGEST_BYTES, Index, Run

_ZEROS = bytes(BLOCK_BYTES)
# As much as is read at once: a slot that was never written is looked at in no time.
_ZERO_CHUNK = bytes(1 << 20)
# No digest in practice: to find a block with it takes 2^128 tries.
ZEROS_DIGEST = bytes(DIGEST_BYTES)
_WORDS = DIGEST_BYTES // 4


def digests_of(content: bytes) -> bytes:
    """Return the digests of whole blocks, one after the other; that of zeros is zeros."""
    if content == _ZERO_CHUNK:
        return ZEROS_DIGEST * (len(content) // BLOCK_BYTES)
    sha256 = hashlib.sha256
    blocks = (
        content[at : at + BLOCK_BYTES]
        for at in range(0, len(content) - BLOCK_BYTES + 1, BLOCK_BYTES)
    )
    return b"".join(
        ZEROS_DIGEST if block == _ZEROS else sha256(block).digest()[:DIGEST_BYTES]
        for block in blocks
    )


class Blocks:
    """The blocks of a file system that is to be, and which of them are there.

    It may be told of blocks by several threads at once.
    """

    def __init__(self, index: Index) -> None:
        self.count = index.blocks
        expected = bytearray(index.blocks * DIGEST_BYTES)
        at = 0
        for run in index.filled():
            size = run.blocks * DIGEST_BYTES
            first = run.first * DIGEST_BYTES
            expected[first : first + size] = index.digests[at : at + size]
            at += size
        self._expected = bytes(expected)
        self._there = bytearray(index.blocks)
        self._table = array("I")
        self._alike = array("I")

    def are(self, run: Run, digests: bytes) -> bool:
        """Tell whether blocks with these digests are what belongs there."""
        return self._expected[run.first * DIGEST_BYTES : run.end * DIGEST_BYTES] == digests

    def compare(self, first: int, digests: bytes) -> None:
        """Note which blocks of a run are there, by the digests of what lies there."""
        count = min(len(digests) // DIGEST_BYTES, self.count - first)
        if self.are(Run(first, count), digests[: count * DIGEST_BYTES]):
            self.note(Run(first, count))
            return
        expected = self._expected
        at = first * DIGEST_BYTES
        for number in range(count):
            offset = number * DIGEST_BYTES
            digest = digests[offset : offset + DIGEST_BYTES]
            if expected[at + offset : at + offset + DIGEST_BYTES] == digest:
                self._there[first + number] = 1

    def note(self, run: Run) -> None:
        """Note that blocks are there now."""
        self._there[run.first : run.end] = b"\1" * run.blocks

    @property
    def there(self) -> int:
        """Return how many are there."""
        return self._there.count(1)

    @property
    def first_missing(self) -> int:
        """Return the first block that is not there; the number of all if none is missing."""
        found = self._there.find(0)
        return self.count if found < 0 else found

    def is_missing(self, run: Run) -> bool:
        """Tell whether any block of a run is not there."""
        return self._there.find(0, run.first, run.end) >= 0

    def missing(self, run: Run) -> Iterator[Run]:
        """Return what is not there of a run, as runs in order."""
        at = run.first
        while (first := self._there.find(0, at, run.end)) >= 0:
            end = self._there.find(1, first, run.end)
            at = run.end if end < 0 else end
            yield Run(first, at - first)

    def look_out(self) -> None:
        """Prepare `wanted` for all blocks that are missing now and are not zeros."""
        size = 1 << (2 * self.count - 1).bit_length()
        self._table = array("I", bytes(4 * size))
        self._alike = array("I", bytes(4 * self.count))
        heads = array("I", self._expected)[::_WORDS]
        expected, table, mask = self._expected, self._table, size - 1
        for run in self.missing(Run(0, self.count)):
            for block in range(run.first, run.end):
                at = block * DIGEST_BYTES
                digest = expected[at : at + DIGEST_BYTES]
                if digest == ZEROS_DIGEST:
                    continue
                place = heads[block] & mask
                while other := table[place]:
                    at = (other - 1) * DIGEST_BYTES
                    if expected[at : at + DIGEST_BYTES] == digest:
                        self._alike[block] = other
                        break
                    place = (place + 1) & mask
                table[place] = block + 1

    def wanted(self, digests: bytes) -> Iterator[tuple[Run, int]]:
        """Return what is missing and lies elsewhere, as runs with the number of the first there.

        Args:
            digests: Of blocks that lie one after the other somewhere else.
        """
        # By how far each lies from here: what is in order in both places becomes one run.
        found = self._found(digests)
        pairs = sorted((block - number, block) for block, number in found.items())
        first = blocks = apart = 0
        for distance, block in pairs:
            if blocks and (distance, block) == (apart, first + blocks):
                blocks += 1
                continue
            if blocks:
                yield Run(first, blocks), first - apart
            first, blocks, apart = block, 1, distance
        if blocks:
            yield Run(first, blocks), first - apart

    def _found(self, digests: bytes) -> dict[int, int]:
        found: dict[int, int] = {}
        expected, table, alike, there = self._expected, self._table, self._alike, self._there
        mask = len(table) - 1
        for number, head in enumerate(array("I", digests)[::_WORDS]):
            place = head & mask
            while block := table[place]:
                at, offset = (block - 1) * DIGEST_BYTES, number * DIGEST_BYTES
                if expected[at : at + DIGEST_BYTES] == digests[offset : offset + DIGEST_BYTES]:
                    while block:
                        if not there[block - 1]:
                            found[block - 1] = number
                        block = alike[block - 1]
                    break
                place = (place + 1) & mask
        return found
