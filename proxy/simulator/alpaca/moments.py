"""Times as Alpaca writes them, and when the market is open: 9:30 to 16:00 Eastern on weekdays, holidays or not."""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused

try:
    EASTERN: dt.tzinfo = ZoneInfo("America/New_York")
except ZoneInfoNotFoundError:  # pragma: no cover  a container without the time zone database
    EASTERN = dt.timezone(dt.timedelta(hours=-5))

DAY = 86_400.0
_OPEN, _CLOSE = dt.time(9, 30), dt.time(16)
_FIRST_WEEKEND_DAY = 5
_YEARS = range(1971, 2200)


def written(moment: float) -> str:
    """Unix time as `2021-03-16T18:38:01.942282Z`."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def eastern(moment: float) -> str:
    """Unix time as `2021-03-16T14:38:01-04:00`."""
    return dt.datetime.fromtimestamp(moment, EASTERN).isoformat(timespec="seconds")


def day(moment: float) -> dt.date:
    """The Eastern day that a Unix time falls in."""
    return dt.datetime.fromtimestamp(moment, EASTERN).date()


def read(text: str) -> float:
    """RFC 3339, or a day alone, as Unix time; without an offset it is UTC. Refused with 400 if it is neither."""
    moment = _parsed(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def read_day(text: str) -> dt.date:
    """`YYYY-MM-DD`, or the day of an RFC 3339 time. Refused with 400 if it is neither."""
    return _parsed(text).date()


def _parsed(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise Refused(BAD_REQUEST, "invalid time: it must be RFC 3339 or YYYY-MM-DD")
    return moment


def trades_on(date: dt.date) -> bool:
    return date.weekday() < _FIRST_WEEKEND_DAY


def session(date: dt.date) -> tuple[float, float]:
    """Unix times of open and close."""
    return at(date, _OPEN), at(date, _CLOSE)


def at(date: dt.date, time: dt.time) -> float:
    """An Eastern wall time as Unix time."""
    return dt.datetime.combine(date, time, EASTERN).timestamp()


def days(first: dt.date, last: dt.date, *, backwards: bool = False) -> Iterator[dt.date]:
    """Trading days from `first` to `last`, both included."""
    for number in range((last - first).days + 1):
        date = last - dt.timedelta(days=number) if backwards else first + dt.timedelta(days=number)
        if trades_on(date):
            yield date


def clock(now: float) -> dict[str, object]:
    """`GET /v2/clock`."""
    today = day(now)
    sessions = [session(date) for date in days(today, today + dt.timedelta(days=7))]
    return {
        "timestamp": eastern(now),
        "is_open": any(opens <= now < closes for opens, closes in sessions),
        "next_open": eastern(next(opens for opens, _ in sessions if opens > now)),
        "next_close": eastern(next(closes for _, closes in sessions if closes > now)),
    }


def clocks(now: float) -> dict[str, object]:
    """`GET /v3/clock`: the newer form, by market."""
    times = clock(now)
    opens, closes = times["next_open"], times["next_close"]
    return {
        "clocks": [
            {
                "market": {"mic": "XNYS", "acronym": "NYSE", "name": "NYSE", "timezone": "America/New_York"},
                "timestamp": times["timestamp"],
                "is_market_day": trades_on(day(now)),
                "next_market_open": opens,
                "next_market_close": closes,
                "phase": "core" if times["is_open"] else "closed",
                "phase_until": closes if times["is_open"] else opens,
            }
        ]
    }


def calendar(first: dt.date, last: dt.date) -> list[dict[str, object]]:
    """`GET /v2/calendar`: one row a trading day, at most 30 years of them."""
    last = min(last, first + dt.timedelta(days=30 * 366))
    times = {"open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000"}
    return [
        {"date": date.isoformat(), **times, "settlement_date": _next_day(date).isoformat()}
        for date in days(first, last)
    ]


def _next_day(date: dt.date) -> dt.date:
    return next(days(date + dt.timedelta(days=1), date + dt.timedelta(days=4)))
