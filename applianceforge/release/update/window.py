"""When an appliance may install by itself, and when it looks for releases by itself.

A window is two times of the day, such as `02:00-05:00`, in the appliance's own time zone. It may
reach over midnight. `00:00-00:00` is always open.

The timer starts the update more often than it looks: a window may be short, and a server that could
not be reached is asked again soon. So it looks

- when the last look that had an answer is a day old, less some hours, so that a daily look does not
  slip later every day;
- when it may install, and the last look was before this window opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_PATTERN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DAY_MINUTES = 24 * 60
_LOOK_EVERY = timedelta(hours=20)


@dataclass(frozen=True)
class Window:
    """Two times of the day, in minutes since midnight.

    Attributes:
        begin_minute: From then on.
        end_minute: Up to then, and not in that minute; the same as `begin_minute` is always.
    """

    begin_minute: int = 2 * 60
    end_minute: int = 5 * 60

    @classmethod
    def parse(cls, text: str) -> Window:
        """Return the window that a text names.

        Raises:
            ValueError: It names none.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError('must be two times of the day, such as "02:00-05:00"')
        begin_hour, begin, end_hour, end = map(int, match.groups())
        return cls(begin_hour * 60 + begin, end_hour * 60 + end)

    def __str__(self) -> str:
        return f"{_clock(self.begin_minute)}-{_clock(self.end_minute)}"

    @property
    def always(self) -> bool:
        """Return whether it never shuts."""
        return self.begin_minute == self.end_minute

    def is_open(self, now: datetime) -> bool:
        """Tell whether it is open at a local time."""
        if self.always:
            return True
        past = (_minute(now) - self.begin_minute) % _DAY_MINUTES
        return past < (self.end_minute - self.begin_minute) % _DAY_MINUTES

    def opened(self, now: datetime) -> datetime:
        """Return when it opened last, at or before a local time."""
        past = (_minute(now) - self.begin_minute) % _DAY_MINUTES
        return now.replace(second=0, microsecond=0) - timedelta(minutes=past)


def is_due(window: Window, now: datetime, last: datetime | None, *, automatic: bool) -> bool:
    """Tell whether the timer's run is to look for releases.

    Args:
        window: When it may install.
        now: Local time.
        last: When it looked last and had an answer, local time; None if never.
        automatic: Whether it may install at all.
    """
    # A clock that was set back must not keep it from looking.
    if last is None or last > now or now - last >= _LOOK_EVERY:
        return True
    return automatic and window.is_open(now) and last < window.opened(now)


def _minute(now: datetime) -> int:
    return now.hour * 60 + now.minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
