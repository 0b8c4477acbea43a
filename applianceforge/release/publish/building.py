"""What comes next: metadata of the next version, not signed yet."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from datetime import datetime

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from applianceforge.model.errors import WrongClockError
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import MadeKey

# Not a field of the specification; clients pass over what they do not know.
_SIGNED_S = "x-applianceforge-signed-s"
# So far apart two clocks may be without anybody noticing.
_TOLERANCE_S = 3600


def first_root(made: tuple[MadeKey, ...], thresholds: Mapping[Role, int], ends: datetime) -> Root:
    """Return the first root, with its roles' keys."""
    root = Root(version=1, expires=ends, consistent_snapshot=True)
    for key in made:
        root.add_key(key.public, key.entry.role.value)
    for role in Role:
        root.roles[role.value].threshold = thresholds.get(role, 1)
    return root


def next_root(root: Root, ends: datetime) -> Root:
    """Return the root that follows, so far with the same keys."""
    following = copy.deepcopy(root)
    following.version += 1
    following.expires = ends
    return following


def next_targets(
    before: Targets | None, files: Mapping[str, bytes], kept: Collection[str] | None, ends: datetime
) -> Targets:
    """Return the targets that follow: those of before, and new ones or new content.

    Args:
        before: None for the first.
        files: Content of targets by their paths.
        kept: Which of before stay; None is all.
        ends: When they expire.
    """
    targets = {} if before is None else dict(before.targets)
    if kept is not None:
        targets = {path: target for path, target in targets.items() if path in kept}
    for path, content in files.items():
        targets[path] = TargetFile.from_data(path, content, ["sha256"])
    version = 1 if before is None else before.version + 1
    return Targets(version=version, expires=ends, targets=targets)


def next_snapshot(before: Snapshot | None, targets: MetaFile, ends: datetime) -> Snapshot:
    """Return the snapshot that follows, of certain targets."""
    version = 1 if before is None else before.version + 1
    return Snapshot(version=version, expires=ends, meta={"targets.json": targets})


def next_timestamp(
    before: Timestamp | None, snapshot: MetaFile, ends: datetime, now_s: float
) -> Timestamp:
    """Return the timestamp that follows, of a certain snapshot."""
    version = 1 if before is None else before.version + 1
    return Timestamp(
        version=version,
        expires=ends,
        snapshot_meta=snapshot,
        unrecognized_fields={_SIGNED_S: int(now_s)},
    )


def meta_of(metadata: Metadata[Targets] | Metadata[Snapshot], content: bytes) -> MetaFile:
    """Return what a file that refers to signed metadata says of it."""
    return MetaFile.from_data(metadata.signed.version, content, ["sha256"])


def require_clock(timestamp: Timestamp, now_s: float) -> None:
    """Sign nothing with a clock that stands before the last signature.

    What it signs would expire too early, or at once.

    Raises:
        WrongClockError: It does.
    """
    signed_s = timestamp.unrecognized_fields.get(_SIGNED_S)
    if isinstance(signed_s, int) and now_s < signed_s - _TOLERANCE_S:
        raise WrongClockError(
            "the clock of this machine stands before the time of the last signature,"
            f" {datetime.fromtimestamp(signed_s).astimezone():%Y-%m-%d %H:%M %Z}",
            hint="set the clock, then run the same command again; if it stood too far ahead then"
            " and is right now, publish with --clock-is-right",
        )
