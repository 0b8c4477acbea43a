"""Progress as plain lines, for what is built before a test or a benchmark begins."""

import sys
import time
from dataclasses import dataclass, field

from applianceforge.system.progress import ProgressEvent, StepEnded, StepStarted

_EVERY_S = 5.0


@dataclass
class Lines:
    """Print one line at the start and end of a step, and one every few seconds between."""

    _last_s: float = field(default=0.0, repr=False)

    def emit(self, event: ProgressEvent) -> None:
        """Print the event, unless it comes too soon after the last."""
        now_s = time.monotonic()
        if isinstance(event, StepStarted):
            self._print(f"{event.title} ...")
        elif isinstance(event, StepEnded):
            self._print(f"  {event.done_bytes / 1e6:.0f} MB in {event.elapsed_s:.1f} s")
        elif now_s - self._last_s >= _EVERY_S:
            self._print(f"  {event.done_bytes / 1e6:.0f} MB  {event.item}")
        else:
            return
        self._last_s = now_s

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
