"""The life of an appliance, operation by operation, each ready to be cut at every instant."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from applianceforge.formats import bootenv
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, SlotError
from applianceforge.slots import layout, states
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from tests.slots.power import Cut, Ground, Log, Mark, Tally, choose, new_ground

A, B = Slot.A, Slot.B
I386, AMD64 = Architecture.I386, Architecture.AMD64


class Life:
    """What happens to one appliance; each step is kept as a `Cut`."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.cuts: list[Cut] = []
        self._withdrawn: set[Slot] = set()

    def _keep(self, name: str, does: Callable[[], Log]) -> None:
        before, whole = self.ground.files(), frozenset(self.ground.whole)
        log = does()
        archs, withdrawn = dict(self.ground.archs), frozenset(self._withdrawn)
        for long_mode in (True, False):
            self.cuts.append(Cut(name, before, log, archs, whole, withdrawn, long_mode))

    def does(self, name: str, operation: Callable[[Loader], object]) -> None:
        self._keep(name, lambda: self.ground.recorded(operation))

    def starts(self, *, long_mode: bool = True) -> None:
        self._keep("start", lambda: self.ground.start(long_mode))

    def counts_from(self, generation: int) -> None:
        for name in layout.ENVIRONMENT_COPIES:
            path = self.ground.directory / name
            found = bootenv.complete(path.read_bytes())
            assert found is not None
            path.write_bytes(bootenv.encode(found._replace(generation=generation)))
            generation += 1

    def activates(self, slot: Slot) -> None:
        self.does(f"activate {slot.value}", lambda loader: loader.activate(slot))
        self._withdrawn.discard(slot)

    def marks_bad(self, slot: Slot) -> None:
        before = set(self._withdrawn)
        self._withdrawn.add(slot)
        try:
            self.does(f"bad {slot.value}", lambda loader: loader.mark_bad(slot, "by-hand"))
        except SlotError:
            self._withdrawn = before
            raise

    def writes(self, slot: Slot, architecture: Architecture) -> None:
        """Write a slot: the environment first, then its content is not whole, then it is."""
        old = self.ground.archs[slot]
        # Refused here, it changes nothing.
        states.begin_writing(Loader(self.ground.directory, Effects()).read(), slot)
        self._withdrawn.add(slot)

        def write() -> Log:
            log = self.ground.recorded(lambda loader: loader.begin_writing(slot))
            log.entries.append(Mark(slot, whole=False))
            return log

        # Half written, it may look as what it was or as what it will be.
        for looks in {old, architecture}:
            self.ground.archs[slot] = looks
            files = self.ground.files()
            self._keep(f"write {slot.value}", write)
            if looks is not architecture:
                for name, content in files.items():
                    (self.ground.directory / name).write_bytes(content)
        self.ground.archs[slot] = architecture
        self.ground.whole.discard(slot)
        self._keep("interrupted", Log)
        self.ground.whole.add(slot)


def crossing(ground: Ground) -> Life:
    """The whole way: 32 bits, the migration, 64 bits; with a way back in between."""
    life = Life(ground)
    life.starts()
    life.writes(B, AMD64)
    life.activates(B)
    life.starts()
    life.starts()
    life.does("give back b", lambda loader: loader.give_back(B))
    life.starts()
    life.does("good b", lambda loader: loader.mark_good(B))
    life.starts()
    # A person goes back to 32 bits, and again to 64.
    life.activates(A)
    life.starts()
    life.activates(B)
    # The second hop, into the slot that was told to start next before.
    life.activates(A)
    life.writes(A, AMD64)
    life.activates(A)
    life.starts()
    life.does("give back a", lambda loader: loader.give_back(A))
    life.does("good a", lambda loader: loader.mark_good(A))
    life.starts()
    return life


def failing(ground: Ground) -> Life:
    """Releases that do not work: one that never gets up, one that is marked bad."""
    life = Life(ground)
    life.writes(B, AMD64)
    life.activates(B)
    for _ in range(5):
        life.starts()
    life.starts(long_mode=False)
    life.marks_bad(B)
    life.starts()
    life.writes(B, I386)
    life.activates(B)
    life.starts()
    life.does("good b", lambda loader: loader.mark_good(B))
    life.marks_bad(B)
    life.starts()
    return life


def going_back(ground: Ground) -> Life:
    """A person goes back to 32 bits for good, and later tries the next release."""
    life = Life(ground)
    life.writes(B, AMD64)
    life.activates(B)
    life.starts()
    life.does("good b", lambda loader: loader.mark_good(B))
    life.activates(A)
    life.starts()
    # The marker still names slot b.
    life.writes(B, AMD64)
    life.activates(B)
    life.starts()
    return life


def any_life(seed: int) -> Callable[[Ground], Life]:
    """Whatever may happen in any order; what is refused changes nothing."""

    def live(ground: Ground) -> Life:
        source = random.Random(seed)
        life = Life(ground)
        # Counts of one, two and three digits, and where a digit is added.
        life.counts_from(source.choice((1, 5, 95, 97, 998)))
        booted = A
        for _ in range(14):
            what = source.randrange(7)
            try:
                if what <= 1:
                    life.starts(long_mode=source.random() < 0.8)
                    chosen = choose(ground.files(), ground.archs, True).slot
                    booted = booted if chosen is None else chosen
                elif what == 2:
                    life.does(f"give back {booted.value}", _with(booted, "give_back"))
                elif what == 3:
                    life.does(f"good {booted.value}", _with(booted, "mark_good"))
                elif what == 4 and booted.other in ground.whole:
                    life.activates(booted.other)
                elif what == 5:
                    life.marks_bad(source.choice((A, B)))
                else:
                    life.writes(booted.other, source.choice((I386, AMD64)))
            except SlotError:
                continue
        return life

    return live


def _with(slot: Slot, name: str) -> Callable[[Loader], object]:
    def operation(loader: Loader) -> object:
        return getattr(loader, name)(slot)

    return operation


LIVES: tuple[Callable[[Ground], Life], ...] = (
    *(crossing, failing, going_back),
    *(any_life(seed) for seed in range(130)),
)


def look_at_all(
    place: Path, loader_type: type[Loader] = Loader, *, to_the_end: bool = True
) -> Tally:
    """Cut everything everywhere.

    Args:
        place: For the boot partitions.
        loader_type: What writes to them.
        to_the_end: Go on after a problem.
    """
    tally = Tally()
    for number, live in enumerate(LIVES):
        ground = new_ground(place / str(number), loader_type)
        try:
            cuts = live(ground).cuts
        except ForgeError as error:
            # What should have been possible is not: a change before it had no effect.
            cuts = []
            tally.problems.append(error.message)
        for cut in cuts:
            cut.look(tally)
            if tally.problems and not to_the_end:
                return tally
        tally.problems += ground.problems
    return tally
