"""What every operation gets from outside: settings, time, and whom to tell."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from applianceforge.migrate.settings import Settings
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink


@dataclass(frozen=True)
class Surroundings:
    """The world around an operation.

    Attributes:
        settings: What to migrate, from where to where.
        effects: Told of each effect.
        sink: Shows progress.
        clock: Seconds since 1970.
    """

    settings: Settings
    effects: Effects = field(default_factory=Effects)
    sink: ProgressSink = field(default_factory=NoProgress)
    clock: Callable[[], float] = time.time
