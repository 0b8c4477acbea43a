"""What may happen to a slot, and what it is afterwards: one table.

The rules that the table obeys:

1. A slot that is written to is not bootable until it is activated; nothing else makes it bootable.
2. A slot that is activated has three tries. Each start takes one, until it is good.
3. User space that has begun gives the tries back: what is counted are starts that never got there.
4. A good slot stays good, and its starts are not counted, until it is written to or marked bad.
5. What is not in the table is refused, and changes nothing.

And the rules that look at both slots, which are the functions below the table:

6. The slot that is written to is never the only one that works: the other must be good.
7. A slot is not marked bad while the other could not be started.
8. What is activated becomes primary; what is written to or marked bad is primary no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from applianceforge.formats.bootenv import MOST_TRIES, NO_REASON, Environment, SlotVariables
from applianceforge.model.errors import SlotError
from applianceforge.slots import reasons
from applianceforge.slots.layout import Slot


class State(Enum):
    """What the boot environment says of a slot, in a word."""

    NOT_BOOTABLE = "not bootable"
    ACTIVATED = "activated"
    TWO_TRIES = "two tries left"
    ONE_TRY = "one try left"
    NO_TRIES = "no tries left"
    GOOD = "good"


class Event(Enum):
    """What happens to a slot."""

    WRITE = "write"
    ACTIVATE = "activate"
    START = "start"
    GIVE_BACK = "give back"
    MARK_GOOD = "mark good"
    MARK_BAD = "mark bad"


_TRIED: Mapping[Event, State] = {
    Event.WRITE: State.NOT_BOOTABLE,
    Event.ACTIVATE: State.ACTIVATED,
    Event.GIVE_BACK: State.ACTIVATED,
    Event.MARK_GOOD: State.GOOD,
    Event.MARK_BAD: State.NOT_BOOTABLE,
}
TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.NOT_BOOTABLE: {
            Event.WRITE: State.NOT_BOOTABLE,
            Event.ACTIVATE: State.ACTIVATED,
            Event.MARK_BAD: State.NOT_BOOTABLE,
        },
        State.ACTIVATED: {**_TRIED, Event.START: State.TWO_TRIES},
        State.TWO_TRIES: {**_TRIED, Event.START: State.ONE_TRY},
        State.ONE_TRY: {**_TRIED, Event.START: State.NO_TRIES},
        # As the last resort it is started all the same.
        State.NO_TRIES: {**_TRIED, Event.START: State.NO_TRIES},
        State.GOOD: {
            Event.WRITE: State.NOT_BOOTABLE,
            Event.ACTIVATE: State.GOOD,
            Event.START: State.GOOD,
            Event.GIVE_BACK: State.GOOD,
            Event.MARK_GOOD: State.GOOD,
            Event.MARK_BAD: State.NOT_BOOTABLE,
        },
    }
)
_VARIABLES: Mapping[State, SlotVariables] = {
    State.NOT_BOOTABLE: SlotVariables(False, 0, False),
    State.ACTIVATED: SlotVariables(True, MOST_TRIES, False),
    State.TWO_TRIES: SlotVariables(True, 2, False),
    State.ONE_TRY: SlotVariables(True, 1, False),
    State.NO_TRIES: SlotVariables(True, 0, False),
    State.GOOD: SlotVariables(True, 0, True),
}
_STATES = {variables: state for state, variables in _VARIABLES.items()}


def after(state: State, event: Event) -> State:
    """Return the state after an event.

    Raises:
        SlotError: The event cannot happen in that state.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        raise SlotError(
            f"a slot that is {state.value} has no '{event.value}'",
            hint="activate it first: applianceforge slot activate",
        ) from None


def state_of(environment: Environment, slot: Slot) -> State:
    """Return the state of a slot, whatever its variables are."""
    variables = environment.a if slot is Slot.A else environment.b
    if not variables.boot:
        return State.NOT_BOOTABLE
    if variables.good:
        return State.GOOD
    return _STATES[variables]


def with_state(environment: Environment, slot: Slot, state: State) -> Environment:
    """Return the environment with another state of a slot."""
    variables = _VARIABLES[state]
    if slot is Slot.A:
        return environment._replace(a=variables)
    return environment._replace(b=variables)


def _after(environment: Environment, slot: Slot, event: Event) -> Environment:
    return with_state(environment, slot, after(state_of(environment, slot), event))


def _without_reason_about(environment: Environment, slot: Slot) -> Environment:
    about, _ = reasons.split(environment.reason)
    return environment._replace(reason=NO_REASON) if about is slot else environment


def begin_writing(environment: Environment, slot: Slot) -> Environment:
    """Return the environment while a slot is written.

    Raises:
        SlotError: The other slot is not good, so nothing that works would be left.
    """
    if state_of(environment, slot.other) is not State.GOOD:
        raise SlotError(
            f"slot {slot.value} cannot be written: slot {slot.other.value} is not marked good, and"
            " nothing that works would be left",
            hint="mark the running slot good when it works: applianceforge slot mark-good",
        )
    changed = _without_reason_about(_after(environment, slot, Event.WRITE), slot)
    return changed._replace(primary=slot.other.value)


def activate(environment: Environment, slot: Slot) -> Environment:
    """Return the environment that starts a slot next."""
    changed = _after(environment, slot, Event.ACTIVATE)
    return changed._replace(primary=slot.value, reason=NO_REASON)


def give_back(environment: Environment, slot: Slot) -> Environment:
    """Return the environment with all tries of the slot that runs."""
    return _after(environment, slot, Event.GIVE_BACK)


def mark_good(environment: Environment, slot: Slot) -> Environment:
    """Return the environment in which a slot is good."""
    return _without_reason_about(_after(environment, slot, Event.MARK_GOOD), slot)


def mark_bad(environment: Environment, slot: Slot, word: str) -> Environment:
    """Return the environment in which a slot is not started any more.

    Args:
        environment: As it is.
        slot: The slot.
        word: Why, a word of `slots.reasons`.

    Raises:
        SlotError: The other slot could not be started either.
    """
    if state_of(environment, slot.other) is State.NOT_BOOTABLE:
        raise SlotError(
            f"slot {slot.value} cannot be marked bad: slot {slot.other.value} is not bootable, and"
            " nothing would be left to start",
            hint=f"write and activate slot {slot.other.value} first",
        )
    changed = _after(environment, slot, Event.MARK_BAD)
    return changed._replace(primary=slot.other.value, reason=reasons.about(slot, word))


def diagram() -> str:
    """Return the table as a diagram, in Mermaid's language."""
    lines = ["stateDiagram-v2", "    [*] --> not_bootable"]
    for state, row in TABLE.items():
        for target in State:
            events = ", ".join(event.value for event, to in row.items() if to is target)
            if events:
                lines.append(f"    {_identifier(state)} --> {_identifier(target)}: {events}")
    return "\n".join(lines) + "\n"


def text_table() -> str:
    """Return the table as one in Markdown."""
    lines = [
        "| state | " + " | ".join(event.value for event in Event) + " |",
        "|---|" + "---|" * len(Event),
    ]
    for state, row in TABLE.items():
        cells = [row[event].value if event in row else "refused" for event in Event]
        lines.append(f"| **{state.value}** | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _identifier(state: State) -> str:
    return state.value.replace(" ", "_")
