"""When an appliance installs by itself, and when it looks."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.release.update.window import Window, is_due

NIGHT = Window.parse("02:00-05:00")
OVER_MIDNIGHT = Window.parse("22:30-04:00")
DAY = datetime(2026, 11, 22)
MINUTES = st.integers(0, 24 * 60 - 1)
WINDOWS = st.builds(Window, MINUTES, MINUTES)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1))


def at(clock: str, day: int = 22) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 11, day, hour, minute)


@pytest.mark.parametrize(
    ("window", "clock", "is_open"),
    [
        (NIGHT, "01:59", False),
        (NIGHT, "02:00", True),
        (NIGHT, "04:59", True),
        (NIGHT, "05:00", False),
        (OVER_MIDNIGHT, "22:29", False),
        (OVER_MIDNIGHT, "22:30", True),
        (OVER_MIDNIGHT, "00:00", True),
        (OVER_MIDNIGHT, "03:59", True),
        (OVER_MIDNIGHT, "04:00", False),
        (Window.parse("00:00-00:00"), "12:34", True),
    ],
)
def test_open(window: Window, clock: str, is_open: bool) -> None:
    assert window.is_open(at(clock)) is is_open


@pytest.mark.parametrize("text", ["", "2:00-5:00", "02:00", "02:00-25:00", "02:60-05:00", "a-b"])
def test_no_window(text: str) -> None:
    with pytest.raises(ValueError, match="two times"):
        Window.parse(text)


@given(WINDOWS)
def test_a_round_trip(window: Window) -> None:
    assert Window.parse(str(window)) == window


@given(WINDOWS, TIMES)
def test_it_opened_within_a_day(window: Window, now: datetime) -> None:
    opened = window.opened(now)
    assert timedelta() <= now - opened < timedelta(days=1, minutes=1)
    assert window.is_open(opened)
    assert (opened.hour * 60 + opened.minute) == window.begin_minute


@given(WINDOWS, TIMES)
def test_it_is_open_as_long_as_it_says(window: Window, now: datetime) -> None:
    begin = window.opened(now)
    minutes = sum(window.is_open(begin + timedelta(minutes=n)) for n in range(24 * 60))
    length = (window.end_minute - window.begin_minute) % (24 * 60)
    assert minutes == (length or 24 * 60)


@pytest.mark.parametrize(
    ("last", "now", "automatic", "due"),
    [
        (None, at("12:00"), False, True),
        (at("11:30"), at("12:00"), False, False),
        (at("12:00", 21), at("12:00"), False, True),
        # The window opened since.
        (at("01:50"), at("02:10"), True, True),
        (at("01:50"), at("02:10"), False, False),
        # In this window it has looked.
        (at("02:10"), at("02:40"), True, False),
        (at("02:10"), at("12:00"), True, False),
        # The clock was set back.
        (at("12:00", 23), at("12:00", 22), False, True),
    ],
)
def test_due(last: datetime | None, now: datetime, automatic: bool, due: bool) -> None:
    assert is_due(NIGHT, now, last, automatic=automatic) is due


@given(WINDOWS, TIMES, st.booleans())
def test_a_box_that_is_on_looks_once_a_day_and_not_all_the_time(
    window: Window, begin: datetime, automatic: bool
) -> None:
    last, looks = begin, 0
    for half_hours in range(1, 7 * 48):
        now = begin + timedelta(minutes=30 * half_hours)
        if is_due(window, now, last, automatic=automatic):
            last, looks = now, looks + 1
    assert 6 <= looks <= 2 * 7 + 2
