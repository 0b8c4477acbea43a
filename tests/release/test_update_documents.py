"""What docs/updating.md says is so."""

from __future__ import annotations

import re
from dataclasses import fields

from applianceforge.cli.update import update_command
from applianceforge.model import errors
from applianceforge.release.update.intent import MOST_ATTEMPTS, MOST_DAYS
from applianceforge.release.update.settings import UpdateSettings
from applianceforge.release.update.window import Window
from tests.appliance.cache import CHECKOUT

TEXT = (CHECKOUT / "docs/updating.md").read_text()
UNITS = CHECKOUT / "images/overlay-update/usr/lib/systemd/system"


def test_every_option_is_told() -> None:
    for parameter in update_command.params:
        for option in parameter.opts:
            told = f"`{option}" in TEXT or option in ("--unattended", "--resume", "--root")
            assert told, option


def test_every_setting_is_told_with_its_default() -> None:
    for one in fields(UpdateSettings):
        assert f"| `{one.name}` |" in TEXT
    assert f'| `window` | `"{Window()}"` |' in TEXT


def test_the_bounds() -> None:
    assert f"after {MOST_ATTEMPTS} attempts" in TEXT
    assert f"after {MOST_DAYS} days" in TEXT


def test_every_named_error_of_an_update_is_told() -> None:
    told = {
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) \|", TEXT, re.MULTILINE)
        for number in row.split(",")
    }
    kinds = (
        errors.SettingsError,
        errors.DiskFullError,
        errors.AccessDeniedError,
        errors.AlreadyRunningError,
        errors.RetentionError,
        errors.BootDiskError,
        errors.BootEnvironmentError,
        errors.SlotError,
        errors.ReadBackError,
        errors.NetworkError,
        errors.ExpiredError,
        errors.SignatureError,
        errors.RollbackError,
        errors.WrongBundleError,
        errors.PayloadError,
        errors.WrongClockError,
        errors.NoWayError,
        errors.ServerAnswerError,
        errors.NotConfirmedError,
    )
    assert {kind.exit_status for kind in kinds} <= told
    assert {20, 21, 22, 23, 24, 30, 130, 143} <= told


def test_the_units_start_what_there_is() -> None:
    options = {option for parameter in update_command.params for option in parameter.opts}
    commands = re.findall(
        r"^ExecStart=/usr/bin/env applianceforge update (.*)$",
        "\n".join(path.read_text() for path in sorted(UNITS.iterdir())),
        re.MULTILINE,
    )
    assert len(commands) == 2
    for words in commands:
        assert {word for word in words.split() if word.startswith("--")} <= options


def test_only_refusals_and_waiting_are_no_failure_of_the_timer() -> None:
    text = (UNITS / "forge-update.service").read_text()
    match = re.search(r"^SuccessExitStatus=(.*)$", text, re.MULTILINE)
    assert match is not None
    statuses = {int(word) for word in match[1].split()}
    for kind in (errors.SignatureError, errors.RollbackError, errors.ReadBackError):
        assert kind.exit_status not in statuses
