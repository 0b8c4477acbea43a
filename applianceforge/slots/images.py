"""Slot images: an ext4 file system in a file, as it is or compressed by zstd."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from applianceforge.formats import ext
from applianceforge.formats.ext_files import Reader, Reading
from applianceforge.model.errors import SlotError
from applianceforge.slots import description, layout
from applianceforge.slots.description import Description
from applianceforge.system.files import named_errors, open_seekable

CHUNK_BYTES = 1 << 20
_LARGEST_DESCRIPTION_BYTES = 1 << 16
# As far as an image says how large it is, for the message that it is too large.
_LEAST_LOOKED_AT_BYTES = 1 << 24
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# More than zstd -19 asks for; what it takes is memory on a small box.
_LARGEST_WINDOW_BYTES = 1 << 25
# What GRUB 2.06 reads without doubt: file types, meta groups, extents, 64 bits, flexible groups.
_READABLE_BY_GRUB = 0x2 | 0x10 | ext.INCOMPATIBLE_EXTENTS | ext.INCOMPATIBLE_64BIT | 0x200


class Image:
    """A slot image in a file.

    Raises:
        SettingsError: It cannot be read.
        SlotError: It is compressed, and damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with named_errors(path, "read"), open(open_seekable(path), "rb") as stream:
            self.compressed = stream.read(4) == _ZSTD_MAGIC

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it at its beginning, to be read only forward."""
        with named_errors(self.path, "read"), open(open_seekable(self.path), "rb") as stream:
            if not self.compressed:
                yield stream
                return
            try:
                unpacking = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)
                with unpacking.stream_reader(stream, read_across_frames=True) as reader:
                    yield io.BufferedReader(_Raw(reader), CHUNK_BYTES)
            except zstandard.ZstdError as error:
                raise SlotError(
                    f"{self.path} cannot be decompressed: {error}",
                    hint="it is damaged or cut short, or made with a window above"
                    f" {_LARGEST_WINDOW_BYTES >> 20} MiB: fetch or build it again",
                ) from error

    def chunks(self) -> Iterator[bytes]:
        """Return its bytes, decompressed, in chunks of 1 MiB."""
        with self.opened() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


class _Raw(io.RawIOBase):
    """A stream of zstandard as one that can be buffered."""

    def __init__(self, reader: zstandard.ZstdDecompressionReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        chunk = self._reader.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Places:
    """Bytes at any place of an image that is only read forward.

    What is asked for lies mostly in ascending order; else it is read from its beginning again.
    """

    def __init__(self, image: Image, room_bytes: int) -> None:
        self._image = image
        self._room_bytes = max(room_bytes, _LEAST_LOOKED_AT_BYTES)
        self._kept: dict[int, bytes] = {}
        self._chunks = image.chunks()
        self._next = 0

    def read(self, at: int, size: int) -> bytes:
        found = bytearray()
        # A few bytes can be made to unpack to any number: no farther than a slot reaches.
        size = min(size, self._room_bytes - at)
        while size > 0:
            number, offset = divmod(at, CHUNK_BYTES)
            part = self._chunk(number)[offset : offset + size]
            if not part:
                break
            found += part
            at, size = at + len(part), size - len(part)
        return bytes(found)

    def _chunk(self, number: int) -> bytes:
        if number in self._kept:
            return self._kept[number]
        if number < self._next:
            self._chunks, self._next = self._image.chunks(), 0
        chunk = b""
        while self._next <= number:
            chunk = next(self._chunks, b"")
            if not chunk:
                return b""
            self._next += 1
        if len(self._kept) >= 8:
            self._kept.pop(next(iter(self._kept)))
        self._kept[number] = chunk
        return chunk


def look_at_image(image: Image, room_bytes: int) -> tuple[Description, int]:
    """Return what an image says of itself, and the bytes of its file system.

    Args:
        image: The image.
        room_bytes: The size of the slot; a compressed image is not unpacked any farther.

    Raises:
        SlotError: It is no slot image, or GRUB could not start it.
    """
    if image.compressed:
        return look_at(_Places(image, room_bytes).read, str(image.path), room_bytes)
    with image.opened() as stream:

        def read(at: int, size: int) -> bytes:
            stream.seek(at)
            return stream.read(size)

        return look_at(read, str(image.path), room_bytes)


def too_large(what: str, size_bytes: int, room_bytes: int) -> SlotError:
    """Return the error for an image of at least so many bytes."""
    return SlotError(
        f"{what} has {size_bytes} bytes or more, and the slot only {room_bytes}",
        hint="it was made for larger slots: take an image for this appliance",
    )


def look_at(read: Reading, what: str, room_bytes: int | None = None) -> tuple[Description, int]:
    """Return what a slot says of itself, and the bytes of its file system.

    Args:
        read: Returns bytes of it.
        what: What messages call it.
        room_bytes: What it must fit into; None is not known.

    Raises:
        SlotError: It is no slot, or GRUB could not start it.
    """
    reader = Reader(read, what)
    superblock = reader.superblock
    if room_bytes is not None and superblock.size_bytes > room_bytes:
        raise too_large(what, superblock.size_bytes, room_bytes)
    unknown = superblock.incompatible & ~(_READABLE_BY_GRUB | ext.INCOMPATIBLE_RECOVER)
    if unknown:
        raise SlotError(
            f"{what} has features that GRUB cannot read ({unknown:#x})",
            hint="make the file system without them",
        )
    if not superblock.journal_is_empty:
        raise SlotError(
            f"{what} was not cleanly unmounted: its journal must be replayed",
            hint="an image is never mounted for writing: build it again",
        )
    for name in (layout.KERNEL, layout.INITRD):
        reader.require(name)
    data = reader.file(layout.DESCRIPTION, _LARGEST_DESCRIPTION_BYTES)
    return description.decode(data, f"{layout.DESCRIPTION} of {what}"), superblock.size_bytes
