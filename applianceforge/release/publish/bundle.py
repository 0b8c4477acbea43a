"""Make the bundle of a release from its slot image: an index and a payload, named by their digests.

The same image, references, level and zstd library give the same bytes, however many processors
there are.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import zstandard

from applianceforge.formats import zstd_seekable
from applianceforge.formats.zstd_seekable import Entry
from applianceforge.model.errors import SlotError, WrongBundleError
from applianceforge.preflight.requirements import Release
from applianceforge.release import index, manifest_file
from applianceforge.release.index import BLOCK_BYTES, DIGEST_BYTES, Frame, Index, Run
from applianceforge.release.manifest import Manifest, Part
from applianceforge.release.publish import cutting
from applianceforge.slots import images
from applianceforge.slots.images import Image
from applianceforge.slots.sealing import SEAL_AT, SEAL_BYTES
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.parallel import in_order
from applianceforge.system.progress import Counter, ProgressSink, StepEnded, StepStarted

# Packed once, fetched by every box.
LEVEL = 19
_STEPS = 2
_PUBLIC_FILE = 0o644
_PUBLIC_DIRECTORY = 0o755
_ZEROS = bytes(BLOCK_BYTES)
_ANY_ROOM_BYTES = index.MOST_BLOCKS * BLOCK_BYTES


@dataclass
class _Looked:
    """What is known of an image once it was read."""

    sha256: str
    seal: bytes
    zeros: tuple[Run, ...]
    digests: bytes
    known: list[int]


@dataclass
class _Payload:
    """The payload while it is written."""

    stream: BinaryIO
    frames: list[Frame] = field(default_factory=list)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    size_bytes: int = 0

    def add(self, content: bytes) -> None:
        self.stream.write(content)
        self.sha256.update(content)
        self.size_bytes += len(content)

    def add_frame(self, packed: bytes, blocks: int) -> None:
        first = self.frames[-1].end_block if self.frames else 0
        digest = hashlib.sha256(packed).digest()
        self.frames.append(Frame(self.size_bytes, len(packed), first, blocks, digest))
        self.add(packed)


def make(
    slot: Path,
    release: Release,
    slot_name: str,
    references: Sequence[Path],
    directory: Path,
    effects: Effects,
    progress: ProgressSink,
    *,
    level: int = LEVEL,
) -> Manifest:
    """Write the index and the payload of a bundle, and return its manifest.

    Args:
        slot: The slot image, as it is or compressed by zstd.
        release: What the manifest says of it.
        slot_name: What the image's own description calls it.
        references: Images of earlier releases that boxes may have; the frames are cut so that such
            a box fetches few.
        directory: The root of the repository; the files go into `bundles/` below it.
        effects: Told of each write.
        progress: Shown how far it is.
        level: zstd's.

    Raises:
        SlotError: It is no slot image, or was cut short.
        WrongBundleError: The image is not what the release says.
        DiskFullError: There is no room for the bundle.
    """
    image = Image(slot)
    described, slot_bytes = images.look_at_image(image, _ANY_ROOM_BYTES)
    found = (described.name, described.version, described.architecture)
    if found != (slot_name, release.version, release.architecture):
        raise WrongBundleError(
            f"{slot} holds {described.name} {described.version} for"
            f" {described.architecture.value}, not {slot_name} {release.version} for"
            f" {release.architecture.value}",
            hint="name the image that was built for this release",
        )
    if slot_bytes % BLOCK_BYTES or slot_bytes > _ANY_ROOM_BYTES:
        raise SlotError(
            f"{slot} has {slot_bytes} bytes, which is not a number of blocks of {BLOCK_BYTES}",
            hint="make its file system with such blocks",
        )
    looked = _look(image, slot_bytes, _known(references), progress)
    target = directory / "bundles"
    files.make_directory(target, effects, mode=_PUBLIC_DIRECTORY)
    staging = target / ".payload.new"
    try:
        with files.named_errors(staging, "write"), open(staging, "wb") as stream:
            os.fchmod(stream.fileno(), _PUBLIC_FILE)
            payload = _Payload(stream)
            _pack(image, looked, level, payload, progress)
        files.sync_file(staging, effects)
        part = _part(payload.sha256.hexdigest(), payload.size_bytes, manifest_file.PAYLOAD_SUFFIX)
        files.rename(staging, directory / part.path, effects)
    finally:
        staging.unlink(missing_ok=True)
    content = index.encode(
        Index(slot_bytes, looked.seal, tuple(payload.frames), looked.zeros, looked.digests)
    )
    index_part = _part(
        hashlib.sha256(content).hexdigest(), len(content), manifest_file.INDEX_SUFFIX
    )
    files.write_file(directory / index_part.path, content, effects, mode=_PUBLIC_FILE)
    return Manifest(release, slot_name, slot_bytes, looked.sha256, BLOCK_BYTES, index_part, part)


def _part(sha256: str, size_bytes: int, suffix: str) -> Part:
    return Part(manifest_file.part_path(sha256, suffix), size_bytes, sha256)


def _known(references: Sequence[Path]) -> dict[bytes, int]:
    """Return which references have a block, by its digest."""
    known: dict[bytes, int] = {}
    for number, path in enumerate(references):
        for chunk in Image(path).chunks():
            for at in range(0, len(chunk), BLOCK_BYTES):
                digest = hashlib.sha256(chunk[at : at + BLOCK_BYTES]).digest()[:DIGEST_BYTES]
                known[digest] = known.get(digest, 0) | 1 << number
    return known


def _look(
    image: Image, slot_bytes: int, known: dict[bytes, int], progress: ProgressSink
) -> _Looked:
    whole, digests = hashlib.sha256(), bytearray()
    seen: list[int] = []
    zeros: list[Run] = []
    seal = b""
    with _step("bundle.look", "Look at the image", 1, slot_bytes, progress) as counter:
        for chunk in _content(image, slot_bytes):
            whole.update(chunk)
            seal = seal or chunk[SEAL_AT : SEAL_AT + SEAL_BYTES]
            for at in range(0, len(chunk), BLOCK_BYTES):
                block = chunk[at : at + BLOCK_BYTES]
                if block == _ZEROS:
                    if zeros and zeros[-1].end == len(seen):
                        zeros[-1] = Run(zeros[-1].first, zeros[-1].blocks + 1)
                    else:
                        zeros.append(Run(len(seen), 1))
                    seen.append(cutting.ZEROS)
                else:
                    digest = hashlib.sha256(block).digest()[:DIGEST_BYTES]
                    digests += digest
                    seen.append(known.get(digest, 0))
            counter.advance(add_bytes=len(chunk))
    return _Looked(whole.hexdigest(), seal, tuple(zeros), bytes(digests), seen)


def _content(image: Image, slot_bytes: int) -> Iterator[bytes]:
    """Return the file system's bytes in chunks of whole blocks; the file may be longer."""
    left = slot_bytes
    for chunk in image.chunks():
        yield chunk[:left]
        left -= min(len(chunk), left)
        if not left:
            return
    raise SlotError(
        f"{image.path} ends {left} bytes before its file system does",
        hint="it was cut short: build it again",
    )


