r"""The record of boots with a migration to do: append-only JSON Lines beside the journal.

Each line is an object with `schema`, `time` (seconds since 1970), `event`, and `reached`: how many
steps the journal knew as done. Both are on the disk before what they speak of happens: `begun`
before anything is done in this boot, `ended` before the slot is marked bad. A line that was torn by
a power cut counts as unwritten.

    begun    boot: the kernel's identity of this boot
    ended    status: 0, 75 or 76; reason, message, hint, evidence: lines that may name data
    crashed  written by the unit for one that could not say how it ended; without `reached`
    anew     source: which use of the old data, since the last attempt, makes all before it out of
             date; what stands above this line counts no more
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applianceforge.migrate.boot_verdict import AGAIN
from applianceforge.system import files
from applianceforge.system.effects import Effects

SCHEMA = 1
_BEGUN, _ENDED, _CRASHED, _ANEW = "begun", "ended", "crashed", "anew"
_EVENTS = (_BEGUN, _ENDED, _CRASHED, _ANEW)
_EVIDENCE_LINES = 8
_EVIDENCE_LETTERS = 300


@dataclass(frozen=True)
class Line:
    """One line of the record.

    Attributes:
        status: Of an `ended`; -1 of others.
        source: Of an `anew`; 0 of others.
    """

    event: str
    time_s: float
    reached: int
    status: int = -1
    reason: str = ""
    message: str = ""
    hint: str = ""
    source: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counts:
    """How often it was tried since the last progress.

    Attributes:
        boots: All boots of this migration.
        failures: Attempts that ended in 75, or crashed.
        silent: Boots in a row that had no end.
    """

    boots: int = 0
    failures: int = 0
    silent: int = 0


def decode(content: bytes) -> tuple[Line, ...]:
    """Return the lines; what cannot be understood is left out, for a count is not worth a stop."""
    found = []
    for text in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            fields = json.loads(text)
            if int(fields["schema"]) > SCHEMA or fields["event"] not in _EVENTS:
                continue
            found.append(
                Line(
                    fields["event"],
                    float(fields["time"]),
                    int(fields.get("reached", 0)),
                    int(fields.get("status", -1)),
                    str(fields.get("reason", "")),
                    str(fields.get("message", "")),
                    str(fields.get("hint", "")),
                    int(fields.get("source", 0)),
                    tuple(map(str, fields.get("evidence", ()))),
                )
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return tuple(found)


def count(lines: Sequence[Line], reached: int) -> Counts:
    """Count the boots that are over.

    Args:
        lines: The record.
        reached: How many steps are done by now.
    """
    boots = failures = silent = most = 0
    waiting = False
    for line in (*_current(lines), Line(_BEGUN, 0.0, reached)):
        silent += waiting and line.event == _BEGUN
        if line.reached > most:
            most, failures, silent = line.reached, 0, 0
        if line.event == _BEGUN:
            boots, waiting = boots + 1, True
        else:
            waiting, silent = False, 0
            failures += line.status == AGAIN or line.event == _CRASHED
    return Counts(boots - 1, failures, silent)


def _current(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the lines below the last `anew`."""
    starts = [number for number, line in enumerate(lines) if line.event == _ANEW]
    return lines[starts[-1] + 1 :] if starts else lines


class BootRecord:
    """A record that is being written."""

    def __init__(self, path: Path, effects: Effects, clock: Callable[[], float]) -> None:
        """Read what is there."""
        self._path = path
        self._effects = effects
        self._clock = clock
        self.lines = read(path)

    @property
    def source(self) -> int:
        """Return which use of the old data the last `anew` speaks of; 0 if there is none."""
        return next((one.source for one in reversed(self.lines) if one.event == _ANEW), 0)

    def renew(self, source: int) -> None:
        """Note durably that all before is out of date."""
        self._write(Line(_ANEW, self._clock(), 0, source=source), {"source": source})

    def begin(self, boot: str, reached: int) -> Counts:
        """Note durably that a boot begins, and return the counts of those before."""
        counts = count(self.lines, reached)
        self._write(Line(_BEGUN, self._clock(), reached), {"boot": boot})
        return counts

    def end(
        self,
        reached: int,
        status: int,
        reason: str,
        message: str,
        hint: str,
        evidence: Sequence[str] = (),
    ) -> None:
        """Note durably how this boot ended; of the evidence only the beginning."""
        shown = tuple(line[:_EVIDENCE_LETTERS] for line in evidence[:_EVIDENCE_LINES])
        line = Line(_ENDED, self._clock(), reached, status, reason, message, hint, evidence=shown)
        detail = {"status": status, "reason": reason, "message": message, "hint": hint}
        self._write(line, detail | {"evidence": list(shown)})

    def _write(self, line: Line, detail: dict[str, Any]) -> None:
        fields = {
            "schema": SCHEMA,
            "time": line.time_s,
            "event": line.event,
            "reached": line.reached,
        }
        text = json.dumps(fields | detail, ensure_ascii=False)
        files.append_line(self._path, text.encode(), self._effects)
        self.lines = (*self.lines, line)


def read(path: Path) -> tuple[Line, ...]:
    """Return the lines of a record; none if there is no file.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: Something else than a file lies there.
    """
    content = files.read_plain(path)
    return () if content is None else decode(content)


def last_end(lines: Sequence[Line]) -> Line | None:
    """Return how the last boot ended, or None if it had no end, or one that counts no more."""
    return lines[-1] if lines and lines[-1].event == _ENDED else None
