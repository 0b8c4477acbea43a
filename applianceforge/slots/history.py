"""The history of a box: what its migrations and its boots came to. It outlives the slots.

Append-only JSON Lines, readable by the web user; `history.schema.json` beside this module is the
schema of a line. `schema`, `time` (seconds since 1970), `event`, and what belongs to it:

    migrated         the data was proved equal and published
    migration-ended  an attempt failed: status 75 or 76, reason, message, hint
    crossed          the release was marked good after a migration, and the epoch raised
    settled          a release was marked good
    given-up         the release was marked bad: reason, message
    fell-back        the other slot was given up, with a reason, and this one runs
    refused          the services were shut: reason
    went-back        a person took the box back to 32 bits: message says where the archive of what
                     came in since the crossing lies, rows how many rows it holds
    update-refused   a release was not installed: reason (a finding's key), message, hint
    update-installed a release was put into the other slot and starts next
    update-failed    a release could not be installed: reason, message, hint
    updated          a release that was installed was marked good

The last four have `from` and `to`, releases such as "1.0.0 (i386)", and `by`, who agreed.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any

from applianceforge.model.errors import ForgeError
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import BootPlaces, Release
from applianceforge.system import files
from applianceforge.system.effects import Effects

SCHEMA = 1
_PUBLIC = 0o644
# In the order of Past's own.
_WORDS = (
    *("event", "release", "slot", "reason", "message", "hint"),
    *("architecture", "from", "to"),
)


class Happening(Enum):
    """What a line of the history says."""

    MIGRATED = "migrated"
    MIGRATION_ENDED = "migration-ended"
    CROSSED = "crossed"
    SETTLED = "settled"
    GIVEN_UP = "given-up"
    FELL_BACK = "fell-back"
    REFUSED = "refused"
    UPDATE_REFUSED = "update-refused"
    UPDATE_INSTALLED = "update-installed"
    UPDATE_FAILED = "update-failed"
    UPDATED = "updated"
    WENT_BACK = "went-back"


@dataclass(frozen=True)
class Past:
    """One line of the history, as far as a person is told of it.

    Attributes:
        origin: Of an update, what ran.
        target: Of an update, what was installed or was to be.
        since_s: Of an update, when it was agreed to, which tells it from others; 0 if not said.
    """

    time_s: float
    event: str
    release: str
    slot: str
    reason: str
    message: str
    hint: str
    architecture: str = ""
    origin: str = ""
    target: str = ""
    _: KW_ONLY
    since_s: float = 0.0


@dataclass(frozen=True)
class History:
    """Writes lines on behalf of the release that runs in a slot."""

    places: BootPlaces
    release: Release
    slot: Slot
    effects: Effects
    clock: Callable[[], float]

    def add(self, event: Happening, **detail: Any) -> None:
        """Append a line durably; a full disk is no reason to stop what it tells of."""
        fields = {
            "schema": SCHEMA,
            "time": self.clock(),
            "event": event.value,
            "release": f"{self.release.name} {self.release.version}",
            "architecture": self.release.architecture.value,
            "slot": self.slot.value,
        }
        # The bytes of a name that is not UTF-8 become escapes of JSON.
        text = json.dumps(fields | detail, ensure_ascii=False)
        line = text.encode("utf-8", "backslashreplace")
        with contextlib.suppress(ForgeError):
            files.append_line(self.places.history, line, self.effects, mode=_PUBLIC)


def read(places: BootPlaces) -> tuple[Past, ...]:
    """Return the history; a line that cannot be understood is left out.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: Something else than a file lies there.
    """
    content = files.read_plain(places.history) or b""
    found = []
    for text in content.splitlines():
        try:
            fields = json.loads(text)
            words = [str(fields.get(word, "")) for word in _WORDS]
            since_s = float(fields.get("since", 0.0))
            found.append(Past(float(fields["time"]), *words, since_s=since_s))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    return tuple(found)
