"""A small protocol that must survive power cuts, and ways to do it wrong.

A disk has two places for data and a commit, one letter, in a sector of its own. A round writes data
of the next letter to the place that is not in use, flushes, then writes the letter, and flushes. So
after a cut the committed letter's data is whole. Each bug leaves out or swaps what that needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from tests.vm.crash_states import Disk, Effort, Replay, State, states
from tests.vm.write_log import Flags, Log, WriteLog, Written, encode

LETTERS = "abcdefgh"
DATA_BYTES = 16384
PLACES = (65536, 65536 + DATA_BYTES)
DISK_BYTES = 1 << 20


class Bug(Enum):
    """What is done wrong."""

    NONE = "nothing"
    ORDER = "the commit comes before the data"
    FLUSH = "no flush between data and commit"
    PLACE = "the place that is in use is written"


def empty_disk() -> bytearray:
    """Return a disk on which the first letter is committed."""
    disk = bytearray(DISK_BYTES)
    disk[0:1] = LETTERS[0].encode()
    disk[PLACES[0] : PLACES[0] + DATA_BYTES] = data(LETTERS[0])
    return disk


def data(letter: str) -> bytes:
    """Return what belongs to a letter."""
    return f"{letter}\n".encode() * (DATA_BYTES // 2)


def place_of(letter: str) -> int:
    """Return where a letter's data lies."""
    return PLACES[LETTERS.index(letter) % 2]


def problems(disk: Disk) -> list[str]:
    """Return what is wrong on a disk."""
    letter = bytes(disk[0:1]).decode("ascii", "replace")
    if letter not in LETTERS:
        return [f"the commit is {letter!r}"]
    at = place_of(letter)
    if disk[at : at + DATA_BYTES] != data(letter):
        return [f"{letter} is committed, and its data is not whole"]
    return []


def wrong_place(letter: str, bug: Bug) -> int:
    """Return where a round writes its data."""
    return PLACES[0] if bug is Bug.PLACE else place_of(letter)


def script(device: str, bug: Bug) -> str:
    """Return the rounds as a shell script for a guest."""
    lines = []
    for letter in LETTERS[1:]:
        sync = "" if bug is Bug.FLUSH else ",fsync"
        write = (
            f"yes {letter} | head -c {DATA_BYTES} | dd of={device} bs={DATA_BYTES} iflag=fullblock"
            f" seek={wrong_place(letter, bug) // DATA_BYTES} count=1 conv=notrunc{sync}"
        )
        commit = f"printf {letter} | dd of={device} bs=1 count=1 conv=notrunc,fsync"
        lines += [commit, write] if bug is Bug.ORDER else [write, commit]
    return "\n".join(["set -e", *(f"{line} 2>/dev/null" for line in lines)])


def record(bug: Bug) -> bytes:
    """Return the record of the rounds, as a guest's page cache would have them written."""
    entries = []
    half = DATA_BYTES // 2
    for letter in LETTERS[1:]:
        at, content = wrong_place(letter, bug), data(letter)
        write = [
            Written(at // 512, content[:half]),
            Written((at + half) // 512, content[half:]),
        ]
        commit = [Written(0, letter.encode() + bytes(511))]
        flush = [Written(0, flags=Flags.FLUSH)]
        if bug is Bug.ORDER:
            entries += [*commit, *flush, *write, *flush]
        else:
            entries += [*write, *([] if bug is Bug.FLUSH else flush), *commit, *flush]
    return encode(entries)


def failing(disk: Disk, log_bytes: Log, log: WriteLog, effort: Effort) -> Iterator[State | None]:
    """Return each state, if something is wrong in it, and None for each that is right."""
    replay = Replay(disk, log_bytes, log)
    for state in states(log, effort):
        yield state if problems(replay.take_on(state)) else None
