"""How a repository stands: what is served, what is staged, and until when it is valid."""

from __future__ import annotations

from dataclasses import dataclass

from applianceforge.release.graph import Graph
from applianceforge.release.publish import outgoing, published, repository, staging
from applianceforge.release.publish.expiry import Role, State, Term, worst
from applianceforge.release.publish.layout import Layout


@dataclass(frozen=True)
class Keys:
    """The keys of a role that count, by their names, and how many must sign."""

    role: Role
    names: tuple[str, ...]
    threshold: int


@dataclass(frozen=True)
class Status:
    """How a repository stands.

    Attributes:
        appliance: What its releases are for.
        graph: What is served.
        staged: What the next publication changes, a line for each release.
        pending: What a command that was cut had begun, and the next one ends; "" for nothing.
        terms: Until when each role's word is valid.
        keys: Whose word counts.
        now_s: When this was looked at.
    """

    appliance: str
    graph: Graph
    staged: tuple[str, ...]
    pending: str
    terms: tuple[Term, ...]
    keys: tuple[Keys, ...]
    now_s: float

    @property
    def state(self) -> State:
        """Return the state of what is worst off."""
        return worst(self.terms, self.now_s)


def look(layout: Layout, now_s: float, warn_days: int | None = None) -> Status:
    """Return how a repository stands; nothing is changed.

    Args:
        layout: Where it is.
        now_s: Seconds since 1970.
        warn_days: How many days before an end to warn; None is as each role has it.

    Raises:
        RepositoryError: There is none, or it cannot be read.
        SignatureError: Something in it was changed.
    """
    state = repository.read_state(layout)
    served = published.read(layout)
    terms = served.terms(state)
    if warn_days is not None:
        terms = tuple(Term(one.role, one.version, one.expires_s, warn_days) for one in terms)
    root = served.root.signed
    return Status(
        state.appliance,
        served.graph,
        staging.differences(served.graph, staging.read(layout, served.graph)),
        outgoing.pending(layout),
        terms,
        tuple(
            Keys(
                role,
                tuple(
                    entry.name if (entry := state.named(key_id)) else key_id
                    for key_id in root.roles[role.value].keyids
                ),
                root.roles[role.value].threshold,
            )
            for role in Role
        ),
        now_s,
    )


def remedy(term: Term) -> str:
    """Return what makes a role's word valid anew, as the end of a command line."""
    return {
        Role.ROOT: "release publish DIR --root --keys KEYS",
        Role.TARGETS: "release publish DIR --keys KEYS",
        Role.SNAPSHOT: "release publish DIR --renew --keys KEYS/online",
        Role.TIMESTAMP: "release publish DIR --renew --keys KEYS/online",
    }[term.role]
