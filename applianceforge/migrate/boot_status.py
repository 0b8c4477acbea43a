"""Tell the first page of the web administration how far the migration is, and how it ended.

`boot-status.schema.json` beside this module is the schema. The file is readable by everybody: it
holds titles of steps, names of databases and files, and figures, but no data.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from applianceforge.migrate.boot_record import Counts
from applianceforge.migrate.boot_verdict import Verdict
from applianceforge.migrate.status import StatusFile
from applianceforge.model.errors import ForgeError
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import Release
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressEvent

SCHEMA = 1
_PUBLIC = 0o644


class BootState(Enum):
    """What goes on, or how it ended last."""

    MIGRATING = "migrating"
    PROVED = "proved"
    AGAIN = "again"
    BACK = "back"
    STOPPED = "stopped"


class BootStatus:
    """A progress sink that keeps /data/forge/status.json up to date."""

    def __init__(
        self,
        path: Path,
        release: Release,
        slot: Slot,
        effects: Effects,
        clock: Callable[[], float],
    ) -> None:
        """Write to `path` on behalf of the release that runs in a slot."""
        self._path = path
        self._effects = effects
        self._clock = clock
        self._counts = Counts()
        self._fixed = {
            "schema": SCHEMA,
            "release": f"{release.name} {release.version}",
            "slot": slot.value,
        }
        self._file = StatusFile(path, "boot", os.getpid(), clock, self._migrating)

    def begin(self, counts: Counts) -> None:
        """Say that the migration begins, after so many boots."""
        self._counts = counts
        self.tell(BootState.MIGRATING)

    def emit(self, event: ProgressEvent) -> None:
        """Take over an event, and write if it is time."""
        self._file.emit(event)

    def tell(
        self,
        state: BootState,
        verdict: Verdict | None = None,
        message: str = "",
        hint: str = "",
    ) -> None:
        """Say durably what goes on; a full disk is no reason to stop what it tells of."""
        fields = self._document(state, None)
        if verdict is not None:
            fields["verdict"] = {
                "status": verdict.status,
                "reason": verdict.reason,
                "message": message,
                "hint": hint,
            }
        content = json.dumps(fields, ensure_ascii=False).encode()
        with contextlib.suppress(ForgeError):
            files.write_file(self._path, content, self._effects, mode=_PUBLIC)

    def _migrating(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        progress = {key: one for key, one in fields.items() if key not in ("operation", "pid")}
        return self._document(BootState.MIGRATING, progress)

    def _document(self, state: BootState, progress: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            **self._fixed,
            "state": state.value,
            "updated_s": self._clock(),
            "boots_before": self._counts.boots,
            "failed_attempts": self._counts.failures,
            "boots_without_end": self._counts.silent,
            "progress": progress,
            "verdict": None,
        }


def read(path: Path) -> Mapping[str, Any] | None:
    """Return what the file says, or None where it says nothing that this release understands."""
    try:
        fields = json.loads(files.read_plain(path) or b"")
        return fields if int(fields["schema"]) <= SCHEMA else None
    except (ForgeError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
