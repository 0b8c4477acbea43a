"""Power cuts over an update: what needs no machine. `inv test.vm` cuts a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from applianceforge.formats.mbr import Partition
from tests.vm import update_cuts, update_record, write_log
from tests.vm.crossing import Told
from tests.vm.recorder import Recording
from tests.vm.update_cuts import Results
from tests.vm.update_record import Phase, Update
from tests.vm.write_log import Flags, WriteLog, Written

_SECTOR = 512
_FLUSH = Written(0, flags=Flags.FLUSH)
# Partition 3, which is slot b, lies from sector 300 on; 1 is the boot partition.
_PARTITIONS = {number: Partition(number, number * 100, 100) for number in (1, 2, 3, 4)}


def _log(*entries: Written) -> WriteLog:
    return write_log.decode(write_log.encode(entries))


def _write(sector: int) -> Written:
    return Written(sector, bytes(_SECTOR))


def test_letting_it_start_is_parted_from_installing() -> None:
    log = _log(_write(400), _write(300), _FLUSH, _write(301), _write(101), _FLUSH, _write(401))
    ats = [entry.data_at for entry in log.entries]
    phases = [Phase("before", 0, "legacy"), Phase("install 1", ats[1], "migration")]
    phases.append(Phase("first boot 1", ats[6], "migration"))
    found = update_record.with_activations(phases, log, _PARTITIONS)
    names = [phase.name for phase in found]
    assert names == ["before", "install 1", "activate 1", "first boot 1"]
    assert ats[3] < found[2].log_bytes <= ats[4]
    update = Update(Recording(Path(), Path()), found, Told("", "", b""))
    # An epoch is a phase's in which its first write was given.
    assert [phase.name for phase in update.phases_of(log)] == [
        "before",
        "install 1",
        "first boot 1",
    ]
    with pytest.raises(AssertionError, match="nothing was written to slot b"):
        update_record.with_activations(phases, _log(_write(400)), _PARTITIONS)


def test_states_are_chosen_from_each_phase() -> None:
    log = _log(*[one for at in range(60) for one in (_write(300 + at), _write(400 + at), _FLUSH)])
    ats = [entry.data_at for entry in log.entries]
    phases = tuple(Phase(f"phase {n}", ats[45 * n] if n else 0, "legacy") for n in range(4))
    update = Update(Recording(Path(), Path()), phases, Told("", "", b""))
    chosen = update_cuts.choose(update, log, 5, seed=1)
    assert [one.phase.name for one in chosen] == [f"phase {n}" for n in range(4) for _ in range(5)]
    assert [one.number for one in chosen] == sorted({one.number for one in chosen})
    assert update_cuts.choose(update, log, 5, seed=1) == chosen
    assert update_cuts.choose(update, log, 5, seed=2) != chosen


def test_results_outlive_the_run(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.add("booted", 7, "migrate", [], 61.5, "complete")
    results.add("looked", 7, "migrate", ["a row is gone"], 9.0)
    again = Results(path)
    assert again.has("booted", 7)
    assert not again.has("booted", 8)
    assert (again.count("booted"), again.problems("booted")) == (1, [])
    assert again.problems("looked") == ["looked, state 7, migrate: a row is gone"]
