"""Say which slot GRUB starts: a model of images/grub/grub.cfg.in, byte for byte.

In this order, each only if the ones above found nothing:

1. The newer complete copy of the environment decides. The primary slot, then the other: it must be
   bootable, its description readable, and of an architecture that the processor runs. A good slot
   starts. Another needs a try that is left, and the count must stay on the disk when it is read
   again: otherwise a slot that always fails would be started for ever.
2. If the count did not stay, once more what the disk says now, good slots only.
3. A bootable slot that runs here, even without a try: better than to stand still.
4. The slot that the marker says was good last, for the case that both copies are lost.
5. A message, and halt.

Source: GRUB 2.06, grub-core/commands/loadenv.c (save_env writes the whole file or nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from applianceforge.formats import bootenv, envblock
from applianceforge.formats.bootenv import Environment
from applianceforge.model.architecture import Architecture
from applianceforge.slots.layout import Slot


class Way(Enum):
    """How a slot came to be chosen."""

    GOOD = "good"
    TRY = "try"
    LAST_RESORT = "last-resort"
    MARKER = "marker"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Choice:
    """What GRUB does with a boot environment.

    Attributes:
        slot: The slot that it starts; None if it halts.
        way: How it came to that.
        reason: Why it passed over what should have started, for user space; "" if it did not.
        copies: Both copies as they are on the disk afterwards.
    """

    slot: Slot | None
    way: Way
    reason: str
    copies: tuple[bytes, bytes]


def choose(
    env1: bytes,
    env2: bytes,
    marker: bytes,
    archs: Mapping[Slot, Architecture | None],
    long_mode: bool,
    *,
    writes_stay: bool = True,
) -> Choice:
    """Return what GRUB does.

    Args:
        env1: The first copy of the environment; b"" if it is not there.
        env2: The second copy.
        marker: The marker file.
        archs: What each slot's description says it is; None if that cannot be read.
        long_mode: Whether the processor has long mode.
        writes_stay: Whether the disk keeps what is written.
    """
    return _Boot([env1, env2], marker, archs, long_mode, writes_stay).run()


class _Boot:
    """One start of GRUB, with the variables that its script has."""

    def __init__(
        self,
        copies: list[bytes],
        marker: bytes,
        archs: Mapping[Slot, Architecture | None],
        long_mode: bool,
        writes_stay: bool,
    ) -> None:
        self.copies = copies
        self.marker = marker
        self.archs = archs
        self.long_mode = long_mode
        self.writes_stay = writes_stay
        self.copy: int | None = None
        self.seen: Environment | None = None
        self.unsaved = False
        self.why = ""

    def run(self) -> Choice:
        self.look()
        chosen = self.ladder()
        if chosen is None and self.unsaved:
            self.look()
            chosen = self.ladder()
        if chosen is None:
            chosen = self.last_resort()
        if chosen is None:
            chosen = self.marked()
        slot, way = chosen or (None, Way.NOTHING)
        return Choice(slot, way, self.why, (self.copies[0], self.copies[1]))

    def look(self) -> None:
        """Take the newer complete copy."""
        self.copy = bootenv.newest(self.copies)
        self.seen = None if self.copy is None else bootenv.complete(self.copies[self.copy])

    def order(self) -> tuple[Slot, ...]:
        if self.seen is None:
            return ()
        primary = Slot(self.seen.primary)
        return (primary, primary.other)

    def ladder(self) -> tuple[Slot, Way] | None:
        for slot in self.order():
            # What was read again after a write may be less than before.
            if self.seen is None:
                return None
            state = self.seen.a if slot is Slot.A else self.seen.b
            if not state.boot or not self.usable(slot):
                continue
            if state.good:
                if self.why and self.why != self.seen.reason:
                    self.save({"reason": self.why})
                return slot, Way.GOOD
            if self.unsaved:
                continue
            if state.tries == 0:
                self.passed_over(slot, "no-tries")
            elif self.take_try(slot, state.tries):
                return slot, Way.TRY
        return None

    def last_resort(self) -> tuple[Slot, Way] | None:
        for slot in self.order():
            if self.seen is None:
                return None
            state = self.seen.a if slot is Slot.A else self.seen.b
            if state.boot and self.usable(slot):
                return slot, Way.LAST_RESORT
        return None

    def marked(self) -> tuple[Slot, Way] | None:
        if self.copy is None:
            self.why = self.why or "copies-lost"
        name = bootenv.decode_marker(self.marker)
        if name and self.usable(Slot(name)):
            return Slot(name), Way.MARKER
        return None

    def usable(self, slot: Slot) -> bool:
        arch = self.archs.get(slot)
        if arch is None:
            self.passed_over(slot, "unreadable")
        elif arch is Architecture.AMD64 and not self.long_mode:
            self.passed_over(slot, "no-long-mode")
        else:
            return True
        return False

    def passed_over(self, slot: Slot, cause: str) -> None:
        self.why = self.why or f"{slot.value}-{cause}"

    def take_try(self, slot: Slot, tries: int) -> bool:
        """Count a try on the disk; return whether it is there when it is read again."""
        assert self.copy is not None
        assert self.seen is not None
        values = {f"{slot.value}_tries": str(tries - 1)}
        if self.why:
            values["reason"] = self.why
        state = (self.seen.a if slot is Slot.A else self.seen.b)._replace(tries=tries - 1)
        expected = self.seen._replace(reason=values.get("reason", self.seen.reason))
        expected = expected._replace(a=state) if slot is Slot.A else expected._replace(b=state)
        self.save(values)
        self.seen = bootenv.complete(self.copies[self.copy])
        if self.seen == expected:
            return True
        self.unsaved = True
        self.passed_over(slot, "not-counted")
        return False

    def save(self, values: Mapping[str, str]) -> None:
        assert self.copy is not None
        changed = envblock.changed(self.copies[self.copy], values)
        if changed is not None and self.writes_stay:
            self.copies[self.copy] = changed
