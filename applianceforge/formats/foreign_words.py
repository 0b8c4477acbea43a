"""What can be said of a file that another program wrote."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

# What `identify` looks at: enough for ext4's magic number at 1080, for a whole page of most
# databases and of a swap area, and for a fair sample of a file without a magic number.
HEAD_BYTES = 4096


class Disposition(Enum):
    """What becomes of a file when the programs around it change from 32 to 64 bits."""

    PORTABLE = "portable"
    """Both sides read it as it is."""
    CONVERTED = "converted by us"
    """This toolkit converts it."""
    REBUILT = "rebuilt by its program"
    """It holds nothing of its own; its program makes it again."""
    DISCARD = "to discard"
    """The other side must not see it, and nothing is lost without it."""
    CARRY_OVER = "to be dumped on the 32-bit side and loaded on the 64-bit side"
    """It holds something, and only programs of its own width can read it."""
    SUSPECT = "unknown, looks machine-dependent"
    """Nobody knows the format, and its bytes look like a C structure as it lay in memory."""
    UNKNOWN = "unknown"
    """Nobody knows the format, and nothing speaks for a C structure."""


class Identification(NamedTuple):
    """What a file is.

    Attributes:
        format: A word that never changes, such as `lmdb`; findings and statements use it.
        width_bits: 32 or 64, the width of the programs that can read it; None where the width
            does not matter or cannot be told. For `unknown-structure` it is a guess.
        evidence: What in the bytes or in the name says so; empty for what is plainly portable.
    """

    format: str
    disposition: Disposition
    width_bits: int | None = None
    evidence: str = ""
