"""All three images under the real boot loader: the crossing, the refusal, and where they end.

The short form of what `inv test.vm` tells in full.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import shown
from tests.vm import boots, crossing
from tests.vm.boots import BOOTS


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the prepared disk is kept; whichever test is first makes it."""
    return tmp_path_factory.mktemp("crossing") / "prepared"


@pytest.mark.real
@pytest.mark.parametrize("scene", crossing.SHORT)
def test_crossing(scene: str, prepared: Path, pytestconfig: pytest.Config) -> None:
    with shown(pytestconfig):
        crossing.run(scene, place=prepared)


@pytest.mark.real
def test_current_boots_and_keeps_what_is_its_own(pytestconfig: pytest.Config) -> None:
    with shown(pytestconfig):
        assert boots.tell_boot(BOOTS[-1], crossing.say) == []
