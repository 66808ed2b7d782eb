"""Lengths and points of time in words, the same on the terminal and on the page."""

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(seconds: float) -> str:
    """A length of time in at most two units: `12 s`, `24m`, `3h12m`, `2d4h`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        hours, minutes = divmod(whole // _MINUTE, 60)
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(whole // _HOUR, 24)
    return f"{days}d{hours}h"


def ago(moment: float | None, now: float) -> str:
    """`12 s ago`, or `never`. Both are Unix seconds."""
    return "never" if moment is None else f"{span(now - moment)} ago"


def clock_time(moment: float) -> str:
    """A moment (Unix seconds) in the person's own time zone, which is named: `2026-11-21 09:14 EST`."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def daytime(moment: float) -> str:
    """The same without the day and the zone, to the second: `09:14:05`."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%H:%M:%S")


def zone(moment: float) -> str:
    """The person's own time zone at that moment (Unix seconds): `EST`."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Z")
