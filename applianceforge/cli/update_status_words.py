"""Say in words how far an update is, or how the last one ended: a part of `status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from applianceforge.cli.summary import duration, size
from applianceforge.release.update.status import Seen, UpdateState
from applianceforge.slots.places import Release

_LARGEST_SHOWN = 1e18
_GOES_ON = (
    "  What to do: nothing; the next boot goes on with it, and so does `applianceforge update`."
)


def concerns(found: Seen, release: Release) -> bool:
    """Tell whether the status is about the release that runs, and not an older one's last word."""
    return _named(found.fields.get("from")) == f"{release.version} ({release.architecture.value})"


def lines(found: Seen) -> list[str]:
    """Return what a person reads; nothing if there is nothing to be told."""
    target = _named(found.fields.get("to")) or "a release"
    match found.state:
        case UpdateState.UP_TO_DATE | UpdateState.DONE | UpdateState.FELL_BACK:
            return []
        case UpdateState.AVAILABLE:
            return [f"Release {target} is offered.", "  What to do: applianceforge update"]
        case UpdateState.REFUSED:
            return ["A newer release is offered, but not for this machine as it is.", *_why(found)]
        case UpdateState.WAITING:
            return [f"Release {target} waits.", *_why(found)]
        case UpdateState.ACTIVATED:
            return [
                f"Release {target} is installed and starts next.",
                "  What to do: restart the machine.",
            ]
        case UpdateState.STOPPED:
            return [
                f"The installation of release {target} was stopped.",
                "  What to do: `applianceforge update` goes on with it.",
            ]
        case UpdateState.FAILED:
            return [f"The update{_to(found)} failed.", *_why(found)]
        case UpdateState.INSTALLING if found.cut:
            return [f"The installation of release {target} was cut.", _GOES_ON]
    return [f"Release {target} is being installed; this system goes on.", *_progress(found.fields)]


def _to(found: Seen) -> str:
    target = _named(found.fields.get("to"))
    return f" to release {target}" if target else ""


def _why(found: Seen) -> list[str]:
    result = found.fields.get("result")
    if not isinstance(result, dict):
        return []
    shown = [f"  Why: {result.get('message')}."]
    if result.get("hint"):
        shown.append(f"  What to do: {result.get('hint')}.")
    return shown


def _progress(fields: Mapping[str, Any]) -> list[str]:
    progress = fields.get("progress")
    if not isinstance(progress, dict):
        return []
    done, total, per_s, left_s = (
        _number(progress.get(key)) for key in ("done_bytes", "total_bytes", "bytes_per_s", "left_s")
    )
    amount = size(int(done)) + (f" of {size(int(total))}" if total else "")
    rate = f", {size(int(per_s))}/s" if per_s else ""
    left = f", {duration(left_s)} left" if isinstance(progress.get("left_s"), int | float) else ""
    return [
        f"  step {progress.get('number')} of {progress.get('of')}: {progress.get('title')}",
        f"  {amount}{rate}{left}",
    ]


def _named(release: object) -> str:
    if not isinstance(release, dict):
        return ""
    return f"{release.get('version')} ({release.get('architecture')})"


def _number(value: object) -> float:
    """Return a number of a file that anybody may have written; 0 for what is none to be shown."""
    return value if isinstance(value, int | float) and 0 <= value < _LARGEST_SHOWN else 0
