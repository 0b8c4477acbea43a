r"""The journal of a run: append-only JSON Lines that say how far it has come.

Each line is an object with `schema`, `number` (from 1), `time` (seconds since 1970), `event` and
what belongs to it. `begun` is on the disk before the first effect of its step; `done` is written
after the last. A last line without its end of line was torn by a power cut and counts as unwritten.

    planned    plan: a digest of what is to be done; operation, source
    begun      step
    done       step, result: what the step hands on
    failed     step, message
    stopped    step, by a signal
    resumed    an earlier attempt was cut, however that came; this one goes on
    published  the last line: the new data has its final name
    cleaned    the old data was removed
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from applianceforge.model.errors import JournalError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.signals import deferred

SCHEMA = 1
# Also what no JSON of ours has: infinite numbers, and thousands of brackets.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Event(Enum):
    """What a line of the journal says."""

    PLANNED = "planned"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    RESUMED = "resumed"
    PUBLISHED = "published"
    CLEANED = "cleaned"


@dataclass(frozen=True)
class Entry:
    """One line of the journal."""

    number: int
    time_s: float
    event: Event
    step: str
    detail: Mapping[str, Any]


def date(time_s: float) -> str:
    """Return a time of the journal as a person reads it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def decode(content: bytes) -> tuple[tuple[Entry, ...], int]:
    """Return the entries, and the bytes that they take: what follows was torn.

    Raises:
        JournalError: A line that is whole is not a line of a journal, or of a newer schema.
    """
    entries: list[Entry] = []
    whole = content.rfind(b"\n") + 1
    for line in content[:whole].splitlines():
        try:
            fields = json.loads(line)
            schema = int(fields.pop("schema"))
            if schema > SCHEMA:
                raise _foreign(len(entries) + 1, f"schema {schema}: a newer release wrote it")
            entry = Entry(
                number=fields.pop("number"),
                time_s=float(fields.pop("time")),
                event=Event(fields.pop("event")),
                step=fields.pop("step", ""),
                detail=fields,
            )
        except _DAMAGED as error:
            raise JournalError(
                f"line {len(entries) + 1} of the journal is damaged",
                hint="keep the work directory for the vendor, remove it, and start again: the"
                " source is as it was",
            ) from error
        if entry.number != len(entries) + 1:
            raise _foreign(len(entries) + 1, f"number {entry.number}: lines are missing")
        entries.append(entry)
    return tuple(entries), whole


def _foreign(line: int, problem: str) -> JournalError:
    return JournalError(
        f"line {line} of the journal has {problem}",
        hint="continue with the release that began it, or remove the work directory and start"
        " again: the source is as it was",
    )


def read(path: Path) -> tuple[Entry, ...]:
    """Return the entries of a journal; none if there is no file."""
    content = files.read_plain(path)
    return () if content is None else decode(content)[0]


class Journal:
    """A journal that is being written."""

    def __init__(self, path: Path, effects: Effects, clock: Callable[[], float]) -> None:
        """Open the journal, cutting off a torn last line."""
        self._path = path
        self._effects = effects
        self._clock = clock
        content = files.read_plain(path) or b""
        entries, whole = decode(content)
        self._entries = list(entries)
        if whole < len(content):
            files.truncate_file(path, whole, effects)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return all lines so far."""
        return tuple(self._entries)

    def write(self, event: Event, step: str = "", **detail: Any) -> None:
        """Append one line durably."""
        entry = Entry(len(self._entries) + 1, self._clock(), event, step, detail)
        fields = {
            "schema": SCHEMA,
            "number": entry.number,
            "time": entry.time_s,
            "event": event.value,
            "step": step,
        }
        line = json.dumps(fields | detail, ensure_ascii=False, sort_keys=False)
        with deferred():  # Or an interrupted line would be on the disk and not in our count.
            files.append_line(self._path, line.encode(), self._effects)
            self._entries.append(entry)

    def result_of(self, step: str) -> Mapping[str, Any] | None:
        """Return what a step handed on when it was done, or None if it is not done."""
        return result_of(self._entries, step)

    def first(self, event: Event) -> Entry | None:
        """Return the first line of a kind."""
        return next((entry for entry in self._entries if entry.event is event), None)


def result_of(entries: "list[Entry] | tuple[Entry, ...]", step: str) -> Mapping[str, Any] | None:
    """Return what a step handed on when it was last done; begun again counts as not done."""
    for entry in reversed(entries):
        if entry.step == step and entry.event is Event.DONE:
            result: Mapping[str, Any] = entry.detail["result"]
            return result
        if entry.step == step and entry.event is Event.BEGUN:
            return None
    return None
