"""What long work tells of itself while it goes on.

Work reports to a `Progress`; where it is shown (terminal, JSON Lines, status file) is the
business of who made it. Calls come from any thread.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol


@dataclass(frozen=True)
class StepStarted:
    """A step began: its key, its title, where it stands among all, and how much it will do.

    `total_bytes` is a prediction; 0 means that it is not known.
    """

    key: str
    title: str
    number: int
    of: int
    total_bytes: int


@dataclass(frozen=True)
class StepAdvanced:
    """How much the running step has done so far, in all."""

    key: str
    done_bytes: int
    done_rows: int
    item: str


@dataclass(frozen=True)
class StepEnded:
    """A step ended; `detail` says in a few words what came out."""

    key: str
    elapsed_s: float
    done_bytes: int
    done_rows: int
    detail: str


ProgressEvent = StepStarted | StepAdvanced | StepEnded


class ProgressSink(Protocol):
    """Where progress is shown."""

    def emit(self, event: ProgressEvent) -> None:
        """Show one event; must be quick, and safe from any thread."""


@dataclass(frozen=True)
class NoProgress:
    """Show nothing."""

    def emit(self, event: ProgressEvent) -> None:
        """Forget the event."""


@dataclass(frozen=True)
class Both:
    """Tell two sinks."""

    first: ProgressSink
    second: ProgressSink

    def emit(self, event: ProgressEvent) -> None:
        """Tell the first, then the second."""
        self.first.emit(event)
        self.second.emit(event)


@dataclass
class Counter:
    """Add up what the workers of one step have done, and tell a sink."""

    key: str
    sink: ProgressSink
    done_bytes: int = 0
    done_rows: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def advance(self, *, add_bytes: int = 0, add_rows: int = 0, item: str = "") -> None:
        """Add to what is done."""
        with self._lock:
            self.done_bytes += add_bytes
            self.done_rows += add_rows
            event = StepAdvanced(self.key, self.done_bytes, self.done_rows, item)
        self.sink.emit(event)

    def reach(self, *, done_bytes: int, item: str = "") -> None:
        """Set what is done to a measured figure; it never goes back."""
        with self._lock:
            self.done_bytes = max(self.done_bytes, done_bytes)
            event = StepAdvanced(self.key, self.done_bytes, self.done_rows, item)
        self.sink.emit(event)
