"""A history of twenty releases: from each of them to the newest, or to where it ends and why."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.cpuid.verdict import Verdict
from applianceforge.release import graph_file, planner, planner_findings
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner import Installed, Plan, plan
from applianceforge.release.planner_picture import diagram
from tests.release.graphs import (
    AMD64,
    CAPABLE,
    FIRMWARE,
    I386,
    INCAPABLE,
    MASKED,
    UNKNOWN,
    host,
)
from tests.release.history import HISTORY, LAST, NEWEST, TODAY_S, day

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "release-graph.md"
RELEASES = HISTORY.offers
OLD = tuple(one for one in RELEASES if one.architecture is I386)
NEW = tuple(one for one in RELEASES if one.architecture is AMD64)


def name(offer: Offer) -> str:
    return f"{offer.version}-{offer.architecture.value}"


def planned(
    offer: Offer,
    verdict: Verdict = CAPABLE,
    *,
    now_s: float = TODAY_S,
    channel: str = "stable",
    wanted: str = "",
    graph: Graph = HISTORY,
) -> Plan:
    here = Installed(offer.version, offer.architecture)
    return plan(graph, here, host(verdict, now_s=now_s, channel=channel), wanted)


def versions(found: Plan) -> list[str]:
    return [hop.version for hop in found.hops]


def keys(found: Plan) -> list[str]:
    return [finding.key for finding in found.report.findings]


def at(version: str) -> Offer:
    return next(one for one in RELEASES if one.version == version)


def test_there_are_twenty_and_all_that_can_be() -> None:
    assert len(RELEASES) == 20
    assert graph_file.decode(graph_file.encode(HISTORY)) == HISTORY
    assert any(one.barrier for one in OLD)
    assert any(one.withdrawn for one in OLD)
    assert sum(one.crossing for one in RELEASES) == 2
    assert any(one.by_request for one in RELEASES)
    assert any(one.share_percent < 100 for one in RELEASES)


@pytest.mark.parametrize("offer", RELEASES, ids=name)
def test_a_capable_host_comes_to_the_newest(offer: Offer) -> None:
    found = planned(offer)
    if offer.version in (NEWEST, "9.3"):
        assert found.hops == ()
        assert found.goal is None
    else:
        assert found.goal is not None
        assert found.goal.version == NEWEST
    # 9.3 is told of, and is no reason to be refused.
    assert keys(found) == ([] if offer.version == "9.3" else ["release.by-request"])
    assert found.report.exit_status == 0


@pytest.mark.parametrize("offer", RELEASES, ids=name)
def test_whoever_asks_comes_to_the_very_newest(offer: Offer) -> None:
    found = planned(offer, wanted="9.3")
    assert found.report.findings == ()
    assert versions(found)[-1:] == ([] if offer.version == "9.3" else ["9.3"])


@pytest.mark.parametrize(
    ("verdict", "status"), [(INCAPABLE, 22), (FIRMWARE, 21), (MASKED, 20), (UNKNOWN, 30)]
)
@pytest.mark.parametrize("offer", OLD, ids=name)
def test_a_host_without_long_mode_comes_to_the_last_of_32_bits(
    offer: Offer, verdict: Verdict, status: int
) -> None:
    found = planned(offer, verdict)
    assert versions(found)[-1:] == ([] if offer.version == "7.9" else ["7.9"])
    assert all(hop.architecture is I386 for hop in found.hops)
    assert found.report.exit_status == status
    processor = found.report.inhibitors
    assert [finding.key for finding in processor] == ["processor.long-mode"]
    assert processor[0].remedies
    if verdict is UNKNOWN:
        assert keys(found) == ["processor.long-mode"]
        return
    assert keys(found) == ["processor.long-mode", "release.last-32-bit"]
    end = found.report.findings[1]
    assert "7.9" in end.title
    assert "already runs" in end.title or offer.version != "7.9"
    assert LAST.supported_until in end.summary
    assert LAST.advice in [remedy.text for remedy in end.remedies]


@pytest.mark.parametrize("offer", NEW, ids=name)
def test_a_64_bit_system_on_a_host_without_long_mode_stays(offer: Offer) -> None:
    """A disk that was moved; its newest release has nothing to be refused."""
    found = planned(offer, INCAPABLE)
    assert found.hops == ()
    assert keys(found) == ([] if offer.version == "9.3" else ["processor.long-mode"])


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("5.0", ["5.2", "6.0", "7.3.1", "7.9", "8.0", "8.9", "9.2"]),
        ("5.1", ["6.0", "7.3.1", "7.9", "8.0", "8.9", "9.2"]),
        ("6.1", ["7.3.1", "7.9", "8.0", "8.9", "9.2"]),
        # What was withdrawn is left like any other.
        ("7.3", ["7.3.1", "7.9", "8.0", "8.9", "9.2"]),
        ("7.3.1", ["7.9", "8.0", "8.9", "9.2"]),
        ("7.9", ["8.0", "8.9", "9.2"]),
        # A candidate is older than its release, and 8.9 cannot be installed over it.
        ("8.0~rc1", ["8.0", "8.9", "9.2"]),
        ("8.1", ["8.9", "9.2"]),
        ("8.2", ["8.9", "9.2"]),
        ("8.9", ["9.2"]),
    ],
)
def test_the_way(start: str, expected: list[str]) -> None:
    assert versions(planned(at(start))) == expected


@pytest.mark.parametrize(
    ("today", "goal"),
    [
        ("2018-01-11", None),
        ("2018-07-01", "5.1"),
        ("2019-03-02", "6.0"),
        ("2020-12-10", "7.0"),
        ("2020-12-21", "7.3.1"),
        ("2023-02-02", "7.9"),
        ("2023-05-02", "8.0"),
        ("2024-06-02", "8.9"),
        ("2025-06-02", "9.2"),
    ],
)
def test_as_the_years_went_by(today: str, goal: str | None) -> None:
    found = planned(at("5.0"), now_s=day(today))
    assert versions(found)[-1:] == ([goal] if goal else [])
    assert "release.not-yet" in keys(found) or goal == NEWEST
    # Only what was withdrawn needs somebody to mend it, and that only while nothing replaces it.
    assert found.report.inhibitors == ()


def test_before_something_took_the_place_of_what_was_withdrawn() -> None:
    then = Graph("gateway", tuple(one for one in RELEASES if one.version != "7.3.1"))
    found = planned(at("5.0"), graph=then)
    assert versions(found) == ["5.2", "6.0", "7.0"]
    assert keys(found)[0] == "release.barrier-withdrawn"
    assert "queued mail" in found.report.findings[0].summary
    assert found.report.exit_status == 78
    # Whoever has it is beyond it.
    assert versions(planned(at("7.3"), graph=then))[-1] == NEWEST


def test_the_beta_channel_crosses_with_the_candidate_and_without() -> None:
    then = day("2023-04-01")
    assert versions(planned(at("7.9"), now_s=then, channel="beta")) == ["8.0~rc1"]
    assert versions(planned(at("7.9"), now_s=then)) == []
    assert versions(planned(at("7.9"), channel="beta")) == ["8.0", "8.9", "9.2"]


def test_a_share_is_one_hop_more_for_nobody() -> None:
    """Of 200 machines with 8.9 in the days of 9.0, about 30 % are offered it; later all get 9.2."""
    taken = 0
    for number in range(200):
        machine = replace(host(now_s=day("2024-10-02")), machine_id=f"{number:032x}")
        here = Installed("8.9", AMD64)
        then = plan(HISTORY, here, machine)
        taken += versions(then) == ["9.0"]
        assert ("release.share" in keys(then)) != bool(then.hops)
        later = plan(HISTORY, here, replace(machine, now_s=TODAY_S))
        assert versions(later) == ["9.2"]
    assert 40 <= taken <= 80


def test_the_document_shows_these_ways() -> None:
    text = DOCUMENT.read_text()
    assert f"```mermaid\n{diagram(HISTORY, host(now_s=TODAY_S))}```" in text


def test_the_document_has_the_rules_as_the_code_has_them() -> None:
    assert planner.__doc__ is not None
    begin, end = planner.__doc__.index(" 1. Up"), planner.__doc__.index("If there is a newer")
    assert planner.__doc__[begin:end].rstrip() in DOCUMENT.read_text()


def test_the_document_names_every_key() -> None:
    text = DOCUMENT.read_text()
    source = Path(planner_findings.__file__).read_text()
    named = set(re.findall(r'"(release\.[a-z0-9-]+)"', source))
    assert len(named) == 14
    assert not [key for key in named if f"`{key}`" not in text]
