"""The planner over 10,000 random graphs, held against one that tries every way."""

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applianceforge.model.report import Severity
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner import Host, Installed, Plan, plan
from tests.release.graphs import (
    AMD64,
    I386,
    best_way,
    is_hop,
    may_be_installed,
    random_case,
    skipped,
)

GRAPHS = 10_000
BYTES = 150
PROCESSOR_STATUSES = {20, 21, 22, 24, 30}
# What must have been met in these graphs, or they prove nothing; measured, then rounded down.
MET = {
    "a way": 1500,
    "two hops": 250,
    "three hops": 20,
    "a crossing": 250,
    "over a replaced barrier": 5,
    "nothing newer": 500,
    "processor.level": 150,
    "processor.long-mode": 600,
    "refused by name": 1500,
    "release.back-to-32-bit": 40,
    "release.barrier-withdrawn": 100,
    "release.below-floor": 100,
    "release.by-request": 250,
    "release.last-32-bit": 250,
    "release.minimum-version": 200,
    "release.no-crossing": 200,
    "release.not-reachable": 100,
    "release.not-yet": 300,
    "release.older": 150,
    "release.other-channel": 80,
    "release.share": 200,
    "release.unknown": 400,
    "release.withdrawn": 40,
}


def test_random_graphs() -> None:
    met: Counter[str] = Counter()

    @settings(
        max_examples=GRAPHS,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.binary(min_size=BYTES, max_size=BYTES))
    def check(data: bytes) -> None:
        graph, installed, host, wanted = random_case(data)
        found = plan(graph, installed, host, wanted)
        met["graphs"] += 1
        ways_obey_the_rules(graph, installed, host, wanted, found)
        nothing_is_better(graph, installed, host, wanted, found)
        refusals_are_complete(graph, installed, host, wanted, found)
        nothing_but_the_arguments_counts(graph, installed, host, wanted, found)
        raising_a_share_takes_nothing_away(graph, installed, host, found)
        note(met, graph, installed, host, found)

    check()
    assert met["graphs"] >= GRAPHS
    few = {what: (met[what], least) for what, least in MET.items() if met[what] < least}
    assert not few, f"{few} {dict(met)}"


def ways_obey_the_rules(
    graph: Graph, installed: Installed, host: Host, wanted: str, found: Plan
) -> None:
    at = installed
    seen = {(at.version, at.architecture)}
    for hop in found.hops:
        assert is_hop(graph, host, at, hop, wanted)
        assert not skipped(graph, host, at, hop)
        assert hop.architecture is I386 or host.verdict.long_mode is True
        at = Installed(hop.version, hop.architecture)
        assert (at.version, at.architecture) not in seen
        seen.add((at.version, at.architecture))
    assert found.goal == (found.hops[-1] if found.hops else None)
    assert found.installed == installed


def nothing_is_better(
    graph: Graph, installed: Installed, host: Host, wanted: str, found: Plan
) -> None:
    if wanted and int(wanted) <= int(installed.version):
        assert found.hops == ()
        return
    assert found.hops == best_way(graph, installed, host, wanted)


def refusals_are_complete(
    graph: Graph, installed: Installed, host: Host, wanted: str, found: Plan
) -> None:
    for finding in found.report.findings:
        assert finding.key.startswith(("release.", "processor."))
        assert finding.title
        assert finding.summary
        assert finding.remedies
        assert all(one.text for one in finding.remedies)
        if finding.key.startswith("processor."):
            assert finding.exit_status in PROCESSOR_STATUSES
        else:
            assert finding.exit_status == 78
    if wanted:
        there = found.goal is not None or int(wanted) == int(installed.version)
        assert bool(found.report.inhibitors) != there
        return
    assert bool(found.report.findings) == bool(newer(graph, installed, host, found))


def newer(graph: Graph, installed: Installed, host: Host, found: Plan) -> list[Offer]:
    """Return what there is in the host's channel beyond what was reached."""
    at = found.goal or installed
    return [
        one
        for one in graph.offers
        if host.channel in one.channels
        and not one.withdrawn
        and int(one.version) > int(at.version)
        and (at.architecture is I386 or one.architecture is AMD64)
    ]


def nothing_but_the_arguments_counts(
    graph: Graph, installed: Installed, host: Host, wanted: str, found: Plan
) -> None:
    assert plan(graph, installed, host, wanted) == found
    turned = Graph(graph.appliance, graph.offers[::-1])
    mixed = Graph(graph.appliance, graph.offers[1::2] + graph.offers[::2])
    assert plan(turned, installed, host, wanted) == found
    assert plan(mixed, installed, host, wanted) == found


def raising_a_share_takes_nothing_away(
    graph: Graph, installed: Installed, host: Host, found: Plan
) -> None:
    raised = Graph(
        graph.appliance,
        tuple(replace(one, share_percent=min(100, one.share_percent + 20)) for one in graph.offers),
    )
    for one, other in zip(graph.offers, raised.offers, strict=True):
        assert may_be_installed(other, host, "") >= may_be_installed(one, host, "")
    before = plan(graph, installed, host).goal
    after = plan(raised, installed, host).goal
    if before is not None:
        assert after is not None
        assert int(after.version) >= int(before.version)


def note(met: Counter[str], graph: Graph, installed: Installed, host: Host, found: Plan) -> None:
    """Count what was met."""
    met.update(finding.key for finding in found.report.findings)
    met["a way"] += bool(found.hops)
    met["two hops"] += len(found.hops) == 2
    met["three hops"] += len(found.hops) >= 3
    met["a crossing"] += installed.architecture is I386 and any(one.crossing for one in found.hops)
    met["refused by name"] += bool(found.report.inhibitors) and not found.hops
    met["nothing newer"] += not found.hops and not found.report.findings
    at = installed
    for hop in found.hops:
        met["over a replaced barrier"] += any(
            one.barrier
            and one.withdrawn
            and host.channel in one.channels
            and one.architecture is at.architecture
            and not one.crossing
            and int(at.version) < int(one.version) < int(hop.version)
            for one in graph.offers
        )
        at = Installed(hop.version, hop.architecture)
    for finding in found.report.findings:
        assert finding.severity in (Severity.INHIBITOR, Severity.INFO, Severity.WARNING)
