"""Watch how much space a directory takes while something else fills it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from applianceforge.system import files

_SHORTEST_PAUSE_S = 0.5
# Looking costs time in proportion to the number of files: never more than a tenth of it.
_PAUSE_PER_LOOK = 10


@contextmanager
def watching(paths: Sequence[Path], tell: Callable[[int], None]) -> Iterator[None]:
    """Call `tell` with the bytes on disk of all `paths`, time and again, and once at the end.

    Args:
        paths: Files or directories; what is not there counts as nothing.
        tell: Called from another thread.
    """
    finished = threading.Event()

    def look() -> float:
        began = time.monotonic()
        tell(sum(files.used_bytes(path) for path in paths))
        return time.monotonic() - began

    def work() -> None:
        pause = _SHORTEST_PAUSE_S
        while not finished.wait(pause):
            pause = max(_SHORTEST_PAUSE_S, _PAUSE_PER_LOOK * look())

    watcher = threading.Thread(target=work, name="meter", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
        look()
