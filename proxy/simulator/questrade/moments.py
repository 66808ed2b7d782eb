"""Times as Questrade writes them (Eastern, microseconds, offset) and as clients send them."""

import datetime as dt
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proxy.simulator.questrade.answers import Mistake

try:
    EASTERN: dt.tzinfo = ZoneInfo("America/New_York")
except ZoneInfoNotFoundError:  # pragma: no cover  a container without the time zone database
    EASTERN = dt.timezone(dt.timedelta(hours=-5))

_LONG_FRACTION = re.compile(r"\.[0-9]{7,}")
DAY = 86_400.0


def written(moment: float) -> str:
    """Unix time as `2026-03-03T16:48:34.140000-05:00`."""
    return dt.datetime.fromtimestamp(moment, EASTERN).isoformat(timespec="microseconds")


def read(text: str) -> float:
    """ISO 8601 with an offset as Unix time. Mistake 1002 if malformed or without an offset, 1003 if over-long.

    A `+` that arrived as a blank (an unescaped offset in a query) is malformed here as it is there.
    """
    if _LONG_FRACTION.search(text):
        raise Mistake(1003)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Mistake(1002) from None
    if moment.tzinfo is None or " " in text:
        raise Mistake(1002)
    try:
        return moment.timestamp()
    except OverflowError:
        raise Mistake(1002) from None


def midnight(moment: float, days: int = 0) -> float:
    """The Eastern midnight at or before `moment`, or the one so many days later: a day may have 23 or 25 hours."""
    day = dt.datetime.fromtimestamp(moment, EASTERN).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + dt.timedelta(days=days)).timestamp()


def today(now: float) -> tuple[float, float]:
    """First and last moment of the Eastern day that `now` falls in."""
    return midnight(now), midnight(now, 1) - 1e-6


def span(arguments: dict[str, str], now: float) -> tuple[float, float]:
    """`startTime` and `endTime` of a call, by default all of today. Mistake 1002 if the end is before the start."""
    first, last = today(now)
    start = read(arguments["startTime"]) if "startTime" in arguments else first
    end = read(arguments["endTime"]) if "endTime" in arguments else last
    if end < start:
        raise Mistake(1002)
    return start, end
