"""What was agreed to, so that an update that was cut goes on without asking again.

/data/forge/update/intent.json is a JSON object: `schema`, `version` and `architecture` of the
release, `from` (what ran then), `manifest` (the SHA-256 of its manifest), `since` (seconds since
1970), `by` ("person" or "timer"), `reboot`, `phase`, and how far it came:

    installing   the slot that does not run is being written
    stopped      a person stopped it: only a person goes on
    installed    that slot is written and proved
    activated    it starts next

`repository` is what a person named in place of the settings' one, or "". `generation` is that of
the boot environment when it was agreed to: a reason in a later one is about what was installed
since. `attempts` counts those since the last progress, `missing` is how many bytes were to be
fetched then, or -1.
The file is removed when the new release was marked good, or given up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.system import files
from applianceforge.system.effects import Effects

SCHEMA = 1
# So often in a row it is tried without any progress.
MOST_ATTEMPTS = 5
# Nobody remembers what was agreed to before.
MOST_DAYS = 30
_DAY_S = 86400.0


class Phase(Enum):
    """How far an update came."""

    INSTALLING = "installing"
    STOPPED = "stopped"
    INSTALLED = "installed"
    ACTIVATED = "activated"


class Consent(Enum):
    """Who agreed."""

    PERSON = "person"
    TIMER = "timer"


@dataclass(frozen=True)
class Intent:
    """What was agreed to, and how far it came; see the module."""

    version: str
    architecture: Architecture
    origin: str
    manifest: str
    since_s: float
    by: Consent
    reboot: bool
    phase: Phase
    generation: int
    repository: str = ""
    attempts: int = 0
    missing_bytes: int = -1

    @property
    def target(self) -> str:
        """Return the release as the history names it."""
        return f"{self.version} ({self.architecture.value})"

    def tried(self) -> Intent:
        """Return it with one more attempt."""
        return replace(self, attempts=self.attempts + 1)

    def lacking(self, missing_bytes: int) -> Intent:
        """Return it with what is to be fetched yet; less is progress, after which it counts anew.

        Args:
            missing_bytes: Of the payload; what was fetched and proved before is not among it.
        """
        if 0 <= self.missing_bytes <= missing_bytes:
            return self
        return replace(self, attempts=0, missing_bytes=missing_bytes)

    def worn_out(self, now_s: float) -> str:
        """Return why it is not tried again; "" while it is."""
        if self.attempts >= MOST_ATTEMPTS:
            return f"it was tried {self.attempts} times in a row and came no further"
        if now_s - self.since_s > MOST_DAYS * _DAY_S:
            return f"it was agreed to more than {MOST_DAYS} days ago"
        return ""


def encode(intent: Intent) -> bytes:
    """Return the file."""
    fields = {
        "schema": SCHEMA,
        "version": intent.version,
        "architecture": intent.architecture.value,
        "from": intent.origin,
        "manifest": intent.manifest,
        "since": intent.since_s,
        "by": intent.by.value,
        "reboot": intent.reboot,
        "phase": intent.phase.value,
        "generation": intent.generation,
        "repository": intent.repository,
        "attempts": intent.attempts,
        "missing": intent.missing_bytes,
    }
    # A stick may be mounted where the name is not UTF-8.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")


def decode(data: bytes) -> Intent | None:
    """Return what the file says; None if that cannot be understood, so that nothing goes on."""
    try:
        fields = json.loads(data)
        if int(fields["schema"]) > SCHEMA:
            return None
        return Intent(
            version=str(fields["version"]),
            architecture=Architecture(fields["architecture"]),
            origin=str(fields["from"]),
            manifest=str(fields["manifest"]),
            since_s=float(fields["since"]),
            by=Consent(fields["by"]),
            reboot=fields["reboot"] is True,
            phase=Phase(fields["phase"]),
            generation=int(fields["generation"]),
            repository=str(fields["repository"]),
            attempts=int(fields["attempts"]),
            missing_bytes=int(fields["missing"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def read(path: Path) -> Intent | None:
    """Return what was agreed to; None if nothing was, or if what lies there is no file.

    Raises:
        AccessDeniedError: Only root may know.
    """
    try:
        found = files.read_plain(path)
    except SettingsError:
        return None
    return None if found is None else decode(found)


def write(path: Path, intent: Intent, effects: Effects) -> None:
    """Note durably what was agreed to, and how far it came."""
    files.write_file(path, encode(intent), effects)


def remove(path: Path, effects: Effects) -> None:
    """Forget it: it is done, or given up."""
    files.remove_tree(path, effects)
