"""The stages of a build: each kept in the store by the digest of what it is made from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.imaging import namespace, store
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressSink, StepEnded, StepStarted

# In the order in which they are made, by the first word of their names.
_ORDER = ("choice", "wheel", "root", "initrd", "foreign", "slot", "data", "disk")
# Slots are large, and each change of a file makes another.
_KEPT = 3
_IDLE_S = 3600.0


@dataclass
class Stages:
    """What all stages of one build share.

    Attributes:
        cache: The store.
        effects: Told of programs and writes.
        progress: Told of each stage that is made; of one that is there already it hears nothing.
        made: The names of the stages that were made.
    """

    cache: Path
    effects: Effects
    progress: ProgressSink
    made: list[str] = field(default_factory=list)

    def obtain(self, name: str, title: str, make: Callable[[Path], None]) -> Path:
        """Return the stage's directory, made first if it is not there."""

        def making(directory: Path) -> None:
            began_s = time.monotonic()
            self.started(name, title)
            make(directory)
            used = files.used_bytes(directory)
            self.progress.emit(StepEnded(name, time.monotonic() - began_s, used, 0, name))

        entry = store.obtain(self.cache, name, making, self.effects, remove=namespace.remove_tree)
        store.used(entry)
        if name in self.made:
            prefix = name.rpartition("-")[0]
            store.prune(self.cache, prefix, self.effects, keep=_KEPT, idle_s=_IDLE_S)
        return entry

    def started(self, name: str, title: str) -> None:
        """Tell of a stage that is being made."""
        self.made.append(name)
        number = _ORDER.index(name.partition("-")[0]) + 1
        self.progress.emit(StepStarted(name, title, number, len(_ORDER), 0))
