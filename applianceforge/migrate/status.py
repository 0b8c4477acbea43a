"""Say how far a migration is, also from another terminal and after a crash."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any

from applianceforge.migrate import journal, lock
from applianceforge.migrate.journal import Event
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import DiskFullError, ForgeError
from applianceforge.system import files
from applianceforge.system.progress import ProgressEvent, StepAdvanced, StepEnded, StepStarted

SCHEMA = 1
OPERATIONS = ("run", "export", "import", "verify")
_PUBLIC = 0o644
_PAUSE_S = 0.5


class State(Enum):
    """Where an operation stands."""

    NONE = "none"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"
    PUBLISHED = "published"
    CLEANED = "cleaned"


@dataclass(frozen=True)
class Progress:
    """The running step: what status.json holds while an operation runs."""

    operation: str
    pid: int
    updated_s: float
    step: str
    title: str
    number: int
    of: int
    done_bytes: int
    total_bytes: int
    done_rows: int
    elapsed_s: float
    item: str

    @property
    def bytes_per_s(self) -> float:
        """Return the rate of the running step."""
        return self.done_bytes / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Return the time left for the running step, or None while that is not known."""
        if not self.done_bytes or not self.total_bytes or self.done_bytes > self.total_bytes:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s if self.bytes_per_s else None


@dataclass(frozen=True)
class Status:
    """What `migrate status` tells.

    Attributes:
        steps_done: Keys of the finished steps.
        step: The step that runs, or that was begun last.
        message: Why it failed, if it did.
        changed_s: When the journal was last written, in seconds since 1970; 0 if never.
    """

    operation: str
    state: State
    steps_done: tuple[str, ...]
    step: str
    message: str
    changed_s: float
    progress: Progress | None


def _plain(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"schema": SCHEMA} | dict(fields)


class StatusFile:
    """A progress sink that keeps status.json up to date, at most twice a second."""

    def __init__(
        self,
        path: Path,
        operation: str,
        pid: int,
        clock: Callable[[], float],
        document: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _plain,
    ) -> None:
        """Write to `path`, as process `pid`; `document` makes of the fields what is written."""
        self._path = path
        self._clock = clock
        self._document = document
        self._began = time.monotonic()
        self._next = 0.0
        self._lock = Lock()
        self._now = Progress(operation, pid, clock(), "", "", 0, 0, 0, 0, 0, 0.0, "")

    def emit(self, event: ProgressEvent) -> None:
        """Take over an event, and write if it is time."""
        with self._lock:
            self._take(event, time.monotonic())

    def _take(self, event: ProgressEvent, now: float) -> None:
        if isinstance(event, StepStarted):
            self._began, self._next = now, 0.0
        fields = asdict(self._now) | {
            "updated_s": self._clock(),
            "step": event.key,
            "elapsed_s": round(now - self._began, 3),
        }
        match event:
            case StepStarted():
                fields |= {
                    "title": event.title,
                    "number": event.number,
                    "of": event.of,
                    "total_bytes": event.total_bytes,
                    "done_bytes": 0,
                    "done_rows": 0,
                    "item": "",
                }
            case StepAdvanced():
                fields |= {
                    "done_bytes": event.done_bytes,
                    "done_rows": event.done_rows,
                    "item": event.item,
                }
            case StepEnded():
                fields |= {"done_bytes": event.done_bytes, "done_rows": event.done_rows}
        self._now = Progress(**fields)
        if now >= self._next:
            self._next = now + _PAUSE_S
            content = json.dumps(self._document(fields), ensure_ascii=False).encode()
            # On a full disk the step itself says so; the status file is not worth an error.
            with contextlib.suppress(DiskFullError):
                files.replace_volatile(self._path, content, mode=_PUBLIC)


def read_progress(path: Path) -> Progress | None:
    """Return what status.json says, or None where it says nothing that we understand."""
    try:
        fields = json.loads(files.read_plain(path) or b"")
        fields.pop("schema")
        return Progress(**fields)
    except (ForgeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def read(work: Path, operation: str) -> Status:
    """Return where an operation stands.

    Raises:
        JournalError: The journal is damaged or from a newer release.
        AccessDeniedError: It may not be read.
    """
    workspace = Workspace(work, operation)
    entries = journal.read(workspace.journal)
    progress = read_progress(workspace.status)
    owner = lock.read_owner(workspace.lock)
    held = lock.is_held(workspace.lock) and owner is not None and owner.doing == operation
    steps = [one for one in entries if one.step]
    keys = list(dict.fromkeys(one.step for one in steps))
    done = tuple(key for key in keys if journal.result_of(entries, key) is not None)
    last = entries[-1] if entries else None
    if held:
        state = State.RUNNING
    elif last is None:
        state = State.NONE
    else:
        state = {
            Event.PUBLISHED: State.PUBLISHED,
            Event.CLEANED: State.CLEANED,
            Event.FAILED: State.FAILED,
            Event.STOPPED: State.STOPPED,
        }.get(last.event, State.CRASHED)
    return Status(
        operation=operation,
        state=state,
        steps_done=done,
        step=steps[-1].step if steps else "",
        message=str(last.detail.get("message", "")) if last else "",
        changed_s=last.time_s if last else 0.0,
        progress=progress if held and progress and progress.operation == operation else None,
    )
