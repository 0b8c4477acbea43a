"""The rules of the planner one by one, and what it says when there is no way."""

from dataclasses import replace
from typing import Any

import pytest

from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding, Severity
from applianceforge.preflight.requirements import Last32Bit
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner import Installed, Plan, plan
from applianceforge.release.planner_picture import lines
from applianceforge.release.share import draw
from tests.release.graphs import (
    AMD64,
    CAPABLE,
    HALF_KNOWN,
    I386,
    INCAPABLE,
    MACHINE,
    NOW_S,
    UNKNOWN,
    graph,
    host,
    release,
)

OLD = Installed("1.0.0", I386)
NEW = Installed("1.0.0", AMD64)


def wide(version: str, minimum: str = "", level: int = 1, **change: Any) -> Offer:
    return replace(Offer(release(version, AMD64, minimum, level)), **change)


def narrow(version: str, minimum: str = "", **change: Any) -> Offer:
    return replace(Offer(release(version, I386, minimum)), **change)


def way(found: Plan) -> list[str]:
    return [f"{hop.version} {hop.architecture.value}" for hop in found.hops]


def keys(found: Plan) -> list[str]:
    return [finding.key for finding in found.report.findings]


def only(found: Plan) -> Finding:
    assert found.goal is None
    assert len(found.report.findings) == 1, keys(found)
    return found.report.findings[0]


def test_nothing_newer_is_up_to_date() -> None:
    for offers in ((), (wide("1.0.0"),), (wide("0.9"), wide("1.0"))):
        assert plan(graph(*offers), NEW, host()) == plan(graph(), NEW, host())
    found = plan(graph(), NEW, host())
    assert (found.goal, found.hops, found.report.findings) == (None, (), ())


def test_1_up() -> None:
    assert way(plan(graph(wide("0.9.0"), wide("1.0.0"), wide("1.0.1")), NEW, host())) == [
        "1.0.1 amd64"
    ]


def test_2_other_channels_do_not_exist() -> None:
    beta = wide("2", channels=("beta",), barrier=True)
    found = plan(graph(beta, wide("3")), NEW, host())
    assert way(found) == ["3 amd64"]
    assert way(plan(graph(beta), NEW, host(channel="beta"))) == ["2 amd64"]
    assert plan(graph(beta), NEW, host()).report.findings == ()


def test_3_withdrawn() -> None:
    gone = wide("2", withdrawn="It was wrong.")
    assert plan(graph(gone), NEW, host()) == plan(graph(), NEW, host())
    assert way(plan(graph(gone, wide("3")), NEW, host())) == ["3 amd64"]
    finding = only(plan(graph(gone), NEW, host(), "2"))
    assert finding.key == "release.withdrawn"
    assert "It was wrong." in finding.summary


def test_4_minimum() -> None:
    assert way(plan(graph(wide("3", minimum="1")), NEW, host())) == ["3 amd64"]
    found = plan(graph(wide("2"), wide("3", minimum="1.0.1")), NEW, host())
    assert way(found) == ["2 amd64", "3 amd64"]
    finding = only(plan(graph(wide("3", minimum="1.0.1")), NEW, host()))
    assert finding.key == "release.minimum-version"
    assert "1.0.1" in finding.title


def test_4_what_could_come_between_is_told_instead() -> None:
    between = wide("2", by_request=True)
    found = plan(graph(between, wide("3", minimum="2")), NEW, host())
    assert keys(found) == ["release.by-request"]
    assert found.report.findings[0].evidence == ("out of reach for this: 2 amd64, 3 amd64",)


