"""A whole run, from the 32-bit PostgreSQL 15 and 13 to the 64-bit 15."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from applianceforge.formats import pg_control
from applianceforge.migrate import outcome
from applianceforge.migrate.compare import compare
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.postgres.census import Census
from applianceforge.migrate.postgres.exporting import ExportPostgres
from applianceforge.migrate.postgres.importing import ImportPostgres
from applianceforge.migrate.postgres.server import find_running, running
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.system.effects import Effect, EffectKind, Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.appliance import cluster
from tests.appliance.legacy import SMALL_RRDS, LegacyAppliance
from tests.migrate.boxes import Box, Said, contents, planned

pytestmark = pytest.mark.real

# Parts of the verifiers and passwords in images/reference/globals.sql and gateway.sql.
SECRETS = (b"ul854xiuLjSNGGWwg", b"309cb306e3e064250c0571bb09b9c094", b"not-a-secret", b"SCRAM-SHA")
# Each of these was once taken for the end of a line, or for a line to leave out.
STRANGE = "a\u2028b\x0cc\x85d\r\ne\n-- f\nSET g\nCREATE ROLE postgres;"
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass
class Watch:
    """Looks for secrets after every effect: in arguments of processes, and in open files."""

    work: Path
    staged: Path
    effects: int = 0
    programs: int = 0
    found: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, effect: Effect) -> None:
        with self._lock:
            self.effects += 1
            if effect.kind is EffectKind.PROGRAM:
                self.programs += 1
                self._look_at_processes()
            self._look_at_files()

    def _look_at_processes(self) -> None:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            for name in ("cmdline", "environ"):
                try:
                    content = (entry / name).read_bytes()
                except OSError:
                    continue
                if str(self.work).encode() in content and any(one in content for one in SECRETS):
                    self.found.add(f"{name} of a process: {content!r}")

    def _look_at_files(self) -> None:
        for path in (self.work.parent, *self.work.rglob("*")):
            try:
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mode & _OF_OTHERS:
                    content = path.read_bytes()
                    if any(one in content for one in SECRETS):
                        self.found.add(f"{path} {stat.filemode(status.st_mode)}")
            except FileNotFoundError:
                continue
        if self.staged.exists() and self.staged.stat().st_mode & _OF_OTHERS:
            self.found.add(f"{self.staged} was open to others")


@dataclass(frozen=True)
class Finished:
    """A run that came to its end; tests only read it."""

    box: Box
    done: Outcome
    watch: Watch
    before: ClusterInventory
    rrds: dict[str, tuple[bytes, os.stat_result]]


def source_inventory(box: Box) -> ClusterInventory:
    """Take the inventory of the old cluster with its own server."""
    with planned(box) as plan:
        exporting = next(one for one in plan.subjects if isinstance(one, ExportPostgres))
        with running(exporting.setup, Effects()) as server:
            counter = Counter("", NoProgress())
            census = Census(server, exporting.dumper, 32, 2, counter)
            return census.take([one.name for one in exporting.facts.databases])


@contextmanager
def a_box(appliance: LegacyAppliance, native: ProgramTree) -> Iterator[Box]:
    with cluster.short_directory() as place:
        yield Box(place, appliance.copy_to(place / "old"), native)


@pytest.fixture(scope="module")
def finished(legacy_small: LegacyAppliance, native_tree: ProgramTree) -> Iterator[Finished]:
    with a_box(legacy_small, native_tree) as box:
        before, rrds = source_inventory(box), contents(box.old.rrd)
        watch = Watch(box.work, box.staged)
        done = box.run(effects=Effects(watch))
        yield Finished(box, done, watch, before, rrds)


def test_everything_was_proved(finished: Finished) -> None:
    inventory, proofs = finished.before, finished.done.proofs
    databases = inventory.databases
    assert proofs == {
        "databases": 9,
        "tables": sum(len(one.tables) for one in databases),
        "rows": inventory.rows,
        "sequences": sum(len(one.sequences) for one in databases),
        "large_objects": sum(len(one.large_objects) for one in databases),
        "schema_objects": sum(len(one.schema) for one in databases),
        "globals": len(inventory.globals),
        "recomputed": sum(len(one.recomputed) for one in databases),
        "as_text": sum(len(table.as_text) for one in databases for table in one.tables),
        "rrds": SMALL_RRDS,
    }
    assert all(proofs.values())
    assert proofs["rows"] > 16_000
    assert finished.done.told == ()
    assert finished.done.interruptions == 0


def test_the_counts_are_those_of_the_build(
    finished: Finished, legacy_small: LegacyAppliance
) -> None:
    rows = legacy_small.facts().rows
    assert {one.name: one.rows for one in finished.before.databases} == rows


def test_the_source_is_logically_unchanged(finished: Finished) -> None:
    after = source_inventory(finished.box)
    assert compare(finished.before, after) == ()
    assert after == finished.before
    control = pg_control.decode((finished.box.old.data / "global/pg_control").read_bytes())
    assert (control.architecture, control.was_shut_down) == (Architecture.I386, True)


def test_the_old_rrds_are_unchanged_to_the_byte(finished: Finished) -> None:
    after = contents(finished.box.old.rrd)
    assert {name: found[0] for name, found in after.items()} == {
        name: found[0] for name, found in finished.rrds.items()
    }
    for name, (_, before) in finished.rrds.items():
        status = after[name][1]
        for one in ("st_ino", "st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_ctime_ns"):
            assert getattr(status, one) == getattr(before, one), (name, one)


def test_the_new_data_belongs_to_the_same_user_alone(finished: Finished) -> None:
    old, new = finished.box.old.data.stat(), finished.box.data.stat()
    assert (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)
    assert stat.S_IMODE(new.st_mode) == 0o700
    for path in finished.box.data.rglob("*"):
        status = path.lstat()
        assert status.st_uid == old.st_uid, path
        assert not status.st_mode & _OF_OTHERS, path
    control = pg_control.decode((finished.box.data / "global/pg_control").read_bytes())
    assert (control.architecture, control.was_shut_down) == (Architecture.AMD64, True)


def test_the_new_rrds_have_owner_mode_and_time_of_the_old(finished: Finished) -> None:
    new = contents(finished.box.rrd)
    assert new.keys() == finished.rrds.keys()
    for name, (_, before) in finished.rrds.items():
        after = new[name][1]
        for one in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
            assert getattr(after, one) == getattr(before, one), (name, one)


def test_new_data_appears_by_rename(finished: Finished) -> None:
    assert not finished.box.staged.exists()
    assert sorted(path.name for path in finished.box.data.parent.iterdir()) == ["data", "rrd"]
    steps = [step.key for step in finished.done.steps]
    verified = max(number for number, key in enumerate(steps) if key.endswith(".verify"))
    published = min(number for number, key in enumerate(steps) if key.endswith(".publish"))
    assert verified < published
    assert find_running(finished.box.data) is None
    assert find_running(finished.box.old.data) is None


def test_no_secret_was_to_be_seen(finished: Finished) -> None:
    assert finished.watch.effects > 100
    assert finished.watch.programs > 25
    assert finished.watch.found == set()


def test_work_files_are_closed_to_others(finished: Finished) -> None:
    launchers = finished.box.workspace.root / "launchers"
    for path in finished.box.work.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if launchers in (path, *path.parents):
            # Programs, which servers' users run.
            assert mode == 0o755, path
        elif path.is_dir():
            # What servers pass through on their way can be passed, and not be listed.
            assert mode in (0o700, 0o711), path
        else:
            assert mode == (0o644 if path.name == "status.json" else 0o600), path


def test_no_secret_is_in_logs_journal_or_result(finished: Finished) -> None:
    globals_sql = finished.box.workspace.archive / "globals.sql"
    for path in finished.box.work.rglob("*"):
        if path.is_file() and path != globals_sql:
            content = path.read_bytes()
            assert not any(one in content for one in SECRETS), path
    assert any(one in globals_sql.read_bytes() for one in SECRETS)


def test_the_space_was_enough(finished: Finished) -> None:
    assert 0 < finished.done.peak_bytes <= finished.done.predicted_peak_bytes


def test_the_outcome_is_on_disk(finished: Finished) -> None:
    content = finished.box.workspace.outcome.read_bytes()
    assert outcome.decode(content) == finished.done
    assert json.loads(content)["schema"] == outcome.SCHEMA
    assert (finished.done.source.width, finished.done.target.width) == (32, 64)
    assert finished.done.source.rows == finished.done.target.rows == finished.before.rows
    assert finished.done.source.rrds == finished.done.target.rrds == SMALL_RRDS


def test_status_json_says_where_it_ended(finished: Finished) -> None:
    said = json.loads((finished.box.work / "status.json").read_text())
    assert said["schema"] == 1
    assert (said["operation"], said["step"]) == ("run", "rrd.publish")
    assert said["number"] == said["of"] == len(finished.done.steps)


def test_the_status_command(finished: Finished) -> None:
    said = finished.box.migrate("status", "--json")
    assert said.status == 0
    (one,) = json.loads(said.out)["operations"]
    assert (one["operation"], one["state"]) == ("run", "published")
    assert one["steps_done"] == [step.key for step in finished.done.steps]
    assert "published" in finished.box.migrate("status").out


def test_run_again_says_the_same_and_does_nothing(finished: Finished) -> None:
    effects = Effects()
    assert finished.box.run(effects=effects) == replace(finished.done, earlier=True)
    assert effects.count == 0


def test_verify_proves_it_once_more(finished: Finished) -> None:
    said = finished.box.migrate("verify", "--progress", "json")
    assert said.status == 0, said.errors
    done = outcome.decode((finished.box.work / "verify/outcome.json").read_bytes())
    assert done.proofs == finished.done.proofs
    assert finished.box.data.stat().st_mode & 0o777 == 0o700


@dataclass(frozen=True)
class From13:
    """A run from PostgreSQL 13, with a tablespace, and what `plan` said before."""

    box: Box
    done: Outcome
    planned: Said


@pytest.fixture(scope="module")
def from_13(legacy_small_13: LegacyAppliance, native_tree: ProgramTree) -> Iterator[From13]:
    with a_box(legacy_small_13, native_tree) as box:
        with cluster.serving(box.old.tree, 13, box.old.data, Effects()) as server:
            cluster.add_tablespace(server, box.place / "slow disk")
            with server.session("gateway") as session:
                session.execute(f"COMMENT ON ROLE auditor IS '{STRANGE}'")
        new = box.place / "new slow disk"
        new.mkdir(mode=0o700)
        box = box.with_settings(target__postgres__tablespaces__archive=new)
        plan = box.migrate("plan", "--json")
        yield From13(box, box.run(), plan)


def test_from_13_to_15(from_13: From13) -> None:
    done = from_13.done
    assert (done.source.postgres_major, done.target.postgres_major) == (13, 15)
    assert (done.source.width, done.target.width) == (32, 64)
    assert done.source.rows == done.target.rows == done.proofs["rows"]
    assert (done.proofs["databases"], done.proofs["rrds"]) == (9, SMALL_RRDS)
    assert done.peak_bytes <= done.predicted_peak_bytes
    assert (from_13.box.data / "PG_VERSION").read_text() == "15\n"


def test_its_plan_is_what_was_done(from_13: From13) -> None:
    assert from_13.planned.status in (0, 10)
    plan = json.loads(from_13.planned.out)
    assert [one["key"] for one in plan["steps"]] == [step.key for step in from_13.done.steps]
    assert plan["predicted_peak_bytes"] == from_13.done.predicted_peak_bytes


def test_progress_as_json_lines(tiny_box: Box) -> None:
    said = tiny_box.migrate("run", "--progress", "json")
    assert said.status == 0, said.errors
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert len(lines) > 20
    assert {"started", "ended"} <= {line["event"] for line in lines}


def test_its_tablespace_lies_in_its_new_place(from_13: From13) -> None:
    new = from_13.box.place / "new slow disk"
    old = from_13.box.place / "slow disk"
    assert [path.name.split("_")[1] for path in new.iterdir()] == ["15"]
    assert [path.name.split("_")[1] for path in old.iterdir()] == ["13"]
    links = [path.resolve() for path in (from_13.box.data / "pg_tblspc").iterdir()]
    assert links == [new.resolve()]


def test_its_texts_are_the_same_to_the_character(from_13: From13) -> None:
    with planned(from_13.box) as plan:
        importing = next(one for one in plan.subjects if isinstance(one, ImportPostgres))
    setup = replace(importing.setup, data=from_13.box.data)
    with running(setup, Effects()) as server, server.session("postgres") as session:
        found = session.value("SELECT shobj_description('auditor'::regrole, 'pg_authid')")
    assert found == STRANGE