def _pack(
    image: Image, looked: _Looked, level: int, payload: _Payload, progress: ProgressSink
) -> None:
    blocks = len(looked.known)
    most_bytes = cutting.most_packed_bytes(blocks)
    workers = os.cpu_count() or 1
    whole = hashlib.sha256()
    title = "Pack the payload"
    with (
        _step("bundle.pack", title, 2, blocks * BLOCK_BYTES, progress) as counter,
        ThreadPoolExecutor(workers) as pool,
    ):
        contents = _frames(image, cutting.cut(looked.known), blocks * BLOCK_BYTES)
        work = partial(_packed, level=level, most_bytes=most_bytes)
        for content, frames in in_order(pool, work, contents, most=2 * workers):
            whole.update(content)
            for packed, held in frames:
                payload.add_frame(packed, held)
                counter.advance(add_bytes=held * BLOCK_BYTES)
    if whole.hexdigest() != looked.sha256:
        raise SlotError(
            f"{image.path} was changed while it was packed",
            hint="let nothing write to it, then make the bundle again",
        )
    payload.add(
        zstd_seekable.encode(
            Entry(one.size_bytes, one.blocks * BLOCK_BYTES) for one in payload.frames
        )
    )


def _frames(image: Image, lengths: Sequence[int], slot_bytes: int) -> Iterator[bytes]:
    """Return the content of each frame."""
    kept = bytearray()
    chunks = _content(image, slot_bytes)
    for blocks in lengths:
        while len(kept) < blocks * BLOCK_BYTES:
            kept += next(chunks)
        yield bytes(kept[: blocks * BLOCK_BYTES])
        del kept[: blocks * BLOCK_BYTES]


def _packed(content: bytes, *, level: int, most_bytes: int) -> list[tuple[bytes, int]]:
    """Return content as frames with the blocks that each holds, none larger than it may be."""
    # A compressor of its own: what an earlier frame left in it must not show in a later one.
    packed = zstandard.ZstdCompressor(level=level, write_checksum=False).compress(content)
    blocks = len(content) // BLOCK_BYTES
    if len(packed) <= most_bytes or blocks == 1:
        return [(packed, blocks)]
    half = blocks // 2 * BLOCK_BYTES
    return [
        *_packed(content[:half], level=level, most_bytes=most_bytes),
        *_packed(content[half:], level=level, most_bytes=most_bytes),
    ]


@contextmanager
def _step(
    key: str, title: str, number: int, total_bytes: int, progress: ProgressSink
) -> Iterator[Counter]:
    progress.emit(StepStarted(key, title, number, _STEPS, total_bytes))
    began = time.monotonic()
    counter = Counter(key, progress)
    yield counter
    progress.emit(StepEnded(key, time.monotonic() - began, counter.done_bytes, 0, ""))
