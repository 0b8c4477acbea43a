"""The administrator's answers: read, applied, and on record before they count."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from applianceforge.model.report import Report
from applianceforge.preflight import answer_file, answers, decisions
from applianceforge.preflight.answers import Answers, Decision
from applianceforge.preflight.scan_result import Scan
from applianceforge.system.effects import Effects

_LOG_OF_APPLIANCE = Path("/data/forge/decisions.jsonl")


def read(options: argparse.Namespace) -> Answers:
    """Read the answer file that the options name; no answers if they name none.

    Raises:
        SettingsError: It cannot be read, or has mistakes.
        AccessDeniedError: It may not be read.
    """
    return answer_file.read(str(options.answers), date.today()) if options.answers else Answers()


def applied(
    report: Report, answered: Answers, scans: Sequence[Scan], options: argparse.Namespace
) -> tuple[Report, tuple[Decision, ...]]:
    """Apply the answers; what is not on record in the log does not count.

    Raises:
        ForgeError: The log cannot be written.
    """
    if not options.answers:
        return report, ()
    mended, counted = answers.apply(answered, report, date.today(), scans)
    decisions.record(
        _log(options),
        counted,
        Effects(),
        time_s=time.time(),
        user_id=os.getuid(),
        report=decisions.digest(report),
    )
    return mended, counted


def _log(options: argparse.Namespace) -> Path:
    if options.decisions is not None:
        return Path(options.decisions)
    if _LOG_OF_APPLIANCE.parent.is_dir():
        return _LOG_OF_APPLIANCE
    return Path(f"{options.answers}.decisions.jsonl")
