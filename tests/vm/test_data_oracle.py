"""The oracle of rows and values sees a sound data partition, and what is missing of one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.appliance.legacy import LegacyAppliance
from tests.vm import crossing, data_oracle
from tests.vm.crossing import Told

pytestmark = pytest.mark.real


def _partition(data: Path, place: Path) -> Path:
    image = place / "data.img"
    with image.open("wb") as stream:
        stream.truncate(1 << 29)
    words = ["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", str(data), str(image)]
    subprocess.run(words, check=True)
    return image


def _statement(copy: LegacyAppliance, *statements: str) -> str:
    with (
        cluster.serving(copy.tree, copy.major, copy.data, Effects()) as server,
        server.session("gateway") as session,
    ):
        for statement in statements:
            session.execute(statement)
        return "|".join(str(column) for column in session.rows(crossing.DIGEST)[0])


def test_rows_and_values(
    legacy_small: LegacyAppliance, i386_tree: ProgramTree, place: Path, effects: Effects
) -> None:
    home = place / "partition/i386"
    copy = legacy_small.copy_to(place / "copy", effects)
    rows = _statement(copy, crossing.fill_statement())
    home.mkdir(parents=True)
    copy.data.rename(home / "postgresql")
    (home / "rrd").mkdir()
    for words in crossing.rrd_commands(home / "rrd"):
        programs.run(i386_tree.command("/usr/bin/rrdtool", *words), effects)
    program, *fetch = crossing.FETCH.format(home).split()
    said = programs.run(i386_tree.command(f"/usr/bin/{program}", *fetch), effects)
    told = Told(rows, said.stdout.decode(), b"")
    (place / "partition/forge").mkdir()
    (place / "partition/forge/epoch").write_text("i386\n")

    image = _partition(place / "partition", place)
    assert data_oracle.problems(image, told) == []
    # It looked at a copy.
    assert data_oracle.problems(image, told) == []

    kept = (home / "rrd" / crossing.RRD).read_bytes()
    # The first of its two archives, of 1000 values each.
    (home / "rrd" / crossing.RRD).write_bytes(kept[:-16000] + bytes(8000) + kept[-8000:])
    (found,) = data_oracle.problems(_partition(place / "partition", place), told)
    assert found.startswith("i386: values differ")
    (home / "rrd" / crossing.RRD).write_bytes(kept)

    (home / "postgresql").rename(copy.data)
    _statement(copy, "DELETE FROM public.crossing WHERE id = 7")
    copy.data.rename(home / "postgresql")
    (found,) = data_oracle.problems(_partition(place / "partition", place), told)
    assert f"rows are {crossing.ROWS - 1}|" in found

    (home / "postgresql/global/pg_control").write_bytes(bytes(8192))
    (found,) = data_oracle.problems(_partition(place / "partition", place), told)
    assert found.startswith("i386: the database")

    (place / "partition/forge/epoch").write_text("amd64\n")
    assert data_oracle.problems(_partition(place / "partition", place), told)
    (place / "partition/forge/epoch").unlink()
    (found,) = data_oracle.problems(_partition(place / "partition", place), told)
    assert found.startswith("the epoch")
