"""Writers of the boot environment with a bug each: every one must be found out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import DECIDING_BYTES, Environment
from applianceforge.slots import layout, states
from applianceforge.slots.environment import Loader, Opening
from applianceforge.slots.layout import Slot
from applianceforge.system.files import held

_FIRST, _SECOND = layout.ENVIRONMENT_COPIES


def _next(environment: Environment) -> Environment:
    return environment._replace(generation=environment.generation + 1)


class SingleCopy(Loader):
    """Writes the same copy always; the other one stays as it came from the factory."""

    def _write(self, environment: Environment) -> Environment:
        written = _next(_next(environment))
        self._put(_FIRST, self.copies()[0], bootenv.encode(written))
        return written


class NewerCopy(Loader):
    """Writes over the copy that GRUB uses."""

    def _write(self, environment: Environment) -> Environment:
        copies = self.copies()
        used = bootenv.newest(copies) or 0
        written = _next(environment)
        name = layout.ENVIRONMENT_COPIES[used]
        self._put(name, copies[used], bootenv.encode(written))
        return written


class SameGeneration(Loader):
    """Does not count."""

    def _write(self, environment: Environment) -> Environment:
        copies = self.copies()
        used = bootenv.newest(copies) or 0
        name = layout.ENVIRONMENT_COPIES[1 - used]
        self._put(name, copies[1 - used], bootenv.encode(environment))
        return environment


class BothAtOnce(Loader):
    """Writes both copies, and flushes afterwards."""

    def _write(self, environment: Environment) -> Environment:
        written = _next(environment)
        content = bootenv.encode(written)[:DECIDING_BYTES]
        opening = self.opening
        assert opening is not None
        with opening(self.directory / _FIRST) as first, opening(self.directory / _SECOND) as second:
            first.write(0, content)
            second.write(0, content)
            first.flush()
            second.flush()
        return written


class WithoutFlush(Loader):
    """Does not wait for the disk."""

    def _put(self, name: str, old: bytes, content: bytes) -> None:
        opening = self.opening
        assert opening is not None
        with opening(self.directory / name) as medium:
            medium.write(0, content[:DECIDING_BYTES])


class OneCopyWithdrawn(Loader):
    """Lets the older copy call the slot bootable that is being written."""

    def begin_writing(self, slot: Slot) -> Environment:
        with held(self.directory):
            changed = self._write(states.begin_writing(self.read(), slot))
            self._withdraw_marker(slot, changed)
            return changed


class MarkerStays(Loader):
    """Lets the marker name the slot that is being written."""

    def begin_writing(self, slot: Slot) -> Environment:
        with held(self.directory):
            return self._write(self._write(states.begin_writing(self.read(), slot)))


class NothingWithdrawn(Loader):
    """Lets the slot that is being written be started."""

    def begin_writing(self, slot: Slot) -> Environment:
        return self.read()


class PrimaryFirst(Loader):
    """Activates in two writes, and in the wrong order."""

    def begin_writing(self, slot: Slot) -> Environment:
        with held(self.directory):
            changed = self._write(states.activate(self.read(), slot))
            changed = self._write(self._write(states.begin_writing(changed, slot)))
            self._withdraw_marker(slot, changed)
            return changed


# Each of these loses what a power cut leaves.
POWER: tuple[type[Loader], ...] = (
    *(SingleCopy, NewerCopy, SameGeneration, BothAtOnce, WithoutFlush),
    *(OneCopyWithdrawn, MarkerStays, NothingWithdrawn, PrimaryFirst),
)


@dataclass(frozen=True)
class Truncating(Loader):
    """Makes the file anew, as grub-editenv does."""

    opening: Opening | None = None

    def _put(self, name: str, old: bytes, content: bytes) -> None:
        path = Path(self.directory, name)
        with open(path, "wb") as stream:
            stream.write(content)


class Renaming(Loader):
    """Writes another file and gives it the name."""

    def _put(self, name: str, old: bytes, content: bytes) -> None:
        other = Path(self.directory, name + ".new")
        other.write_bytes(content)
        other.rename(self.directory / name)


class TwoSectors(Loader):
    """Changes what lies in the second sector, too."""

    def _put(self, name: str, old: bytes, content: bytes) -> None:
        super()._put(name, old, content[:-1] + b"\n")


# Each of these moves blocks or changes more than a sector.
PLACE: tuple[type[Loader], ...] = (Truncating, Renaming, TwoSectors)
