"""Sign the metadata that follows: targets, the snapshot of them, the timestamp of that, a root."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Root

from applianceforge.model.errors import RepositoryError
from applianceforge.release import metadata_limits
from applianceforge.release.publish import building, signing
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.layout import ROOT_OVERLAY
from applianceforge.release.publish.published import Published
from applianceforge.release.publish.signing import Keyring
from applianceforge.release.publish.state import RepositoryState

Files = tuple[tuple[str, bytes], ...]
"""Where files are to be, below the repository's directory, and their content."""


@dataclass(frozen=True)
class Chain:
    """Signs what follows on what is published.

    Attributes:
        state: What the repository says of itself.
        keyring: Its keys.
        root: Whose keys must sign: the one that counts, or the next one.
        before: Whose keys sign too, if `root` is the next one.
        now_s: When this is, seconds since 1970.
    """

    state: RepositoryState
    keyring: Keyring
    root: Root
    before: Root | None
    now_s: float

    def _sign(self, signed: Any, role: Role) -> tuple[Metadata[Any], bool]:
        metadata: Metadata[Any] = Metadata(signed)
        seamless = self.keyring.sign(metadata, role, self.root, self.before)
        return metadata, seamless

    def files(
        self,
        last: Published | None,
        roles: tuple[Role, ...],
        targets: Mapping[str, bytes],
        kept: Collection[str] | None = None,
    ) -> tuple[Files, bool]:
        """Return the signed files of these roles, in the order of publication.

        Args:
            last: What they follow.
            roles: Who signs anew; whoever refers to one of them is one of them.
            targets: New targets, or new content of old ones.
            kept: Which of the targets so far stay; None is all.

        Returns:
            Where each file is to be and its content; whether `before` is satisfied by all of them.

        Raises:
            SigningKeyError: Too few keys are at hand.
            RepositoryError: Something became larger than boxes take.
        """
        made: list[tuple[str, bytes]] = []
        all_seamless = True
        snapshot_meta = last.timestamp.signed.snapshot_meta if last else None
        targets_meta = last.snapshot.signed.meta["targets.json"] if last else None
        signed: Any
        for role in (role for role in Role if role in roles and role is not Role.ROOT):
            ends = signing.ends_at(self.now_s, self.state.validity(role).days)
            if role is Role.TARGETS:
                signed = building.next_targets(
                    last.targets.signed if last else None, targets, kept, ends
                )
            elif role is Role.SNAPSHOT:
                before = last.snapshot.signed if last else None
                signed = building.next_snapshot(before, _known(targets_meta), ends)
            else:
                stamp = last.timestamp.signed if last else None
                signed = building.next_timestamp(stamp, _known(snapshot_meta), ends, self.now_s)
            metadata, seamless = self._sign(signed, role)
            all_seamless = all_seamless and seamless
            content = _small_enough(metadata.to_bytes(), role)
            if role is Role.TARGETS:
                targets_meta = building.meta_of(metadata, content)
            elif role is Role.SNAPSHOT:
                snapshot_meta = building.meta_of(metadata, content)
            prefix = "" if role is Role.TIMESTAMP else f"{metadata.signed.version}."
            made.append((f"public/metadata/{prefix}{role.value}.json", content))
        return tuple(made), all_seamless

    def root_files(self) -> Files:
        """Return the signed root, for boxes and for new images.

        Raises:
            SigningKeyError: Too few keys are at hand.
            RepositoryError: Something became larger than boxes take.
        """
        metadata, _ = self._sign(self.root, Role.ROOT)
        content = _small_enough(metadata.to_bytes(), Role.ROOT)
        name = f"public/metadata/{self.root.version}.root.json"
        return (name, content), (ROOT_OVERLAY, content)


def _known(meta: MetaFile | None) -> MetaFile:
    assert meta is not None
    return meta


def _small_enough(content: bytes, role: Role) -> bytes:
    largest = metadata_limits.BY_ROLE[role.value]
    if len(content) > largest:
        raise RepositoryError(
            f"{role.value} would have {len(content)} bytes, and boxes take {largest} at most",
            hint="take out old releases that nobody needs: release drop"
            if role is Role.TARGETS
            else "let the roles have fewer keys",
        )
    return content
