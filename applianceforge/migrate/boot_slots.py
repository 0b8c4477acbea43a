"""What the boot unit and the settle step need of the slots."""

from dataclasses import dataclass
from typing import Protocol

from applianceforge.formats.bootenv import NO_REASON
from applianceforge.model.errors import BootDiskError
from applianceforge.slots import reasons, states
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import BOOT_MOUNT_POINT, SLOT_ARGUMENT, Slot
from applianceforge.slots.places import BootPlaces
from applianceforge.slots.states import State
from applianceforge.system import files
from applianceforge.system.effects import Effects


class Marks(Protocol):
    """The slot that runs, and what can be said of it in the boot environment."""

    @property
    def booted(self) -> Slot:
        """Return the slot that runs."""

    def is_good(self) -> bool:
        """Tell whether it was marked good."""

    def reason(self) -> str:
        """Return what the boot environment holds as the reason, or nothing."""

    def generation(self) -> int:
        """Return the generation of the boot environment."""

    def give_tries_back(self) -> None:
        """Let the slot have all its tries again, as its user space has begun."""

    def mark_good(self) -> None:
        """Say that this slot works."""

    def mark_bad(self, word: str) -> None:
        """Say that this slot does not work, and why: the other one boots next."""


def booted_slot(places: BootPlaces) -> Slot:
    """Return the slot that runs, as the boot loader told the kernel.

    Raises:
        BootDiskError: It told nothing.
    """
    command_line = places.root / "proc/cmdline"
    with files.named_errors(command_line, "read"):
        words = command_line.read_text().split()
    values = [word.partition("=")[2] for word in words if word.startswith(f"{SLOT_ARGUMENT}=")]
    if not values or values[-1] not in {slot.value for slot in Slot}:
        raise BootDiskError(
            f"the kernel was not started from a slot: its command line has no {SLOT_ARGUMENT}=",
            hint="this is for an appliance that started from its own disk",
        )
    return Slot(values[-1])


def loader(places: BootPlaces, effects: Effects) -> Loader:
    """Return the boot environment of an appliance."""
    return Loader(places.root / BOOT_MOUNT_POINT.lstrip("/"), effects)


@dataclass(frozen=True)
class SlotMarks:
    """The marks of the slot that runs, in the boot environment."""

    slot: Slot
    environment: Loader

    @property
    def booted(self) -> Slot:
        """Return the slot that runs."""
        return self.slot

    def is_good(self) -> bool:
        """Tell whether it was marked good."""
        return self._state() is State.GOOD

    def reason(self) -> str:
        """Return what the boot environment holds as the reason, or nothing."""
        found = self.environment.read().reason
        return "" if found == NO_REASON else found

    def generation(self) -> int:
        """Return the generation of the boot environment."""
        return self.environment.read().generation

    def give_tries_back(self) -> None:
        """Let the slot have all its tries again, as its user space has begun."""
        self.environment.give_back(self.slot)

    def mark_good(self) -> None:
        """Say that this slot works."""
        if self._state() is State.NOT_BOOTABLE and not self._is_given_up():
            # The boot loader took it for want of any other, and it works.
            self.environment.activate(self.slot)
        self.environment.mark_good(self.slot)

    def mark_bad(self, word: str) -> None:
        """Say that this slot does not work, and why: the other one boots next.

        If that was said already the first reason stays: what follows follows from it.
        """
        if not self._is_given_up():
            self.environment.mark_bad(self.slot, word)

    def _state(self) -> State:
        return states.state_of(self.environment.recover(self.slot), self.slot)

    def _is_given_up(self) -> bool:
        found = self.environment.recover(self.slot)
        given_up = states.state_of(found, self.slot) is State.NOT_BOOTABLE
        return given_up and reasons.split(found.reason)[0] is self.slot


def marks_of(places: BootPlaces, effects: Effects) -> SlotMarks:
    """Return the marks of the slot that runs.

    Raises:
        BootDiskError: It is not known.
    """
    return SlotMarks(booted_slot(places), loader(places, effects))
