"""The next graph, as it is edited before it is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RepositoryError
from applianceforge.release import clock, graph_file, ordering
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.publish.layout import (
    STAGED_BUNDLES,
    STAGED_GRAPH,
    STAGED_TARGETS,
    Layout,
)
from applianceforge.system import files
from applianceforge.system.effects import Effects

# What goes when the staged graph was published, or is given up; the graph goes first.
ALL = (STAGED_GRAPH, STAGED_TARGETS, STAGED_BUNDLES)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Wish:
    """How a release is to be offered; None leaves it as it is.

    Attributes:
        share_percent: As in an offer, and so are the others.
    """

    share_percent: int | None = None
    by_request: bool | None = None
    channels: tuple[str, ...] | None = None
    since_s: int | None = None
    title: str | None = None
    barrier: bool | None = None


def read(layout: Layout, published: Graph) -> Graph:
    """Return the graph as it will be: what is staged, or else what is published.

    Raises:
        SettingsError: What is staged is wrong.
    """
    content = files.read_plain(layout.staged_graph)
    if content is None:
        return published
    return graph_file.decode(content, str(layout.staged_graph))


def write(layout: Layout, graph: Graph, effects: Effects) -> None:
    """Stage a graph."""
    files.make_directory(layout.staged, effects)
    files.write_file(layout.staged_graph, graph_file.encode(graph), effects)


def discard(layout: Layout, effects: Effects) -> bool:
    """Forget what is staged, and return whether anything was."""
    was = os.path.lexists(layout.staged_graph)
    for path in ALL:
        files.remove_tree(layout.directory / path, effects)
    return was


def chosen(graph: Graph, version: str, architecture: Architecture | None) -> tuple[Offer, ...]:
    """Return the releases of a version: of an architecture, or of all.

    Raises:
        RepositoryError: There is none.
    """
    found = tuple(
        offer
        for offer in graph.offers
        if same_version(offer.version, version) and architecture in (None, offer.architecture)
    )
    if not found:
        known = ", ".join(f"{one.version} ({one.architecture.value})" for one in graph.offers)
        which = f" for {architecture.value}" if architecture else ""
        raise RepositoryError(
            f"there is no release {version}{which}",
            hint=f"there are: {known}" if known else "add it first: release add",
        )
    return found


def same_version(one: str, other: str) -> bool:
    """Return whether two texts name one version, such as 3.0 and 3.0.0."""
    if one == other:
        return True
    known = ordering.is_version(one) and ordering.is_version(other)
    return known and ordering.compare(one, other) == 0


def withdrawn(graph: Graph, version: str, architecture: Architecture | None, reason: str) -> Graph:
    """Return the graph with a release withdrawn; "" as reason offers it again.

    Raises:
        RepositoryError: There is no such release.
    """
    which = chosen(graph, version, architecture)
    return _with(graph, which, lambda offer: replace(offer, withdrawn=reason.strip()))


def offered(graph: Graph, version: str, architecture: Architecture | None, wish: Wish) -> Graph:
    """Return the graph with a release offered otherwise.

    Raises:
        RepositoryError: There is no such release, or the wish cannot be.
    """
    which = chosen(graph, version, architecture)
    return _with(graph, which, lambda offer: wished(offer, wish))


def dropped(graph: Graph, version: str, architecture: Architecture | None) -> Graph:
    """Return the graph without a release.

    Raises:
        RepositoryError: There is no such release, or it is a barrier: boxes before it would go on
            without it.
    """
    which = chosen(graph, version, architecture)
    for offer in which:
        if offer.barrier:
            raise RepositoryError(
                f"release {version} is a barrier, which boxes must know of",
                hint="if boxes before it may go on without it, let it be none first:"
                f" release offer DIR {version} --no-barrier",
            )
    return replace(graph, offers=tuple(one for one in graph.offers if one not in which))


def wished(offer: Offer, wish: Wish) -> Offer:
    """Return the release offered as it is wished.

    Raises:
        RepositoryError: The wish cannot be.
    """
    if wish.share_percent is not None and not 0 <= wish.share_percent <= 100:
        raise RepositoryError(
            f"a share of {wish.share_percent} percent cannot be", hint="take 0 to 100"
        )
    for channel in wish.channels or ():
        if not graph_file.is_channel(channel):
            raise RepositoryError(
                f"{channel!r} cannot be a channel",
                hint="take up to 32 small letters, digits and '-', such as stable or beta",
            )
    return replace(
        offer,
        share_percent=_wish(wish.share_percent, offer.share_percent),
        by_request=_wish(wish.by_request, offer.by_request),
        channels=_wish(wish.channels, offer.channels),
        since_s=_wish(wish.since_s, offer.since_s),
        title=_wish(wish.title, offer.title),
        barrier=_wish(wish.barrier, offer.barrier),
    )


def _wish(wanted: Value | None, is_now: Value) -> Value:
    return is_now if wanted is None else wanted


def _with(graph: Graph, which: tuple[Offer, ...], change: Callable[[Offer], Offer]) -> Graph:
    offers = (change(offer) if offer in which else offer for offer in graph.offers)
    return replace(graph, offers=tuple(offers))


def only_through(graph: Graph, offer: Offer) -> bool:
    """Return whether a release is a barrier that nothing stands in for."""
    return offer.barrier and not any(
        offer.version in one.replaces and not one.withdrawn for one in graph.offers
    )


def leaves_32_bit_behind(graph: Graph) -> bool:
    """Return whether there are releases of both widths, and none that is offered crosses over."""
    widths = {one.architecture for one in graph.offers if not one.withdrawn}
    crossings = (one for one in graph.offers if one.crossing and not one.withdrawn)
    return widths == set(Architecture) and not any(crossings)


def differences(before: Graph, after: Graph) -> tuple[str, ...]:
    """Return what differs between two graphs, a line for each release."""
    old = {(one.version, one.architecture): one for one in before.offers}
    lines = []
    for offer in after.offers:
        name = f"{offer.version} ({offer.architecture.value})"
        was = old.get((offer.version, offer.architecture))
        if was is None:
            lines.append(f"{name}: new, {told(offer)}")
        elif was != offer:
            title = f", entitled {offer.title!r}" if offer.title != was.title else ""
            lines.append(f"{name}: {told(offer)}{title}; before: {told(was)}")
    left = {(one.version, one.architecture) for one in after.offers}
    gone = (key for key in old if key not in left)
    lines += [f"{version} ({architecture.value}): dropped" for version, architecture in gone]
    return tuple(lines)


def told(offer: Offer) -> str:
    """Return how a release is offered, in a few words."""
    if offer.withdrawn:
        return f"withdrawn: {offer.withdrawn}"
    parts = ["/".join(offer.channels), f"{offer.share_percent} % of the fleet"]
    parts += [f"from {clock.shown(offer.since_s)}"] if offer.since_s else []
    parts += ["by request only"] if offer.by_request else []
    parts += ["barrier"] if offer.barrier else []
    parts += ["crossing"] if offer.crossing else []
    parts += [f"replaces {', '.join(offer.replaces)}"] if offer.replaces else []
    return ", ".join(parts)
