"""Attacks and faults, through trust and source and over real HTTP: each refused, none lasting."""

from pathlib import Path

import pytest

from applianceforge.model.errors import ForgeError, exit_status_of
from tests.release.attacked import DAY_S, MOST_BYTES, World, plain_source_of, source_of, world
from tests.release.attacks import CASES, Case


def _see_it_well(here: World) -> None:
    with plain_source_of(here) as source:
        here.update(source)
    here.server.asked.clear()


def _prove_that_it_happened(case: Case, here: World) -> None:
    if case.kind is not None:
        assert here.server.happened(case.kind) >= 1
    asked = here.server.asked
    for path in here.touched:
        assert path in asked, f"{path} was not asked for"
    if not case.asks:
        assert not asked
    else:
        assert asked


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_attack(case: Case, tmp_path: Path) -> None:
    with world(tmp_path, hashes=case.hashes, threshold=case.threshold) as here:
        if not case.fresh:
            _see_it_well(here)
        kept = _kept(here)
        case.arrange(here)
        with source_of(here) as source, pytest.raises(case.error) as caught:
            here.update(source)
        error = caught.value
        assert type(error) is case.error or issubclass(type(error), case.error)
        assert exit_status_of(error) == case.error.exit_status
        assert case.says in error.message
        assert error.hint
        assert case.hint in error.hint
        assert error.message.isprintable()
        assert source.received_bytes <= MOST_BYTES
        _prove_that_it_happened(case, here)
        if case.recovers:
            _recover(here)
        elif kept:
            assert _kept(here) >= kept


def _kept(here: World) -> set[str]:
    return {str(one.relative_to(here.cache)) for one in here.cache.rglob("*")}


def _recover(here: World) -> None:
    """The true repository, a little later, is trusted as if nothing had been."""
    here.server.stop()
    here.server.faults()
    here.server.directory = here.repository.directory
    here.server.asked.clear()
    here.server.start()
    here.now_s = here.now_s if here.now_s < 0 else here.repository.now.timestamp() + DAY_S
    for _ in range(10):
        here.repository.publish()
    with plain_source_of(here) as source:
        here.update(source)
    assert "metadata/timestamp.json" in here.server.asked


def test_there_are_enough_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


def test_errors_have_statuses_of_their_own() -> None:
    kinds = {case.error for case in CASES}
    assert len({kind.exit_status for kind in kinds}) == len(kinds)
    assert all(issubclass(kind, ForgeError) for kind in kinds)
