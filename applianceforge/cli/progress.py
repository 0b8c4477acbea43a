"""Show progress: live on a terminal, as plain lines, or as JSON Lines for a program.

What people read goes to standard error, so that standard output stays clean for results. A stream
that goes away, as a pipe's reader or a terminal may, ends the display and never the work.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from applianceforge.cli.summary import duration, rate, size, visible
from applianceforge.system.progress import (
    NoProgress,
    ProgressEvent,
    ProgressSink,
    StepAdvanced,
    StepEnded,
    StepStarted,
)

KINDS = ("auto", "plain", "json", "none")
SCHEMA = 1

_LINE_EVERY_S = 10.0
_JSON_EVERY_S = 0.5
# The rate is that of the last seconds: one step has fast parts and slow parts.
_RATE_WINDOW_S = 10.0
_SAMPLE_EVERY_S = 0.25
# Before that, a time left is a guess from the first block.
_SETTLED_S = 2.0
_SETTLED_SHARE = 0.01
# From this width on a finished step is one line, and a bar has its full length.
_ROOMY_COLUMNS = 64
_BAR_COLUMNS = 40
_NARROW_BAR_COLUMNS = 10
_REFRESHES_PER_S = 5

Ticks = Callable[[], float]


@dataclass
class Running:
    """The step that runs: how far it is, how fast, and how long it will take.

    Attributes:
        step: How it began.
        began: When, as `Ticks` tell it.
    """

    step: StepStarted
    began: float
    done_bytes: int = 0
    done_rows: int = 0
    item: str = ""
    _samples: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    def advance(self, event: StepAdvanced, now: float) -> None:
        """Take over how far it is; what goes back is another thread's older word."""
        self.done_bytes = max(self.done_bytes, event.done_bytes)
        self.done_rows = max(self.done_rows, event.done_rows)
        self.item = event.item or self.item
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_EVERY_S:
            self._samples.append((now, self.done_bytes))
        # One sample older than the window stays, as the point to measure from.
        while len(self._samples) > 1 and now - self._samples[1][0] >= _RATE_WINDOW_S:
            self._samples.popleft()

    def elapsed_s(self, now: float) -> float:
        """Return how long it has been running."""
        return max(0.0, now - self.began)

    def bytes_per_s(self, now: float) -> float:
        """Return its rate of the last seconds; that since its beginning while it is young."""
        since, before = self.began, 0
        if self._samples and now - self._samples[0][0] >= _RATE_WINDOW_S:
            since, before = self._samples[0]
        return (self.done_bytes - before) / (now - since) if now > since else 0.0

    def share(self) -> float | None:
        """Return how much of the prediction is done, or None if it is unknown or exceeded."""
        total = self.step.total_bytes
        return self.done_bytes / total if 0 <= self.done_bytes <= total and total else None

    def left_s(self, now: float) -> float | None:
        """Return how long it will take yet, or None while that is not known."""
        per_s, share = self.bytes_per_s(now), self.share()
        if share is None or share < _SETTLED_SHARE or self.elapsed_s(now) < _SETTLED_S:
            return None
        if per_s <= 0:
            return None
        return (self.step.total_bytes - self.done_bytes) / per_s

    def amount(self) -> str:
        """Return the bytes done, and of how many if that is known."""
        total, done = self.step.total_bytes, self.done_bytes
        if not total:
            return size(done) if done else ""
        if done > total:
            return f"{size(done)}, more than the {size(total)} predicted"
        return f"{size(done)} of {size(total)}"


def _rows(number: int) -> str:
    return f"{number:,} rows" if number else ""


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _figures(event: StepEnded) -> tuple[str, str, str]:
    """Return the time, size and rate of a finished step."""
    return (
        duration(event.elapsed_s),
        size(event.done_bytes) if event.done_bytes else "",
        rate(event.done_bytes, event.elapsed_s),
    )


def _place(step: StepStarted) -> str:
    width = len(str(step.of))
    return f"[{step.number:>{width}}/{step.of}]"


