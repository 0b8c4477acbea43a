"""Read and write the boot environment on the boot partition.

A change is one sector: the copy that GRUB does not use is overwritten in place with the next
generation, and flushed. Until that sector is on the disk GRUB takes the other copy, so there is no
instant without a complete one.

Nothing is truncated, renamed or allocated: GRUB reads the raw disk, replays no journal, and its own
writes need the blocks to stay where they are.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import DECIDING_BYTES, HIGHEST_NUMBER, Environment
from applianceforge.model.errors import BootEnvironmentError, SettingsError, SlotError
from applianceforge.slots import layout, reasons, states
from applianceforge.slots.layout import Slot
from applianceforge.slots.states import State
from applianceforge.system.effects import Effects
from applianceforge.system.files import held, named_errors, open_seekable, write_file
from applianceforge.system.in_place import InPlace

# Longer files are read as far as this; none is ever made so.
_LONGEST_BYTES = 1 << 16
_MODE = 0o644
_UNREADABLE = (errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EUCLEAN, errno.EBADMSG)


class Medium(Protocol):
    """Bytes that are changed where they lie."""

    def write(self, at_bytes: int, content: bytes) -> None:
        """Write bytes, without waiting for the disk."""

    def flush(self) -> None:
        """Wait until the disk has all that was written."""


Opening = Callable[[Path], AbstractContextManager[Medium]]


@dataclass(frozen=True)
class Loader:
    """The boot partition of a disk, where it is mounted.

    Attributes:
        directory: Where the copies and the marker lie.
        effects: Told of each write.
        opening: Opens one of the files for writing; by default as `InPlace`.
    """

    directory: Path
    effects: Effects
    opening: Opening | None = None

    def copies(self) -> tuple[bytes, bytes]:
        """Return both copies as they are; b"" for one that is not there.

        Raises:
            BootEnvironmentError: The directory holds neither.
            AccessDeniedError: They may not be read.
        """
        first, second = (self._read(name) for name in layout.ENVIRONMENT_COPIES)
        if first is None and second is None:
            raise BootEnvironmentError(
                f"there is no boot environment in {self.directory}",
                hint="mount the boot partition there, or name its place with --boot-directory",
            )
        return first or b"", second or b""

    def marker(self) -> Slot | None:
        """Return the slot that the marker says was good last."""
        name = bootenv.decode_marker(self._read(layout.GOOD_MARKER) or b"")
        return Slot(name) if name else None

    def read(self) -> Environment:
        """Return the environment as GRUB takes it.

        Raises:
            BootEnvironmentError: It is not there, or both copies are lost.
        """
        copies = self.copies()
        found = bootenv.newest(copies)
        environment = None if found is None else bootenv.complete(copies[found])
        if environment is None:
            evidence = tuple(
                f"{name}: {problem}"
                for name, data in zip(layout.ENVIRONMENT_COPIES, copies, strict=True)
                for problem in bootenv.decode(data).problems
            )
            raise BootEnvironmentError(
                f"both copies of the boot environment in {self.directory} are lost",
                hint="see that the running system works, then let it be written anew:"
                " applianceforge slot mark-good",
                evidence=evidence,
            )
        return environment

    def recover(self, booted: Slot) -> Environment:
        """Return the environment; if both copies are lost, write them anew.

        What runs may then go on, with all tries, or as good if the marker says so. The other slot
        is not bootable: nobody knows any more what it holds.

        Raises:
            BootEnvironmentError: It cannot be written.
        """
        with held(self.directory):
            return self._read_or_renew(booted)

    def begin_writing(self, slot: Slot) -> Environment:
        """Let nothing start a slot any more, whichever copy or marker it follows.

        Raises:
            SlotError: The other slot is not good.
            BootEnvironmentError: The environment cannot be read or written.
        """
        with held(self.directory):
            changed = states.begin_writing(self.read(), slot)
            # Both copies: the one that is older now may call the slot bootable.
            changed = self._write(self._write(changed))
            self._withdraw_marker(slot, changed)
            return changed

    def activate(self, slot: Slot) -> Environment:
        """Let a slot start next, in one write.

        Raises:
            BootEnvironmentError: The environment cannot be read or written.
        """
        with held(self.directory):
            return self._change(states.activate(self.read(), slot))

    def give_back(self, slot: Slot) -> Environment:
        """Give the slot that runs all its tries back, as its user space has begun.

        If both copies are lost they are written anew.

        Raises:
            SlotError: The slot is not bootable.
            BootEnvironmentError: The environment cannot be written.
        """
        with held(self.directory):
            return self._change(states.give_back(self._read_or_renew(slot), slot))

    def mark_good(self, slot: Slot) -> Environment:
        """Mark the slot that runs as good, and say so in the marker.

        If both copies are lost they are written anew.

        Raises:
            SlotError: The slot is not bootable.
            BootEnvironmentError: The environment cannot be written.
        """
        with held(self.directory):
            changed = self._change(states.mark_good(self._read_or_renew(slot), slot))
            self._write_marker(slot)
            return changed

    def mark_bad(self, slot: Slot, word: str) -> Environment:
        """Let a slot not start any more; the other starts next.

        Args:
            slot: The slot.
            word: Why, a word of `slots.reasons`.

        Raises:
            SlotError: The other slot is not bootable, or that is no such word.
            BootEnvironmentError: The environment cannot be read or written.
        """
        if not reasons.WORD.fullmatch(word):
            raise SlotError(
                f"{word!r} cannot be a reason",
                hint=f"give one word of at most {reasons.LONGEST_BYTES} of a-z, 0-9 and dashes",
            )
        with held(self.directory):
            changed = self._change(states.mark_bad(self._read_or_renew(slot), slot, word))
            self._withdraw_marker(slot, changed)
            return changed

    def _read(self, name: str) -> bytes | None:
        path = self.directory / name
        with named_errors(path, "read"):
            try:
                with open(open_seekable(path), "rb") as stream:
                    return stream.read(_LONGEST_BYTES)
            except FileNotFoundError:
                return None
            except SettingsError:
                return b""
            except OSError as error:
                # GRUB goes on with the other copy, and so do we; the next change mends this one.
                if error.errno in _UNREADABLE:
                    return b""
                raise

    def _read_or_renew(self, booted: Slot) -> Environment:
        """Return the environment, written anew if it is lost; see `recover`."""
        copies = self.copies()
        if bootenv.newest(copies) is not None:
            return self.read()
        renewed = Environment(0, booted.value, bootenv.NOT_BOOTABLE, bootenv.NOT_BOOTABLE)
        state = State.GOOD if self.marker() is booted else State.ACTIVATED
        # Twice: neither of the two that were lost may be left as it is.
        return self._write(self._write(states.with_state(renewed, booted, state)))

    def _change(self, environment: Environment) -> Environment:
        return environment if environment == self.read() else self._write(environment)

    def _write(self, environment: Environment) -> Environment:
        """Write the copy that GRUB does not use, with the next generation."""
        if environment.generation >= HIGHEST_NUMBER:
            raise BootEnvironmentError(
                f"the boot environment was changed {environment.generation} times, which is the"
                " most that GRUB can count",
                hint="write a new disk",
            )
        copies = self.copies()
        used = bootenv.newest(copies)
        target = 0 if used is None else 1 - used
        written = environment._replace(generation=environment.generation + 1)
        if not bootenv.REASON.fullmatch(written.reason):
            # Whatever else stood there was not ours.
            written = written._replace(reason=bootenv.NO_REASON)
        self._put(layout.ENVIRONMENT_COPIES[target], copies[target], bootenv.encode(written))
        if bootenv.newest(self.copies()) != target:
            raise BootEnvironmentError(
                f"{self.directory / layout.ENVIRONMENT_COPIES[target]} was written, but does not"
                " hold what was written",
                hint="check the disk: dmesg, smartctl -a",
            )
        return written

    def _withdraw_marker(self, slot: Slot, environment: Environment) -> None:
        if self.marker() is slot:
            other = states.state_of(environment, slot.other)
            self._write_marker(slot.other if other is State.GOOD else None)

    def _write_marker(self, slot: Slot | None) -> None:
        content = bootenv.encode_marker("" if slot is None else slot.value)
        old = self._read(layout.GOOD_MARKER) or b""
        if old != content:
            self._put(layout.GOOD_MARKER, old, content)

    def _put(self, name: str, old: bytes, content: bytes) -> None:
        path = self.directory / name
        if not old and not path.exists():
            write_file(path, content, self.effects, mode=_MODE)
            return
        opening = self.opening or (lambda path: InPlace(path, self.effects))
        filling = content[DECIDING_BYTES:].ljust(len(old) - DECIDING_BYTES, b"#")
        with opening(path) as medium:
            medium.write(0, content[:DECIDING_BYTES])
            medium.flush()
            # Only if somebody else wrote there: GRUB could not save a try then.
            if old[DECIDING_BYTES:] != filling:
                medium.write(DECIDING_BYTES, filling)
                medium.flush()
