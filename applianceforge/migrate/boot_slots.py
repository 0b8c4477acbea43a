"""What the boot unit and the settle step need of the slots."""

from typing import Protocol

from applianceforge.slots.layout import Slot


class Marks(Protocol):
    """The slot that runs, and what can be said of it in the boot environment."""

    @property
    def booted(self) -> Slot:
        """Return the slot that runs."""

    def is_good(self) -> bool:
        """Tell whether it was marked good."""

    def reason(self) -> str:
        """Return the word that the boot environment holds, or nothing."""

    def generation(self) -> int:
        """Return the generation of the boot environment."""

    def give_tries_back(self) -> None:
        """Let the slot have all its tries again, as its user space has begun."""

    def mark_good(self) -> None:
        """Say that this slot works."""

    def mark_bad(self, reason: str) -> None:
        """Say that this slot does not work, and why: the other one boots next."""
