"""What an update would do: looked at and decided before anything is changed or fetched.

    refresh the metadata -> the graph -> the hops -> the check before the first of them

Nothing of a payload is asked for here, and nothing is written but the metadata's own cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RetentionError
from applianceforge.model.report import Finding, Report, hardest_first
from applianceforge.preflight import checks
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.facts import Facts
from applianceforge.release import planner
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.planner import Host, Installed, Plan
from applianceforge.release.update import readiness
from applianceforge.release.update.gathering import Box
from applianceforge.slots.reasons import Reason


class Trusting(Protocol):
    """The signed metadata of a repository."""

    def refresh(self) -> None:
        """Take over what is new, and refuse what is not to be trusted."""

    def graph(self) -> Graph:
        """Return which releases there are."""

    def manifest(self, offer: Offer) -> Manifest:
        """Return what the bundle of a release holds."""


@dataclass(frozen=True)
class Proposal:
    """What would be done, and what stands against it.

    Attributes:
        box: The appliance.
        plan: The hops, and why they lead no further.
        report: Of the check before the first hop, the planner's findings if there is no hop.
        manifest: Of the first hop's bundle; None if there is none, or something inhibits it.
        given_up: Why the first hop's release was given up when it was installed before.
        starts_next: It is installed already: the machine is to be restarted.
        waits: Why it is too early for it; None if it is not.
    """

    box: Box
    plan: Plan
    report: Report
    manifest: Manifest | None = None
    given_up: Reason | None = None
    starts_next: bool = False
    waits: RetentionError | None = None

    @property
    def hop(self) -> Offer | None:
        """Return the release that is to be installed next."""
        return self.plan.hops[0] if self.plan.hops else None

    @property
    def refused(self) -> bool:
        """Return whether a finding forbids it."""
        return bool(self.report.inhibitors)

    @property
    def up_to_date(self) -> bool:
        """Return whether there is nothing to do."""
        return self.hop is None and not self.refused


def look(
    box: Box,
    trust: Trusting,
    facts: Facts,
    *,
    wanted: str = "",
    way_back_until_s: float | None = None,
    sizes: DataSizes | None = None,
    kept: Manifest | None = None,
) -> Proposal:
    """Return what an update would do.

    Args:
        box: The appliance.
        trust: The metadata; it is refreshed.
        facts: For the check before the first hop.
        wanted: A version that a person asked for; "" for the newest.
        way_back_until_s: Until when the way back to 32 bits is kept; None if there is none.
        sizes: How much data a crossing will migrate; None if nobody looked.
        kept: The manifest of the bundle whose installation goes on; it is not fetched again.

    Raises:
        ForgeError: The repository cannot be reached or is not to be trusted; each has a name.
    """
    trust.refresh()
    graph = trust.graph()
    host = Host(
        machine_id=box.machine_id,
        verdict=box.verdict,
        channel=box.settings.channel,
        now_s=box.now_s,
        floor=box.floor,
    )
    installed = Installed(box.release.version, box.release.architecture)
    plan = planner.plan(graph, installed, host, wanted)
    if not plan.hops:
        return Proposal(box, plan, plan.report)
    hop = plan.hops[0]
    crosses = hop.crossing and box.release.architecture is Architecture.I386
    report = checks.check(facts, box.verdict, hop.release, sizes=sizes if crosses else None)
    waits = None
    try:
        readiness.check_retention(box, hop, way_back_until_s)
    except RetentionError as error:
        waits = error
    manifest = None if report.inhibitors else _manifest(trust, hop, kept)
    small = None if manifest is None else readiness.too_small(box, manifest)
    if small is not None:
        manifest, report = None, Report(hardest_first((*report.findings, small)))
    return Proposal(
        box,
        plan,
        report,
        manifest=manifest,
        given_up=readiness.given_up(box, hop),
        starts_next=readiness.starts_next(box, hop),
        waits=waits,
    )


def _manifest(trust: Trusting, hop: Offer, kept: Manifest | None) -> Manifest:
    return kept if kept is not None and kept.release == hop.release else trust.manifest(hop)


def first_reason(report: Report) -> Finding:
    """Return the finding that a short sentence tells of: the least mendable that inhibits."""
    hardest = [one for one in report.inhibitors if one.exit_status == report.exit_status]
    return hardest[0]
