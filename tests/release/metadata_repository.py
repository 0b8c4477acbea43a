"""A repository that behaves, and whose maker can make it do wrong, one step at a time.

    repository = MetadataRepository(directory, now_s)
    repository.publish()                 all four roles, as they should be
    repository.targets.version = 1       any field of any role
    repository.write("targets")          signed by whom it should be, or by `signers=`

Keys are made as they are needed and live in memory only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Release
from applianceforge.release import graph_file, manifest_file
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest, Part

ROLES = ("root", "timestamp", "snapshot", "targets")
APPLIANCE = "gateway"
Signed = Root | Timestamp | Snapshot | Targets


def signer() -> CryptoSigner:
    """Make a key."""
    return CryptoSigner.generate_ed25519()


class MetadataRepository:
    """The files of a repository, and the keys that sign them.

    Attributes:
        directory: What is served.
        root, timestamp, snapshot, targets: What is signed next.
        signers: Who signs each role.
        hashes: Name digests and lengths of metadata in metadata, as a vendor's repository does.
    """

    def __init__(
        self,
        directory: Path,
        now_s: float,
        *,
        threshold: int = 1,
        hashes: bool = True,
        days: int = 30,
    ) -> None:
        self.directory, self.hashes = directory, hashes
        self.now = datetime.fromtimestamp(now_s, UTC)
        self.expires = self.now + timedelta(days=days)
        self.signers = {role: [signer() for _ in range(threshold)] for role in ROLES}
        self.root = Root(expires=self.expires + timedelta(days=365), consistent_snapshot=True)
        self.timestamp = Timestamp(expires=self.expires)
        self.snapshot = Snapshot(expires=self.expires)
        self.targets = Targets(expires=self.expires)
        self.roots: list[bytes] = []
        for role, signers in self.signers.items():
            for one in signers:
                self.root.add_key(one.public_key, role)
            self.root.roles[role].threshold = threshold
        for part in ("metadata", "targets/bundles", "bundles"):
            (directory / part).mkdir(parents=True, exist_ok=True)

    @property
    def first_root(self) -> bytes:
        """Return what a system is shipped with."""
        return self.roots[0]

    def signed(
        self, thing: Signed, signers: Sequence[CryptoSigner], *, twice: bool = False
    ) -> bytes:
        """Return metadata with signatures; `twice` has the first of them twice in the list."""
        metadata: Metadata[Any] = Metadata(deepcopy(thing))
        for one in signers:
            metadata.sign(one, append=True)
        if not twice:
            return metadata.to_bytes()
        fields = metadata.to_dict()
        fields["signatures"].append(fields["signatures"][0])
        return json.dumps(fields).encode()

    def name(self, role: str, version: int | None = None) -> str:
        """Return the path of a role's metadata."""
        thing: Signed = getattr(self, role)
        number = thing.version if version is None else version
        prefix = "" if role == "timestamp" else f"{number}."
        return f"metadata/{prefix}{role}.json"

    def write(
        self, role: str, signers: Sequence[CryptoSigner] | None = None, *, twice: bool = False
    ) -> bytes:
        """Sign a role as it is now, and put it where clients look for it."""
        data = self.signed(
            getattr(self, role), self.signers[role] if signers is None else signers, twice=twice
        )
        self.put(self.name(role), data)
        if role == "root" and signers is None:
            self.roots.append(data)
        return data

    def put(self, path: str, data: bytes) -> None:
        """Put any bytes anywhere."""
        (self.directory / path).write_bytes(data)

    def meta(self, role: str, data: bytes) -> MetaFile:
        """Return how other metadata names it."""
        version: int = getattr(self, role).version
        return MetaFile.from_data(version, data, ["sha256"]) if self.hashes else MetaFile(version)

    def add_target(self, path: str, data: bytes, *, named: bytes | None = None) -> str:
        """Add a target; `named` is what the metadata says that it is. Return where it is served."""
        self.targets.targets[path] = TargetFile.from_data(path, data if named is None else named)
        digest = hashlib.sha256(data if named is None else named).hexdigest()
        parent, slash, name = path.rpartition("/")
        served = f"targets/{parent}{slash}{digest}.{name}"
        self.put(served, data)
        return served

    def begin(self) -> None:
        """Write the first of everything."""
        self.write("root")
        self.cascade()

    def cascade(self) -> None:
        """Sign targets, snapshot and timestamp as they are now, each naming the one before."""
        self.snapshot.meta["targets.json"] = self.meta("targets", self.write("targets"))
        self.timestamp.snapshot_meta = self.meta("snapshot", self.write("snapshot"))
        self.write("timestamp")

    def publish(self) -> None:
        """Sign the next version of targets, snapshot and timestamp."""
        for thing in (self.targets, self.snapshot, self.timestamp):
            thing.version += 1
        self.cascade()

    def rotate(
        self, *roles: str, signers: Sequence[CryptoSigner] | None = None, threshold: int = 1
    ) -> None:
        """Write the next root, with new keys for some roles.

        Args:
            roles: Whose keys are replaced.
            signers: Who signs it; by default those of the root before and of this one.
        """
        before = list(self.signers["root"])
        self.root.version += 1
        for role in roles:
            for one in self.signers[role]:
                self.root.revoke_key(one.public_key.keyid, role)
            self.signers[role] = [signer() for _ in range(threshold)]
            for one in self.signers[role]:
                self.root.add_key(one.public_key, role)
            self.root.roles[role].threshold = threshold
        both = before + [one for one in self.signers["root"] if one not in before]
        data = self.signed(self.root, both if signers is None else signers)
        self.put(self.name("root"), data)
        self.roots.append(data)

    def copy_to(self, directory: Path) -> Path:
        """Keep what is served now, to serve it again later."""
        shutil.copytree(self.directory, directory)
        return directory

    def fork(self, directory: Path) -> MetadataRepository:
        """Return one with the same files and keys, which goes its own way from here."""
        other = copy(self)
        other.directory = self.copy_to(directory)
        other.root, other.timestamp = deepcopy(self.root), deepcopy(self.timestamp)
        other.snapshot, other.targets = deepcopy(self.snapshot), deepcopy(self.targets)
        other.signers = {role: list(signers) for role, signers in self.signers.items()}
        other.roots = list(self.roots)
        return other


def offer(
    version: str, architecture: Architecture = Architecture.AMD64, appliance: str = APPLIANCE
) -> Offer:
    """Return a release that is offered to all."""
    release = Release(
        architecture, appliance=appliance, version=version, memory_bytes=512 << 20, data_bytes=1
    )
    return Offer(release, bundle=f"bundles/{appliance}-{version}-{architecture.value}.json")


def manifest_of(release: Release) -> Manifest:
    """Return a manifest whose parts are nowhere."""
    digest = hashlib.sha256(release.version.encode()).hexdigest()
    return Manifest(
        release,
        slot_name="current",
        slot_bytes=1 << 20,
        slot_sha256=digest,
        block_bytes=4096,
        index=Part(f"bundles/{digest}.index", 1000, digest),
        payload=Part(f"bundles/{digest}.payload.zst", 100_000, digest),
    )


def gateway(directory: Path, now_s: float, **how: Any) -> MetadataRepository:
    """Return a repository of the appliance `gateway` with two releases, published once."""
    repository = MetadataRepository(directory, now_s, **how)
    offers = (offer("1.0.0", Architecture.I386), offer("2.0.0"))
    repository.add_target("graph.json", graph_file.encode(Graph(APPLIANCE, offers)))
    for one in offers:
        repository.add_target(one.bundle, manifest_file.encode(manifest_of(one.release)))
    repository.begin()
    return repository
