"""Draw a plan as text for a terminal, and the ways of a whole graph in Mermaid's language."""

from __future__ import annotations

from applianceforge.model.architecture import Architecture
from applianceforge.release import ordering
from applianceforge.release.graph import WHOLE_FLEET, Graph, Offer
from applianceforge.release.planner import Host, Installed, Plan, plan

_ARROW = "  ->  "
_WIDTH = 80


def lines(drawn: Plan, width: int = _WIDTH) -> tuple[str, ...]:
    """Return the hops of a plan, such as `gateway 1.0.0 i386  ->  2.0.0 amd64 (crossing)`.

    Args:
        drawn: The plan.
        width: Where a line is broken, between two releases.
    """
    goal = drawn.goal
    appliance = f"{goal.release.appliance} " if goal and goal.release.appliance else ""
    found = [f"{appliance}{drawn.installed.version} {drawn.installed.architecture.value}"]
    for offer in drawn.hops:
        hop = _ARROW + _label(offer)
        if len(found[-1] + hop) > width:
            found.append(hop)
        else:
            found[-1] += hop
    return tuple(found)


def diagram(graph: Graph, host: Host) -> str:
    """Return a drawing of the ways that the planner finds from every release of a graph."""
    offers = sorted(
        (one for one in graph.offers if not one.withdrawn),
        key=lambda one: (ordering.key(one.version), one.architecture is Architecture.AMD64),
    )
    names = {(one.version, one.architecture): f"r{number}" for number, one in enumerate(offers)}
    drawn = ["flowchart LR"]
    for one in offers:
        name = names[one.version, one.architecture]
        label = _label(one).replace(" (", "<br>").replace(")", "")
        left, right = ("{{", "}}") if one.barrier else ("[", "]")
        drawn.append(f'    {name}{left}"{label}"{right}')
    hops: dict[tuple[str, str], None] = {}
    for one in offers:
        at = names[one.version, one.architecture]
        for hop in plan(graph, Installed(one.version, one.architecture), host).hops:
            to = names[hop.version, hop.architecture]
            hops[at, to] = None
            at = to
    drawn += [f"    {at} --> {to}" for at, to in hops]
    return "\n".join(drawn) + "\n"


def _label(offer: Offer) -> str:
    words = (
        ("crossing", offer.crossing),
        ("barrier", offer.barrier),
        (f"{offer.share_percent} % of the fleet", offer.share_percent < WHOLE_FLEET),
    )
    marks = [word for word, is_so in words if is_so]
    said = f" ({', '.join(marks)})" if marks else ""
    return f"{offer.version} {offer.architecture.value}{said}"