def test_5_floor() -> None:
    assert way(plan(graph(narrow("1.5"), wide("2", crossing=True)), OLD, host(floor="2"))) == [
        "2 amd64"
    ]
    low = host(floor="2")
    assert only(plan(graph(narrow("1.5")), OLD, low)).key == "release.below-floor"
    assert only(plan(graph(narrow("1.5")), OLD, low, "1.5")).key == "release.below-floor"
    # Below the floor is told first: there is no way back over it.
    assert only(plan(graph(), OLD, low, "0.5")).key == "release.below-floor"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"since_s": NOW_S + 1}, "release.not-yet"),
        ({"share_percent": 0}, "release.share"),
        ({"by_request": True}, "release.by-request"),
    ],
)
def test_6_offered(change: dict[str, Any], key: str) -> None:
    later = wide("2", **change)
    found = plan(graph(later), NEW, host())
    finding = only(found)
    assert finding.key == key
    # To wait is no reason to be refused.
    assert finding.severity is Severity.INFO
    assert found.report.exit_status == 0
    assert any("--to 2" in remedy.command for remedy in finding.remedies)
    assert way(plan(graph(later), NEW, host(), "2")) == ["2 amd64"]
    # Up to what was asked for, not beyond it.
    both = graph(replace(later, barrier=True), wide("3", **change))
    assert way(plan(both, NEW, host(), "3")) == ["2 amd64", "3 amd64"]
    assert way(plan(both, NEW, host(), "2")) == ["2 amd64"]
    assert way(plan(both, NEW, host())) == []


def test_6_the_moment_and_the_share_themselves() -> None:
    assert way(plan(graph(wide("2", since_s=NOW_S)), NEW, host())) == ["2 amd64"]
    share = draw(MACHINE, "2", AMD64)
    assert way(plan(graph(wide("2", share_percent=share)), NEW, host())) == []
    assert way(plan(graph(wide("2", share_percent=share + 1)), NEW, host())) == ["2 amd64"]


def test_7_width() -> None:
    assert only(plan(graph(wide("2")), OLD, host())).key == "release.no-crossing"
    assert way(plan(graph(wide("2", crossing=True)), OLD, host())) == ["2 amd64"]
    assert way(plan(graph(wide("2", crossing=True), wide("3")), OLD, host())) == [
        "2 amd64",
        "3 amd64",
    ]
    assert plan(graph(narrow("2")), NEW, host()).report.findings == ()
    assert way(plan(graph(narrow("2")), NEW, host())) == []
    assert only(plan(graph(narrow("2")), NEW, host(), "2")).key == "release.back-to-32-bit"


def test_7_no_way_back_in_the_middle_of_one() -> None:
    line = graph(wide("2", crossing=True, barrier=True), narrow("3"))
    found = plan(line, OLD, host(), "3")
    assert found.goal is None
    assert keys(found) == ["release.not-reachable", "release.back-to-32-bit"]


@pytest.mark.parametrize(("verdict", "status"), [(INCAPABLE, 22), (UNKNOWN, 30), (HALF_KNOWN, 30)])
@pytest.mark.parametrize("installed", [OLD, NEW])
def test_8_processor(verdict: Verdict, status: int, installed: Installed) -> None:
    line = graph(wide("2", crossing=True))
    for wanted in ("", "2"):
        found = plan(line, installed, host(verdict), wanted)
        assert found.hops == ()
        assert "processor.long-mode" in keys(found)
        assert found.report.exit_status == status


def test_8_level() -> None:
    line = graph(wide("2", level=2), wide("3", level=3))
    found = plan(line, NEW, host())
    assert way(found) == ["2 amd64"]
    assert keys(found) == ["processor.level"]
    assert found.report.exit_status == 22


@pytest.mark.parametrize(
    ("start", "barrier", "end", "blocks"),
    [
        (OLD, narrow("2"), narrow("3"), True),
        (OLD, wide("2", crossing=True), narrow("3"), True),
        (OLD, wide("2"), narrow("3"), False),
        (OLD, narrow("2"), wide("3", crossing=True), True),
        (OLD, wide("2", crossing=True), wide("3", crossing=True), True),
        (OLD, wide("2"), wide("3", crossing=True), True),
        (NEW, narrow("2"), wide("3"), False),
        (NEW, wide("2", crossing=True), wide("3"), False),
        (NEW, wide("2"), wide("3"), True),
    ],
)
def test_9_which_barriers_count(start: Installed, barrier: Offer, end: Offer, blocks: bool) -> None:
    # By request: so that it is seen whether it is jumped over, and not taken by the way.
    line = graph(replace(barrier, barrier=True, by_request=True), end)
    found = plan(line, start, host())
    assert (found.hops == ()) == blocks
    free = graph(replace(barrier, by_request=True), end)
    assert plan(free, start, host()).goal == end


