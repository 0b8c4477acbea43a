"""Graphs and hosts for tests of the planner, and a planner that tries every way there is."""

from collections.abc import Iterator
from itertools import combinations

from applianceforge.cpuid.hypervisors import Platform
from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Last32Bit, Release
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.planner import Host, Installed
from applianceforge.release.share import takes_part

I386, AMD64 = Architecture.I386, Architecture.AMD64
CAPABLE = Verdict(Capability.CAPABLE, True, "metal", None, 2, ("CPUID shows long mode",))
INCAPABLE = Verdict(Capability.INCAPABLE, False, "metal", None, None, ("no lm",))
MASKED = Verdict(
    Capability.MASKED_BY_HYPERVISOR, False, "vm:KVM", "KVM", None, ("no lm",), platform=Platform.KVM
)
FIRMWARE = Verdict(Capability.MASKED_BY_FIRMWARE, False, "metal", None, None, ("no lm",))
UNKNOWN = Verdict(Capability.UNKNOWN, None, "metal", None, None, ())
# No probe says so: the planner must not believe it either.
HALF_KNOWN = Verdict(Capability.CAPABLE, None, "metal", None, 2, ())
VERDICTS = (*(CAPABLE,) * 7, INCAPABLE, MASKED, FIRMWARE, UNKNOWN, HALF_KNOWN)
NOW_S = 1_000_000
MACHINE = "3c5d8a1e4f6b47d2a9c0e1f2b3d4a596"


def release(
    version: str,
    architecture: Architecture = AMD64,
    minimum: str = "",
    level: int = 1,
    last: Last32Bit | None = None,
) -> Release:
    return Release(
        architecture, "gateway", version, 0, level, minimum_version=minimum, last_32_bit=last
    )


def host(
    verdict: Verdict = CAPABLE,
    *,
    channel: str = "stable",
    machine: str = MACHINE,
    now_s: float = NOW_S,
    floor: str = "",
) -> Host:
    return Host(machine, verdict, channel, now_s, floor)


def graph(*offers: Offer) -> Graph:
    return Graph("gateway", offers)


class Dice:
    """Small numbers out of bytes, so that what fails can be made smaller."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def below(self, end: int) -> int:
        return next(self._data, 0) % end

    def one_in(self, odds: int) -> bool:
        return self.below(odds) == 1


def random_case(data: bytes) -> tuple[Graph, Installed, Host, str]:
    """Return a graph, what is installed, a host, and a version that is asked for, out of bytes."""
    dice = Dice(data)
    offers: dict[tuple[int, Architecture], Offer] = {}
    for _ in range(4 + dice.below(5)):
        version = 1 + dice.below(8)
        architecture = (I386, AMD64)[dice.below(2)]
        wide = architecture is AMD64
        offers[version, architecture] = Offer(
            release(
                str(version),
                architecture,
                minimum=str(dice.below(version)) if dice.one_in(3) else "",
                level=3 if wide and dice.one_in(8) else 1,
                last=Last32Bit(str(1 + dice.below(8)), "2030", "Ask.") if dice.one_in(3) else None,
            ),
            channels=(("stable",), ("stable", "beta"), ("beta",))[max(0, dice.below(10) - 7)],
            barrier=dice.one_in(3),
            crossing=wide and dice.one_in(2),
            replaces=(str(version - 1 - dice.below(2)),) if dice.one_in(2) else (),
            since_s=NOW_S + (dice.below(6) == 5),
            share_percent=50 if dice.one_in(5) else 100,
            by_request=dice.one_in(10),
            withdrawn="It was wrong." if dice.one_in(5) else "",
        )
    installed = Installed(str(dice.below(4)), (I386, I386, AMD64)[dice.below(3)])
    machine = host(
        VERDICTS[dice.below(len(VERDICTS))],
        channel="beta" if dice.one_in(6) else "stable",
        machine=f"machine {dice.below(4)}",
        floor=str(1 + dice.below(5)) if dice.one_in(5) else "",
    )
    wanted = str(dice.below(10)) if dice.one_in(3) else ""
    return Graph("gateway", tuple(offers.values())), installed, machine, wanted


# The rules once more, as plainly as can be, for versions that are whole numbers.


def may_be_installed(offer: Offer, host: Host, wanted: str) -> bool:
    """Rules 2, 3, 5, 6, 8 and 11: what does not depend on where a hop starts."""
    version = int(offer.version)
    if offer.withdrawn or host.channel not in offer.channels:
        return False
    if host.floor and version < int(host.floor):
        return False
    if wanted and version > int(wanted):
        return False
    taken = takes_part(host.machine_id, offer.version, offer.architecture, offer.share_percent)
    if not wanted and (host.now_s < offer.since_s or not taken or offer.by_request):
        return False
    if offer.architecture is AMD64:
        if host.verdict.long_mode is not True:
            return False
        return (host.verdict.level or 0) >= offer.release.x86_64_level
    return True


def skipped(graph: Graph, host: Host, x: Installed, y: Offer) -> list[Offer]:
    """Rules 9 and 10: the barriers over which a hop jumps."""
    names = set(y.replaces)
    for one in graph.offers:
        if (one.version, one.architecture) == (x.version, x.architecture):
            names |= set(one.replaces)
    found = []
    for one in graph.offers:
        if not one.barrier or host.channel not in one.channels:
            continue
        if not int(x.version) < int(one.version) < int(y.version):
            continue
        if one.withdrawn and one.version in names:
            continue
        hop = (x.architecture, y.architecture)
        if hop == (I386, I386) and one.architecture is AMD64 and not one.crossing:
            continue
        if hop == (AMD64, AMD64) and (one.architecture is I386 or one.crossing):
            continue
        found.append(one)
    return found


def is_hop(graph: Graph, host: Host, x: Installed, y: Offer, wanted: str) -> bool:
    """Whether a hop obeys all rules."""
    if not may_be_installed(y, host, wanted) or int(y.version) <= int(x.version):
        return False
    if y.release.minimum_version and int(x.version) < int(y.release.minimum_version):
        return False
    if x.architecture is AMD64 and y.architecture is I386:
        return False
    if x.architecture is I386 and y.architecture is AMD64 and not y.crossing:
        return False
    return not skipped(graph, host, x, y)


def every_way(
    graph: Graph, installed: Installed, host: Host, wanted: str
) -> Iterator[tuple[Offer, ...]]:
    """Return every way, by trying every row of releases in the order of their versions."""
    usable = sorted(graph.offers, key=lambda one: int(one.version))
    usable = [one for one in usable if is_hop_target(one, host, wanted)]
    for length in range(1, len(usable) + 1):
        for row in combinations(usable, length):
            at = installed
            for offer in row:
                if not is_hop(graph, host, at, offer, wanted):
                    break
                at = Installed(offer.version, offer.architecture)
            else:
                yield row


def is_hop_target(offer: Offer, host: Host, wanted: str) -> bool:
    """Only to try fewer rows: whether anything could lead there."""
    return may_be_installed(offer, host, wanted)


def best_way(graph: Graph, installed: Installed, host: Host, wanted: str) -> tuple[Offer, ...]:
    """Return the way that the rules 11 and 12 choose of all ways."""

    def rank(offer: Offer) -> tuple[int, bool]:
        return int(offer.version), offer.architecture is AMD64

    ways = list(every_way(graph, installed, host, wanted))
    if wanted:
        ways = [way for way in ways if int(way[-1].version) == int(wanted)]
    return max(
        ways, key=lambda way: (rank(way[-1]), -len(way), [rank(one) for one in way]), default=()
    )
