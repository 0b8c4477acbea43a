"""Count what changes the machine, so that a test can cut a run after any of it.

An effect is a program that was started, a durable write, or a statement that was committed.
Everything in `system`, and the SQL session of `migrate.postgres`, reports each effect to the one
`Effects` that it was given, after the effect happened.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from threading import Lock
from typing import NamedTuple


class EffectKind(Enum):
    """What kind of change it was."""

    PROGRAM = "program"
    WRITE = "write"
    COMMIT = "commit"


class Effect(NamedTuple):
    """One effect: its number from 1, its kind, and what it was done to."""

    number: int
    kind: EffectKind
    subject: str


def _ignore(_effect: Effect) -> None:
    return None


class Effects:
    """Number the effects of one run and tell an observer of each.

    Attributes:
        observer: Called after each effect, from whichever thread caused it; it may not return.
        count: How many there were.
    """

    def __init__(self, observer: Callable[[Effect], None] = _ignore) -> None:
        self.observer = observer
        self.count = 0
        self._lock = Lock()

    def happened(self, kind: EffectKind, subject: str) -> None:
        """Number one effect and hand it to the observer."""
        with self._lock:
            self.count += 1
            effect = Effect(self.count, kind, subject)
        self.observer(effect)