def test_9_strictly_between() -> None:
    both = graph(narrow("2", barrier=True), wide("2", crossing=True, barrier=True), wide("3"))
    assert way(plan(both, OLD, host())) == ["2 amd64", "3 amd64"]
    assert way(plan(both, Installed("2", I386), host())) == []
    assert way(plan(both, Installed("2.0", AMD64), host())) == ["3 amd64"]


@pytest.mark.parametrize(
    "change",
    [{"since_s": NOW_S + 1}, {"share_percent": 0}, {"by_request": True}, {"withdrawn": "Wrong."}],
)
def test_9_a_barrier_that_is_not_offered_blocks(change: dict[str, Any]) -> None:
    found = plan(graph(wide("2", barrier=True, **change), wide("3"), wide("4")), NEW, host())
    assert found.hops == ()
    assert "3 amd64, 4 amd64" in found.report.findings[0].evidence[0]


def test_10_stand_in() -> None:
    gone = wide("2", barrier=True, withdrawn="It was wrong.")
    blocked = plan(graph(gone, wide("3")), NEW, host())
    assert only(blocked).key == "release.barrier-withdrawn"
    assert blocked.report.exit_status == 78
    found = plan(graph(gone, wide("2.1", replaces=("2.0",)), wide("3")), NEW, host())
    assert way(found) == ["2.1 amd64", "3 amd64"]
    before = plan(graph(gone, wide("1.9", replaces=("2",)), wide("3")), NEW, host())
    assert way(before) == ["1.9 amd64", "3 amd64"]
    # Not by the one before that: what was installed is not known.
    long_ago = plan(
        graph(gone, wide("1.8", replaces=("2",)), wide("1.9", minimum="1.8"), wide("3", "1.9")),
        NEW,
        host(),
    )
    assert way(long_ago) == ["1.8 amd64", "1.9 amd64"]
    there = plan(graph(replace(gone, withdrawn=""), wide("3", replaces=("2",))), NEW, host())
    assert way(there) == ["2 amd64", "3 amd64"]


def test_10_a_stand_in_that_is_not_offered_is_told() -> None:
    gone = wide("2", barrier=True, withdrawn="It was wrong.")
    found = plan(graph(gone, wide("2.1", replaces=("2",), by_request=True), wide("3")), NEW, host())
    assert keys(found) == ["release.by-request"]


def test_11_goal() -> None:
    both = graph(narrow("2"), wide("2", crossing=True))
    assert way(plan(both, OLD, host())) == ["2 amd64"]
    assert way(plan(both, OLD, host(INCAPABLE))) == ["2 i386"]
    assert way(plan(both, OLD, host(INCAPABLE), "2.0")) == ["2 i386"]
    line = graph(wide("2"), wide("3"))
    assert way(plan(line, NEW, host(), "2")) == ["2 amd64"]


def test_12_fewest_hops_and_the_higher_first() -> None:
    line = graph(wide("2"), wide("3"), wide("4"), wide("5", "2"), wide("9", "3"))
    assert way(plan(line, NEW, host())) == ["4 amd64", "9 amd64"]


def test_installed_in_another_notation_or_not_in_the_graph() -> None:
    line = graph(wide("1"), wide("2", minimum="1.0"))
    assert way(plan(line, Installed("1.0.0+local", AMD64), host())) == ["2 amd64"]
    assert way(plan(line, Installed("a build of mine", AMD64), host())) == ["1 amd64", "2 amd64"]
    assert way(plan(line, Installed("", AMD64), host())) == ["1 amd64", "2 amd64"]


