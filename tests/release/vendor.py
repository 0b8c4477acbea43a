"""A vendor's repository with small slot images, and a box that follows it with the real client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Release
from applianceforge.release import graph_file, manifest_file
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import keys
from applianceforge.release.publish import state as repository_state
from applianceforge.release.publish.adding import Addition
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import KeyPlaces, MadeKey
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.repository import Outcome, Repository
from applianceforge.release.publish.rotation import Rotation
from applianceforge.slots import description
from applianceforge.slots.description import Description
from applianceforge.system.effects import Effect, Effects
from applianceforge.system.progress import NoProgress
from tests.slots.slot_images import slot_image

APPLIANCE = "gateway"
NUMBERS = {Role.ROOT: 3, Role.TARGETS: 2, Role.SNAPSHOT: 1, Role.TIMESTAMP: 1}
THRESHOLDS = {Role.ROOT: 2}
_SERVER = "http://repository.test/"


def no_secrets(name: str, what: str) -> str:
    raise AssertionError(f"asked for the {what} of {name}")


@dataclass(frozen=True)
class Vendor:
    """A build machine: the repository, and all keys in one place."""

    place: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.place / "repo")

    @property
    def keys(self) -> Path:
        return self.place / "keys"

    @property
    def places(self) -> KeyPlaces:
        return KeyPlaces((self.keys,), no_secrets)

    def repository(self, effects: Effects | None = None) -> Repository:
        return Repository(self.layout, effects or Effects())

    def create(
        self,
        numbers: Mapping[Role, int] = NUMBERS,
        thresholds: Mapping[Role, int] = THRESHOLDS,
        *,
        effects: Effects | None = None,
        days: dict[Role, int] | None = None,
        now_s: float | None = None,
    ) -> Outcome:
        keys.require_none(self.keys)
        made = tuple(
            keys.make(self.keys, role, number)
            for role, count in numbers.items()
            for number in range(1, count + 1)
        )
        state = repository_state.new(APPLIANCE, days or {})
        moment = time.time() if now_s is None else now_s
        return self.repository(effects).create(state, made, thresholds, moment)

    def slot(
        self, version: str, architecture: Architecture = Architecture.AMD64, content: bytes = b""
    ) -> Path:
        place = self.place / f"{version}-{architecture.value}"
        said = description.encode(Description(architecture, "gateway", version))
        return slot_image(place, architecture, content or version.encode() * 1000, said=said)

    def add(
        self,
        version: str,
        architecture: Architecture = Architecture.AMD64,
        *,
        effects: Effects | None = None,
        **offered: object,
    ) -> Outcome:
        release = Release(architecture, APPLIANCE, version)
        offer = Offer(release, **offered)  # type: ignore[arg-type]
        addition = Addition(self.slot(version, architecture), offer)
        return self.repository(effects).add(addition, NoProgress())

    def publish(self, effects: Effects | None = None, *, sign_root: bool = False) -> Outcome:
        return self.repository(effects).publish(self.places, time.time(), sign_root=sign_root)

    def renew(self, effects: Effects | None = None) -> Outcome:
        online = KeyPlaces((self.keys / "online",), no_secrets)
        return self.repository(effects).renew(online, time.time())

    def rotate(
        self,
        role: Role,
        *remove: str,
        add: int | None = None,
        threshold: int | None = None,
        effects: Effects | None = None,
    ) -> Outcome:
        def make(number: int) -> MadeKey:
            return keys.make(self.keys, role, number)

        everything = not remove and add is None and threshold is None
        count = NUMBERS[role] if everything else len(remove) if add is None else add
        wanted = Rotation(role, (make,) * count, remove, everything, threshold)
        return self.repository(effects).rotate(wanted, self.places, time.time())

    def key_file(self, name: str) -> Path:
        role = Role(name.partition("-")[0])
        return self.keys / ("offline" if role.offline else "online") / f"{name}.pem"

    def box(self, name: str) -> Box:
        """Return a new box, which trusts the first root."""
        root = (self.layout.metadata / "1.root.json").read_bytes()
        return Box(self.place / name, self.layout.public, root)


@dataclass(frozen=True)
class Seen:
    """What a box sees: the versions of what it trusts, and the graph."""

    root: int
    targets: int
    snapshot: int
    timestamp: int
    graph: Graph


@dataclass
class Box:
    """A box that follows a repository; what it saw stays with it."""

    place: Path
    public: Path
    root: bytes
    asked: list[str] = field(default_factory=list)

    def look(self) -> Seen:
        updater = self._updater()
        updater.refresh()
        trusted = updater._trusted_set
        graph = graph_file.decode(self._target(updater, "graph.json"))
        return Seen(
            trusted.root.version,
            trusted.targets.version,
            trusted.snapshot.version,
            trusted.timestamp.version,
            graph,
        )

    def manifest(self, target: str) -> Manifest:
        return manifest_file.decode(self._target(self._updater(), target), target)

    def _updater(self) -> Updater:
        fetcher = _DirectoryFetcher(self.public, self.asked)
        (self.place / "metadata").mkdir(parents=True, exist_ok=True)
        return Updater(
            str(self.place / "metadata"),
            f"{_SERVER}metadata/",
            str(self.place),
            f"{_SERVER}targets/",
            fetcher,
            bootstrap=self.root,
        )

    def _target(self, updater: Updater, target: str) -> bytes:
        said = updater.get_targetinfo(target)
        assert said is not None, target
        return Path(updater.download_target(said)).read_bytes()


class _DirectoryFetcher(FetcherInterface):
    """A server: files of a directory, and 404 for the rest."""

    def __init__(self, public: Path, asked: list[str]) -> None:
        self._public, self._asked = public, asked

    def _fetch(self, url: str) -> Iterator[bytes]:
        self._asked.append(url.removeprefix(_SERVER))
        path = self._public / self._asked[-1]
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        return iter([path.read_bytes()])


class CutError(Exception):
    """The power went."""


def cutting(after: int) -> Effects:
    """Return effects of which the power goes after the one of that number."""

    def observe(effect: Effect) -> None:
        if effect.number == after:
            raise CutError(effect.subject)

    return Effects(observe)
