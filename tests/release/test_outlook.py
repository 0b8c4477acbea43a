"""What boxes would be offered, as the vendor sees it ahead."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from applianceforge.model.architecture import Architecture
from applianceforge.model.report import Severity
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner import Installed, plan
from applianceforge.release.publish import outlook
from applianceforge.release.publish.outlook import BEHIND_CROSSING, Outlook, Standing, Start
from tests.release.graphs import (
    AMD64,
    CAPABLE,
    I386,
    INCAPABLE,
    MACHINE,
    NOW_S,
    best_way,
    graph,
    host,
    random_case,
    release,
)
from tests.release.vendor import Vendor


def narrow(version: str, minimum: str = "", **offered: object) -> Offer:
    return Offer(release(version, I386, minimum), **offered)  # type: ignore[arg-type]


def wide(version: str, minimum: str = "", **offered: object) -> Offer:
    return Offer(release(version, AMD64, minimum), **offered)  # type: ignore[arg-type]


def start(
    version: str, architecture: Architecture = I386, *, long_mode: bool = True, channel: str = ""
) -> Start:
    return Start(Installed(version, architecture), long_mode, channel or "stable")


def seen(known: Graph, kind: Start, machine_id: str = "") -> Outlook:
    return outlook.see(known, kind, NOW_S, machine_id)


def keys(found: Outlook) -> list[str]:
    return [one.key for one in found.plan.report.findings]


def ended(known: Graph) -> Graph:
    """Return the graph when all has begun, for all."""
    return replace(
        known,
        offers=tuple(
            replace(one, since_s=0, share_percent=100, by_request=False) for one in known.offers
        ),
    )


def end(found: Outlook) -> Installed:
    goal = found.plan.goal
    return Installed(goal.version, goal.architecture) if goal else found.start.installed


LINE = graph(narrow("1"), wide("2", crossing=True, barrier=True, share_percent=5), wide("3"))


def test_a_box_that_each_share_takes_in_is_shown_the_shares_as_they_are() -> None:
    found = seen(LINE, start("1"))
    assert found.standing is Standing.NEWEST
    assert [(one.version, one.share_percent) for one in found.plan.hops] == [("2", 5), ("3", 100)]
    assert found.plan.goal == found.plan.hops[-1]


def test_a_certain_machine_has_its_own_shares() -> None:
    nobody = graph(narrow("1"), wide("2", crossing=True, barrier=True, share_percent=0))
    found = seen(nobody, start("1"), MACHINE)
    assert (found.standing, keys(found)) == (Standing.WAITS, ["release.share"])
    assert seen(nobody, start("1")).standing is Standing.NEWEST


@pytest.mark.parametrize(
    "offered", [{"since_s": NOW_S + 1}, {"share_percent": 0}, {"by_request": True}]
)
def test_whoever_waits_is_not_stranded_in_the_end(offered: dict[str, Any]) -> None:
    behind = graph(
        narrow("1"), wide("2", crossing=True, barrier=True), narrow("3", **offered), wide("4")
    )
    found = seen(behind, start("1", long_mode=False), MACHINE)
    assert (found.standing, keys(found)[0]) == (Standing.STRANDED, BEHIND_CROSSING)
    assert "3 i386 lies behind" in found.plan.report.findings[0].title
    # It waits for the crossing, over which it goes past what 4.2 asks for.
    past = graph(
        narrow("1"),
        wide("2", crossing=True, barrier=True, **offered),
        narrow("3"),
        wide("4.2", "3"),
    )
    found = seen(past, start("1"), MACHINE)
    assert (found.standing, keys(found)[0]) == (Standing.STRANDED, "release.minimum-version")


@given(some.binary(max_size=120))
def test_the_end_is_as_it_is_said(data: bytes) -> None:
    known, _, _, _ = random_case(data)
    for kind in outlook.starts((known,)):
        found = seen(known, kind, MACHINE)
        after = seen(ended(known), replace(kind, installed=end(found)))
        assert found.standing is Standing.STRANDED or after.standing is not Standing.STRANDED
        assert found.standing is not Standing.NEWEST or after.standing is Standing.NEWEST


def test_a_stand_in_for_a_crossing_leaves_32_bits_behind_as_well() -> None:
    known = graph(
        narrow("1"),
        wide("2", crossing=True, barrier=True, withdrawn="It loses mail."),
        wide("2.1", crossing=True, barrier=True, replaces=("2",)),
        narrow("3"),
    )
    found = seen(known, start("1", long_mode=False))
    assert (found.standing, keys(found)[0]) == (Standing.STRANDED, BEHIND_CROSSING)


@pytest.mark.parametrize(
    ("known", "kind", "standing", "key"),
    [
        (LINE, start("1", long_mode=False), Standing.PROCESSOR, "processor.long-mode"),
        (LINE, start("3", AMD64), Standing.NEWEST, ""),
        (graph(wide("2", by_request=True)), start("1", AMD64), Standing.WAITS, "by-request"),
        (graph(wide("2", since_s=NOW_S + 1)), start("1", AMD64), Standing.WAITS, "not-yet"),
        (graph(narrow("1"), wide("2")), start("1"), Standing.STRANDED, "no-crossing"),
        (graph(wide("3", "2")), start("1", AMD64), Standing.STRANDED, "minimum-version"),
        (
            graph(wide("2", barrier=True, withdrawn="Bad."), wide("3")),
            start("1", AMD64),
            Standing.STRANDED,
            "barrier-withdrawn",
        ),
    ],
)
def test_how_boxes_stand(known: Graph, kind: Start, standing: Standing, key: str) -> None:
    found = seen(known, kind)
    assert found.standing is standing
    assert any(one.endswith(key) for one in keys(found)) if key else not keys(found)


def test_remedies_are_the_vendors() -> None:
    found = seen(graph(wide("3", "2")), start("1", AMD64))
    (finding,) = found.plan.report.findings
    said = [f"{one.text} {one.command}" for one in finding.remedies]
    assert "release add DIR --slot NAME.slot --minimum-version 1" in said[0]
    assert not any("Tell your vendor" in one for one in said)


def test_a_32_bit_release_behind_a_barrier_that_is_a_crossing() -> None:
    known = graph(narrow("1"), wide("2", crossing=True, barrier=True), narrow("2.1"), wide("3"))
    found = seen(known, start("1", long_mode=False))
    assert found.standing is Standing.STRANDED
    assert keys(found)[0] == BEHIND_CROSSING
    assert "2.1 i386" in found.plan.report.findings[0].title
    assert "barrier: 2" in found.plan.report.findings[0].title
    # With long mode it goes over, and what has the release is not kept back.
    assert seen(known, start("1")).standing is Standing.NEWEST
    assert seen(known, start("2.1", long_mode=False)).standing is Standing.PROCESSOR
    mended = replace(known, offers=tuple(replace(one, barrier=False) for one in known.offers))
    found = seen(mended, start("1", long_mode=False))
    assert found.standing is Standing.PROCESSOR
    assert [one.version for one in found.plan.hops] == ["2.1"]


@given(some.binary(max_size=120), some.booleans())
def test_the_standing_says_what_lies_in_the_way(data: bytes, long_mode: bool) -> None:
    known, installed, _, _ = random_case(data)
    known = replace(known, offers=tuple(replace(one, share_percent=100) for one in known.offers))
    kind = Start(installed, long_mode or installed.architecture is AMD64, "stable")
    found = seen(known, kind)
    box = host(CAPABLE._replace(level=4) if kind.long_mode else INCAPABLE)
    # The way by the rules once more, tried out one by one.
    assert found.plan.hops == best_way(known, installed, box, "")
    severe = {one.key for one in plan(known, installed, box).report.inhibitors}
    if found.standing is Standing.NEWEST:
        assert not keys(found)
    elif found.standing is Standing.PROCESSOR:
        assert severe and all(one.startswith("processor.") for one in severe)
        assert not kind.long_mode or any(one.release.x86_64_level > 1 for one in known.offers)
    elif found.standing is Standing.WAITS:
        assert keys(found) and not severe
    else:
        mine = [one for one in found.plan.report.findings if outlook.strands(one)]
        assert mine and all(one.severity is Severity.INHIBITOR for one in mine)
        whole = ended(known)
        no_barrier = replace(
            whole,
            offers=tuple(
                replace(one, barrier=one.barrier and not one.crossing) for one in whole.offers
            ),
        )
        last = plan(whole, end(found), box)
        if [one.key for one in mine] == [BEHIND_CROSSING]:
            further = best_way(no_barrier, end(found), box, "")
            assert further and further[-1].architecture is I386
            reached = last.goal.version if last.goal else end(found).version
            assert int(further[-1].version) > int(reached)
        else:
            severe |= {one.key for one in last.report.inhibitors}
            assert any(not one.startswith("processor.") for one in severe)


@given(some.binary(max_size=120))
def test_a_box_that_decides_anew_after_each_hop_comes_to_the_same_goal(data: bytes) -> None:
    known, installed, _, _ = random_case(data)
    found = seen(known, Start(installed, True, "stable"))
    at, walked = installed, 0
    while hops := seen(known, Start(at, True, "stable")).plan.hops:
        at = Installed(hops[0].version, hops[0].architecture)
        walked += 1
    assert at == end(found)
    assert walked == len(found.plan.hops)


def test_which_boxes_there_are() -> None:
    served = graph(narrow("1"), wide("2", channels=("stable", "beta")))
    staged = graph(wide("2", channels=("stable", "beta")), wide("3", channels=("beta",)))
    kinds = outlook.starts((served, staged))
    assert [(one.channel, one.long_mode, one.installed.version) for one in kinds] == [
        ("stable", True, "1"),
        ("stable", True, "2"),
        ("stable", False, "1"),
        ("beta", True, "2"),
        ("beta", True, "3"),
    ]
    assert outlook.starts((staged,), channel="beta", long_mode=False) == ()
    assert outlook.starts((served,), "1.0.0", long_mode=False) == (start("1", long_mode=False),)
    assert outlook.starts((served,), "2.0", I386) == ()
    (other,) = outlook.starts((served,), "1", channel="beta", long_mode=True)
    assert other.channel == "beta"
    unknown = outlook.starts((served,), "0.5")
    assert {one.channel for one in unknown} == {"stable", "beta"}
    assert {one.installed.architecture for one in unknown} == {I386, AMD64}
    assert len(outlook.starts((graph(),), "1")) == 3


def test_a_box_of_a_real_repository_decides_the_same(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    vendor.create()
    vendor.add("1.0.0", I386)
    vendor.add("2.0.0", AMD64, crossing=True, barrier=True, share_percent=5)
    vendor.add("3.0.0", AMD64)
    vendor.publish()
    ahead = vendor.repository().withdraw("3.0.0", None, "It loses mail.")
    box = vendor.box("box").look()
    assert ahead.published.graph == box.graph
    now_s = time.time()
    for machine in (f"{number:032x}" for number in range(40)):
        for long_mode, verdict in ((True, CAPABLE), (False, INCAPABLE)):
            kind = start("1.0.0", long_mode=long_mode)
            mine = outlook.see(box.graph, kind, now_s, machine).plan
            theirs = plan(box.graph, kind.installed, host(verdict, machine=machine, now_s=now_s))
            assert mine.hops == theirs.hops
