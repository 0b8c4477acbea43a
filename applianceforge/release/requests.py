"""Decide which bytes of a payload are asked for: the frames that are needed, few requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from applianceforge.release.index import Frame

# What lies between two frames is fetched in vain if that costs less than another request: on a
# line of 10 Mbit/s with 25 ms for a question and its answer, so many bytes come in that time.
LARGEST_GAP_BYTES = 32 << 10


@dataclass(frozen=True)
class Request:
    """A part of the payload, and the frames in it that are needed, in order."""

    frames: tuple[Frame, ...]

    @property
    def at_bytes(self) -> int:
        """Return where it begins."""
        return self.frames[0].at_bytes

    @property
    def size_bytes(self) -> int:
        """Return how much is asked for, with what lies between the frames."""
        return self.frames[-1].at_bytes + self.frames[-1].size_bytes - self.at_bytes


def requests_for(
    frames: Iterable[Frame], largest_gap_bytes: int = LARGEST_GAP_BYTES
) -> list[Request]:
    """Return the requests for some frames.

    Args:
        frames: Those that are needed, in order.
        largest_gap_bytes: So much is fetched in vain to save a request.
    """
    found: list[list[Frame]] = []
    end = 0
    for frame in frames:
        if found and frame.at_bytes - end <= largest_gap_bytes:
            found[-1].append(frame)
        else:
            found.append([frame])
        end = frame.at_bytes + frame.size_bytes
    return [Request(tuple(one)) for one in found]
