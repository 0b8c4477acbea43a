"""Cut the power everywhere: what the boot partition can hold after any instant of an operation.

Every write and flush of an operation is recorded. At each point of the record the disk may hold,
of what was not flushed yet: nothing, all, any subset of the sectors, each of them whole or torn,
and of each write any prefix of its bytes. A flush of one file says nothing of another one.

For each such state it is asked what GRUB would start.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import Environment
from applianceforge.imaging import grub
from applianceforge.model.architecture import Architecture
from applianceforge.slots import layout, selector, states
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.slots.selector import Choice
from applianceforge.slots.states import State
from applianceforge.system.effects import Effects
from applianceforge.system.in_place import InPlace

SECTOR = 512
# In the middle of the variables.
_TORN = 40
NAMES = (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Write:
    """Bytes that were handed to the disk."""

    name: str
    at: int
    content: bytes


@dataclass(frozen=True)
class Flush:
    """What was written to a file before is on the disk."""

    name: str


@dataclass(frozen=True)
class Mark:
    """Something happened to a slot's content: whole, or not whole."""

    slot: Slot
    whole: bool


Entry = Write | Flush | Mark


@dataclass
class Log:
    """What an operation did, in its order."""

    entries: list[Entry] = field(default_factory=list)

    def opening(self, path: Path) -> Recorded:
        """Open a file so that all that is done to it is noted."""
        return Recorded(path, self)


class Recorded(InPlace):
    """A file whose writes and flushes are noted."""

    def __init__(self, path: Path, log: Log) -> None:
        super().__init__(path, Effects())
        self._name, self._log = path.name, log

    def __enter__(self) -> Recorded:
        return self

    def write(self, at_bytes: int, content: bytes | memoryview) -> None:
        super().write(at_bytes, content)
        self._log.entries.append(Write(self._name, at_bytes, bytes(content)))

    def zero(self, at_bytes: int, size_bytes: int) -> None:
        super().zero(at_bytes, size_bytes)
        self._log.entries.append(Write(self._name, at_bytes, bytes(size_bytes)))

    def flush(self) -> None:
        super().flush()
        self._log.entries.append(Flush(self._name))


def put(files: Files, name: str, at: int, content: bytes) -> Files:
    """Return the files after some bytes arrived."""
    old = files[name]
    return {**files, name: old[:at] + content + old[at + len(content) :]}


def _sectors(write: Write) -> list[Write]:
    return [
        Write(write.name, write.at + start, write.content[start : start + SECTOR])
        for start in range(0, len(write.content), SECTOR)
    ]


def after_cut(durable: Files, pending: list[Write]) -> Iterator[Files]:
    """Return what the disk may hold, of writes that were not flushed; some of it twice."""
    sectors = [sector for write in pending for sector in _sectors(write)]
    for chosen in itertools.product((0, _TORN, SECTOR), repeat=len(sectors)):
        state = durable
        for arrived, sector in zip(chosen, sectors, strict=True):
            state = put(state, sector.name, sector.at, sector.content[:arrived])
        yield state
    # Bytes of the last write, after any number of the earlier ones.
    for number, write in enumerate(pending):
        state = durable
        for earlier in pending[:number]:
            state = put(state, earlier.name, earlier.at, earlier.content)
        old = state[write.name][write.at :]
        for length in range(1, len(write.content)):
            # A byte that is what it was makes no other state.
            if write.content[length - 1 : length] != old[length - 1 : length]:
                yield put(state, write.name, write.at, write.content[:length])


@dataclass
class Ground:
    """A boot partition and two slots, and what is true of them.

    Attributes:
        directory: The boot partition.
        archs: What the slots say they are.
        whole: The slots whose content is whole.
    """

    directory: Path
    archs: dict[Slot, Architecture | None]
    whole: set[Slot]
    loader_type: type[Loader] = Loader
    problems: list[str] = field(default_factory=list)

    def files(self) -> Files:
        return {name: (self.directory / name).read_bytes() for name in NAMES}

    def recorded(self, operation: Callable[[Loader], object]) -> Log:
        """Do something to the boot environment, and note what it does."""
        log = Log()
        said = operation(self.loader_type(self.directory, Effects(), log.opening))
        copies = tuple((self.directory / name).read_bytes() for name in layout.ENVIRONMENT_COPIES)
        newest = bootenv.newest(copies)
        taken = None if newest is None else bootenv.complete(copies[newest])
        if isinstance(said, Environment) and said != taken:
            self.problems.append(f"GRUB does not take {said}, but {taken}")
        return log

    def start(self, long_mode: bool) -> Log:
        """Let GRUB choose, and note what it writes."""
        log = Log()
        files = self.files()
        chosen = choose(files, self.archs, long_mode)
        for name, content in zip(layout.ENVIRONMENT_COPIES, chosen.copies, strict=True):
            if content != files[name]:
                (self.directory / name).write_bytes(content)
                log.entries.append(Write(name, 0, content))
        return log


def new_ground(directory: Path, loader_type: type[Loader] = Loader) -> Ground:
    """Make the boot partition of a new disk, with a 32-bit system in slot a."""
    directory.mkdir(parents=True)
    for name, content in grub.boot_files(1, grub.CoreImage(b"", b"")).items():
        (directory / name).write_bytes(content)
    archs: dict[Slot, Architecture | None] = {Slot.A: Architecture.I386, Slot.B: None}
    return Ground(directory, archs, {Slot.A}, loader_type)


