"""What a bundle consists of: its manifest, as values.

A bundle has three files. The manifest is signed as a target of the repository and names the digests
of the other two: the index says of each frame and block of the slot's file system what it must be;
the payload is that file system as independent zstd frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from applianceforge.preflight.requirements import Release


@dataclass(frozen=True)
class Part:
    """A file of a bundle.

    Attributes:
        path: Below the repository's root, such as `bundles/SHA256.payload.zst`.
        size_bytes: Its size.
        sha256: Its digest, 64 hexadecimal digits.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        release: As in the graph.
        slot_name: What the slot's own description calls it: the recipe's name.
        slot_bytes: The size of the slot's file system.
        slot_sha256: The digest of the slot's file system.
        block_bytes: The size of the blocks that the index names.
        index: The index.
        payload: The slot's file system, packed.
    """

    release: Release
    slot_name: str
    slot_bytes: int
    slot_sha256: str
    block_bytes: int
    index: Part
    payload: Part
