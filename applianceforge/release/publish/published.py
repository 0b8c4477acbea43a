"""Read what a repository serves, and trust none of it that its own keys did not sign.

The web server, or whoever copies `public/` back and forth, may have changed it; what is read here
becomes part of what is signed next.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from applianceforge.model.errors import RepositoryError, SignatureError
from applianceforge.release import graph_file, manifest_file
from applianceforge.release.graph import Graph
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish.expiry import Role, Term
from applianceforge.release.publish.layout import GRAPH, Layout, prefixed
from applianceforge.release.publish.state import RepositoryState
from applianceforge.system import files
from applianceforge.system.files import named_errors

_ROOT_NAME = re.compile(r"([1-9][0-9]{0,9})\.root\.json")
_HINT = "restore public/ from what is served, or from a copy"

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Published:
    """What is served now: signed metadata, and the graph that it vouches for."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    graph: Graph

    def terms(self, state: RepositoryState) -> tuple[Term, ...]:
        """Return until when each role's word is valid."""
        signed: dict[Role, Root | Targets | Snapshot | Timestamp] = {
            Role.ROOT: self.root.signed,
            Role.TARGETS: self.targets.signed,
            Role.SNAPSHOT: self.snapshot.signed,
            Role.TIMESTAMP: self.timestamp.signed,
        }
        return tuple(
            Term(role, one.version, int(one.expires.timestamp()), state.validity(role).warn_days)
            for role, one in signed.items()
        )


def read(layout: Layout) -> Published:
    """Read what is served, and verify all of it but its expiry.

    Raises:
        RepositoryError: Something is missing or cannot be read.
        SignatureError: Something was changed since it was signed.
    """
    root = _newest_root(layout)
    timestamp: Metadata[Timestamp] = _signed(layout.metadata / "timestamp.json", Timestamp)
    _require(root.signed, Role.TIMESTAMP, timestamp)
    version = timestamp.signed.snapshot_meta.version
    snapshot: Metadata[Snapshot] = _signed(layout.metadata / f"{version}.snapshot.json", Snapshot)
    _require(root.signed, Role.SNAPSHOT, snapshot)
    version = snapshot.signed.meta["targets.json"].version
    targets: Metadata[Targets] = _signed(layout.metadata / f"{version}.targets.json", Targets)
    _require(root.signed, Role.TARGETS, targets)
    data = _target(layout, targets.signed, GRAPH)
    return Published(root, targets, snapshot, timestamp, graph_file.decode(data, GRAPH))


def manifest(layout: Layout, published: Published, target: str) -> Manifest:
    """Return the manifest of a bundle that is served.

    Raises:
        RepositoryError: It is missing or cannot be read.
        SignatureError: It was changed.
    """
    return manifest_file.decode(_target(layout, published.targets.signed, target), target)


def _newest_root(layout: Layout) -> Metadata[Root]:
    with named_errors(layout.metadata, "read"):
        found = (_ROOT_NAME.fullmatch(path.name) for path in layout.metadata.iterdir())
        newest = max((int(one[1]) for one in found if one), default=0)
    if newest == 0:
        raise RepositoryError(f"{layout.metadata} holds no root", hint=_HINT)
    before: Metadata[Root] | None = None
    for version in range(1, newest + 1):
        path = layout.metadata / f"{version}.root.json"
        root: Metadata[Root] = _signed(path, Root)
        previous = None if before is None else before.signed
        try:
            result = root.signed.get_root_verification_result(
                previous, root.signed_bytes, root.signatures
            )
        except ValueError as error:
            raise SignatureError(f"{path} is not what its name says: {error}", hint=_HINT) from None
        if not result.verified:
            raise _unsigned(path)
        before = root
    assert before is not None
    return before


def _signed(path: Path, kind: type[Signed]) -> Metadata[Signed]:
    content = files.read_plain(path, follow=True)
    if content is None:
        raise RepositoryError(f"{path} is missing", hint=_HINT)
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except DeserializationError as error:
        raise RepositoryError(
            f"{path} cannot be read: {error.__cause__ or error}", hint=_HINT
        ) from error
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{path} is metadata of another role", hint=_HINT)
    return metadata


def _require(root: Root, role: Role, metadata: Metadata[Any]) -> None:
    try:
        root.verify_delegate(role.value, metadata.signed_bytes, metadata.signatures)
    except TufError as error:
        raise _unsigned(Path(f"{role.value} version {metadata.signed.version}")) from error


def _unsigned(path: Path) -> SignatureError:
    return SignatureError(
        f"{path} does not bear the signatures that it needs: it was changed, or is a leftover",
        hint=f"{_HINT}; find out who could write there",
    )


def _target(layout: Layout, targets: Targets, target: str) -> bytes:
    said: TargetFile | None = targets.targets.get(target)
    if said is None:
        raise RepositoryError(f"{target} is not among the targets of the repository", hint=_HINT)
    path = layout.targets / prefixed(target, said.hashes["sha256"])
    content = files.read_plain(path, follow=True)
    if content is None:
        raise RepositoryError(f"{path} is missing", hint=_HINT)
    if hashlib.sha256(content).hexdigest() != said.hashes["sha256"]:
        raise SignatureError(f"{path} was changed since it was signed", hint=_HINT)
    return content
