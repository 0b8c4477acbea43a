"""A vendor's repository of releases: made, changed, signed and published.

It is a repository of The Update Framework, version 1.0 of its specification, with consistent
snapshots. Each command that changes something holds the lock, first ends what a command that was
cut had begun, and trusts only what the repository's own keys signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import PayloadError, RepositoryError, SigningKeyError
from applianceforge.release import graph_file, manifest_file
from applianceforge.release.graph import Graph
from applianceforge.release.publish import (
    adding,
    building,
    keys,
    outgoing,
    published,
    rotation,
    signing,
    staging,
)
from applianceforge.release.publish import layout as repository_layout
from applianceforge.release.publish import state as repository_state
from applianceforge.release.publish.adding import Addition
from applianceforge.release.publish.chain import Chain, Files
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import KeyPlaces, MadeKey
from applianceforge.release.publish.layout import GRAPH, STATE, Layout, prefixed
from applianceforge.release.publish.outgoing import Change
from applianceforge.release.publish.published import Published
from applianceforge.release.publish.rotation import Rotation
from applianceforge.release.publish.signing import Keyring
from applianceforge.release.publish.staging import Wish
from applianceforge.release.publish.state import RepositoryState
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors
from applianceforge.system.progress import ProgressSink

_ONLINE = (Role.SNAPSHOT, Role.TIMESTAMP)
_CHUNK_BYTES = 1 << 20
# A timer renews, and adding a release takes minutes.
_PATIENCE_S = 1800.0


@dataclass(frozen=True)
class Opened:
    """A repository under its lock.

    Attributes:
        state: What it says of itself.
        published: What it serves.
        resumed: What a command that was cut had begun and this one ended; "" for nothing.
    """

    state: RepositoryState
    published: Published
    resumed: str


@dataclass(frozen=True)
class Outcome:
    """What a command came to.

    Attributes:
        published: What is served now.
        resumed: What a command that was cut had begun and this one ended; "" for nothing.
        changed: The releases that changed, a line for each.
        made: New keys, to be kept where they belong.
        seamless: Clients that come in the middle of a change see no error.
    """

    published: Published
    resumed: str = ""
    changed: tuple[str, ...] = ()
    made: tuple[MadeKey, ...] = ()
    seamless: bool = True


@dataclass(frozen=True)
class Repository:
    """A repository on the build machine.

    Attributes:
        layout: Where its files are.
        effects: Told of every change.
    """

    layout: Layout
    effects: Effects

    def create(
        self,
        state: RepositoryState,
        made: tuple[MadeKey, ...],
        thresholds: Mapping[Role, int],
        now_s: float,
        overlay: tuple[tuple[str, bytes], ...] = (),
    ) -> Outcome:
        """Make a repository without releases, and write its keys.

        Args:
            state: What it will say of itself; without keys.
            made: Its keys.
            thresholds: How many of a role's keys must sign; 1 where it is not said.
            now_s: Seconds since 1970.
            overlay: More files for the images.

        Raises:
            RepositoryError: There is one already, or a threshold cannot be met.
            SigningKeyError: A key's file is there already.
        """
        files.make_directory(self.layout.directory, self.effects, mode=0o755)
        with repository_layout.only_command(self.layout):
            if self.layout.state.exists() or outgoing.pending(self.layout):
                raise RepositoryError(
                    f"{self.layout.directory} holds a repository already",
                    hint="name another directory; a repository is changed with the other commands",
                )
            state = state.with_keys(tuple(key.entry for key in made))
            if len({key.entry.key_id for key in made}) < len(made):
                raise SigningKeyError(
                    "one key was named twice", hint="take another key of the module for each role"
                )
            for role in Role:
                number = sum(key.entry.role is role for key in made)
                rotation.require_threshold(role, thresholds.get(role, 1), number)
            root = building.first_root(
                made, thresholds, signing.ends_at(now_s, state.validity(Role.ROOT).days)
            )
            keyring = Keyring(state.keys, KeyPlaces((), _no_secrets), made)
            signer = Chain(state, keyring, root, None, now_s)
            graph = graph_file.encode(Graph(state.appliance))
            signed, _ = signer.files(None, tuple(Role), {GRAPH: graph})
            change = Change(
                "init",
                files=(
                    *_target_files({GRAPH: graph}),
                    *signer.root_files(),
                    *overlay,
                    *signed,
                    (STATE, repository_state.encode(state)),
                ),
            )
            for key in made:
                keys.store(key, self.effects)
            outgoing.send(self.layout, change, self.effects)
            return Outcome(published.read(self.layout), made=made)

    def add(self, addition: Addition, sink: ProgressSink) -> Outcome:
        """Stage a release with its bundle.

        Raises:
            ForgeError: As `adding.add`.
        """
        with self._opened() as opened:
            # A release that is to be dropped still counts: boxes would take one for the other.
            adding.require_new(opened.published.graph, addition.offer.release)
            before = staging.read(self.layout, opened.published.graph)
            after = adding.add(self.layout, before, addition, self.effects, sink)
            return self._staged(opened, after)

    def withdraw(self, version: str, architecture: Architecture | None, reason: str) -> Outcome:
        """Stage that a release is offered no more; "" as reason offers it again.

        Raises:
            RepositoryError: There is no such release.
        """
        with self._opened() as opened:
            graph = staging.read(self.layout, opened.published.graph)
            graph = staging.withdrawn(graph, version, architecture, reason)
            staging.write(self.layout, graph, self.effects)
            return self._staged(opened, graph)

    def offer(self, version: str, architecture: Architecture | None, wish: Wish) -> Outcome:
        """Stage that a release is offered otherwise.

        Raises:
            RepositoryError: There is no such release, or the wish cannot be.
        """
        with self._opened() as opened:
            graph = staging.read(self.layout, opened.published.graph)
            graph = staging.offered(graph, version, architecture, wish)
            staging.write(self.layout, graph, self.effects)
            return self._staged(opened, graph)

    def drop(self, version: str, architecture: Architecture | None) -> Outcome:
        """Stage that a release is in the graph no more.

        Raises:
            RepositoryError: There is no such release, or boxes still need to know of it.
        """
        with self._opened() as opened:
            graph = staging.read(self.layout, opened.published.graph)
            graph = staging.dropped(graph, version, architecture)
            staging.write(self.layout, graph, self.effects)
            return self._staged(opened, graph)

    def discard(self) -> bool:
        """Forget what is staged, and return whether anything was."""
        with self._opened():
            return staging.discard(self.layout, self.effects)

    def publish(
        self,
        places: KeyPlaces,
        now_s: float,
        *,
        sign_root: bool = False,
        clock_is_right: bool = False,
    ) -> Outcome:
        """Sign and serve what is staged; what is signed offline is valid anew.

        Args:
            places: Where private keys are.
            now_s: Seconds since 1970.
            sign_root: Sign the next root too, with the same keys, so that it is valid anew.
            clock_is_right: It stood too far ahead at the last signature.

        Raises:
            SigningKeyError: Too few keys are at hand.
            PayloadError: A staged bundle was changed or is not whole.
            WrongClockError: The clock stands before the last signature.
            DiskFullError: No space is left.
        """
        with self._opened() as opened:
            last = opened.published
            if opened.resumed == "publish" and not self.layout.staged_graph.exists():
                return Outcome(last, opened.resumed)
            graph = staging.read(self.layout, last.graph)
            targets, moves = self._arrivals(graph, last)
            targets[GRAPH] = graph_file.encode(graph)
            if not clock_is_right:
                building.require_clock(last.timestamp.signed, now_s)
            signer = self._signer(opened, places, now_s)
            root: Files = ()
            if sign_root:
                ends = signing.ends_at(now_s, opened.state.validity(Role.ROOT).days)
                following = building.next_root(last.root.signed, ends)
                signer = replace(signer, root=following, before=last.root.signed)
                root = signer.root_files()
            kept = {offer.bundle for offer in graph.offers}
            signed, _ = signer.files(last, (Role.TARGETS, *_ONLINE), targets, kept)
            change = Change(
                "publish", moves, (*_target_files(targets), *signed, *root), staging.ALL
            )
            outgoing.send(self.layout, change, self.effects)
            differences = staging.differences(last.graph, graph)
            return Outcome(published.read(self.layout), opened.resumed, differences)

    def renew(self, places: KeyPlaces, now_s: float) -> Outcome:
        """Sign snapshot and timestamp anew, with the online keys alone.

        Another command is waited for, half an hour at most.

        Raises:
            SigningKeyError: An online key is not at hand.
            WrongClockError: The clock stands before the last signature.
            DiskFullError: No space is left.
        """
        with self._opened(_PATIENCE_S) as opened:
            building.require_clock(opened.published.timestamp.signed, now_s)
            signer = self._signer(opened, places, now_s)
            signed, _ = signer.files(opened.published, _ONLINE, {})
            outgoing.send(self.layout, Change("renew", files=signed), self.effects)
            return Outcome(published.read(self.layout), opened.resumed)

    def rotate(self, wanted: Rotation, places: KeyPlaces, now_s: float) -> Outcome:
        """Replace keys of a role, by a root that the former keys and the new ones signed.

        What the role signed last is signed anew, by the former keys too where they are at hand, so
        that a client with either root accepts it.

        Raises:
            SigningKeyError: Too few keys are at hand, or what is wanted of them cannot be.
            WrongClockError: The clock stands before the last signature.
            DiskFullError: No space is left.
        """
        doing = f"rotate-keys {wanted.role.value}"
        with self._opened() as opened:
            last = opened.published
            if opened.resumed == doing:
                return Outcome(last, opened.resumed)
            ends = signing.ends_at(now_s, opened.state.validity(Role.ROOT).days)
            root, made = rotation.rotated(last.root.signed, opened.state, wanted, ends)
            state = opened.state.with_keys(tuple(key.entry for key in made))
            keyring = Keyring(state.keys, places, made)
            building.require_clock(last.timestamp.signed, now_s)
            signer = Chain(state, keyring, root, last.root.signed, now_s)
            signed, seamless = signer.files(last, rotation.signs_anew(wanted.role), {})
            state_file = (STATE, repository_state.encode(state))
            change = Change(doing, files=(*signed, *signer.root_files(), state_file))
            for key in made:
                keys.store(key, self.effects)
            outgoing.send(self.layout, change, self.effects)
            return Outcome(
                published.read(self.layout), opened.resumed, made=made, seamless=seamless
            )

    @contextmanager
    def _opened(self, patience_s: float = 0.0) -> Iterator[Opened]:
        with repository_layout.only_command(self.layout, patience_s):
            resumed = outgoing.resume(self.layout, self.effects)
            yield Opened(read_state(self.layout), published.read(self.layout), resumed)

    def _staged(self, opened: Opened, graph: Graph) -> Outcome:
        changed = staging.differences(opened.published.graph, graph)
        return Outcome(opened.published, opened.resumed, changed)

    def _signer(self, opened: Opened, places: KeyPlaces, now_s: float) -> Chain:
        keyring = Keyring(opened.state.keys, places)
        return Chain(opened.state, keyring, opened.published.root.signed, None, now_s)

    def _arrivals(
        self, graph: Graph, last: Published
    ) -> tuple[dict[str, bytes], tuple[tuple[str, str], ...]]:
        """Return new manifests, and which files of their bundles go where."""
        targets: dict[str, bytes] = {}
        moves: list[tuple[str, str]] = []
        for offer in graph.offers:
            if offer.bundle in last.targets.signed.targets:
                continue
            path = self.layout.staged_target(offer.bundle)
            content = files.read_plain(path)
            if content is None:
                raise _not_whole(path, "is missing")
            targets[offer.bundle] = content
            said = manifest_file.decode(content, str(path))
            for part in (said.index, said.payload):
                if (self.layout.public / part.path).exists():
                    continue
                source = self.layout.staged / part.path
                if not source.exists():
                    raise _not_whole(source, "is missing")
                if source.stat().st_size != part.size_bytes or _sha256(source) != part.sha256:
                    raise _not_whole(source, "was changed since it was added")
                moves.append((f"staged/{part.path}", f"public/{part.path}"))
        return targets, tuple(dict.fromkeys(moves))


def _not_whole(path: Path, what: str) -> PayloadError:
    return PayloadError(
        f"{path} {what}",
        hint="forget what is staged with `release discard`, and add the release again",
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with named_errors(path, "read"), open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _target_files(targets: Mapping[str, bytes]) -> Files:
    return tuple(
        (f"public/targets/{prefixed(path, hashlib.sha256(content).hexdigest())}", content)
        for path, content in targets.items()
    )


def _no_secrets(name: str, what: str) -> str:
    raise AssertionError(f"{what} of {name}: new keys are in memory")


def read_state(layout: Layout) -> RepositoryState:
    """Return what a repository says of itself.

    Raises:
        RepositoryError: There is none, or it cannot be read.
    """
    content = files.read_plain(layout.state)
    if content is None:
        if outgoing.pending(layout):
            raise RepositoryError(
                f"the repository {layout.directory} was cut off while it was made",
                hint="run `release publish` with its keys, which ends that",
            )
        raise RepositoryError(
            f"{layout.directory} holds no repository",
            hint="name its directory, or make one: release init",
        )
    return repository_state.decode(content, str(layout.state))
