"""Tell everybody how far an update is, and how the last one ended.

/data/forge/update.json, `update-status.schema.json` beside this module is its schema. It is written
while an update works, at most twice a second, and afterwards it says how that ended. `pid` and
`boot` name the process that wrote it: a reader can tell whether that is still at work.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressEvent, StepAdvanced, StepEnded, StepStarted

SCHEMA = 1
_PUBLIC = 0o644
_PAUSE_S = 0.5
# The rate is that of the last seconds: blocks that are copied come faster than those fetched.
_RATE_WINDOW_S = 10.0
# Before that, a time left is a guess.
_SETTLED_S = 2.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class UpdateState(Enum):
    """What an update does, or how the last look or update ended."""

    UP_TO_DATE = "up-to-date"
    AVAILABLE = "available"
    REFUSED = "refused"
    WAITING = "waiting"
    INSTALLING = "installing"
    STOPPED = "stopped"
    FAILED = "failed"
    ACTIVATED = "activated"
    DONE = "done"
    FELL_BACK = "fell-back"


@dataclass(frozen=True)
class Result:
    """Why it is so, for a person.

    Attributes:
        status: The exit status.
        key: What a program can rely on: a finding's key, or a reason's word; "" if there is none.
        message: What is wrong, or what waits for what.
        hint: What to do.
    """

    status: int = 0
    key: str = ""
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Named:
    """A release, as far as the status names it."""

    version: str
    architecture: Architecture

    def fields(self) -> dict[str, str]:
        """Return it for the document."""
        return {"version": self.version, "architecture": self.architecture.value}


@dataclass(frozen=True)
class Story:
    """What an update is about.

    Attributes:
        origin: What runs.
        target: What is to be installed next; None if nothing is.
        goal: Where the hops lead; None if nowhere.
        by: "person" or "timer".
    """

    origin: Named
    target: Named | None = None
    goal: Named | None = None
    by: str = "person"


@dataclass
class _Step:
    """The step that runs."""

    step: StepStarted
    began: float
    done_bytes: int = 0
    item: str = ""
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, event: StepAdvanced, now: float) -> None:
        self.done_bytes = max(self.done_bytes, event.done_bytes)
        self.item = event.item or self.item
        self.samples.append((now, self.done_bytes))
        while len(self.samples) > 1 and now - self.samples[1][0] >= _RATE_WINDOW_S:
            self.samples.popleft()

    def fields(self, now: float) -> dict[str, Any]:
        since, before = self.began, 0
        if self.samples and now - self.samples[0][0] >= _RATE_WINDOW_S:
            since, before = self.samples[0]
        per_s = (self.done_bytes - before) / (now - since) if now > since else 0.0
        elapsed_s = now - self.began
        total = self.step.total_bytes
        known = per_s > 0 and self.done_bytes <= total and elapsed_s >= _SETTLED_S
        return {
            "step": self.step.key,
            "title": self.step.title,
            "number": self.step.number,
            "of": self.step.of,
            "done_bytes": self.done_bytes,
            "total_bytes": total,
            "bytes_per_s": round(per_s),
            "left_s": round((total - self.done_bytes) / per_s, 1) if known else None,
            "elapsed_s": round(elapsed_s, 3),
            "item": self.item,
        }


class UpdateStatus:
    """A progress sink that keeps update.json up to date.

    Attributes:
        lost: Why something that was to be told durably was not; None if all was.
    """

    def __init__(self, path: Path, effects: Effects, clock: Callable[[], float]) -> None:
        """Write to `path`."""
        self._path = path
        self._effects = effects
        self._clock = clock
        self._story: Story | None = None
        self._step: _Step | None = None
        self._next = 0.0
        self._lock = Lock()
        self.lost: ForgeError | None = None

    def begin(self, story: Story) -> None:
        """Say durably that a release is being installed."""
        self._story = story
        self.tell(UpdateState.INSTALLING, story)

    def emit(self, event: ProgressEvent) -> None:
        """Take over an event, and write if it is time."""
        with self._lock:
            now = time.monotonic()
            self._take(event, now)
            if self._story is None or now < self._next:
                return
            self._next = now + _PAUSE_S
            content = self._content(UpdateState.INSTALLING, self._story, Result(), now)
            # A full disk is told by the step itself.
            with contextlib.suppress(ForgeError):
                files.replace_volatile(self._path, content, mode=_PUBLIC)

    def _take(self, event: ProgressEvent, now: float) -> None:
        if isinstance(event, StepStarted):
            self._step, self._next = _Step(event, now), 0.0
        elif isinstance(event, StepEnded):
            self._step = None
        elif self._step is not None and self._step.step.key == event.key:
            self._step.advance(event, now)

    def tell(self, state: UpdateState, story: Story, result: Result | None = None) -> None:
        """Say durably what goes on or how it ended; a full disk is no reason to stop that."""
        content = self._content(state, story, result or Result(), time.monotonic())
        try:
            files.write_file(self._path, content, self._effects, mode=_PUBLIC)
        except ForgeError as error:
            self.lost = error

    def _content(self, state: UpdateState, story: Story, result: Result, now: float) -> bytes:
        installing = state is UpdateState.INSTALLING
        step = self._step if installing else None
        fields = {
            "schema": SCHEMA,
            "state": state.value,
            "updated_s": self._clock(),
            "pid": os.getpid() if installing else None,
            "boot": boot_id() if installing else None,
            "by": story.by,
            "from": story.origin.fields(),
            "to": None if story.target is None else story.target.fields(),
            "goal": None if story.goal is None else story.goal.fields(),
            "progress": None if step is None else step.fields(now),
            "result": None
            if result == Result()
            else {
                "status": result.status,
                "key": result.key,
                "message": result.message,
                "hint": result.hint,
            },
        }
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")


def boot_id() -> str:
    """Return the kernel's number of this boot; "" if it tells none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Seen:
    """What a reader finds in update.json.

    Attributes:
        fields: The document.
        state: Its state; one of `INSTALLING` whose process is gone is told by `cut`.
        cut: An update was at work, and is no more.
    """

    fields: Mapping[str, Any]
    state: UpdateState
    cut: bool = False


def read(path: Path) -> Seen | None:
    """Return what the file says, or None where it says nothing that this release understands."""
    try:
        fields = json.loads(files.read_plain(path) or b"")
        if int(fields["schema"]) > SCHEMA:
            return None
        seen = Seen(fields, UpdateState(fields["state"]))
    except (ForgeError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if seen.state is not UpdateState.INSTALLING:
        return seen
    return replace(seen, cut=not _lives(fields.get("pid"), fields.get("boot")))


def _lives(pid: object, boot: object) -> bool:
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or boot != boot_id():
        return False
    return Path(f"/proc/{pid}").exists()
