"""Twenty releases of an appliance, as they could have come out over eight years."""

from datetime import UTC, datetime

from applianceforge.model.architecture import Architecture
from applianceforge.preflight.requirements import Last32Bit
from applianceforge.release.graph import Graph, Offer
from tests.release.graphs import AMD64, I386, release

LAST = Last32Bit("7.9", "2030-06-30", "The vendor exchanges model M100 for M120 until then.")
BOTH = ("stable", "beta")


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def offer(
    version: str,
    begin: str,
    architecture: Architecture = AMD64,
    *,
    minimum: str = "",
    level: int = 1,
    channels: tuple[str, ...] = BOTH,
    barrier: bool = False,
    crossing: bool = False,
    replaces: tuple[str, ...] = (),
    share: int = 100,
    by_request: bool = False,
    withdrawn: str = "",
) -> Offer:
    last = LAST if architecture is AMD64 else None
    return Offer(
        release(version, architecture, minimum, level, last),
        channels=channels,
        barrier=barrier,
        crossing=crossing,
        replaces=replaces,
        since_s=day(begin),
        share_percent=share,
        by_request=by_request,
        withdrawn=withdrawn,
        bundle=f"bundles/gateway-{version}-{architecture.value}.json",
    )


HISTORY = Graph(
    "gateway",
    (
        offer("5.0", "2018-01-10", I386),
        offer("5.1", "2018-06-01", I386, minimum="5.0"),
        offer("5.2", "2018-11-05", I386, minimum="5.0"),
        # Its data directory has another layout.
        offer("6.0", "2019-03-01", I386, minimum="5.1", barrier=True),
        offer("6.1", "2019-09-01", I386, minimum="6.0"),
        offer("7.0", "2020-04-01", I386, minimum="6.0"),
        # A barrier that lost mail, and the one that took its place.
        offer("7.3", "2020-12-01", I386, barrier=True, withdrawn="It could lose queued mail."),
        offer("7.3.1", "2020-12-20", I386, barrier=True, replaces=("7.3",)),
        offer("7.5", "2021-08-01", I386, minimum="7.3"),
        offer("7.9", "2023-02-01", I386, minimum="7.3"),
        offer("8.0~rc1", "2023-03-01", crossing=True, minimum="7.5", channels=("beta",)),
        # The migration: what comes later knows 64-bit data only.
        offer("8.0", "2023-05-01", barrier=True, crossing=True, minimum="7.5"),
        offer("8.1", "2023-07-01", minimum="8.0"),
        offer("8.2", "2023-11-01", minimum="8.0", withdrawn="It did not start on some machines."),
        offer("8.2.1", "2023-11-09", minimum="8.0"),
        offer("8.9", "2024-06-01", minimum="8.0", barrier=True),
        offer("9.0", "2024-10-01", minimum="8.9", share=30),
        offer("9.1", "2025-02-01", minimum="8.9"),
        offer("9.2", "2025-06-01", minimum="8.9"),
        offer("9.3", "2025-09-01", minimum="9.0", by_request=True, level=2),
    ),
)
# 9.3 is for those who ask.
NEWEST = "9.2"
TODAY_S = day("2025-10-01")
