"""Install a bundle into the slot that does not run, fetching only what is nowhere on the disk.

While the slot could be started, the smallest frame is fetched before anything is changed: a payload
that is not there costs nobody the system that the slot holds.

1. What the slot holds is compared with the index: what is right is kept. So an installation that
   was cut off goes on where it was, and needs no state but the slot itself.
2. Blocks that the running slot has, wherever they lie in it, are copied; zeros are made.
3. The frames of what is still missing are fetched, each proved before it is unpacked and written.
   Never more than the largest frame's bytes were fetched and are not written yet.
4. All is read again from the disk and proved by the manifest's digest; then the slot is sealed, as
   `slots.sealing` says.

Memory is bounded by a few frames, whatever the size of the slot.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from applianceforge.model.errors import PayloadError, SettingsError, SlotError, WrongBundleError
from applianceforge.release import index as index_codec
from applianceforge.release.fetch.arriving import Arriving
from applianceforge.release.fetch.source import Source
from applianceforge.release.index import BLOCK_BYTES, Frame, Index, Run
from applianceforge.release.manifest import Manifest
from applianceforge.release.requests import requests_for
from applianceforge.release.reuse import Blocks, digests_of
from applianceforge.release.update.underway import Flushing, Underway
from applianceforge.slots import images, sealing, states
from applianceforge.slots.description import Description
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.sealing import Opening, Partition, Unsealed
from applianceforge.slots.states import State
from applianceforge.system.effects import Effects
from applianceforge.system.in_place import InPlace
from applianceforge.system.parallel import ahead
from applianceforge.system.progress import Counter, ProgressSink, StepEnded, StepStarted

_STEPS = 4
# Two that unpack, one that waits for the disk, one that proves what it has, and its reader.
_WORKERS = 5


@dataclass(frozen=True)
class Installed:
    """What was installed, and where it came from.

    Attributes:
        slot: Which slot.
        description: What it says of itself.
        slot_bytes: Of its file system.
        kept_bytes: Were there already.
        copied_bytes: Came from the running slot.
        zeroed_bytes: Were made zeros.
        fetched_bytes: Came from the source, packed.
    """

    slot: Slot
    description: Description
    slot_bytes: int
    kept_bytes: int
    copied_bytes: int
    zeroed_bytes: int
    fetched_bytes: int


def install(
    disk: BootDisk,
    loader: Loader,
    manifest: Manifest,
    index: Index,
    source: Source,
    effects: Effects,
    sink: ProgressSink,
    opening: Opening | None = None,
) -> Installed:
    """Install a bundle into the slot that does not run; it starts only after it is activated.

    Run again after any interruption, it goes on where it was.

    Args:
        disk: The disk that the system runs from; without the running slot's partition nothing is
            copied from it.
        loader: Its boot environment.
        manifest: Of the bundle, proved by its signatures.
        index: Of the bundle.
        source: Where the payload is.
        effects: Told of each write.
        sink: Shown the progress.
        opening: Opens a slot's partition for writing; by default as `InPlace`.

    Raises:
        WrongBundleError: Manifest, index and content do not belong together.
        SlotError: It does not fit, or the running slot is not good.
        PayloadError: The payload was cut short or changed. The slot is not bootable then, and of
            what was proved nothing must be fetched again.
        NetworkError: The source went away; the same.
        ReadBackError: The disk does not keep what is written.
        BootEnvironmentError: The environment cannot be read or written.
        AccessDeniedError: Only root may.
    """
    _require_agreement(manifest, index)
    slot = disk.booted.other
    device = disk.device(slot)
    with (
        _opened(device, effects, opening) as partition,
        ThreadPoolExecutor(_WORKERS, "install") as pool,
    ):
        if manifest.slot_bytes > partition.size_bytes:
            raise images.too_large(
                f"release {manifest.release.version}", manifest.slot_bytes, partition.size_bytes
            )
        asked, environment = 0, loader.read()
        states.begin_writing(environment, slot)  # Refused before anybody is asked.
        if states.state_of(environment, slot) is not State.NOT_BOOTABLE:
            asked = _require_payload(manifest, index, source)
        unsealed = sealing.begin(loader, slot, partition, device, index.seal)
        work = _Installation(manifest, index, source, sink, pool, unsealed, Blocks(index))
        kept = work.compare()
        zeroed, copied = work.copy(_booted(disk), effects)
        fetched = asked + work.fetch()
        described = work.seal()
    return Installed(slot, described, manifest.slot_bytes, kept, copied, zeroed, fetched)


def _require_agreement(manifest: Manifest, index: Index) -> None:
    digest = hashlib.sha256(index_codec.encode(index)).hexdigest()
    said = (manifest.index.sha256, manifest.slot_bytes, manifest.payload.size_bytes)
    if said != (digest, index.slot_bytes, index.payload_bytes):
        raise WrongBundleError(
            "the bundle's manifest and its index do not belong together",
            hint="fetch both again; if it stays so, tell your vendor",
            evidence=(
                f"manifest: index {said[0]}, slot {said[1]} bytes, payload {said[2]} bytes",
                f"index: {digest}, slot {index.slot_bytes} bytes, payload"
                f" {index.payload_bytes} bytes",
            ),
        )


def _require_payload(manifest: Manifest, index: Index, source: Source) -> int:
    """See that the payload is there, and is the index's; return how many bytes that took."""
    frame = min(index.frames, key=lambda one: one.size_bytes)
    path, size_bytes = manifest.payload.path, frame.size_bytes
    packed = b"".join(source.fetch(path, size_bytes, frame.at_bytes, size_bytes))
    if hashlib.sha256(packed).digest() != frame.sha256:
        raise _changed(path, frame, "its digest is another")
    return size_bytes


