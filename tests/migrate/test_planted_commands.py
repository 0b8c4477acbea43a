"""Planted differences as a person meets them: by the run that must not publish, and by `verify`."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from applianceforge.migrate import run
from applianceforge.migrate.engine import Step, StepResult, Subject
from applianceforge.migrate.operation import carry_out
from applianceforge.migrate.postgres.importing import ImportPostgres
from applianceforge.migrate.postgres.server import find_running, running
from applianceforge.migrate.preparation import Plan, new_data
from applianceforge.migrate.rrd.subject import ConvertRrds
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.model.errors import NotProvedError
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter
from tests.appliance import cluster
from tests.appliance.legacy import LegacyAppliance
from tests.migrate.boxes import Box, planned

pytestmark = pytest.mark.real

ONE_BYTE = "UPDATE public.message SET note = overlay(note PLACING 'N' FROM 1) WHERE id = 4000"
# In the native layout: the heartbeat of the first DS, at 20 + 20 in the first ds_def after 128.
HEARTBEAT = 128 + 40


@dataclass
class Tampered:
    """A subject whose new data is changed just before it is verified."""

    inner: Subject
    tamper: Callable[[Subject], None]

    def steps(self) -> tuple[Step, ...]:
        return self.inner.steps()

    def apply(self, step: Step, counter: Counter) -> StepResult:
        if step.key.endswith(".verify"):
            self.tamper(self.inner)
        return self.inner.apply(step, counter)

    def close(self) -> None:
        self.inner.close()


def change_bytes(path: Path, offset: int) -> None:
    """Flip the lowest bit of one byte, and leave the file's times as they are."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def a_row(subject: Subject) -> None:
    if isinstance(subject, ImportPostgres):
        with subject.server.session("mail") as session:
            session.execute(ONE_BYTE)


def a_double(subject: Subject) -> None:
    if isinstance(subject, ConvertRrds):
        new = staging(subject.target)
        change_bytes(sorted(new.rglob("*.rrd"))[0], -1)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (a_row, "table mail public.message: its 4000 rows differ"),
        (a_double, "reference-counter.rrd: "),
    ],
)
def test_what_is_not_proved_is_not_published(
    tiny_box: Box, tamper: Callable[[Subject], None], said: str
) -> None:
    def planner(around: Surroundings, work: Workspace) -> Plan:
        plan = run.plan_run(around, work)
        return replace(plan, subjects=tuple(Tampered(one, tamper) for one in plan.subjects))

    with pytest.raises(NotProvedError, match="are not equal") as caught:
        carry_out(tiny_box.around(), planner, "run", new_data(tiny_box.settings))
    assert said in caught.value.message
    assert not tiny_box.data.exists()
    assert not tiny_box.rrd.exists()
    assert tiny_box.staged.exists()
    assert find_running(tiny_box.staged) is None
    # It stays refused until somebody begins anew.
    again = tiny_box.migrate("run", "--progress", "none")
    assert again.status == 56
    assert said in again.errors
    assert "the source is as it was" in again.hint or "the old ones are" in again.hint
    anew = tiny_box.migrate("run", "--restart", "--progress", "none")
    assert anew.status == 0, anew.errors
    assert tiny_box.data.exists()
    assert tiny_box.rrd.exists()


def test_verify_names_a_row_that_was_changed_later(tiny_box: Box) -> None:
    tiny_box.run()
    assert tiny_box.migrate("verify", "--progress", "none").status == 0
    with planned(tiny_box) as plan:
        importing = next(one for one in plan.subjects if isinstance(one, ImportPostgres))
    setup = replace(importing.setup, data=tiny_box.data)
    with running(setup, Effects()) as server, server.session("mail") as session:
        session.execute(ONE_BYTE)
    said = tiny_box.migrate("verify", "--progress", "none")
    assert said.status == 56
    assert "table mail public.message: its 4000 rows differ" in said.errors
    assert said.hint


@pytest.fixture(scope="module")
def rrds(tiny: LegacyAppliance, native_tree: ProgramTree) -> Iterator[Box]:
    """A finished migration of RRDs alone; each test spoils them and puts them back."""
    with cluster.short_directory() as place:
        box = Box(place, tiny.copy_to(place / "old"), native_tree).with_settings(
            source__postgres__data=None, target__postgres__data=None
        )
        box.run()
        subprocess.run(["cp", "--archive", str(box.rrd), str(place / "kept")], check=True)
        equal = box.migrate("verify", "--progress", "none")
        assert equal.status == 0, equal.errors
        yield box


def spoil_double(new: Path) -> str:
    change_bytes(new / "reference-gauge.rrd", -8)
    return "reference-gauge.rrd: "


def spoil_header(new: Path) -> str:
    change_bytes(new / "reference-derive.rrd", HEARTBEAT)
    return "reference-derive.rrd: "


def spoil_mode(new: Path) -> str:
    (new / "reference-gauge.rrd").chmod(0o600)
    return "reference-gauge.rrd: mode"


def lose_file(new: Path) -> str:
    (new / "reference-counter.rrd").unlink()
    return "reference-counter.rrd: file"


def add_file(new: Path) -> str:
    (new / "more.rrd").write_bytes((new / "reference-gauge.rrd").read_bytes())
    return "more.rrd: file"


def cut_file(new: Path) -> str:
    os.truncate(new / "reference-gauge.rrd", 1000)
    return "reference-gauge.rrd: "


def exchange_files(new: Path) -> str:
    first, second = new / "reference-gauge.rrd", new / "reference-counter.rrd"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    return "reference-counter.rrd: "


@pytest.mark.parametrize(
    "spoil",
    [spoil_double, spoil_header, spoil_mode, lose_file, add_file, cut_file, exchange_files],
)
def test_verify_names_an_rrd_that_was_changed_later(
    rrds: Box, spoil: Callable[[Path], str]
) -> None:
    wrong = spoil(rrds.rrd)
    said = rrds.migrate("verify", "--progress", "none")
    shutil.rmtree(rrds.rrd)
    subprocess.run(["cp", "--archive", str(rrds.place / "kept"), str(rrds.rrd)], check=True)
    assert said.status == 56
    assert wrong in said.errors
    assert said.hint
