"""Put off Ctrl-C and SIGTERM where an interruption would lose sight of what was just started."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """Let the block finish before a signal that asks us to stop takes effect.

    For short work, such as starting a program and keeping hold of it, or ending one. What was put
    off takes effect when the block is left. Only the main thread gets signals; in others this
    changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in _STOPPING}
    try:
        for number in _STOPPING:
            signal.signal(number, lambda came, _frame: waiting.append(came))
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        for came in waiting[:1]:
            signal.raise_signal(came)
