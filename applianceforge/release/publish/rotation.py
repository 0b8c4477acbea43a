"""Which keys a role has next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Root

from applianceforge.model.errors import SigningKeyError
from applianceforge.release.publish import building
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import MadeKey
from applianceforge.release.publish.state import RepositoryState

_SIGNS_ANEW = {
    Role.ROOT: (),
    Role.TARGETS: (Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP),
    Role.SNAPSHOT: (Role.SNAPSHOT, Role.TIMESTAMP),
    Role.TIMESTAMP: (Role.TIMESTAMP,),
}

# Of one role: a root that names more is too large for any box.
MOST_KEYS = 50


@dataclass(frozen=True)
class Rotation:
    """What is to become of a role's keys.

    Attributes:
        role: Whose keys.
        make: Makes a key, given the first number to try for its name; one for each new key.
        remove: Names of keys that sign no more.
        remove_all: All that the role has sign no more.
        threshold: How many must sign from now on; None leaves it as it is.
    """

    role: Role
    make: tuple[Callable[[int], MadeKey], ...] = ()
    remove: tuple[str, ...] = ()
    remove_all: bool = False
    threshold: int | None = None


def signs_anew(role: Role) -> tuple[Role, ...]:
    """Return whose word must be signed anew when the keys of a role change."""
    return _SIGNS_ANEW[role]


def require_threshold(role: Role, threshold: int, number: int) -> None:
    """Let a threshold pass that so many keys can meet.

    Raises:
        SigningKeyError: They cannot.
    """
    if number > MOST_KEYS:
        raise SigningKeyError(
            f"{role.value} would have {number} keys, and no box takes a root that names so many",
            hint=f"let it have {MOST_KEYS} at most; 3 are usual",
        )
    if not 1 <= threshold <= number:
        raise SigningKeyError(
            f"{role.value} would have {number} key{'' if number == 1 else 's'}, of which"
            f" {threshold} must sign",
            hint="take a threshold from 1 to the number of keys",
        )


def rotated(
    root: Root, state: RepositoryState, wanted: Rotation, ends: datetime
) -> tuple[Root, tuple[MadeKey, ...]]:
    """Return the next root, and the keys that are new in it.

    Args:
        root: The one that counts now.
        state: Which names its keys have.
        wanted: What is to change.
        ends: When the next root expires.

    Raises:
        SigningKeyError: A key is not there, or too few would be left.
    """
    role = wanted.role.value
    had = {_name(state, key_id): key_id for key_id in root.roles[role].keyids}
    unknown = [name for name in wanted.remove if name not in had]
    if unknown:
        raise SigningKeyError(
            f"{unknown[0]} is no key of {role}", hint=f"its keys are {', '.join(had)}"
        )
    removed = tuple(had) if wanted.remove_all else wanted.remove
    threshold = root.roles[role].threshold if wanted.threshold is None else wanted.threshold
    left = len(had) - len(set(removed))
    require_threshold(wanted.role, threshold, left + len(wanted.make))
    following = building.next_root(root, ends)
    made: list[MadeKey] = []
    number = state.next_name(wanted.role)
    for make in wanted.make:
        key = make(number)
        number = 1 + int(key.entry.name.rpartition("-")[2])
        if key.entry.key_id in root.keys or key.entry.key_id in {one.entry.key_id for one in made}:
            raise SigningKeyError(
                f"the key {key.entry.uri} is one of this repository's already",
                hint="take another key of the module",
            )
        following.add_key(key.public, role)
        made.append(key)
    for name in dict.fromkeys(removed):
        following.revoke_key(had[name], role)
    following.roles[role].threshold = threshold
    return following, tuple(made)


def _name(state: RepositoryState, key_id: str) -> str:
    entry = state.named(key_id)
    return key_id if entry is None else entry.name