@pytest.mark.parametrize(
    ("wanted", "key"),
    [
        ("7", "release.unknown"),
        ("x" * 5000, "release.unknown"),
        ("0.9", "release.older"),
        ("2.1", "release.other-channel"),
        ("2.2", "release.withdrawn"),
        ("3", "release.not-reachable"),
    ],
)
def test_asked_for_in_vain(wanted: str, key: str) -> None:
    line = graph(
        wide("0.9"),
        wide("2.1", channels=("beta",)),
        wide("2.2", withdrawn="It was wrong."),
        wide("3", minimum="2.5"),
    )
    found = plan(line, NEW, host(), wanted)
    assert found.goal is None
    assert keys(found)[0] == key
    assert found.report.exit_status == 78
    for finding in found.report.findings:
        assert finding.remedies
        assert len(finding.title) < 200


def test_the_nearest_version_is_named() -> None:
    finding = only(plan(graph(wide("2.1.0")), NEW, host(), "2.1.1"))
    assert finding.remedies[0].command == "applianceforge update --to 2.1.0"


def test_what_runs_may_be_asked_for() -> None:
    found = plan(graph(wide("2")), NEW, host(), " 1.0 ")
    assert (found.goal, found.report.findings) == (None, ())


@pytest.mark.parametrize(
    ("said", "start", "offers", "title"),
    [
        (Last32Bit("1.0"), "1.0.0", (), "already runs the last release for it, 1.0"),
        (Last32Bit("1.5"), "1.0.0", (narrow("1.5"),), "The last release for this machine is 1.5"),
        (Last32Bit("1.5"), "1.0.0", (), "is 1.5, and is not within reach yet"),
        (Last32Bit("1.5"), "1.6", (), "is said to be 1.5"),
        (None, "1.0.0", (), "ends at a 32-bit release"),
    ],
)
def test_the_dead_end(
    said: Last32Bit | None, start: str, offers: tuple[Offer, ...], title: str
) -> None:
    first = Offer(release("2", AMD64, last=Last32Bit("1.1") if said else None), crossing=True)
    newest = Offer(release("3", AMD64, last=said))
    found = plan(graph(first, newest, *offers), Installed(start, I386), host(INCAPABLE))
    assert keys(found) == ["processor.long-mode", "release.last-32-bit"]
    processor, end = found.report.findings
    assert title in end.title
    assert end.remedies
    # Both say the same, and what was said last.
    if said is not None:
        assert any(f"stay on {said.version}," in one.text for one in processor.remedies)


def test_the_first_in_the_way_is_told_and_the_newest_that_wait() -> None:
    offers = [wide(f"{number}.0", by_request=True) for number in range(2, 30)]
    finding = only(plan(graph(*offers), NEW, host()))
    assert "2.0" in finding.title
    assert finding.evidence[0].startswith("out of reach for this: 20 more, 22.0 amd64")
    assert finding.evidence[0].endswith("29.0 amd64")


def test_a_thousand_releases() -> None:
    offers = [wide(f"{n}.0", minimum=f"{max(n - 2, 0)}", barrier=n % 50 == 0) for n in range(1000)]
    found = plan(graph(*offers), Installed("0.5", AMD64), host())
    assert found.goal is not None
    assert found.goal.version == "999.0"
    blocked = plan(graph(*offers[10:]), Installed("0.5", AMD64), host())
    assert keys(blocked) == ["release.minimum-version"]


def test_the_picture() -> None:
    line = graph(wide("2.0.0", crossing=True, barrier=True), wide("3.0.0"))
    assert lines(plan(line, OLD, host())) == (
        "gateway 1.0.0 i386  ->  2.0.0 amd64 (crossing, barrier)  ->  3.0.0 amd64",
    )
    assert lines(plan(line, OLD, host()), width=40) == (
        "gateway 1.0.0 i386",
        "  ->  2.0.0 amd64 (crossing, barrier)",
        "  ->  3.0.0 amd64",
    )
    assert lines(plan(Graph("gateway"), OLD, host())) == ("1.0.0 i386",)


def test_the_verdict_of_these_tests_is_capable() -> None:
    assert host().verdict is CAPABLE


def test_what_is_in_the_way_of_a_release_though_a_newer_one_can_be_had() -> None:
    line = graph(wide("3", minimum="2.5"), wide("4"))
    assert way(plan(line, NEW, host())) == ["4 amd64"]
    found = plan(line, NEW, host(), "3")
    assert keys(found) == ["release.not-reachable", "release.minimum-version"]
