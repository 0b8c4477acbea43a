"""The command as a person meets it: help, errors, statuses, completion."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from applianceforge.cli.ending import tell
from applianceforge.cli.main import applianceforge
from applianceforge.model.errors import ForgeError, SettingsError

COMMAND = (sys.executable, "-m", "applianceforge")


def call(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env=environment, check=False
    )


def commands(group: click.Group, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*way, name))
        if isinstance(command, click.Group):
            found += commands(command, (*way, name))
    return found


@pytest.mark.parametrize("way", commands(applianceforge))
def test_every_command_explains_itself(way: tuple[str, ...]) -> None:
    command: click.Command = applianceforge
    for name in way:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    assert len(command.help.splitlines()[0]) > 20
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_help_says_where_to_start() -> None:
    done = call("--help")
    assert done.returncode == 0
    assert "applianceforge migrate run -c FILE" in done.stdout


def test_a_wrong_command_line_is_status_2() -> None:
    done = call("migrate", "rum")
    assert done.returncode == 2
    assert "rum" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_says_what_and_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "box.toml"
    done = call("migrate", "plan", "-c", str(missing))
    assert done.returncode == SettingsError.exit_status
    assert str(missing) in done.stderr
    assert "What to do:" in done.stderr
    assert "Traceback" not in done.stderr


def test_evidence_is_shown_but_not_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = tuple(f"line {number}" for number in range(50))
    tell(SettingsError("wrong", hint="mend it", evidence=lines))
    said = capsys.readouterr().err
    assert "line 0" in said
    assert "and 30 more" in said


def test_the_example_is_a_settings_file(tmp_path: Path) -> None:
    done = call("migrate", "settings")
    assert done.returncode == 0
    example = tmp_path / "box.toml"
    example.write_text(done.stdout)
    again = call("migrate", "status", "-c", str(example))
    assert (again.returncode, again.stdout) == (0, "Nothing was begun yet.\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    done = call(_APPLIANCEFORGE_COMPLETE=f"{shell}_source")
    assert "applianceforge" in done.stdout


def test_a_reader_that_goes_away_is_no_failure() -> None:
    with subprocess.Popen(
        [*COMMAND, "migrate", "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_every_error_has_a_status_of_its_own_kind() -> None:
    assert not hasattr(ForgeError, "exit_status")
