"""The demonstration: a real 32-bit appliance's data becomes a 64-bit appliance's data."""

import os
import tempfile
from pathlib import Path

from applianceforge.migrate import status
from applianceforge.migrate.settings import LONGEST_WORK_BYTES
from applianceforge.migrate.status import State
from applianceforge.model.errors import AccessDeniedError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from tests.appliance import cache, legacy, trees
from tests.appliance.lines import Lines

SETTINGS = """\
schema = 1
[work]
directory = "{place}/work"
retention_days = 0
[source]
tree = "{source}"
postgres.data = "{place}/old/data"
rrd.directory = "{place}/old/rrd"
[target]
tree = "{target}"
postgres.data = "{place}/new/postgresql"
rrd.directory = "{place}/new/rrd"
"""


def prepare(size_bytes: int, seed: int) -> Path:
    """Build what the demonstration needs, make a fresh copy of the old data, return the settings.

    A second call finds trees and appliance in the cache, and one after a stop its half-done work.
    """
    effects, lines = Effects(), Lines()
    target = trees.tree(trees.NATIVE, effects, lines)
    appliance = legacy.legacy(size_bytes, seed=seed, effects=effects, progress=lines)
    facts = appliance.facts()
    print(f"The old appliance: PostgreSQL {appliance.major}, {facts.rrd_count} RRDs.")
    print(f"Proof that it is one of 32 bits: {facts.proof}.")
    place = _place()
    settings = place / "box.toml"
    content = SETTINGS.format(place=place, source=appliance.tree.root, target=target.root).encode()
    if _unfinished(place, content):
        print("The last demonstration was stopped: it continues where it was.", flush=True)
        return settings
    print("Copying the old data ...", flush=True)
    files.remove_tree(place, effects)
    files.make_directory(place, effects, mode=0o755)
    appliance.copy_to(place / "old", effects)
    files.make_directory(place / "new", effects, mode=0o755)
    files.write_file(settings, content, effects)
    return settings


def _unfinished(place: Path, content: bytes) -> bool:
    """Tell whether an earlier demonstration on the same data was stopped on its way."""
    settings = place / "box.toml"
    if not settings.exists() or settings.read_bytes() != content:
        return False
    state = status.read(place / "work", "run").state
    return state in (State.STOPPED, State.FAILED, State.CRASHED)


def _place() -> Path:
    """Return where the demonstration works: in the cache, unless a socket's path gets too long."""
    place = cache.directory() / "demo"
    if len(os.fsencode(place / "work")) <= LONGEST_WORK_BYTES:
        return place
    place = Path(tempfile.gettempdir()) / f"forge-demo-{os.geteuid()}"
    if place.exists() and place.lstat().st_uid != os.geteuid():
        raise AccessDeniedError(
            f"{place} belongs to somebody else", hint="remove it, or set TMPDIR to another place"
        )
    return place
