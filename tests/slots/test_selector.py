"""The model's rules, one by one; that it does what GRUB does is shown in test_agreement.py."""

import pytest

from applianceforge.formats import bootenv, envblock
from applianceforge.formats.bootenv import FACTORY, KNOWN_GOOD, NOT_BOOTABLE, SlotVariables
from applianceforge.model.architecture import Architecture
from applianceforge.slots.layout import Slot
from applianceforge.slots.selector import Choice, Way, choose

A, B = Slot
BOTH = {A: Architecture.I386, B: Architecture.AMD64}
ACTIVATED = FACTORY._replace(generation=9, primary="b", b=SlotVariables(True, 3, False))
CROSSED = FACTORY._replace(generation=9, primary="b", b=KNOWN_GOOD)
MARKER = bootenv.encode_marker("a")


def boot(
    env1: bootenv.Environment, env2: bytes = b"", *, long_mode: bool = True, stay: bool = True
) -> Choice:
    return choose(bootenv.encode(env1), env2, MARKER, BOTH, long_mode, writes_stay=stay)


def test_a_good_slot_is_not_counted_and_nothing_is_written() -> None:
    chosen = boot(CROSSED)
    assert (chosen.slot, chosen.way, chosen.reason) == (B, Way.GOOD, "")
    assert chosen.copies == (bootenv.encode(CROSSED), b"")


@pytest.mark.parametrize("tries", [3, 2, 1])
def test_a_try_is_taken(tries: int) -> None:
    chosen = boot(ACTIVATED._replace(b=SlotVariables(True, tries, False)))
    assert (chosen.slot, chosen.way) == (B, Way.TRY)
    written = bootenv.complete(chosen.copies[0])
    assert written == ACTIVATED._replace(b=SlotVariables(True, tries - 1, False))


def test_without_a_try_the_good_slot_starts_and_the_reason_stays() -> None:
    spent = ACTIVATED._replace(b=SlotVariables(True, 0, False))
    chosen = boot(spent)
    assert (chosen.slot, chosen.way, chosen.reason) == (A, Way.GOOD, "b-no-tries")
    assert chosen.copies[0] == bootenv.encode(spent._replace(reason="b-no-tries"))
    # At the next start it is known, and nothing is written.
    again = choose(*chosen.copies, MARKER, BOTH, True)
    assert again.copies == chosen.copies


def test_without_long_mode_the_32_bit_slot_starts() -> None:
    chosen = boot(CROSSED, long_mode=False)
    assert (chosen.slot, chosen.way, chosen.reason) == (A, Way.GOOD, "b-no-long-mode")
    assert bootenv.complete(chosen.copies[0]) == CROSSED._replace(reason="b-no-long-mode")


def test_a_count_that_does_not_stay_starts_the_good_slot() -> None:
    chosen = boot(ACTIVATED, stay=False)
    assert (chosen.slot, chosen.way, chosen.reason) == (A, Way.GOOD, "b-not-counted")
    # So does a copy whose second sector cannot take a change.
    broken = bootenv.encode(ACTIVATED)[:512] + bytes(512)
    chosen = choose(broken, b"", MARKER, BOTH, True)
    assert (chosen.slot, chosen.reason, chosen.copies[0]) == (A, "b-not-counted", broken)


def test_nothing_good_and_no_tries_starts_all_the_same() -> None:
    last = ACTIVATED._replace(a=NOT_BOOTABLE, b=SlotVariables(True, 0, False))
    chosen = boot(last)
    assert (chosen.slot, chosen.way, chosen.reason) == (B, Way.LAST_RESORT, "b-no-tries")


def test_the_newer_complete_copy_counts() -> None:
    older, newer = bootenv.encode(FACTORY), bootenv.encode(CROSSED)
    for copies in ((older, newer), (newer, older)):
        assert choose(*copies, MARKER, BOTH, True).slot is B
    torn = newer.replace(b"end=9", b"end=8")
    assert choose(torn, older, MARKER, BOTH, True).slot is A
    # Of two equal ones, the first.
    other = bootenv.encode(CROSSED._replace(primary="a"))
    assert choose(newer, other, MARKER, BOTH, True).slot is B


def test_both_copies_lost() -> None:
    chosen = choose(b"", bytes(1024), MARKER, BOTH, True)
    assert (chosen.slot, chosen.way, chosen.reason) == (A, Way.MARKER, "copies-lost")
    for marker in (b"", bootenv.encode_marker(""), envblock.encode([("good", "c")])):
        assert choose(b"", b"", marker, BOTH, True).slot is None
    chosen = choose(b"", b"", bootenv.encode_marker("b"), BOTH, False)
    assert (chosen.slot, chosen.way) == (None, Way.NOTHING)


def test_a_slot_that_cannot_be_read_is_passed_over() -> None:
    chosen = choose(bootenv.encode(CROSSED), b"", MARKER, {**BOTH, B: None}, True)
    assert (chosen.slot, chosen.reason) == (A, "b-unreadable")
