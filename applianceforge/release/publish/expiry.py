"""How long what a role signs is valid, and when to warn before it ends: values and rules.

A client refuses metadata that has expired: that bounds how long somebody who holds back a
repository's answers can hide a newer release, or a withdrawal. What is signed offline is valid
long, because people must come together for it; what is signed by a timer is valid shortly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

DAY_S = 86_400


class Role(Enum):
    """A role of the repository, in the order in which a client follows them.

    Source: The Update Framework Specification 1.0, section 2.1.
    """

    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"

    @property
    def offline(self) -> bool:
        """Return whether its keys are kept away from any network."""
        return self in (Role.ROOT, Role.TARGETS)


@dataclass(frozen=True)
class Validity:
    """For how many days a role signs, and how many days before the end to warn."""

    days: int
    warn_days: int


DEFAULTS: Mapping[Role, Validity] = {
    Role.ROOT: Validity(365, 60),
    Role.TARGETS: Validity(180, 30),
    Role.SNAPSHOT: Validity(7, 3),
    Role.TIMESTAMP: Validity(7, 3),
}


class State(Enum):
    """Whether something signed is valid."""

    VALID = "valid"
    ENDS_SOON = "ends-soon"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Term:
    """Until when what a role signed last is valid.

    Attributes:
        role: Who signed.
        version: Of what it signed.
        expires_s: When it ends, seconds since 1970.
        warn_days: How many days before that to warn.
    """

    role: Role
    version: int
    expires_s: int
    warn_days: int

    def state(self, now_s: float) -> State:
        """Return whether it is valid now; as in a client, the end itself is too late."""
        if now_s >= self.expires_s:
            return State.EXPIRED
        return State.ENDS_SOON if self.left_days(now_s) < self.warn_days else State.VALID

    def left_days(self, now_s: float) -> float:
        """Return how many days are left; negative when it has expired."""
        return (self.expires_s - now_s) / DAY_S


def worst(terms: tuple[Term, ...], now_s: float) -> State:
    """Return the state of the one that is worst off."""
    states = {term.state(now_s) for term in terms}
    for state in (State.EXPIRED, State.ENDS_SOON):
        if state in states:
            return state
    return State.VALID
