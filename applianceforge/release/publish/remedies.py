"""What the vendor can do where boxes go no further, as commands for the vendor's own repository.

What the planner says is for the owner of a box, who can only wait or ask.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from applianceforge.model.report import Remedy
from applianceforge.release.graph import STABLE, Offer
from applianceforge.release.planner_findings import Reason


class Commands:
    """The commands for one repository.

    Args:
        directory: Where it is, as the vendor names it.
    """

    def __init__(self, directory: str) -> None:
        # A name that begins with a dash would be taken for an option.
        named = f"./{directory}" if directory.startswith("-") else directory
        self._directory = shlex.quote(named)

    def of(self, word: str, *more: str) -> str:
        """Return a command of `applianceforge release`; `more` is what comes after DIR."""
        return " ".join(("applianceforge release", word, self._directory, *more))

    def about(self, word: str, offer: Offer, *more: str) -> str:
        """Return a command about one release."""
        # Also where the version is there for one alone: the other may be staged meanwhile.
        width = f"--architecture {offer.architecture.value}"
        return self.of(word, shlex.quote(offer.version), width, *more)

    def add(self, offer: Offer, *more: str) -> str:
        """Return the command that adds a release for all whom another one is for."""
        channels = () if offer.channels == (STABLE,) else offer.channels
        into = (f"--channel {shlex.quote(name)}" for name in channels)
        return self.of("add", "--slot NAME.slot", *into, *more)


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
            commands.add(offer, *crossing, "--barrier", replaces),
        ),
        Remedy("Or offer it again", commands.about("withdraw", offer, "--undo")),
    )


def _no_crossing(offer: Offer, _reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Add a release that takes 32-bit systems to 64 bits; if one of those that are staged"
            " does, discard it and add it again",
            commands.add(offer, "--crossing", "--barrier"),
        ),
    )


def _minimum(offer: Offer, reached: str, commands: Commands) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Add a release in between, which can be installed over the older ones and is not older"
            " than that",
            commands.add(offer, f"--minimum-version {shlex.quote(reached)}"),
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
