"""Rebuild what a disk may hold after a power cut, from the record of what was written to it.

What was flushed is there. Of the writes since the last flush a disk may have done any, in any
order, the last one it was at only in part, at sectors of 512 bytes. So for each flush, these states
of the moment before it:

    none       nothing since the flush before
    all        everything
    prefix     the first n, for each n
    subset     any of them, drawn by a seed
    torn       the first n, and of the next one only some sectors: the first ones, or drawn

A write forced to the disk (FUA) counts as flushed once it is over. Writes lie over each other in
the order in which the guest gave them.

One disk in memory serves all states: what a state adds is put in, looked at, and taken out again;
and who looks is told which bytes changed, so that nothing is read twice.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tests.vm.write_log import Entry, Flags, Log, WriteLog

SECTOR_BYTES = 512


class Disk(Protocol):
    """Bytes that are changed in place: a file mapped into memory, or a bytearray."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> bytes | bytearray: ...
    def __setitem__(self, place: slice, content: bytes, /) -> None: ...


class Kind(Enum):
    """How a state comes to be."""

    NONE = "none"
    ALL = "all"
    PREFIX = "prefix"
    SUBSET = "subset"
    TORN = "torn"


@dataclass(frozen=True)
class State:
    """A disk after a power cut.

    Attributes:
        epoch: The time between two flushes in which the power was cut, from 0.
        kind: How it comes to be.
        done: Which writes of the epoch are there, by their place in it.
        torn: One more, of which only some sectors are there; None if there is none.
        sectors: Which sectors of that one, counted from its first.
    """

    epoch: int
    kind: Kind
    done: tuple[int, ...]
    torn: int | None = None
    sectors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Effort:
    """How many states are drawn.

    Attributes:
        seed: What all follows from.
        subsets: For each flush.
        torn: For each flush; half of them of the last write.
        prefixes: At most so many for each flush, evenly.
    """

    seed: int = 1
    subsets: int = 3
    torn: int = 4
    prefixes: int = 64


def epochs(log: WriteLog) -> list[tuple[Entry, ...]]:
    """Return the writes between flushes; the last ones may have had none after them."""
    found: list[tuple[Entry, ...]] = []
    current: list[Entry] = []
    for entry in log.entries:
        # A flush with data is a flush first, then a write.
        if entry.flags & Flags.FLUSH:
            found.append(tuple(current))
            current = []
        if entry.sectors and not entry.flags & Flags.MARK:
            current.append(entry)
    if current:
        found.append(tuple(current))
    return found


def states(log: WriteLog, effort: Effort = Effort()) -> Iterator[State]:
    """Return states in the order of their epochs, none twice."""
    for number, writes in enumerate(epochs(log)):
        if writes:
            draw = random.Random(f"{effort.seed} {number}")
            seen = set()
            for state in _of_epoch(number, writes, log.sector_bytes, effort, draw):
                key = (state.done, state.torn, state.sectors)
                if key not in seen:
                    seen.add(key)
                    yield state


def _of_epoch(
    number: int, writes: Sequence[Entry], sector_bytes: int, effort: Effort, draw: random.Random
) -> Iterator[State]:
    count = len(writes)
    everything = tuple(range(count))
    yield State(number, Kind.NONE, ())
    lengths = list(range(1, count))
    if len(lengths) > effort.prefixes:
        lengths = sorted(draw.sample(lengths, effort.prefixes))
    for length in lengths:
        yield State(number, Kind.PREFIX, everything[:length])
    yield State(number, Kind.ALL, everything)
    for _ in range(effort.subsets):
        done = {place for place in everything if draw.random() < draw.choice((0.2, 0.5, 0.8))}
        # Forced ones that are over: all but those given after the last write that began.
        began = max(done, default=-1)
        done |= {place for place in everything[: max(began, 0)] if writes[place].flags & Flags.FUA}
        yield State(number, Kind.SUBSET, tuple(sorted(done)))
    for which in range(effort.torn):
        place = count - 1 if which % 2 == 0 else draw.randrange(count)
        entry = writes[place]
        size = entry.sectors * sector_bytes // SECTOR_BYTES
        if size < 2 or entry.flags & Flags.DISCARD:
            continue
        if which % 4 < 2:
            sectors = tuple(range(draw.randrange(1, size)))
        else:
            share = draw.choice((0.1, 0.5, 0.9))
            sectors = tuple(sector for sector in range(size) if draw.random() < share)
        if 0 < len(sectors) < size:
            yield State(number, Kind.TORN, everything[:place], place, sectors)


# Told of each change: the first byte on the disk, and how many.
Watcher = Callable[[int, int], None]


class Replay:
    """One disk that takes on one state after the other.

    Args:
        disk: As it was when the recording began; it is changed.
        record: The log's bytes.
        log: The log, decoded.
        watchers: Told of what changes, in all states and between them.
    """

    def __init__(
        self, disk: Disk, record: Log, log: WriteLog, watchers: Sequence[Watcher] = ()
    ) -> None:
        self.disk = disk
        self._record = record
        self._sector_bytes = log.sector_bytes
        self._epochs = epochs(log)
        self._epoch = 0
        self._watchers = watchers
        # What is put in beyond what was flushed, and what was there before.
        self._done: list[int] = []
        self._before: list[tuple[int, bytes]] = []
        self._torn: State | None = None

    def take_on(self, state: State) -> Disk:
        """Take on a state; states come in the order of their epochs.

        Only the difference to the state before is written: of many prefixes of an epoch each costs
        one write.
        """
        if state.epoch != self._epoch:
            self.take_out()
            self._go_to(state.epoch)
        common = 0
        if self._torn is None:
            pairs = zip(state.done, self._done, strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._take_out_to(common)
        writes = self._epochs[state.epoch]
        for place in state.done[common:]:
            self._put_in(place, *self._content(writes[place]))
        if state.torn is not None:
            at, content = self._content(writes[state.torn])
            self._torn = state
            for first, count in _runs(state.sectors):
                start = first * SECTOR_BYTES
                self._put_in(-1, at + start, content[start : start + count * SECTOR_BYTES])
        return self.disk

    def take_out(self) -> None:
        """Leave only what was flushed before the epoch."""
        self._take_out_to(0)

    def _take_out_to(self, count: int) -> None:
        while len(self._done) > count:
            self._done.pop()
            self._write(*self._before.pop())
        self._torn = None

    def _put_in(self, place: int, at: int, content: bytes) -> None:
        self._done.append(place)
        self._before.append((at, bytes(self.disk[at : at + len(content)])))
        self._write(at, content)

    def _go_to(self, epoch: int) -> None:
        if epoch < self._epoch:
            raise ValueError(f"the disk is at epoch {self._epoch} already, not at {epoch}")
        while self._epoch < epoch:
            for entry in self._epochs[self._epoch]:
                self._write(*self._content(entry))
            self._epoch += 1

    def _content(self, entry: Entry) -> tuple[int, bytes]:
        at = entry.first_sector * self._sector_bytes
        if entry.flags & Flags.DISCARD:
            return at, bytes(entry.sectors * self._sector_bytes)
        return at, self._record[entry.data_at : entry.data_at + entry.data_bytes]

    def _write(self, at: int, content: bytes) -> None:
        self.disk[at : at + len(content)] = content
        for told in self._watchers:
            told(at, len(content))


def _runs(sectors: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return sectors that follow each other as their first one and their number."""
    start = 0
    for place in range(1, len(sectors) + 1):
        if place == len(sectors) or sectors[place] != sectors[place - 1] + 1:
            yield sectors[start], place - start
            start = place