def _changed(path: str, frame: Frame, why: str) -> PayloadError:
    return PayloadError(
        f"a frame of {path} is not what the index says: {why}",
        hint="run the same command again: what was proved is not fetched again; if it stays so, the"
        " server or what lies between is broken: tell your vendor",
        evidence=(f"{frame.size_bytes} bytes from byte {frame.at_bytes} on",),
    )


def _opened(
    device: Path, effects: Effects, opening: Opening | None
) -> AbstractContextManager[Partition]:
    return InPlace(device, effects) if opening is None else opening(device)


def _booted(disk: BootDisk) -> Path | None:
    return disk.slot_a if disk.booted is Slot.A else disk.slot_b


@dataclass
class _Installation:
    manifest: Manifest
    index: Index
    source: Source
    sink: ProgressSink
    pool: ThreadPoolExecutor
    unsealed: Unsealed
    blocks: Blocks
    whole: hashlib._Hash = field(default_factory=hashlib.sha256)
    proved_bytes: int = 0

    @property
    def slot_bytes(self) -> int:
        return self.manifest.slot_bytes

    def compare(self) -> int:
        """Note what the slot holds already, and return how many bytes that is."""
        with self._step("slot.compare", "Look at what is there", 1, self.slot_bytes) as counter:
            at = 0
            for chunk, digests in self._looked_at(self.unsealed.read_from_disk(self.slot_bytes)):
                self.blocks.compare(at // BLOCK_BYTES, digests)
                at += len(chunk)
                counter.advance(add_bytes=len(chunk))
        return self.blocks.there * BLOCK_BYTES

    def copy(self, booted: Path | None, effects: Effects) -> tuple[int, int]:
        """Make zeros, copy what the running slot has, and return how many bytes of each."""
        with self._step("slot.copy", "Copy from the running system", 2, 0) as counter:
            before = self.blocks.there
            for zeros in self.index.zeros:
                for run in self.blocks.missing(zeros):
                    self.unsealed.zero(run.first * BLOCK_BYTES, run.blocks * BLOCK_BYTES)
                    self.blocks.note(run)
            zeroed = self.blocks.there - before
            if booted is not None and self.blocks.there < self.blocks.count:
                self.blocks.look_out()
                with InPlace(booted, effects, writable=False) as partition:
                    self._copy_from(partition, counter)
        copied = self.blocks.there - before - zeroed
        return zeroed * BLOCK_BYTES, copied * BLOCK_BYTES

    def _copy_from(self, partition: Partition, counter: Counter) -> None:
        readable = _while_readable(partition.read_from_disk(partition.size_bytes))
        for chunk, digests in self._looked_at(readable):
            view = memoryview(chunk)
            for run, number in self.blocks.wanted(digests):
                at = number * BLOCK_BYTES
                self.unsealed.write(
                    run.first * BLOCK_BYTES, view[at : at + run.blocks * BLOCK_BYTES]
                )
                self.blocks.note(run)
                counter.advance(add_bytes=run.blocks * BLOCK_BYTES)

    def fetch(self) -> int:
        """Fetch what is missing, and return how many bytes came in."""
        requests = requests_for(
            frame
            for frame in self.index.frames
            if self.blocks.is_missing(Run(frame.first_block, frame.blocks))
        )
        total = sum(request.size_bytes for request in requests)
        # So much may be fetched and not written: what an interruption costs.
        most = max(frame.size_bytes for frame in self.index.frames)
        with self._step("slot.fetch", "Fetch what is missing", 3, total) as counter:
            flushing = Flushing(
                self.pool,
                self.unsealed.flush,
                self._prove,
                lambda: self.blocks.first_missing * BLOCK_BYTES,
            )
            underway = Underway(self.pool, self._put, flushing.wrote, most)
            for request in requests:
                size_bytes, at_bytes = request.size_bytes, request.at_bytes
                answer = self.source.fetch(
                    self.manifest.payload.path, size_bytes, at_bytes, size_bytes
                )
                arriving = Arriving(answer, at_bytes, lambda size: counter.advance(add_bytes=size))
                for frame in request.frames:
                    underway.make_room(frame)
                    underway.add(frame, arriving.read(frame.at_bytes, frame.size_bytes))
                arriving.end()
            underway.end()
            flushing.end()
        return counter.done_bytes

    def _prove(self, whole_bytes: int) -> None:
        """Prove what is whole at the front, and was flushed."""
        chunks = self.unsealed.read_from_disk(whole_bytes, self.proved_bytes)
        for chunk in ahead(self.pool, chunks):
            self.whole.update(chunk)
            self.proved_bytes += len(chunk)

    def _put(self, frame: Frame, packed: bytes) -> None:
        """Prove a frame, unpack it, and write the blocks of it that are missing."""
        if hashlib.sha256(packed).digest() != frame.sha256:
            raise _changed(self.manifest.payload.path, frame, "its digest is another")
        size_bytes = frame.blocks * BLOCK_BYTES
        # Only now it is looked at, and what it says of its size is not believed either.
        try:
            said = zstandard.frame_content_size(packed)
            if said != size_bytes:
                raise _changed(
                    self.manifest.payload.path, frame, f"it says that it unpacks to {said} bytes"
                )
            content = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size_bytes)
        except zstandard.ZstdError as error:
            raise _changed(self.manifest.payload.path, frame, str(error)) from error
        held = Run(frame.first_block, frame.blocks)
        # Its digest proves all of it; its first and last block show that it belongs here. To prove
        # each block besides would take a third of the time, and the whole is proved at the end.
        for number in (0, frame.blocks - 1):
            block = content[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
            if not self.blocks.are(Run(held.first + number, 1), digests_of(block)):
                raise _changed(
                    self.manifest.payload.path, frame, "it holds other blocks than the index says"
                )
        view = memoryview(content)
        for run in list(self.blocks.missing(held)):
            at = (run.first - frame.first_block) * BLOCK_BYTES
            self.unsealed.write(run.first * BLOCK_BYTES, view[at : at + run.blocks * BLOCK_BYTES])
            self.blocks.note(run)

    def seal(self) -> Description:
        """Prove all that is on the disk, and make a file system of it."""
        with self._step("slot.verify", "Read the slot again", 4, self.slot_bytes) as counter:
            found: list[Description] = []

            def prove(chunks: Iterator[bytes]) -> None:
                counter.advance(add_bytes=self.proved_bytes)
                for chunk in ahead(self.pool, chunks):
                    self.whole.update(chunk)
                    counter.advance(add_bytes=len(chunk))
                if self.whole.hexdigest() != self.manifest.slot_sha256:
                    self._refuse_content()
                found.append(self._described())

            self.unsealed.seal(self.slot_bytes, prove, self.proved_bytes)
        return found[0]

    def _refuse_content(self) -> None:
        """Say whose fault it is that the whole is wrong: the disk's, or the bundle's."""
        fresh = Blocks(self.index)
        at = 0
        for chunk, digests in self._looked_at(self.unsealed.read_from_disk(self.slot_bytes)):
            fresh.compare(at // BLOCK_BYTES, digests)
            at += len(chunk)
        wrong = list(fresh.missing(Run(0, fresh.count)))
        if wrong:
            raise sealing.not_kept(
                self.unsealed.device,
                tuple(f"{one.blocks} blocks from block {one.first} on" for one in wrong[:10]),
            )
        raise WrongBundleError(
            "the bundle's index describes another file system than its manifest",
            hint="tell your vendor: the bundle was made wrongly",
        )

    def _described(self) -> Description:
        what = f"release {self.manifest.release.version}"
        try:
            found, _ = images.look_at(self.unsealed.read, what, self.slot_bytes)
        except SlotError as error:
            raise WrongBundleError(error.message, hint=error.hint) from error
        release = self.manifest.release
        said = (self.manifest.slot_name, release.version, release.architecture)
        if (found.name, found.version, found.architecture) != said:
            raise WrongBundleError(
                f"the bundle of {self.manifest.slot_name} {release.version} for"
                f" {release.architecture.value} holds {found.name} {found.version} for"
                f" {found.architecture.value}",
                hint="tell your vendor: the bundle was made wrongly",
            )
        return found

    def _looked_at(self, chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return chunks with the digests of their blocks; the next is read meanwhile.

        To look at blocks in several threads would be slower than in one: Python lets go of its
        lock, and takes it again, for each block.
        """
        return ((chunk, digests_of(chunk)) for chunk in ahead(self.pool, chunks))

    @contextmanager
    def _step(self, key: str, title: str, number: int, total_bytes: int) -> Iterator[Counter]:
        self.sink.emit(StepStarted(key, title, number, _STEPS, total_bytes))
        began = time.monotonic()
        counter = Counter(key, self.sink)
        yield counter
        self.sink.emit(StepEnded(key, time.monotonic() - began, counter.done_bytes, 0, ""))


def _while_readable(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return chunks up to where they cannot be read: what lies there can still be fetched."""
    with suppress(SettingsError):
        yield from chunks
