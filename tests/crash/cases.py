"""One case: a migration that is cut, resumed, and compared with one that was not."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.migrate import journal, outcome, status
from applianceforge.migrate.inventory import ClusterInventory, decode
from applianceforge.migrate.postgres.census import Census
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.server import find_running
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.appliance import cluster
from tests.appliance.cache import CHECKOUT
from tests.appliance.legacy import LegacyAppliance
from tests.crash.injector import Blow, Place, Recorded, kill_in, processes_in, read_record

PATIENCE_S = 120.0
RESUMED = "resumed"
_SETTINGS = """schema = 1
[work]
directory = "{place.work}"
[source]
tree = "{old}"
[source.postgres]
data = "{place.source}"
[source.rrd]
directory = "{place.old}/rrd"
[target]
tree = "{new}"
[target.postgres]
data = "{place.target}"
[target.rrd]
directory = "{place.target_rrds}"
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended, what it said, and the effects that it recorded."""

    status: int
    said: str
    effects: tuple[Recorded, ...]


@dataclass(frozen=True)
class File:
    """What must not change of an RRD."""

    content: bytes
    mode: int
    uid: int
    mtime_ns: int


@dataclass(frozen=True)
class Reference:
    """What a run that nothing cut came to.

    Attributes:
        effects: All of them.
        source: The inventory of the source.
        target: The inventory of the target.
        old_rrds: The RRDs of the source, by their path below its directory.
        new_rrds: Those of the target.
        proofs: What was proved.
    """

    appliance: LegacyAppliance
    native: ProgramTree
    effects: tuple[Recorded, ...]
    source: ClusterInventory
    target: ClusterInventory
    old_rrds: dict[str, File]
    new_rrds: dict[str, File]
    proofs: dict[str, int]


@contextmanager
def prepared(appliance: LegacyAppliance, native: ProgramTree) -> Iterator[Place]:
    """Make a place with a copy of an appliance; whatever a run leaves there ends with the block."""
    with cluster.short_directory() as root:
        place = Place(root)
        appliance.copy_to(place.old)
        place.settings.write_text(
            _SETTINGS.format(place=place, old=appliance.tree.root, new=native.root)
        )
        try:
            yield place
        finally:
            kill_in(root)


def begin(
    place: Place,
    name: str,
    number: int = 0,
    blow: Blow = Blow.ALL,
    module: str = "tests.crash.driver",
) -> subprocess.Popen[str]:
    """Start a run of a place.

    Args:
        place: Made by `prepared`.
        name: Of its record.
        number: After which effect it is struck; 0 is never.
        blow: How.
        module: What is run: the operation itself, or the command line.
    """
    words = (sys.executable, "-m", module, str(place.root), str(place.root / name))
    with open(place.root / f"{name}.err", "w") as said:
        return subprocess.Popen(
            (*words, str(number), blow.value),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def ended(process: subprocess.Popen[str], place: Place, name: str) -> Ended:
    """Wait for the end of a run."""
    try:
        result = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{name} did not end within {PATIENCE_S:.0f} s") from None
    said = (place.root / f"{name}.err").read_text(errors="replace")
    return Ended(result, said, read_record(place.root / name))


def run(
    place: Place,
    name: str,
    number: int = 0,
    blow: Blow = Blow.ALL,
    module: str = "tests.crash.driver",
) -> Ended:
    """Run a migration to its end, however it comes; see `begin`."""
    return ended(begin(place, name, number, blow, module), place, name)


def rrds_of(directory: Path) -> dict[str, File]:
    """Return all files below a directory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            one = path.stat()
            name = str(path.relative_to(directory))
            found[name] = File(path.read_bytes(), one.st_mode, one.st_uid, one.st_mtime_ns)
    return found


def census(appliance: LegacyAppliance, native: ProgramTree, place: Place) -> ClusterInventory:
    """Take the inventory of a place's source, with its own server."""
    effects = Effects()
    launchers = native.launchers(appliance.major, place.root / "census", effects)
    dumper = Dumper(native, appliance.major, launchers, place.root / "census.log")
    with cluster.serving(appliance.tree, appliance.major, place.source, effects) as server:
        with server.session("postgres") as session:
            names = session.rows("SELECT datname::text FROM pg_database WHERE datallowconn")
        counter = Counter("census", NoProgress())
        return Census(server, dumper, 32, 2, counter).take([row[0] for row in names])


def refer(appliance: LegacyAppliance, native: ProgramTree) -> Reference:
    """Run a migration that nothing cuts, and note what it came to."""
    with prepared(appliance, native) as place:
        done = run(place, "reference")
        assert done.status == 0, done.said
        assert processes_in(place.root) == []
        work = Workspace(place.work, "run")
        reference = Reference(
            appliance,
            native,
            done.effects,
            decode((work.inventories / "source.json").read_bytes()),
            decode((work.inventories / "target.json").read_bytes()),
            rrds_of(appliance.rrd),
            rrds_of(place.target_rrds),
            dict(outcome.decode(work.outcome.read_bytes()).proofs),
        )
        check_source(place, reference)
        return reference


