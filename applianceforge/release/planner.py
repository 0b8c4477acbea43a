"""Find the way from the installed release to the newest one, or say why there is none.

A hop leads from one release to another; a way is a row of hops. The rules:

 1. Up: a hop leads to a newer version. So no way comes back to where it was.
 2. Channel: it leads to a release of the host's channel. Releases of other channels do not exist
    here, and neither do their barriers.
 3. Withdrawn: it never leads to a release that was withdrawn.
 4. Minimum: what it starts from is not older than the `minimum_version` of what it leads to.
 5. Floor: it never leads below the host's floor.
 6. Offered: it leads to a release that has begun (`since_s`), whose share takes this machine in,
    and that is not by request only. To a release that was asked for by name, and to all that are
    not newer than that, none of these three applies.
 7. Width: it leads from 32 bits to 64 bits into a crossing only, and never from 64 bits to 32.
 8. Processor: it leads to a 64-bit release only if this processor is known to have long mode and
    the release's x86-64 level. What is not known counts as not there.
 9. Barrier: it jumps over no barrier, which is one whose version lies strictly between. One that is
    not offered to this host blocks as well. Of a version that exists in both architectures either
    will do. Which barriers count depends on the widths:

        hop         32-bit barriers   crossings   other 64-bit barriers
        32 -> 32    count             count       do not: no 32-bit system meets them
        32 -> 64    count             count       count
        64 -> 64    do not            do not      count

    A crossing that is a barrier ends the 32-bit line for every host: none gets from below it to a
    32-bit release above it. So the last 32-bit releases have lower versions.
10. Stand-in: a barrier that was withdrawn blocks too, unless the release where the hop starts or
    the one where it ends names it in `replaces`. One that was not withdrawn has no stand-in.
11. Goal: the highest version that a way leads to; of equal versions the 64-bit one. Or exactly the
    version that was asked for.
12. Fewest hops. Of ways with equally many the one whose first hop leads higher, then the second,
    and so on. The order of the offers does not matter.

If there is a newer release than the goal, the report says what is in its way: of several things the
one that this machine meets first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.preflight.checks_processor import check_processor
from applianceforge.preflight.requirements import Last32Bit, Release
from applianceforge.release import ordering, planner_findings, share
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner_findings import Reason

I386, AMD64 = Architecture.I386, Architecture.AMD64
_NONE = -1


@dataclass(frozen=True)
class Installed:
    """The release that runs; the graph need not have it."""

    version: str
    architecture: Architecture


@dataclass(frozen=True)
class Host:
    """What the planner has to know of a machine.

    Attributes:
        machine_id: What names it and never changes; see share.py.
        verdict: What its processor can do.
        channel: Whose releases it follows.
        now_s: Seconds since 1970.
        floor: The oldest version that may be installed; "" for any.
    """

    machine_id: str
    verdict: Verdict
    channel: str
    now_s: float
    floor: str = ""


@dataclass(frozen=True)
class Plan:
    """The way, and why it goes no further.

    Attributes:
        installed: Where it starts.
        goal: Where it ends; None if it goes nowhere.
        hops: What is installed, one after the other; the last is the goal.
        report: Why it goes no further. Inhibitors are what somebody has to mend; what only takes
            time, or has to be asked for, is information. Empty if there is nothing newer, or if the
            goal is what was asked for.
        held_by: For findings about one release, by their key: that release.
    """

    installed: Installed
    goal: Offer | None
    hops: tuple[Offer, ...]
    report: Report
    held_by: Mapping[str, Offer] = field(default_factory=dict)


def plan(graph: Graph, installed: Installed, host: Host, wanted: str = "") -> Plan:
    """Return the way to the newest release that this host may take.

    Args:
        graph: All releases.
        installed: What runs.
        host: The machine.
        wanted: The version that a person asked for by name; "" for the newest.
    """
    wanted = wanted.strip()
    if wanted:
        if ordering.compare(wanted, installed.version) == 0:
            return Plan(installed, None, (), Report())
        refusal = _refusal(graph, installed, host, wanted)
        if refusal is not None:
            return Plan(installed, None, (), Report([refusal]))
    search = _Search(graph, installed, host, wanted)
    layers = search.layers()
    found = [node for layer in layers[1:] for node in layer]
    if wanted:
        goals = [node for node in found if node.version == search.wanted]
        if goals:
            way = search.way(layers, max(goals, key=_order))
            return _plan(installed, way, Report(), {})
        reached = max(found, key=_order, default=search.start)
        unreachable = planner_findings.not_reachable(wanted, installed.version)
        findings, held_by = search.why(reached)
        return _plan(installed, (), Report([unreachable, *findings]), held_by)
    reached = max(found, key=_order, default=search.start)
    way = search.way(layers, reached) if found else ()
    findings, held_by = search.why(reached)
    return _plan(installed, way, Report(findings), held_by)


def _plan(
    installed: Installed, way: tuple[_Node, ...], report: Report, held_by: Mapping[str, Offer]
) -> Plan:
    hops = tuple(node.offer for node in way if node.offer is not None)
    return Plan(installed, hops[-1] if hops else None, hops, report, held_by)


def _refusal(graph: Graph, installed: Installed, host: Host, wanted: str) -> Finding | None:
    """Return why a version that was asked for is not to be had at all."""
    named = [one for one in graph.offers if ordering.compare(one.version, wanted) == 0]
    mine = [one for one in named if host.channel in one.channels]
    if not ordering.is_version(wanted):
        return planner_findings.unknown(wanted, [one.version for one in graph.offers])
    if host.floor and ordering.compare(wanted, host.floor) < 0:
        return planner_findings.below_floor(wanted, host.floor)
    if ordering.compare(wanted, installed.version) < 0:
        return planner_findings.older(wanted, installed.version)
    if not named:
        return planner_findings.unknown(wanted, [one.version for one in graph.offers])
    if not mine:
        return planner_findings.other_channel(named[0], host.channel)
    if all(one.withdrawn for one in mine):
        return planner_findings.withdrawn(mine[0])
    if installed.architecture is AMD64 and all(
        one.architecture is I386 for one in mine if not one.withdrawn
    ):
        return planner_findings.back_to_32(wanted)
    return None


@dataclass(frozen=True)
class _Node:
    """A release as the rules see it: a version is a number, its place among all versions.

    Attributes:
        minimum: The version that it can be installed over; -1 for any.
        replaces: The versions of barriers for which it stands in.
        offer: None if it is installed, and not in the graph.
    """

    version: int
    architecture: Architecture
    minimum: int
    replaces: frozenset[int]
    offer: Offer | None

    @property
    def crossing(self) -> bool:
        return self.offer is not None and self.offer.crossing

    @property
    def withdrawn(self) -> bool:
        return self.offer is not None and bool(self.offer.withdrawn)

    @property
    def name(self) -> str:
        assert self.offer is not None
        return f"{self.offer.version} {self.architecture.value}"


def _order(node: _Node) -> tuple[int, bool]:
    return node.version, node.architecture is AMD64


class _Search:
    """The rules for one host, and the search for a way."""

    def __init__(self, graph: Graph, installed: Installed, host: Host, wanted: str) -> None:
        self._host = host
        self._installed = installed
        self._wanted_text = wanted
        self._verdict = _certain(host.verdict)
        self._refused: dict[tuple[Architecture, int], bool] = {}
        texts = {installed.version, host.floor, wanted}
        for one in graph.offers:
            texts.update((one.version, one.release.minimum_version, *one.replaces))
        keys = {text: ordering.key(text) for text in texts}
        places = {key: place for place, key in enumerate(sorted(set(keys.values())))}
        rank = {text: places[key] for text, key in keys.items()} | {"": _NONE}

        def node(version: str, architecture: Architecture, offer: Offer | None) -> _Node:
            if offer is None:
                return _Node(places[keys[version]], architecture, _NONE, frozenset(), None)
            replaces = frozenset(rank[one] for one in offer.replaces)
            minimum = rank[offer.release.minimum_version]
            return _Node(rank[version], architecture, minimum, replaces, offer)

        self._floor = rank[host.floor]
        self.wanted = rank[wanted]
        all_nodes = sorted(
            (node(one.version, one.architecture, one) for one in graph.offers), key=_order
        )
        start = node(installed.version, installed.architecture, None)
        same = [one for one in all_nodes if _order(one) == _order(start)]
        self.start = same[0] if same else start
        mine = [one for one in all_nodes if one.offer and host.channel in one.offer.channels]  # 2
        self._barriers = [one for one in mine if one.offer and one.offer.barrier]
        self._barrier_versions = [one.version for one in self._barriers]
        self.nodes = [
            one
            for one in mine
            if not one.withdrawn  # 3
            and (not wanted or one.version <= self.wanted)  # 11
        ]
        self._open = [
            one
            for one in self.nodes
            if one.version >= self._floor  # 5
            and not list(self._phases(one))  # 6
            and not self._refuses(one)  # 8
        ]

    def layers(self) -> list[list[_Node]]:
        """Return what can be reached with no hop, with one, with two, and so on; each node once."""
        layers = [[self.start]]
        left = self._open
        while layers[-1] and left:
            now = [node for node in left if any(self._hop(one, node) for one in layers[-1])]
            here = {_order(node) for node in now}
            left = [node for node in left if _order(node) not in here]
            layers.append(now)
        return layers

    def way(self, layers: list[list[_Node]], goal: _Node) -> tuple[_Node, ...]:
        """Return the way to a node of the layers; rule 12."""
        depth = next(number for number, layer in enumerate(layers) if goal in layer)
        # Of each layer, what lies on a way to the goal.
        leading = [[goal]]
        for layer in reversed(layers[1:depth]):
            leading.append([x for x in layer if any(self._hop(x, y) for y in leading[-1])])
        way = [self.start]
        for layer in reversed(leading):
            way.append(max((y for y in layer if self._hop(way[-1], y)), key=_order))
        return tuple(way[1:])

    def _newer(self, reached: _Node) -> list[_Node]:
        """Return what is newer than what was reached; rule 7 leaves 32 bits behind."""
        return [
            one
            for one in self.nodes
            if one.version > reached.version
            and (reached.architecture is I386 or one.architecture is AMD64)
        ]

    def _hop(self, x: _Node, y: _Node) -> bool:
        return (
            y.version > x.version  # 1
            and x.version >= y.minimum  # 4
            and self._width(x, y)  # 7
            and not any(self._blocking(x, y))  # 9, 10
        )

    @staticmethod
    def _width(x: _Node, y: _Node) -> bool:
        if x.architecture is AMD64:
            return y.architecture is AMD64
        return y.architecture is I386 or y.crossing

    def _blocking(self, x: _Node, y: _Node) -> Iterator[_Node]:
        """Return the barriers over which a hop would jump."""
        first = bisect_right(self._barrier_versions, x.version)
        behind = bisect_left(self._barrier_versions, y.version)
        for barrier in self._barriers[first:behind]:
            if barrier.architecture is I386 or barrier.crossing:
                counts = x.architecture is I386
            else:
                counts = y.architecture is AMD64
            replaced = barrier.withdrawn and barrier.version in x.replaces | y.replaces
            if counts and not replaced:
                yield barrier

    def _phases(self, node: _Node) -> Iterator[Reason]:
        """Return why a release is not offered to this host yet."""
        offer = node.offer
        if offer is None or node.version <= self.wanted:
            return
        if self._host.now_s < offer.since_s:
            yield Reason.NOT_YET
        taken = share.takes_part(
            self._host.machine_id, offer.version, offer.architecture, offer.share_percent
        )
        if not taken:
            yield Reason.SHARE
        if offer.by_request:
            yield Reason.BY_REQUEST

    def _refuses(self, node: _Node) -> bool:
        """Return whether the processor forbids a release."""
        if node.offer is None:
            return False
        release = node.offer.release
        kind = (release.architecture, release.x86_64_level)
        if kind not in self._refused:
            found = check_processor(self._verdict, release)
            self._refused[kind] = any(one.severity is Severity.INHIBITOR for one in found)
        return self._refused[kind]

    def why(self, reached: _Node) -> tuple[list[Finding], dict[str, Offer]]:
        """Return why no way leads further, or to what was asked for, and which releases hold it.

        What a release waits for may be another one that cannot be reached either. All of them are
        newer than what was reached, so they are looked at from the oldest on, and the reasons of
        the older ones become those of the newer.
        """
        newer = self._newer(reached)
        looked_at: list[tuple[_Node, dict[Reason, _Node]]] = []
        for node in newer:
            looked_at.append((node, self._stops(reached, node, looked_at)))
        of_targets = [
            (node, stops)
            for node, stops in looked_at
            if self.wanted == _NONE or node.version == self.wanted
        ]
        findings: list[Finding] = []
        held_by: dict[str, Offer] = {}
        if not of_targets and self.wanted != _NONE:
            # All ways go over into 64 bits before they come there.
            findings.append(planner_findings.back_to_32(self._wanted_text))
        for reason in Reason:
            behind = [node for node, found in of_targets if reason in found]
            if not behind:
                continue
            root = min((found[reason] for _, found in of_targets if reason in found), key=_order)
            if reason is Reason.PROCESSOR:
                findings += self._processor(root, reached, newer)
            elif root.offer is not None:
                names = tuple(node.name for node in behind)
                findings.append(planner_findings.stop(reason, root.offer, names, self._host.floor))
                held_by[reason.value] = root.offer
        return findings, held_by

    def _stops(
        self, reached: _Node, node: _Node, older: list[tuple[_Node, dict[Reason, _Node]]]
    ) -> dict[Reason, _Node]:
        """Return what is in the way of a release, and for each reason the oldest one that has it.

        Args:
            reached: From where.
            node: The release; it cannot be reached from there.
            older: What lies between, none of it reachable, with what is in the way of each.
        """
        if node.version < self._floor:
            return {Reason.BELOW_FLOOR: node}
        if self._refuses(node):
            return {Reason.PROCESSOR: node}
        found = dict.fromkeys(self._phases(node), node)
        between = [pair for pair in older if pair[0].version < node.version]

        def follows(reason: Reason, root: _Node, ways: list[dict[Reason, _Node]]) -> None:
            for stops in ways or [{reason: root}]:
                for one, where in stops.items():
                    found[one] = min(found.get(one, where), where, key=_order)

        if not self._width(reached, node):
            follows(Reason.NO_CROSSING, node, [stops for one, stops in between if one.crossing])
        if reached.version < node.minimum:
            over = [stops for one, stops in between if one.version >= node.minimum]
            follows(Reason.MINIMUM, node, over)
        for barrier in self._blocking(reached, node):
            stand_ins = [stops for one, stops in between if barrier.version in one.replaces]
            itself = [stops for one, stops in between if one is barrier]
            ways = stand_ins if barrier.withdrawn else itself
            follows(Reason.BARRIER_WITHDRAWN, barrier, ways)
        return found

    def _processor(self, root: _Node, reached: _Node, newer: list[_Node]) -> Iterator[Finding]:
        """Return what the processor lacks, and where its way ends."""
        assert root.offer is not None
        told = [one.offer.release.last_32_bit for one in newer if one.offer is not None]
        # What was said last counts: support may have been prolonged.
        last: Last32Bit | None = next((one for one in reversed(told) if one is not None), None)
        release: Release = root.offer.release._replace(last_32_bit=last)
        if self._installed.architecture is AMD64:
            yield from check_processor(self._verdict, release._replace(last_32_bit=None))
            return
        yield from check_processor(self._verdict, release)
        if self._verdict.long_mode is False:
            at = self._installed.version if reached.offer is None else reached.offer.version
            yield planner_findings.dead_end(last, self._installed.version, at)


def _certain(verdict: Verdict) -> Verdict:
    """Return a verdict that is capable only if long mode was seen."""
    if verdict.capability is Capability.CAPABLE and verdict.long_mode is not True:
        return verdict._replace(capability=Capability.UNKNOWN)
    return verdict
