"""The two architectures that an appliance can be of."""

from __future__ import annotations

from enum import Enum


class Architecture(Enum):
    """An x86 architecture, by Debian's name for it."""

    I386 = "i386"
    AMD64 = "amd64"

    @property
    def width(self) -> int:
        """Return the size of a pointer and of a C long in bits."""
        return 32 if self is Architecture.I386 else 64
