"""The table of states: every pair of state and event, and the rules above it."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import FACTORY, Environment
from applianceforge.model.errors import SlotError
from applianceforge.slots import states
from applianceforge.slots.layout import Slot
from applianceforge.slots.states import TABLE, Event, State

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "boot.md"
N, A, T2, T1, T0, G = State
# Rows are states, columns events in their order; None is refused.
EXPECTED: dict[State, tuple[State | None, ...]] = {
    #   write activate start give-back mark-good mark-bad
    N: (N, A, None, None, None, N),
    A: (N, A, T2, A, G, N),
    T2: (N, A, T1, A, G, N),
    T1: (N, A, T0, A, G, N),
    T0: (N, A, T0, A, G, N),
    G: (N, G, G, G, G, N),
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair(state: State, event: Event) -> None:
    expected = EXPECTED[state][list(Event).index(event)]
    if expected is not None:
        assert states.after(state, event) is expected
        return
    with pytest.raises(SlotError, match=event.value):
        states.after(state, event)


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(State)
    # Rule 1: nothing but being activated makes a slot bootable.
    out = {event for event, to in TABLE[State.NOT_BOOTABLE].items() if to is not State.NOT_BOOTABLE}
    assert out == {Event.ACTIVATE}


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("state", State)
def test_a_state_is_kept_in_the_environment(state: State, slot: Slot) -> None:
    changed = states.with_state(FACTORY, slot, state)
    assert states.state_of(changed, slot) is state
    assert states.state_of(changed, slot.other) is states.state_of(FACTORY, slot.other)
    assert bootenv.complete(bootenv.encode(changed)) == changed


def test_values_that_no_state_has_are_read_as_grub_reads_them() -> None:
    odd = FACTORY._replace(a=bootenv.SlotVariables(True, 2, True))
    assert states.state_of(odd, Slot.A) is State.GOOD
    odd = FACTORY._replace(a=bootenv.SlotVariables(False, 3, True))
    assert states.state_of(odd, Slot.A) is State.NOT_BOOTABLE


def test_the_way_of_a_release() -> None:
    one = states.begin_writing(FACTORY, Slot.B)
    assert states.state_of(one, Slot.B) is State.NOT_BOOTABLE
    one = states.activate(one, Slot.B)
    assert (one.primary, one.b.tries, one.b.good) == ("b", 3, False)
    assert states.state_of(one, Slot.A) is State.GOOD
    bad = states.mark_bad(one, Slot.B, "no-space")
    assert (bad.primary, bad.reason, bad.b.boot) == ("a", "b-no-space", False)
    good = states.mark_good(one, Slot.B)
    assert (good.primary, good.b) == ("b", bootenv.KNOWN_GOOD)
    assert states.begin_writing(good, Slot.A).primary == "b"
    assert states.activate(good, Slot.A).a == bootenv.KNOWN_GOOD


def test_a_reason_goes_when_its_slot_is_written_or_good() -> None:
    told = FACTORY._replace(reason="b-no-tries", b=bootenv.SlotVariables(True, 0, False))
    assert states.mark_good(told, Slot.A).reason == "b-no-tries"
    assert states.mark_good(told, Slot.B).reason == "none"
    assert states.begin_writing(told, Slot.B).reason == "none"
    assert states.activate(told, Slot.B).reason == "none"


def test_the_only_slot_that_works_is_kept() -> None:
    tried = states.with_state(FACTORY, Slot.A, State.ACTIVATED)
    with pytest.raises(SlotError, match="slot a is not marked good"):
        states.begin_writing(tried, Slot.B)
    with pytest.raises(SlotError, match="nothing would be left to start"):
        states.mark_bad(FACTORY, Slot.A, "by-hand")


CHANGES: tuple[Callable[[Environment, Slot], Environment], ...] = (
    *(states.begin_writing, states.activate, states.give_back, states.mark_good),
    lambda one, slot: states.mark_bad(one, slot, "by-hand"),
)


@given(st.lists(st.tuples(st.sampled_from(list(Slot)), st.sampled_from(CHANGES)), max_size=30))
def test_there_is_always_a_slot_to_start(
    steps: list[tuple[Slot, Callable[[Environment, Slot], Environment]]],
) -> None:
    one = FACTORY
    for slot, change in steps:
        try:
            one = change(one, slot)
        except SlotError:
            continue
        assert states.state_of(one, Slot(one.primary)) is not State.NOT_BOOTABLE
        assert bootenv.complete(bootenv.encode(one)) == one


def test_the_document_shows_this_table() -> None:
    text = DOCUMENT.read_text()
    assert f"```mermaid\n{states.diagram()}```" in text
    assert states.text_table() in text
