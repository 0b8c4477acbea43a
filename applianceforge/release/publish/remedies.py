"""What the vendor can do where boxes go no further, as commands for the vendor's own repository.

What the planner says is for the owner of a box, who can only wait or ask.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from applianceforge.model.report import Remedy
from applianceforge.release import ordering
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner_findings import Reason

_SLOT = "--slot NAME.slot"


class Commands:
    """The commands for one repository.

    Args:
        graph: Its releases.
        directory: Where it is, as the vendor names it.
    """

    def __init__(self, graph: Graph, directory: str) -> None:
        self._graph, self._directory = graph, directory

    def of(self, word: str, *more: str) -> str:
        """Return a command of `applianceforge release`; `more` is what comes after DIR."""
        return " ".join(("applianceforge release", word, shlex.quote(self._directory), *more))

    def about(self, word: str, offer: Offer, *more: str) -> str:
        """Return a command about one release."""
        same = [
            one for one in self._graph.offers if ordering.compare(one.version, offer.version) == 0
        ]
        both = len({one.architecture for one in same}) > 1
        width = (f"--architecture {offer.architecture.value}",) if both else ()
        return self.of(word, shlex.quote(offer.version), *width, *more)


def remedies(key: str, offer: Offer, reached: str, commands: Commands) -> tuple[Remedy, ...] | None:
    """Return what the vendor can do about a finding of the planner; None if that says it all.

    Args:
        key: Of the finding.
        offer: The release that it is about.
        reached: The version of the newest release that the box gets.
        commands: For the repository.
    """
    made = _REMEDIES.get(key)
    return None if made is None else made(offer, reached, commands)


def no_barriers(crossings: Sequence[Offer], commands: Commands) -> tuple[Remedy, ...]:
    """Return what leads 32-bit systems past crossings that are barriers."""
    return (
        Remedy("Give the last 32-bit releases versions below that of the crossing"),
        *(
            Remedy(
                f"Or let {one.version} be no barrier",
                commands.about("offer", one, "--no-barrier"),
            )
            for one in crossings
        ),
    )


def _barrier_withdrawn(offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    crossing = ("--crossing",) if offer.crossing else ()
    replaces = f"--replaces {shlex.quote(offer.version)}"
    return (
        Remedy(
            "Add a release that stands in for it",
            commands.of("add", _SLOT, *crossing, "--barrier", replaces),
        ),
        Remedy("Or offer it again", commands.about("withdraw", offer, "--undo")),
    )


def _no_crossing(_offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Add a release that takes 32-bit systems to 64 bits; if one of those that are staged"
            " does, discard it and add it again",
            commands.of("add", _SLOT, "--crossing", "--barrier"),
        ),
    )


def _minimum(_offer: Offer, reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Add a release in between, which can be installed over the older ones and is not older"
            " than that",
            commands.of("add", _SLOT, f"--minimum-version {shlex.quote(reached)}"),
        ),
        Remedy(
            "Or, if it is staged and can be installed over older ones, discard it and add it again"
            " with another --minimum-version",
            commands.of("discard"),
        ),
    )


def _not_yet(offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Nothing need be done; or let it begin earlier",
            commands.about("offer", offer, "--since DATE"),
        ),
    )


def _share(offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Raise its share when it has proved itself",
            commands.about("offer", offer, "--share 100"),
        ),
    )


def _by_request(offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Nothing need be done; or offer it to all", commands.about("offer", offer, "--for-all")
        ),
    )


_REMEDIES: Mapping[str, Callable[[Offer, str, Commands], tuple[Remedy, ...]]] = {
    Reason.BARRIER_WITHDRAWN.value: _barrier_withdrawn,
    Reason.NO_CROSSING.value: _no_crossing,
    Reason.MINIMUM.value: _minimum,
    Reason.NOT_YET.value: _not_yet,
    Reason.SHARE.value: _share,
    Reason.BY_REQUEST.value: _by_request,
}
