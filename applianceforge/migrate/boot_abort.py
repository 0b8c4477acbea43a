"""Ask a running migration to end and to go back, from another terminal."""

import os
import signal
import time

from applianceforge.migrate import lock
from applianceforge.migrate.boot_slots import Marks
from applianceforge.migrate.settings import Settings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import UsageError
from applianceforge.slots.places import BootPlaces, read_epoch, read_release
from applianceforge.system import files
from applianceforge.system.effects import Effects

_PATIENCE_S = 60.0
_PAUSE_S = 0.5


def request(places: BootPlaces, marks: Marks, effects: Effects) -> None:
    """Note durably that the migration is to end: it looks, and every boot looks.

    Raises:
        UsageError: There is nothing that could be ended so.
    """
    release = read_release(places).architecture
    if release is not Architecture.AMD64 or read_epoch(places) is not Architecture.I386:
        raise UsageError(
            "no migration is under way here",
            hint="`applianceforge status` says where this box stands",
        )
    if marks.is_good():
        raise UsageError(
            "the migration is finished and this release was marked good",
            hint="`applianceforge status` says until when the old data is kept",
        )
    files.write_file(places.abort, b"", effects)


def interrupt(settings: Settings, patience_s: float = _PATIENCE_S) -> bool:
    """Stop the run that holds the lock, and return whether there was one, and it ended.

    A run that has not taken its lock yet looks at the request when it does.
    """
    path = Workspace(settings.work.directory, "run").lock
    asked = False
    deadline = time.monotonic() + patience_s
    while lock.is_held(path):
        owner = lock.read_owner(path)
        # The lock is held, so its owner lives, and the number is nobody else's.
        if owner is not None and not asked:
            os.kill(owner.pid, signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return asked