def check_struck(reference: Reference, place: Place, cut: Ended, number: int, blow: Blow) -> None:
    """Prove that the blow fell where it should have, and that nothing unproved was published."""
    assert [one.number for one in cut.effects][-1:] == [number], "the run was not cut there"
    expected = reference.effects[number - 1]
    same = cut.effects[-1].kind, cut.effects[-1].step
    assert same == (expected.kind, expected.step), f"{cut.effects[-1]} instead of {expected}"
    assert cut.status == -signal.SIGKILL, f"status {cut.status}: {cut.said}"
    if blow is Blow.ALL:
        wait_until_quiet(place)
    check_unpublished(place)


def wait_until_quiet(place: Place) -> None:
    """Wait for the end of who struck the blow: it ends at once, but after the run."""
    deadline = time.monotonic() + 5
    while left := processes_in(place.root):
        assert time.monotonic() < deadline, f"processes {left} outlived the blow"
        time.sleep(0.005)


def check_unpublished(place: Place) -> None:
    """Prove that no new data has its final name unless all was proved; status knows of a crash."""
    work = Workspace(place.work, "run")
    entries = journal.decode(work.journal.read_bytes())[0] if work.journal.exists() else ()
    done = {one.step for one in entries if one.event is journal.Event.DONE}
    proved = {"postgres.verify", "rrd.verify"} <= done
    for path in (place.target, place.target_rrds):
        assert proved or not path.exists(), f"{path.name} was published before it was proved"
    if entries:
        published = entries[-1].event is journal.Event.PUBLISHED
        wanted = status.State.PUBLISHED if published else status.State.CRASHED
        found = status.read(place.work, "run").state
        assert found is wanted, f"status says {found} instead of {wanted}"


def check_end(reference: Reference, place: Place, resumed: Ended) -> None:
    """Prove that a resumed run came to the same end, and left nothing behind but that."""
    assert resumed.status == 0, f"status {resumed.status}: {resumed.said}"
    left = processes_in(place.root)
    assert left == [], f"processes {left} were left behind"
    work = Workspace(place.work, "run")
    found = decode((work.inventories / "target.json").read_bytes())
    assert found == reference.target, "the target is another"
    assert rrds_of(place.target_rrds) == reference.new_rrds, "the new RRDs are others"
    result = outcome.decode(work.outcome.read_bytes())
    assert dict(result.proofs) == reference.proofs
    assert status.read(place.work, "run").state is status.State.PUBLISHED
    for final in (place.target, place.target_rrds):
        assert not staging(final).exists()
    assert not any((work.archive / "databases").iterdir()), "a dump was left behind"


def check_source(place: Place, reference: Reference, *, anew: bool = True) -> None:
    """Prove that the source is as it was: its RRDs to the byte, its cluster by its content.

    Args:
        anew: Count and digest the cluster again, with its own server, which takes a second;
            otherwise the inventory that the run took must do.
    """
    assert rrds_of(place.old / "rrd") == reference.old_rrds, "RRDs of the source were changed"
    work = Workspace(place.work, "run")
    assert decode((work.inventories / "source.json").read_bytes()) == reference.source
    assert find_running(place.source) is None
    if anew:
        assert census(reference.appliance, reference.native, place) == reference.source


def cut_and_resume(
    reference: Reference, number: int, blow: Blow, again: int = 0, *, anew: bool = True
) -> None:
    """Cut a run after an effect, perhaps cut the next one too, resume, and compare.

    Args:
        reference: The run that nothing cut.
        number: After which effect.
        blow: ALL or ALONE.
        again: After which effect of the second run; 0 is none.
        anew: See `check_source`.

    Raises:
        AssertionError: Something is not as it must be, or the run was not cut at all.
    """
    with prepared(reference.appliance, reference.native) as place:
        check_struck(reference, place, run(place, "cut", number, blow), number, blow)
        if again:
            second = run(place, "again", again, blow)
            assert second.status == -signal.SIGKILL, f"status {second.status}: {second.said}"
            assert second.effects[-1].number == again
            if blow is Blow.ALL:
                wait_until_quiet(place)
            check_unpublished(place)
        check_end(reference, place, run(place, RESUMED))
        check_source(place, reference, anew=anew)


def edges(effects: tuple[Recorded, ...]) -> list[int]:
    """Return the numbers of each step's first and last effect, and of those of the whole run."""
    found = {1, len(effects)}
    for key in {one.step for one in effects}:
        numbers = [one.number for one in effects if one.step == key]
        # The very first is the line that says `begun`: cutting there is as cutting before it.
        found |= {numbers[min(1, len(numbers) - 1)], numbers[-1]}
    return sorted(found)
