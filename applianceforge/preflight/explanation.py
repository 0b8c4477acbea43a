"""What is known about a message, as values."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One thing to do, and the commands for it, each to be copied as it is."""

    text: str
    commands: tuple[str, ...] = ()


class Explanation(NamedTuple):
    """What a message means.

    Attributes:
        key: Never changes.
        title: What is the matter, in a few words.
        meaning: What the message says, and whether anything is lost.
        never: What not to do, each with the reason.
        steps: What to do instead, in order.
        documented: Which program says it, and where.
    """

    key: str
    title: str
    meaning: str
    never: tuple[str, ...]
    steps: tuple[Step, ...]
    documented: str


class Known(NamedTuple):
    """An explanation, how its messages are known, and messages as programs really say them."""

    explanation: Explanation
    patterns: tuple[str, ...]
    examples: tuple[str, ...]


CHECK = Step("See what this machine can do, and what hides it.", ("applianceforge check",))
SCAN = Step(
    "See what else in the data is bound to 32 bits, before you meet it in a log.",
    ("applianceforge check --scan DIR",),
)
