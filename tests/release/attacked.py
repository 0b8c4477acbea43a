"""A box, its repository, and somebody in between: what all cases of attacks and faults share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.release.fetch.child_source import ChildSource
from applianceforge.release.fetch.http_source import HttpSource
from applianceforge.release.fetch.limits import HttpSettings, Limits
from applianceforge.release.fetch.source import Source
from applianceforge.release.update.trust import Trust
from applianceforge.system.effects import Effects
from tests.release.metadata_repository import APPLIANCE, MetadataRepository, gateway
from tests.release.server import Fault, Server

NOW_S = 1_800_000_000.0
BUILT_S = NOW_S - 30 * 86_400
DAY_S = 86_400.0
# A refused update may move so much.
MOST_BYTES = 64 << 10

# As short as a machine under load can bear.
QUICK = Limits(
    connect_s=5.0,
    read_s=1.0,
    rate_bytes_s=2000.0,
    window_s=1.0,
    outage_s=0.3,
    first_outage_s=0.3,
    first_pause_s=0.05,
)


@dataclass
class World:
    """Everything that a case may change.

    Attributes:
        place: For what a case keeps.
        repository: The true one.
        evil: A copy with the same keys, which is served instead once a case has changed it.
        older: The files of the true one's first version, from when the box had not seen the third.
        server: Between all of them and the box.
        touched: Files of the evil one that the box must have asked for, or nothing was tried.
        now_s: The box's time.
    """

    place: Path
    repository: MetadataRepository
    evil: MetadataRepository
    older: Path
    server: Server
    settings: HttpSettings
    now_s: float = NOW_S
    built_s: float = BUILT_S
    touched: list[str] = field(default_factory=list)
    appliance: str = APPLIANCE

    @property
    def cache(self) -> Path:
        """Return where the box keeps its metadata."""
        return self.place / "box"

    def trust(self, source: Source) -> Trust:
        """Return the box's view of what is served now."""
        return Trust(
            self.cache,
            self.repository.first_root,
            source,
            lambda: self.now_s,
            Effects(),
            appliance=self.appliance,
            built_s=self.built_s,
        )

    def update(self, source: Source) -> None:
        """Do what an update does before it fetches a bundle."""
        trust = self.trust(source)
        trust.refresh()
        graph = trust.graph()
        trust.manifest(graph.offers[-1])

    def put(self, path: str, data: bytes) -> None:
        """Serve other bytes under a name."""
        before = self.evil.directory / path
        assert not before.exists() or before.read_bytes() != data, "nothing would be changed"
        self.evil.put(path, data)
        self.touched.append(path)

    def wrote(self, *roles: str) -> None:
        """Note that a case signed these anew."""
        self.touched += [self.evil.name(role) for role in roles]

    def target(self, path: str) -> str:
        """Return where a target of the true repository is served."""
        digest = self.repository.targets.targets[path].hashes["sha256"]
        parent, slash, name = path.rpartition("/")
        return f"targets/{parent}{slash}{digest}.{name}"

    def faults(self, *faults: Fault) -> None:
        """Let the server do wrong."""
        self.server.faults(*faults)


@contextmanager
def world(place: Path, *, hashes: bool = True, threshold: int = 1) -> Iterator[World]:
    """Make a repository with three versions, and a server that serves a copy of it."""
    repository = gateway(place / "true", NOW_S, hashes=hashes, threshold=threshold)
    older = repository.copy_to(place / "older")
    repository.publish()
    repository.publish()
    evil = repository.fork(place / "evil")
    with Server(evil.directory) as server:
        settings = HttpSettings(server.url, limits=QUICK)
        yield World(place, repository, evil, older, server, settings)


@contextmanager
def plain_source_of(world: World) -> Iterator[HttpSource]:
    """Open a source for what goes well: without a process of its own it is quicker."""
    source = HttpSource(world.settings)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def source_of(world: World) -> Iterator[ChildSource]:
    """Open the source that an appliance uses."""
    source = ChildSource(world.settings, Effects())
    try:
        yield source
    finally:
        source.close()
