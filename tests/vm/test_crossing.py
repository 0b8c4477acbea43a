"""Where every box ends: the newest image under the real boot loader.

How it comes there is test_story.py, in short; `inv test.vm` tells both in full.
"""

from __future__ import annotations

import pytest

from tests.conftest import shown
from tests.vm import boots, crossing
from tests.vm.boots import BOOTS


@pytest.mark.real
def test_current_boots_and_keeps_what_is_its_own(pytestconfig: pytest.Config) -> None:
    with shown(pytestconfig):
        assert boots.tell_boot(BOOTS[-1], crossing.say) == []
