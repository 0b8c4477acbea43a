"""See ahead what boxes would be offered by a graph, so that the vendor leaves none behind.

The ways are the planner's, which decides on the boxes too. What is added is the vendor's side: how
each box stands, what the vendor can do, and one mistake that no box can see: a 32-bit release
behind a crossing that is a barrier is out of reach for whoever has no long mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import NoWayError
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.release import ordering, planner
from applianceforge.release.graph import STABLE, WHOLE_FLEET, Graph, Offer
from applianceforge.release.planner import Host, Installed, Plan
from applianceforge.release.publish.remedies import Commands, no_barriers, remedies

BEHIND_CROSSING = "release.behind-crossing"
_HIGHEST_LEVEL = 4
_WITH = Verdict(Capability.CAPABLE, True, "metal", None, _HIGHEST_LEVEL, ())
_WITHOUT = Verdict(Capability.INCAPABLE, False, "metal", None, None, ())
_OF_PROCESSOR = "processor."


class Standing(Enum):
    """How a box stands, from the best."""

    NEWEST = "newest"
    WAITS = "waits"
    PROCESSOR = "processor"
    STRANDED = "stranded"


@dataclass(frozen=True)
class Start:
    """A kind of box: what runs, whether its processor has long mode, and its channel."""

    installed: Installed
    long_mode: bool
    channel: str


@dataclass(frozen=True)
class Outlook:
    """What a kind of box would be offered.

    Attributes:
        start: The kind.
        plan: The planner's, with remedies for the vendor.
        standing: `newest` if it reaches all that is newer and in its channel; `waits` if only time,
            a share or a request is in the way; `processor` if nothing but the processor is;
            `stranded` if anything else is, or will be then, which the vendor has to mend.
    """

    start: Start
    plan: Plan
    standing: Standing


def starts(
    graphs: Sequence[Graph],
    version: str = "",
    architecture: Architecture | None = None,
    channel: str = "",
    long_mode: bool | None = None,
) -> tuple[Start, ...]:
    """Return the kinds of boxes that there are.

    Args:
        graphs: What boxes may run: what was published and what will be.
        version: What runs, even if no graph has it; "" for each version there is.
        architecture: Only this; None for each that the version has, or both if no graph has it.
        channel: Only this; "" for those of the release, or all if no graph has it.
        long_mode: Only boxes with it or without; None for both. A 64-bit system has it.
    """
    offers = [one for graph in graphs for one in graph.offers]
    every = {name for one in offers for name in one.channels} or {STABLE}
    found: dict[tuple[ordering.Key, Architecture], tuple[str, set[str]]] = {}
    for one in offers:
        if not version or ordering.compare(one.version, version) == 0:
            place = (ordering.key(one.version), one.architecture)
            found.setdefault(place, (one.version, set()))[1].update(one.channels)
    if version and not found:
        found = {(ordering.key(version), one): (version, every) for one in Architecture}
    kinds = [
        Start(Installed(text, width), wide, name)
        for (_, width), (text, channels) in found.items()
        for name in ({channel} if channel and version else channels)
        for wide in ((True,) if width is Architecture.AMD64 else (True, False))
        if architecture in (None, width) and channel in ("", name) and long_mode in (None, wide)
    ]
    return tuple(sorted(kinds, key=_order))


def _order(start: Start) -> tuple[bool, str, bool, ordering.Key, str]:
    installed = start.installed
    return (
        start.channel != STABLE,
        start.channel,
        not start.long_mode,
        ordering.key(installed.version),
        installed.architecture.value,
    )


def see(
    graph: Graph, start: Start, now_s: float, machine_id: str = "", directory: str = "DIR"
) -> Outlook:
    """Return what a kind of box would be offered.

    Args:
        graph: All releases.
        start: The kind.
        now_s: Seconds since 1970.
        machine_id: Of a certain machine, for the shares; "" for one that each share takes in.
        directory: Where the repository is, for the commands that help.
    """
    host = Host(machine_id, _WITH if start.long_mode else _WITHOUT, start.channel, now_s)
    shared = graph if machine_id else _for_the_whole_fleet(graph)
    found = planner.plan(shared, start.installed, host)
    findings = list(found.report.findings)
    commands = Commands(directory)
    held_by = dict(found.held_by)
    standing = _standing(found.report)
    if standing in (Standing.WAITS, Standing.PROCESSOR):
        behind, held_behind = _in_the_end(graph, found, host, commands)
        findings = [*behind, *findings]
        held_by |= held_behind
        standing = Standing.STRANDED if behind else standing
    reached = _reached(found).version
    told = Report(_for_the_vendor(one, held_by, reached, commands) for one in findings)
    hops = tuple(_as_offered(graph, hop) for hop in found.hops)
    goal = hops[-1] if hops else None
    return Outlook(start, replace(found, goal=goal, hops=hops, report=told), standing)


def is_hop(graph: Graph, origin: Offer, goal: Offer) -> bool:
    """Return whether any box goes from one release to another in one hop."""
    installed = Installed(origin.version, origin.architecture)
    return any(
        planner.plan(graph, installed, Host("", verdict, channel, 0.0), goal.version).hops
        == (goal,)
        for channel in goal.channels
        for verdict in (_WITH, _WITHOUT)
    )


def strands(finding: Finding) -> bool:
    """Return whether a finding keeps a box back, and the vendor can mend it."""
    inhibits = finding.severity is Severity.INHIBITOR
    return inhibits and not finding.key.startswith(_OF_PROCESSOR)


def _standing(report: Report) -> Standing:
    if any(strands(one) for one in report.findings):
        return Standing.STRANDED
    if report.inhibitors:
        return Standing.PROCESSOR
    return Standing.WAITS if report.findings else Standing.NEWEST


def _for_the_whole_fleet(graph: Graph) -> Graph:
    return replace(
        graph, offers=tuple(replace(one, share_percent=WHOLE_FLEET) for one in graph.offers)
    )


def _as_in_the_end(graph: Graph) -> Graph:
    """Return the graph when all has begun, for the whole fleet, and whoever is to ask has asked."""
    whole = _for_the_whole_fleet(graph)
    return replace(
        whole, offers=tuple(replace(one, since_s=0, by_request=False) for one in whole.offers)
    )


def _as_offered(graph: Graph, hop: Offer) -> Offer:
    """Return a hop with the share that it really has."""
    return next(
        one
        for one in graph.offers
        if (one.version, one.architecture) == (hop.version, hop.architecture)
    )


def _reached(found: Plan) -> Installed:
    goal = found.goal
    return Installed(goal.version, goal.architecture) if goal else found.installed


def _for_the_vendor(
    finding: Finding, held_by: Mapping[str, Offer], reached: str, commands: Commands
) -> Finding:
    offer = held_by.get(finding.key)
    mine = None if offer is None else remedies(finding.key, offer, reached, commands)
    return finding if mine is None else finding._replace(remedies=mine)


def _in_the_end(
    graph: Graph, found: Plan, host: Host, commands: Commands
) -> tuple[list[Finding], Mapping[str, Offer]]:
    """Return what will keep a box back where its way ends by now, however long it waits."""
    whole = _as_in_the_end(graph)
    after = planner.plan(whole, _reached(found), host)
    findings = [one for one in after.report.findings if strands(one)]
    if _standing(after.report) is Standing.PROCESSOR:
        findings += _behind_crossing(whole, after, host, commands)
    return findings, after.held_by


def _behind_crossing(
    graph: Graph, found: Plan, host: Host, commands: Commands
) -> Iterator[Finding]:
    """Return that a 32-bit release could be had if no crossing were a barrier."""
    crossings = [
        one
        for one in graph.offers
        # One that was withdrawn blocks too: its stand-in needs long mode as well.
        if one.crossing and one.barrier and host.channel in one.channels
    ]
    without = replace(
        graph,
        offers=tuple(
            replace(one, barrier=False) if one in crossings else one for one in graph.offers
        ),
    )
    goal = planner.plan(without, found.installed, host).goal
    reached = _reached(found).version
    if goal is None or ordering.compare(goal.version, reached) <= 0:
        return
    between = sorted(
        (
            one
            for one in crossings
            if ordering.compare(found.installed.version, one.version) < 0
            and ordering.compare(one.version, goal.version) < 0
        ),
        key=lambda one: ordering.key(one.version),
    )
    yield Finding(
        BEHIND_CROSSING,
        Severity.INHIBITOR,
        f"Release {goal.version} i386 lies behind a crossing that is a barrier:"
        f" {', '.join(one.version for one in between)}",
        "No 32-bit system jumps over it, and without long mode none can install it: the newest"
        f" release for such a machine is {reached}.",
        remedies=no_barriers(between, commands),
        exit_status=NoWayError.exit_status,
    )
