"""The commands of an appliance start without what they do not need."""

import subprocess
import sys

from applianceforge.cli import appliance, entry, main


def test_entry_hands_over_the_commands_of_an_appliance() -> None:
    assert entry._OF_AN_APPLIANCE == appliance.COMMANDS
    assert set(appliance._appliance.commands) == set(appliance.COMMANDS)
    for name in appliance.COMMANDS:
        assert main.applianceforge.commands[name] is appliance._appliance.commands[name]


def test_a_look_at_the_slots_loads_no_client_of_postgresql() -> None:
    program = "import sys; from applianceforge.cli import appliance; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    loaded = said.stdout.decode().split()
    assert "click" in loaded
    assert "psycopg" not in loaded
    assert "applianceforge.migrate.operation" not in loaded
