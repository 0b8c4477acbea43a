"""Where the files of a repository are on the build machine, and the lock that guards them.

    DIR/
      repository.json         what the repository says of itself (state)
      public/                 what is served, and nothing else is
        metadata/             N.root.json, N.targets.json, N.snapshot.json, timestamp.json
        targets/              SHA256.graph.json, bundles/SHA256.APPLIANCE-VERSION-ARCH.json
        bundles/              SHA256.index, SHA256.payload.zst
      staged/                 what the next publication changes
        graph.json            all releases as they will be; not there if nothing is staged
        targets/bundles/      manifests of new releases
        bundles/              their indexes and payloads
      outgoing/               what is signed and on its way to public/ (outgoing)
      overlay/                what a vendor adds to the images: the root that boxes trust at first
      lock

Private keys are in none of them.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    AlreadyRunningError,
    RepositoryError,
    SettingsError,
    SigningKeyError,
)
from applianceforge.system.files import named_errors, open_plain

GRAPH = "graph.json"
STATE = "repository.json"
ROOT_OVERLAY = "overlay/etc/applianceforge/root.json"
UPDATE_OVERLAY = "overlay/etc/applianceforge/update.toml"
STAGED_GRAPH = "staged/graph.json"
STAGED_TARGETS = "staged/targets"
STAGED_BUNDLES = "staged/bundles"
_POLL_S = 0.2
# PKCS #8, PKCS #1, SEC 1 and OpenSSH, with a passphrase or without. Source: RFC 7468, 10 and 11.
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
_LARGEST_KEY_BYTES = 1 << 16
# Some programs write a few lines of text in front of a key.
_BEGINNING_BYTES = 4096
_MOST_NAMED = 10


@dataclass(frozen=True)
class Layout:
    """The paths of a repository."""

    directory: Path

    @property
    def state(self) -> Path:
        """Return what the repository says of itself."""
        return self.directory / STATE

    @property
    def public(self) -> Path:
        """Return what is served."""
        return self.directory / "public"

    @property
    def metadata(self) -> Path:
        """Return where signed metadata is."""
        return self.public / "metadata"

    @property
    def targets(self) -> Path:
        """Return where the targets are: the graph, and manifests."""
        return self.public / "targets"

    @property
    def staged(self) -> Path:
        """Return what the next publication changes."""
        return self.directory / "staged"

    @property
    def staged_graph(self) -> Path:
        """Return the graph as it will be."""
        return self.directory / STAGED_GRAPH

    @property
    def outgoing(self) -> Path:
        """Return what is signed and on its way."""
        return self.directory / "outgoing"

    def staged_target(self, target: str) -> Path:
        """Return where a target of the next publication is."""
        return self.directory / STAGED_TARGETS / target


def bundle_target(appliance: str, version: str, architecture: Architecture) -> str:
    """Return the path of a manifest among the targets."""
    return f"bundles/{appliance}-{version}-{architecture.value}.json"


def prefixed(target: str, sha256: str) -> str:
    """Return where a target is served.

    Source: The Update Framework Specification 1.0, section 6.2.2 (consistent snapshots).
    """
    parent, slash, name = target.rpartition("/")
    return f"{parent}{slash}{sha256}.{name}"


def require_no_key_served(layout: Layout) -> None:
    """Refuse to work on a repository whose web server hands out a private key.

    Only small files are looked into, and of these the beginning; links are followed as a server may
    follow them.

    Raises:
        SigningKeyError: There is a private key below `public/`.
    """
    found = sorted(str(path) for path in _served(layout.public) if _is_private_key(path))
    if not found:
        return
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    raise SigningKeyError(
        f"{found[0]} is a private key, and lies where everybody can fetch it{others}",
        hint="move it away at once. Whoever fetched it can sign as you do: replace the key,"
        " applianceforge release rotate-keys --help; nothing is published until it is gone",
        evidence=tuple(found[:_MOST_NAMED]),
    )


def _served(public: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for place, directories, names in os.walk(public, followlinks=True):
        with named_errors(place, "look into"):
            status = Path(place).stat()
        known = (status.st_dev, status.st_ino)
        if known in seen:
            # A link leads back to where we were.
            directories.clear()
            continue
        seen.add(known)
        yield from (Path(place, name) for name in names)


def _is_private_key(path: Path) -> bool:
    try:
        with open(open_plain(path, follow=True), "rb") as stream:
            if os.fstat(stream.fileno()).st_size > _LARGEST_KEY_BYTES:
                return False
            return _PRIVATE_KEY.search(stream.read(_BEGINNING_BYTES)) is not None
    except (OSError, SettingsError):
        # It is gone, or no server can read it either.
        return False


@contextmanager
def only_command(layout: Layout, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the repository's lock while the block runs; it goes with the process.

    Args:
        layout: Where the repository is.
        patience_s: How long to wait for another command.

    Raises:
        RepositoryError: There is no such directory.
        AlreadyRunningError: Another command is at work there.
    """
    if not layout.directory.is_dir():
        raise RepositoryError(
            f"{layout.directory} is no directory", hint="make a repository: release init"
        )
    path = layout.directory / "lock"
    with named_errors(path, "open the lock"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _take(handle, time.monotonic() + patience_s)
        except BlockingIOError as error:
            raise AlreadyRunningError(
                f"another command is at work on {layout.directory}",
                hint="wait until it has ended, then run the same command again",
            ) from error
        yield
    finally:
        os.close(handle)


def _take(handle: int, until_s: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise
        time.sleep(_POLL_S)
