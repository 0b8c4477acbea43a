"""Progress as plain lines, for what is built before a test or a benchmark begins."""

import sys
import time
from dataclasses import dataclass, field

from applianceforge.system.progress import ProgressEvent, StepEnded, StepStarted

_EVERY_S = 5.0
# What is still the same is worth a line only to show that it goes on.
_AGAIN_S = 30.0


@dataclass
class Lines:
    """Print one line at the start and end of a step, and now and then one between."""

    _began_s: float = field(default=0.0, repr=False)
    _last_s: float = field(default=0.0, repr=False)
    _said: str = field(default="", repr=False)

    def emit(self, event: ProgressEvent) -> None:
        """Print the event, unless it comes too soon after the last."""
        now_s = time.monotonic()
        if isinstance(event, StepStarted):
            self._began_s = now_s
            self._print(f"{event.title} ...")
        elif isinstance(event, StepEnded):
            self._print(f"  {event.done_bytes / 1e6:.0f} MB in {event.elapsed_s:.1f} s")
        elif now_s - self._last_s >= (_AGAIN_S if event.item == self._said else _EVERY_S):
            done = f"{event.done_bytes / 1e6:.0f} MB  " if event.done_bytes else ""
            self._print(f"  {now_s - self._began_s:.0f} s  {done}{event.item}")
            self._said = event.item
        else:
            return
        self._last_s = now_s

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
