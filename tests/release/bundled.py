"""A box that runs slot a, in plain files, and a bundle for its slot b."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Release
from applianceforge.release import index
from applianceforge.release.index import Index
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import bundle
from applianceforge.release.update.installation import Installed, install
from applianceforge.slots import states
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.sealing import Opening
from applianceforge.slots.states import State
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink
from tests.slots.power import new_ground
from tests.slots.slot_images import slot_image

RELEASE = Release(Architecture.AMD64, "gateway", "1.2")
SLOT_NAME = "reference"
FAST = 3


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Files:
    """A source that counts, and can be told what to do when so many bytes are out.

    Attributes:
        directory: The repository's root.
        received_bytes: Of all answers so far.
        asked: Each request: path, place and size.
        limit: After so many bytes of one run, `at_limit` is called.
        changes: Made to each chunk: given where it begins in the file, and the chunk.
    """

    directory: Path
    received_bytes: int = 0
    asked: list[tuple[str, int, int | None]] = field(default_factory=list)
    limit: int | None = None
    at_limit: Callable[[], None] = lambda: None
    changes: Callable[[int, bytes], bytes] = lambda _at, chunk: chunk
    chunk_bytes: int = 1 << 14

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        self.asked.append((path, at_bytes, size_bytes))
        content = (self.directory / path).read_bytes()
        end = len(content) if size_bytes is None else at_bytes + size_bytes
        assert end - at_bytes <= largest_bytes
        for at in range(at_bytes, end, self.chunk_bytes):
            chunk = content[at : min(at + self.chunk_bytes, end)]
            self.received_bytes += len(chunk)
            if self.limit is not None and self.received_bytes >= self.limit:
                self.at_limit()
            yield self.changes(at, chunk)


@dataclass
class Box:
    """An appliance that runs slot a, and a bundle that it can install.

    Attributes:
        booted: The running slot.
        target: The other one.
        image: The bundle's slot image.
        repository: Where the bundle is.
    """

    place: Path
    disk: BootDisk
    loader: Loader
    booted: Path
    target: Path
    image: Path
    repository: Path
    manifest: Manifest
    index: Index

    @property
    def content(self) -> bytes:
        return self.image.read_bytes()

    @property
    def written(self) -> bytes:
        with open(self.target, "rb") as stream:
            return stream.read(self.manifest.slot_bytes)

    @property
    def state(self) -> State:
        return states.state_of(self.loader.read(), Slot.B)

    @property
    def source(self) -> Files:
        return Files(self.repository)

    def install(
        self,
        source: Files | None = None,
        sink: ProgressSink | None = None,
        opening: Opening | None = None,
        effects: Effects | None = None,
    ) -> Installed:
        return install(
            self.disk,
            self.loader,
            self.manifest,
            self.index,
            source or self.source,
            effects or Effects(),
            sink or NoProgress(),
            opening,
        )

    def with_bundle_of(self, image: Path, *references: Path) -> Box:
        """Return the same box with another bundle."""
        manifest, decoded = bundled(image, self.repository, *references)
        return replace(self, image=image, manifest=manifest, index=decoded)


def bundled(image: Path, repository: Path, *references: Path) -> tuple[Manifest, Index]:
    """Make a bundle of an image, and read its index."""
    manifest = bundle.make(
        *(image, RELEASE, SLOT_NAME, references, repository, Effects(), NoProgress()), level=FAST
    )
    data = (repository / manifest.index.path).read_bytes()
    return manifest, index.decode(data, manifest.index.path)


def box_of(
    place: Path, *, size_mib: int = 4, filling: int = 1_200_000, target: bytes | None = None
) -> Box:
    """Make a box whose running slot has half of what is new, and a slot b that holds noise."""
    shared, old, new = (noise(seed, filling // 2) for seed in (1, 2, 3))
    booted = slot_image(place / "old", Architecture.I386, shared + old, size_mib=size_mib)
    image = slot_image(place / "new", Architecture.AMD64, shared + new, size_mib=size_mib)
    directory = new_ground(place / "boot").directory
    other = place / "partition"
    other.write_bytes(noise(4, (size_mib << 20) + 12345) if target is None else target)
    disk = BootDisk(Slot.A, directory, slot_a=booted, slot_b=other)
    repository = place / "repository"
    manifest, decoded = bundled(image, repository, booted)
    loader = Loader(directory, Effects())
    return Box(place, disk, loader, booted, other, image, repository, manifest, decoded)


def kill_after(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return the signal that ended it, or 0.

    Whatever else comes of it is an error.
    """
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
