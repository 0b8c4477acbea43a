"""Kill a migration, resume it, and find the end that an undisturbed one comes to."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from applianceforge.migrate import status
from applianceforge.migrate.inventory import decode
from applianceforge.migrate.postgres.server import find_running
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import AlreadyRunningError, ForgeError
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.appliance.cache import CHECKOUT
from tests.crash.cases import (
    RESUMED,
    Reference,
    begin,
    check_end,
    check_source,
    check_struck,
    check_unpublished,
    cut_and_resume,
    edges,
    ended,
    prepared,
    run,
)
from tests.crash.injector import Blow, kill_in, processes_in

pytestmark = pytest.mark.real

_AT_A_TIME = 2
_SAMPLE = 4
_SEED = 2023
_COMMAND_LINE = "tests.crash.cli_driver"


def side_by_side(cases: list[tuple[object, Callable[[], None]]]) -> None:
    """Run cases two at a time, as each mostly waits, and name all that fail."""

    def attempt(case: Callable[[], None]) -> str:
        try:
            case()
        except AssertionError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        results = list(pool.map(attempt, (case for _, case in cases)))
    failed = [f"{name}: {said}" for (name, _), said in zip(cases, results, strict=True) if said]
    assert not failed, "\n".join(failed)


def test_effects_come_in_the_same_order_every_time(reference: Reference) -> None:
    numbers = [one.number for one in reference.effects]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {one.kind for one in reference.effects} == {"program", "write", "commit"}


def test_killed_at_every_edge_of_a_step(reference: Reference) -> None:
    """All processes die, as when the power goes; every other time the run alone."""
    cases: list[tuple[object, Callable[[], None]]] = []
    for place, number in enumerate(edges(reference.effects)):
        blow = Blow.ALONE if place % 2 else Blow.ALL

        # The whole list takes every cluster's inventory anew; here every third will do.
        def case(number: int = number, blow: Blow = blow, anew: bool = place % 3 == 0) -> None:
            cut_and_resume(reference, number, blow, anew=anew)

        cases.append(((number, blow.value), case))
    side_by_side(cases)


def test_killed_between_the_edges(reference: Reference) -> None:
    between = {one.number for one in reference.effects} - set(edges(reference.effects))
    chosen = random.Random(_SEED).sample(sorted(between), _SAMPLE)

    def case(number: int, blow: Blow) -> Callable[[], None]:
        return lambda: cut_and_resume(reference, number, blow)

    blows = (Blow.ALL, Blow.ALONE)
    side_by_side([((n, blows[i % 2].value), case(n, blows[i % 2])) for i, n in enumerate(chosen)])


def test_killed_twice_in_a_row(reference: Reference) -> None:
    """The second time in what the first one left to do: its own effects are counted anew."""
    last = len(reference.effects)
    side_by_side(
        [
            ("early", lambda: cut_and_resume(reference, last // 3, Blow.ALONE, again=last // 3)),
            ("late", lambda: cut_and_resume(reference, last * 2 // 3, Blow.ALL, again=last // 4)),
        ]
    )


def number_of(reference: Reference, subject: str, step: str) -> int:
    """Return the number of the effect on a subject in a step."""
    found = [one.number for one in reference.effects if one.subject == subject and one.step == step]
    assert found, f"no {subject} in {step}"
    return found[-1]


def test_stopped_through_the_command_line(reference: Reference) -> None:
    """By Ctrl-C and SIGTERM, also at the very moment at which a server was started."""
    servers = number_of(reference, "postgres", "postgres.create")
    chosen = [number_of(reference, "pg_restore", "postgres.load:mail"), servers, 16, 17]

    def case(number: int, blow: Blow) -> Callable[[], None]:
        def stop() -> None:
            with prepared(reference.appliance, reference.native) as place:
                cut = run(place, "cut", number, blow, _COMMAND_LINE)
                assert len(cut.effects) >= number, "it ended before"
                statuses = (130,) if blow is Blow.INTERRUPT else (130, 143)
                assert cut.status in statuses, f"status {cut.status}: {cut.said}"
                assert "stopped" in cut.said
                assert processes_in(place.root) == []
                if Workspace(place.work, "run").journal.exists():
                    assert status.read(place.work, "run").state is status.State.STOPPED
                check_end(reference, place, run(place, RESUMED))
                check_source(place, reference)

        return stop

    blows = (Blow.INTERRUPT, Blow.TERMINATE)
    side_by_side([((n, blows[i % 2].value), case(n, blows[i % 2])) for i, n in enumerate(chosen)])


def test_sigterm_has_a_status_of_its_own(reference: Reference) -> None:
    with prepared(reference.appliance, reference.native) as place:
        assert run(place, "cut", 17, Blow.TERMINATE, _COMMAND_LINE).status == 143


def test_a_server_dies_under_a_step(reference: Reference) -> None:
    """The run says so and ends with a status of its own; the next one goes on."""

    def case(number: int, blow: Blow) -> Callable[[], None]:
        def strike() -> None:
            with prepared(reference.appliance, reference.native) as place:
                cut = run(place, "cut", number, blow)
                assert int((place.root / "cut.killed").read_text()) > 0, "no server was struck"
                assert cut.status in {kind.exit_status for kind in errors()}, cut.said
                assert "Traceback" not in cut.said
                assert cut.said.strip()
                assert processes_in(place.root) == []
                assert status.read(place.work, "run").state is status.State.FAILED
                check_end(reference, place, run(place, RESUMED))
                check_source(place, reference)

        return strike

    places = (
        ("pg_dump", "postgres.inventory", Blow.SOURCE),
        ("pg_dump", "postgres.dump:mail", Blow.SOURCE),
        ("pg_restore", "postgres.load:mail", Blow.TARGET),
        ("pg_dump", "postgres.verify", Blow.TARGET),
    )
    side_by_side(
        [((what, step), case(number_of(reference, what, step), b)) for what, step, b in places]
    )


def errors() -> list[type[ForgeError]]:
    """Return the errors that have an exit status."""
    return ForgeError.__subclasses__()


@pytest.mark.parametrize(
    "left",
    [
        "DROP DATABASE template1",
        # Half dropped, as PostgreSQL notes since 15.4: nobody can connect to it.
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'template1'",
    ],
    ids=["dropped", "half-dropped"],
)
def test_template1_was_dropped_when_the_power_went(reference: Reference, left: str) -> None:
    """A load drops the database first; without template1 no server seems to answer."""
    number = number_of(reference, "pg_restore", "postgres.load:template1")
    with prepared(reference.appliance, reference.native) as place:
        check_struck(reference, place, run(place, "cut", number), number, Blow.ALL)
        staged = place.target.with_name(f".{place.target.name}.staging")
        major = reference.appliance.major
        with (
            cluster.serving(reference.native, major, staged, Effects()) as server,
            server.session("postgres") as session,
        ):
            session.execute(
                "UPDATE pg_database SET datistemplate = false WHERE datname = 'template1'"
            )
            session.execute(left)
        check_end(reference, place, run(place, RESUMED))


def test_a_source_without_the_database_postgres(reference: Reference) -> None:
    """Whose template1 has to be loaded through some other database all the same."""
    with prepared(reference.appliance, reference.native) as place:
        appliance, effects = reference.appliance, Effects()
        with (
            cluster.serving(appliance.tree, appliance.major, place.source, effects) as server,
            server.session("template1") as session,
        ):
            session.execute("DROP DATABASE postgres")
        done = run(place, "all")
        assert done.status == 0, done.said
        content = (Workspace(place.work, "run").inventories / "target.json").read_bytes()
        assert [one.name for one in decode(content).databases] == ["mail", "template1"]


@pytest.mark.parametrize("torn", ["appended", "cut"])
def test_a_torn_last_line_counts_as_unwritten(reference: Reference, torn: str) -> None:
    """Half a line follows the last one, or the last one, `done`, is itself half there."""
    step = "postgres.dump:mail"
    number = max(one.number for one in reference.effects if one.step == step)
    with prepared(reference.appliance, reference.native) as place:
        check_struck(reference, place, run(place, "cut", number), number, Blow.ALL)
        path = Workspace(place.work, "run").journal
        content = path.read_bytes()
        assert content.endswith(b"\n")
        last = content.splitlines(keepends=True)[-1]
        assert b'"done"' in last
        half = last[: len(last) // 2]
        path.write_bytes(
            content + half if torn == "appended" else content.removesuffix(last) + half
        )
        found = status.read(place.work, "run")
        assert found.state is status.State.CRASHED
        assert (step in found.steps_done) == (torn == "appended")
        resumed = run(place, RESUMED)
        check_end(reference, place, resumed)
        assert (step in {one.step for one in resumed.effects}) == (torn == "cut")
        check_source(place, reference)


def test_a_second_run_is_refused_while_the_first_goes_on(reference: Reference) -> None:
    with prepared(reference.appliance, reference.native) as place:
        first = begin(place, "first")
        deadline = time.monotonic() + 60
        while status.read(place.work, "run").state is not status.State.RUNNING:
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.05)
        second = run(place, "second", module=_COMMAND_LINE)
        assert first.poll() is None, "the first ended too early to prove anything"
        assert second.status == AlreadyRunningError.exit_status
        assert str(first.pid) in second.said
        check_end(reference, place, ended(first, place, "first"))


def test_status_says_that_it_crashed(reference: Reference) -> None:
    number = number_of(reference, "pg_restore", "postgres.load:mail")
    with prepared(reference.appliance, reference.native) as place:
        cut = run(place, "cut", number, Blow.ALL, _COMMAND_LINE)
        check_struck(reference, place, cut, number, Blow.ALL)
        words = ("-m", "applianceforge", "migrate", "status", "-c", str(place.settings), "--json")
        said = subprocess.run(
            (sys.executable, *words), cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
        (found,) = json.loads(said.stdout)["operations"]
        assert found["state"] == "crashed"
        assert found["step"] == "postgres.load:mail"


def test_the_injector_kills_no_others(reference: Reference) -> None:
    """Of two servers it strikes only the one that works in the place it is given."""
    with (
        prepared(reference.appliance, reference.native) as one,
        prepared(reference.appliance, reference.native) as other,
    ):
        number = number_of(reference, "pg_dump", "postgres.dump:mail")
        runs = [(place, begin(place, "cut", number, Blow.ALONE)) for place in (one, other)]
        for place, process in runs:
            assert ended(process, place, "cut").status == -signal.SIGKILL
            check_unpublished(place)
        assert kill_in(one.root) > 0
        assert processes_in(one.root) == []
        assert find_running(other.source) is not None


def test_a_case_fails_where_nothing_was_cut(reference: Reference) -> None:
    """The proof that a blow fell is itself able to fail."""
    with prepared(reference.appliance, reference.native) as place:
        never = len(reference.effects) + 1000
        ended_well = run(place, "cut", never)
        assert ended_well.status == 0
        with pytest.raises(AssertionError, match="not cut there"):
            check_struck(reference, place, ended_well, never, Blow.ALL)
