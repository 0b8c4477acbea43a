"""Judge this machine's clock, of which the expiry of metadata depends: pure rules.

A clock that is wrong must be told as such: with one that stands too early, metadata that has
expired would count as good, and certificates are not valid yet; with one that is far ahead,
everything has expired, and a message that says only this sends people in the wrong direction.
"""

from __future__ import annotations

from datetime import UTC, datetime

from applianceforge.model.errors import WrongClockError

_DAY_S = 86_400.0
# No release is installed that long after it was built; an RTC that lost its battery may say 2099.
_LONGEST_LIFE_S = 30 * 365.25 * _DAY_S
_HINT = (
    "set the clock (timedatectl set-time 'YYYY-MM-DD HH:MM:SS', in UTC: date -u), or let the system"
    " reach a time server; then run the same command again"
)


def shown(seconds: float) -> str:
    """Return a time as messages have it: date and minute in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


def check(now_s: float, built_s: float) -> None:
    """Refuse a clock that cannot be right.

    Args:
        now_s: What it says, seconds since 1970.
        built_s: When the system that runs was built; 0 if that is not known.

    Raises:
        WrongClockError: It stands before the system was built, or decades after.
    """
    if built_s <= 0:
        return
    if now_s < built_s:
        raise WrongClockError(
            f"the clock says {shown(now_s)}, but this system was built later, {shown(built_s)}",
            hint=_HINT,
        )
    if now_s > built_s + _LONGEST_LIFE_S:
        raise WrongClockError(
            f"the clock says {shown(now_s)}, which is decades after this system was built,"
            f" {shown(built_s)}",
            hint=_HINT,
        )


def doubt(now_s: float, expired_s: float, server_s: float | None) -> str:
    """Return what to say of the clock where metadata has expired.

    The server's own time is a hint for a person and no more: whoever holds back newer metadata can
    say any time, so following it would let old metadata count as good.

    Args:
        now_s: What our clock says.
        expired_s: When the metadata expired.
        server_s: What the server says; None if it says nothing.
    """
    advice = f"first compare this system's clock, {shown(now_s)}, with a watch"
    if server_s is not None and server_s < expired_s and now_s - server_s > _DAY_S:
        advice += (
            f" (the server says {shown(server_s)}, which proves nothing): it seems to be far ahead"
        )
    return advice
