"""Which machines belong to the share of the fleet that may take a release.

Each machine draws a number from 0 to 99 for each release, once and for all: from the SHA-256 of the
machine's name and the release. It takes part while the share is above that. So no server keeps a
list, raising the share never takes anyone out, and another release draws anew: nobody is always
first.
"""

from __future__ import annotations

import hashlib

from applianceforge.model.architecture import Architecture
from applianceforge.release.graph import WHOLE_FLEET

# Part of what is hashed, so that other uses of the same machine's name give other numbers.
_PURPOSE = "applianceforge share of the fleet 1"
_DRAW_BYTES = 8


def takes_part(machine_id: str, version: str, architecture: Architecture, percent: int) -> bool:
    """Return whether a machine takes part.

    Args:
        machine_id: What names the machine and never changes, such as the content of
            /etc/machine-id. Space around it and upper case do not count. One without a name takes
            part when all do: else all such machines would draw the same number.
        version: The release's, as the graph writes it.
        architecture: The release's.
        percent: The share, 0 to 100.
    """
    if percent >= WHOLE_FLEET:
        return True
    name = machine_id.strip().lower()
    return bool(name) and draw(name, version, architecture) < percent


def draw(machine_id: str, version: str, architecture: Architecture) -> int:
    """Return the number that a machine draws for a release, 0 to 99."""
    text = "\n".join((_PURPOSE, machine_id, version, architecture.value))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_DRAW_BYTES], "big") * WHOLE_FLEET >> (8 * _DRAW_BYTES)
