"""What many tests share: program trees, and the appliance of 32 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from applianceforge.imaging.roottree import Recipe
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system.effects import Effects
from tests.appliance import cluster, trees
from tests.appliance.legacy import SMALL_BYTES, LegacyAppliance, legacy
from tests.appliance.lines import Lines

# How long an example takes says more of the machine than of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@contextmanager
def shown(config: pytest.Config) -> Iterator[Lines]:
    """Let progress through to the terminal: the first build of a tree takes its time."""
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        yield Lines()


def _tree(recipe: Recipe, config: pytest.Config) -> ProgramTree:
    with shown(config) as lines:
        return trees.tree(recipe, Effects(), lines)


@pytest.fixture
def effects() -> Effects:
    return Effects()


@pytest.fixture(scope="session")
def i386_tree(pytestconfig: pytest.Config) -> ProgramTree:
    return _tree(trees.LEGACY, pytestconfig)


@pytest.fixture(scope="session")
def i386_tree_13(pytestconfig: pytest.Config) -> ProgramTree:
    return _tree(trees.LEGACY_13, pytestconfig)


@pytest.fixture(scope="session")
def i386_tree_german(pytestconfig: pytest.Config) -> ProgramTree:
    """Has the locale de_DE.UTF-8, which the native tree lacks."""
    return _tree(trees.LEGACY_GERMAN, pytestconfig)


@pytest.fixture(scope="session")
def native_tree(pytestconfig: pytest.Config) -> ProgramTree:
    return _tree(trees.NATIVE, pytestconfig)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for what servers work on: pytest's own is closed to all but us.

    Its path is short, as a Unix socket's must be.
    """
    with cluster.short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def legacy_small(pytestconfig: pytest.Config) -> LegacyAppliance:
    """The appliance of 5 MB; shared, so a test starts or changes its own copy."""
    with shown(pytestconfig) as lines:
        return legacy(SMALL_BYTES, progress=lines)


@pytest.fixture(scope="session")
def legacy_small_13(pytestconfig: pytest.Config) -> LegacyAppliance:
    """The same of Debian 11's PostgreSQL 13."""
    with shown(pytestconfig) as lines:
        return legacy(SMALL_BYTES, major=13, progress=lines)
