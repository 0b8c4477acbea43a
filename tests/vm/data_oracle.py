"""What the data partition of a disk is worth, looked at from outside the box.

Linux's part was done before: the journal is replayed and the file system repaired. Then the epoch
says whose data is the truth; a PostgreSQL of that architecture recovers a copy of the cluster as it
would at the next boot, and must hold every row; an rrdtool of that architecture must read every
value.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.appliance import cluster, trees
from tests.vm.crossing import DIGEST, FETCH, RRD, Told, same_values

_MAJOR = 15
_DATABASE = "gateway"
_TREES = {Architecture.I386: trees.LEGACY, Architecture.AMD64: trees.NATIVE}


def epoch_of(image: Path) -> Architecture:
    """Return the architecture whose data is the truth.

    Raises:
        ValueError: The file says something else, or is not there.
    """
    return Architecture(_debugfs(image, "cat /forge/epoch").strip())


def problems(image: Path, told: Told) -> list[str]:
    """Return what is missing of what a box had been told.

    Args:
        image: Of a data partition, repaired.
        told: What must be there.
    """
    try:
        epoch = epoch_of(image)
    except ValueError as error:
        return [f"the epoch: {error}"]
    tree = trees.tree(_TREES[epoch], Effects())
    with cluster.short_directory() as place:
        return [
            *(f"{epoch.value}: {one}" for one in _rows(image, epoch, tree, place, told)),
            *(f"{epoch.value}: {one}" for one in _values(image, epoch, tree, place, told)),
        ]


def _rows(
    image: Path, epoch: Architecture, tree: ProgramTree, place: Path, told: Told
) -> list[str]:
    _debugfs(image, f"rdump /{epoch.value}/postgresql {place}")
    data = place / "postgresql"
    if not (data / "PG_VERSION").exists():
        return ["there is no cluster"]
    user = cluster.server_user()
    if user is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    # What a server that was killed left; it tells another one of a process that runs here.
    (data / "postmaster.pid").unlink(missing_ok=True)
    try:
        with (
            cluster.serving(tree, _MAJOR, data, Effects()) as server,
            server.session(_DATABASE) as session,
        ):
            found = "|".join(str(column) for column in session.rows(DIGEST)[0])
    except ForgeError as error:
        return [f"the database: {error} {error.evidence}"]
    return [] if found == told.rows else [f"rows are {found} instead of {told.rows}"]


def _values(
    image: Path, epoch: Architecture, tree: ProgramTree, place: Path, told: Told
) -> list[str]:
    (place / "rrd").mkdir()
    _debugfs(image, f"dump /{epoch.value}/rrd/{RRD} {place}/rrd/{RRD}")
    program, *words = FETCH.format(place).split()
    try:
        said = programs.run(tree.command(f"/usr/bin/{program}", *words), Effects()).stdout.decode()
    except ForgeError as error:
        return [f"rrdtool: {error} {error.evidence}"]
    try:
        same_values(said, told.values)
    except AssertionError as error:
        return [f"values differ: {error}"]
    return []


def _debugfs(image: Path, request: str) -> str:
    words = ["/usr/sbin/debugfs", "-R", request, str(image)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
