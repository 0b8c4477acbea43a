"""Write a slot so that it holds no file system until all of it was proved on the disk.

In this order, so that a power cut at any instant leaves the running slot to start, and never a slot
that is half written:

1. The boot environment and the marker let nothing start the slot.
2. One sector is emptied, in which an ext file system says that it is one: now the slot holds none,
   whoever looks at it.
3. All but that sector is written, in any order, and flushed.
4. It is read again from the disk and proved as a whole.
5. That sector is written, flushed and read again. Only now there is a file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from applianceforge.formats import ext
from applianceforge.model.errors import ReadBackError
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot

# The sector with the superblock's magic number: a sector is written or not.
SEAL_AT = ext.SUPERBLOCK_AT
SEAL_BYTES = 512
_SEAL_END = SEAL_AT + SEAL_BYTES
_EMPTY = bytes(SEAL_BYTES)


class Partition(Protocol):
    """A slot's partition, or what stands for it."""

    @property
    def size_bytes(self) -> int:
        """Return its size."""

    def read(self, at_bytes: int, size_bytes: int) -> bytes:
        """Return bytes; fewer where it ends."""

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        """Write bytes, without waiting for the disk."""

    def zero(self, at_bytes: int, size_bytes: int) -> None:
        """Make bytes zeros, without waiting for the disk."""

    def flush(self) -> None:
        """Wait until the disk has all that was written."""

    def read_from_disk(self, size_bytes: int, *, at_bytes: int = 0) -> Iterator[bytes]:
        """Return its first bytes as the disk has them, in chunks, from a multiple of 4096 on."""


Opening = Callable[[Path], AbstractContextManager[Partition]]
# Raises if what the disk has is not what it should have.
Proof = Callable[[Iterator[bytes]], None]


class Unsealed:
    """A slot that is being written.

    Args:
        partition: Its partition.
        device: Where that is, for messages.
        seal: What the sector will hold that is written last, `SEAL_BYTES` from `SEAL_AT` on.
    """

    def __init__(self, partition: Partition, device: Path, seal: bytes) -> None:
        self.device = device
        self._partition, self._seal = partition, seal

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        """Write bytes, but those of the seal."""
        self._partition.write(at_bytes, _with(_EMPTY, at_bytes, content))

    def zero(self, at_bytes: int, size_bytes: int) -> None:
        """Make bytes zeros."""
        self._partition.zero(at_bytes, size_bytes)

    def flush(self) -> None:
        """Wait until the disk has all that was written."""
        self._partition.flush()

    def read(self, at_bytes: int, size_bytes: int) -> bytes:
        """Return bytes as they will be once it is sealed."""
        return bytes(_with(self._seal, at_bytes, self._partition.read(at_bytes, size_bytes)))

    def read_from_disk(self, size_bytes: int, at_bytes: int = 0) -> Iterator[bytes]:
        """Return its first bytes as they will be once it is sealed, read from the disk.

        Args:
            size_bytes: How many of its first bytes.
            at_bytes: Begin there, a multiple of 4096.

        Raises:
            ReadBackError: The sector of the seal is not empty.
        """
        for chunk in self._partition.read_from_disk(size_bytes, at_bytes=at_bytes):
            if any(chunk[max(SEAL_AT - at_bytes, 0) : max(_SEAL_END - at_bytes, 0)]):
                raise not_kept(self.device)
            yield bytes(_with(self._seal, at_bytes, chunk))
            at_bytes += len(chunk)

    def seal(self, size_bytes: int, proof: Proof, proved_bytes: int = 0) -> None:
        """Prove what was written, and make a file system of it.

        Args:
            size_bytes: Of the file system.
            proof: Is given all its bytes as the disk has them, but those that were proved.
            proved_bytes: So many of the first bytes were flushed, and read from the disk since.

        Raises:
            ReadBackError: The disk does not keep what is written.
        """
        self._partition.flush()
        proof(self.read_from_disk(size_bytes, proved_bytes))
        self._partition.write(SEAL_AT, self._seal)
        self._partition.flush()
        if b"".join(self._partition.read_from_disk(_SEAL_END))[SEAL_AT:] != self._seal:
            self._partition.write(SEAL_AT, _EMPTY)
            self._partition.flush()
            raise not_kept(self.device)


def begin(loader: Loader, slot: Slot, partition: Partition, device: Path, seal: bytes) -> Unsealed:
    """Let nothing start a slot any more, nor take what it holds for a file system.

    Args:
        loader: The boot environment.
        slot: The slot that does not run.
        partition: Its partition.
        device: Where that is, for messages.
        seal: What `Unsealed.seal` will write.

    Raises:
        SlotError: The other slot is not good.
        BootEnvironmentError: The environment cannot be read or written.
    """
    loader.begin_writing(slot)
    partition.write(SEAL_AT, _EMPTY)
    partition.flush()
    return Unsealed(partition, device, seal)


def not_kept(device: Path, evidence: tuple[str, ...] = ()) -> ReadBackError:
    """Return the error for a disk that does not hold what was written to it."""
    return ReadBackError(
        f"{device} does not hold what was written to it",
        hint="the disk is failing: check it with dmesg and smartctl -a, and replace it; the slot"
        " that runs is untouched",
        evidence=evidence,
    )


def _with(seal: bytes, at_bytes: int, content: bytes | memoryview) -> bytes | memoryview:
    """Return bytes from a place of a slot, with other ones where the seal is."""
    first, end = max(SEAL_AT, at_bytes), min(_SEAL_END, at_bytes + len(content))
    if first >= end:
        return content
    patched = bytearray(content)
    patched[first - at_bytes : end - at_bytes] = seal[first - SEAL_AT : end - SEAL_AT]
    return bytes(patched)