def choose(files: Files, archs: Mapping[Slot, Architecture | None], long_mode: bool) -> Choice:
    """Return what GRUB does."""
    first, second = layout.ENVIRONMENT_COPIES
    return selector.choose(files[first], files[second], files[layout.GOOD_MARKER], archs, long_mode)


@dataclass
class Tally:
    """Which states were looked at, and what was wrong with some.

    Attributes:
        cuts: At how many instants the power was cut, with all that the disk may hold then.
        problems: What was wrong.
    """

    cuts: int = 0
    problems: list[str] = field(default_factory=list)
    _seen: set[object] = field(default_factory=set)

    @property
    def cases(self) -> int:
        """Return how many of them differ from all others."""
        return len(self._seen)

    def is_new(self, *state: object) -> bool:
        """Note a state; tell whether it was not looked at before."""
        self.cuts += 1
        if state in self._seen:
            return False
        self._seen.add(state)
        return True


@dataclass(frozen=True)
class Cut:
    """An operation with its record, ready to be cut.

    Attributes:
        name: What it does.
        before: The boot partition before it.
        log: What it did.
        archs: What GRUB reads of the slots meanwhile: also a half-written one counts as readable,
            so that the environment alone must keep GRUB from it.
        whole: The slots whose content is whole before it.
        withdrawn: Slots that are being taken out of use: they may be started while they are whole,
            but need not be.
        long_mode: Whether the processor has it.
    """

    name: str
    before: Files
    log: Log
    archs: Mapping[Slot, Architecture | None]
    whole: frozenset[Slot]
    withdrawn: frozenset[Slot]
    long_mode: bool

    def look(self, tally: Tally) -> None:
        """Look at every state that a power cut can leave."""
        durable, whole = self.before, set(self.whole)
        pending: list[Write] = []
        # Lost while nothing is being written: one copy alone must do.
        self._judge(durable, whole, tally, "before")
        self._without_each(durable, whole, tally, "before")
        for number, entry in enumerate(self.log.entries):
            where = f"after entry {number}"
            if isinstance(entry, Write):
                pending.append(entry)
            elif isinstance(entry, Flush):
                for write in [write for write in pending if write.name == entry.name]:
                    durable = put(durable, write.name, write.at, write.content)
                    pending.remove(write)
                self._without_each(durable, whole, tally, where)
            elif entry.whole:
                whole.add(entry.slot)
            else:
                whole.discard(entry.slot)
                self._without_each(durable, whole, tally, where)
            for state in after_cut(durable, pending):
                self._judge(state, whole, tally, where)
        for write in pending:
            durable = put(durable, write.name, write.at, write.content)
        self._without_each(durable, whole, tally, "at the end")

    def _runnable(self, whole: set[Slot]) -> set[Slot]:
        return {
            slot
            for slot in whole
            if self.archs[slot] is Architecture.I386
            or (self.archs[slot] is Architecture.AMD64 and self.long_mode)
        }

    def _well(self, chosen: Choice, runnable: set[Slot], due: set[Slot]) -> bool:
        if chosen.slot is None:
            return not due - self.withdrawn
        return chosen.slot in runnable

    def _judge(self, files: Files, whole: set[Slot], tally: Tally, where: str) -> None:
        runnable = self._runnable(whole)
        if not tally.is_new(
            *files.values(), *self.archs.values(), frozenset(runnable), self.withdrawn
        ):
            return
        chosen = choose(files, self.archs, self.long_mode)
        if not self._well(chosen, runnable, runnable):
            tally.problems.append(
                f"{self.name}, {where}: GRUB takes {chosen.slot} ({chosen.way.value},"
                f" {chosen.reason!r}), and whole are {sorted(s.value for s in runnable)}: {files}"
            )

    def _without_each(self, files: Files, whole: set[Slot], tally: Tally, where: str) -> None:
        """Lose one copy, or both: a bad sector, or an administrator."""
        first, second = layout.ENVIRONMENT_COPIES
        for lost in ((first,), (second,), (first, second)):
            for filling in (b"", bytes(1024)):
                state = {**files, **dict.fromkeys(lost, filling)}
                runnable = self._runnable(whole)
                key = (*state.values(), *self.archs.values(), frozenset(runnable), lost)
                if not tally.is_new(*key, self.withdrawn):
                    continue
                chosen = choose(state, self.archs, self.long_mode)
                marked = bootenv.decode_marker(state[layout.GOOD_MARKER])
                # What the copy that is left knows of; without one, what the marker names.
                left = [bootenv.complete(state[name]) for name in (first, second)]
                known = next((one for one in left if one is not None), None)
                due = {
                    slot
                    for slot in runnable
                    if (
                        slot.value == marked
                        if known is None
                        else states.state_of(known, slot) is not State.NOT_BOOTABLE
                    )
                }
                if not self._well(chosen, runnable, due):
                    tally.problems.append(
                        f"{self.name}, {where}, without {lost}: GRUB takes {chosen.slot}"
                        f" ({chosen.way.value}), and whole are {sorted(s.value for s in runnable)}"
                    )