@dataclass
class LineProgress:
    """Print a line when a step begins and ends, and at most one in ten seconds between."""

    stream: TextIO
    ticks: Ticks = time.monotonic
    _running: Running | None = field(default=None, repr=False)
    _next: float = field(default=0.0, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def emit(self, event: ProgressEvent) -> None:
        """Print the event, unless it comes too soon after the last."""
        with self._lock:
            now = self.ticks()
            line = self._line(event, now)
            if line:
                self._next = now + _LINE_EVERY_S
                _write(self.stream, line)

    def _line(self, event: ProgressEvent, now: float) -> str:
        if isinstance(event, StepStarted):
            self._running = Running(event, now)
            return f"{_place(event)} {visible(event.title)} ..."
        if self._running is None or self._running.step.key != event.key:
            return ""
        begin = f"{_place(self._running.step)} {visible(self._running.step.title)}"
        if isinstance(event, StepEnded):
            self._running = None
            return f"{begin}: done in {_joined(*_figures(event))}"
        self._running.advance(event, now)
        return f"{begin}: {_line_of(self._running, now)}" if now >= self._next else ""


def _line_of(running: Running, now: float) -> str:
    share, left_s = running.share(), running.left_s(now)
    return _joined(
        "" if share is None else f"{share:.0%}",
        running.amount(),
        _rows(running.done_rows),
        rate(running.bytes_per_s(now), 1),
        "" if left_s is None else f"{duration(left_s)} left",
        visible(running.item),
    )


@dataclass
class JsonProgress:
    """Write one JSON object a line for each event, advances at most twice a second."""

    stream: TextIO
    ticks: Ticks = time.monotonic
    clock: Callable[[], float] = time.time
    _running: Running | None = field(default=None, repr=False)
    _next: float = field(default=0.0, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def emit(self, event: ProgressEvent) -> None:
        """Write the event, unless it comes too soon after the last."""
        with self._lock:
            now = self.ticks()
            fields = self._fields(event, now)
            if fields:
                self._next = now + _JSON_EVERY_S
                stamp = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
                document = {"schema": SCHEMA, "time": stamp} | fields
                # ASCII: a name with a lone surrogate must not end the work.
                _write(self.stream, json.dumps(document))

    def _fields(self, event: ProgressEvent, now: float) -> dict[str, Any]:
        if isinstance(event, StepStarted):
            self._running = Running(event, now)
            return _document("started", self._running, now, 0.0)
        running = self._running
        if running is None or running.step.key != event.key:
            return {}
        if isinstance(event, StepAdvanced):
            running.advance(event, now)
            due = now >= self._next
            return _document("advanced", running, now, running.elapsed_s(now)) if due else {}
        self._running = None
        running.done_bytes, running.done_rows = event.done_bytes, event.done_rows
        average = event.done_bytes / event.elapsed_s if event.elapsed_s > 0 else 0.0
        return _document("ended", running, now, event.elapsed_s) | {
            "rate": round(average),
            "left_s": 0.0,
            "detail": event.detail,
        }


def _document(event: str, running: Running, now: float, elapsed_s: float) -> dict[str, Any]:
    left_s = running.left_s(now)
    return {
        "event": event,
        "key": running.step.key,
        "title": running.step.title,
        "number": running.step.number,
        "of": running.step.of,
        "bytes": running.done_bytes,
        "total_bytes": running.step.total_bytes,
        "rows": running.done_rows,
        "rate": round(running.bytes_per_s(now)),
        "left_s": None if left_s is None else round(left_s, 1),
        "item": running.item,
        "elapsed_s": round(elapsed_s, 3),
    }


def _write(stream: TextIO, line: str) -> None:
    """Write a line at once; a reader who is gone is no reason to stop the work."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


class LiveProgress:
    """Show finished steps as lines, and below them the running one as it goes on.

    Use it as a context manager: leaving it, also by an exception or Ctrl-C, gives the cursor back.
    """

    def __init__(self, console: Console | None = None, ticks: Ticks = time.monotonic) -> None:
        """Show on `console`, by default the terminal behind standard error."""
        self._console = console or Console(stderr=True, highlight=False)
        self._ticks = ticks
        self._lock = Lock()
        self._running: Running | None = None
        self._marks = "✓✗" if self._console.encoding.startswith("utf") else "+x"
        self._spinner = Spinner("dots", style="cyan")
        # Standard output is for results, wherever it goes; lines for standard error, such as
        # warnings, come out above the display.
        self._live = Live(
            get_renderable=self._shown,
            console=self._console,
            transient=True,
            refresh_per_second=_REFRESHES_PER_S,
            redirect_stdout=False,
            redirect_stderr=True,
        )

    def __enter__(self) -> "LiveProgress":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            running, self._running = self._running, None
            now = self._ticks()
        self._live.stop()
        if running is not None:
            after = f"stopped after {duration(running.elapsed_s(now))}"
            mark = Text(self._marks[1], style="bold red")
            self._console.print(_Finished(mark, visible(running.step.title), (after,)))

    def emit(self, event: ProgressEvent) -> None:
        """Take over an event; the display follows within a fraction of a second."""
        line = None
        with self._lock:
            now = self._ticks()
            running = self._running
            if isinstance(event, StepStarted):
                self._running = Running(event, now)
            elif running is not None and running.step.key == event.key:
                if isinstance(event, StepAdvanced):
                    running.advance(event, now)
                else:
                    self._running = None
                    mark = Text(self._marks[0], style="bold green")
                    line = _Finished(mark, visible(running.step.title), _figures(event))
        # Outside of our lock: whoever draws holds rich's lock and asks for ours.
        if line is not None:
            self._console.print(line)

    def _shown(self) -> RenderableType:
        with self._lock:
            running, now = self._running, self._ticks()
            return Text() if running is None else _Now(running, now, self._spinner)


@dataclass(frozen=True)
class _Finished:
    """A step that is over: one line in columns, or two lines where that is too wide."""

    mark: Text
    title: str
    figures: tuple[str, ...]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        roomy = options.max_width >= _ROOMY_COLUMNS
        table = Table.grid(padding=(0, 1), expand=roomy)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", ratio=1 if roomy else None)
        if roomy:
            for width in (12, 9, 11)[: len(self.figures)]:
                table.add_column(justify="right", no_wrap=True, min_width=width)
            figures = (Text(figure, style="dim") for figure in self.figures)
            table.add_row(self.mark, Text(self.title), *figures)
        else:
            table.add_row(self.mark, Text(self.title))
            table.add_row("", Text(_joined(*self.figures), style="dim"))
        yield table


class _Now:
    """The running step, in as many columns as there are; its values are read at once."""

    def __init__(self, running: Running, now: float, spinner: Spinner) -> None:
        share, left_s = running.share(), running.left_s(now)
        self.title = f"{_place(running.step)} {visible(running.step.title)}"
        self.elapsed = duration(running.elapsed_s(now))
        self.share = share
        self.percent = "" if share is None else f"{share:.0%}"
        self.left = "" if left_s is None else f"{duration(left_s)} left"
        self.rate = rate(running.bytes_per_s(now), 1)
        self.amount = running.amount()
        self.rows = _rows(running.done_rows)
        self.item = visible(running.item)
        self.spinner = spinner

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        head.add_column(justify="right", no_wrap=True)
        spinner = Text(">") if options.ascii_only else self.spinner
        head.add_row(spinner, Text(self.title, style="bold"), Text(self.elapsed, style="dim"))
        bar_columns = _BAR_COLUMNS if width >= _ROOMY_COLUMNS else _NARROW_BAR_COLUMNS
        bar = ProgressBar(
            total=None if self.share is None else 1.0,
            completed=self.share or 0.0,
            width=min(bar_columns, max(1, width - 10)),
            pulse=self.share is None,
        )
        line = Table.grid(padding=(0, 1))
        for _ in range(4):
            line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row("  ", bar, Text(self.percent, style="cyan"), Text(self.left, style="cyan"))
        yield Group(head, line, *self._figures(width - 3))

    def _figures(self, width: int) -> list[RenderableType]:
        """Return one line of figures, without those that do not fit, and one with the item."""
        line = ""
        for part in (self.amount, self.rate, self.rows):
            longer = _joined(line, part)
            if len(longer) <= width:
                line = longer
        shown: list[RenderableType] = []
        for text in (line, self.item):
            # Always two lines, so that the display does not jump.
            one = Text(f"   {text}", style="dim", no_wrap=True, overflow="ellipsis")
            one.truncate(max(1, width + 3), overflow="ellipsis")
            shown.append(one)
        return shown


def choose(kind: str) -> AbstractContextManager[ProgressSink]:
    """Return where progress is shown, to be entered with `with`.

    Args:
        kind: One of `KINDS`. "auto" is live on a terminal and plain lines elsewhere, both on
            standard error; "plain" is plain lines; "json" is JSON Lines on standard output; "none"
            is nothing.
    """
    if kind == "none":
        return nullcontext(NoProgress())
    if kind == "json":
        return nullcontext(JsonProgress(sys.stdout))
    if kind == "auto":
        console = Console(stderr=True, highlight=False)
        if console.is_terminal and not console.is_dumb_terminal:
            return LiveProgress(console)
    return nullcontext(LineProgress(sys.stderr))
