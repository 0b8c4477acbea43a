"""The smallest appliance, and what a migration of it comes to that nothing cuts."""

import pytest

from tests.conftest import shown
from tests.crash.cases import Reference, refer
from tests.crash.tiny import native, tiny


@pytest.fixture(scope="session")
def reference(pytestconfig: pytest.Config) -> Reference:
    with shown(pytestconfig) as lines:
        return refer(tiny(lines), native(lines))
