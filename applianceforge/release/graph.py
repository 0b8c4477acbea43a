"""Which releases there are, what each asks of a machine, and to whom it is offered: values.

`graph_file` is the document in which a vendor publishes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Release

STABLE = "stable"
WHOLE_FLEET = 100


@dataclass(frozen=True)
class Offer:
    """A release, and who may take it.

    Attributes:
        release: What it is and what it requires, as its RELEASE.json says.
        title: For people; one line.
        channels: The channels that it belongs to.
        barrier: It must be installed on the way to any newer one. One that is a crossing too counts
            for 32-bit systems only.
        crossing: It takes a 32-bit system to 64 bits; no other release may.
        replaces: Versions of withdrawn barriers for which it stands in.
        since_s: Not before then, seconds since 1970.
        share_percent: The share of the fleet that may take it, 0 to 100.
        by_request: Only for whoever asks for it by name.
        withdrawn: Why it is offered no more; "" while it is.
        bundle: The manifest of its bundle, a target of the repository.
    """

    release: Release
    title: str = ""
    channels: tuple[str, ...] = (STABLE,)
    barrier: bool = False
    crossing: bool = False
    replaces: tuple[str, ...] = ()
    since_s: int = 0
    share_percent: int = WHOLE_FLEET
    by_request: bool = False
    withdrawn: str = ""
    bundle: str = ""

    @property
    def version(self) -> str:
        """Return the release's version."""
        return self.release.version

    @property
    def architecture(self) -> Architecture:
        """Return the release's architecture."""
        return self.release.architecture


@dataclass(frozen=True)
class Graph:
    """All releases of an appliance; no two have the same version and architecture."""

    appliance: str
    offers: tuple[Offer, ...] = ()
