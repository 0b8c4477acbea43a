"""How large a repository's metadata may be, for those who read it and for those who make it.

A box that is refused an update has then moved at most 64 KiB, and an attacker without keys can make
it take in no more than the largest of these. A repository that outgrows them would lock its boxes
out, so whoever publishes keeps below them: old manifests leave, as nobody is led to them any more.
"""

from __future__ import annotations

KIB = 1 << 10

# A dozen RSA keys of 4096 bits with their signatures, or fifty of Ed25519.
ROOT_BYTES = 16 * KIB
TIMESTAMP_BYTES = 4 * KIB
SNAPSHOT_BYTES = 8 * KIB
# A hundred manifests.
TARGETS_BYTES = 32 * KIB
# These two are named in the targets' metadata, with their sizes.
GRAPH_BYTES = 256 * KIB
MANIFEST_BYTES = 64 * KIB

# So many roots may follow the one that a system was shipped with: monthly ones, for two decades.
MOST_ROOTS = 256

BY_ROLE = {
    "root": ROOT_BYTES,
    "timestamp": TIMESTAMP_BYTES,
    "snapshot": SNAPSHOT_BYTES,
    "targets": TARGETS_BYTES,
}
