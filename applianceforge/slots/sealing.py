"""The sector of a slot that is written last; only with it the slot holds a file system."""

from __future__ import annotations

from applianceforge.formats import ext

# The sector with the superblock's magic number: a sector is written or not.
SEAL_AT = ext.SUPERBLOCK_AT
SEAL_BYTES = 512
