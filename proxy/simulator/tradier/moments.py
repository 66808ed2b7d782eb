"""Times as Tradier writes them, and the trading days of its calendar."""

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proxy.simulator.tradier.answers import Mistake

try:
    EASTERN: dt.tzinfo = ZoneInfo("America/New_York")
except ZoneInfoNotFoundError:  # pragma: no cover  a container without the time zone database
    EASTERN = dt.timezone(dt.timedelta(hours=-5))

_FRIDAY, _SATURDAY = 4, 5
_WEEK = dt.timedelta(days=7)


def issued_at(moment: float) -> str:
    """Unix time as `2014-05-28T09:33:35-04:00`."""
    return dt.datetime.fromtimestamp(moment, EASTERN).isoformat(timespec="seconds")


def written(moment: float) -> str:
    """Unix time as `2018-06-01T12:02:29.682Z`."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def eastern(moment: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, EASTERN)


def read(text: str, name: str) -> dt.date:
    """`2019-05-17`, or the date of `2019-05-17 09:30`. Mistake if it is neither."""
    try:
        return dt.datetime.fromisoformat(text.strip()).date()
    except ValueError:
        raise Mistake(f"Invalid parameter, {name}: not a date") from None


def is_trading_day(day: dt.date) -> bool:
    """Monday to Friday: there are no holidays here."""
    return day.weekday() < _SATURDAY


def trading_days(first: dt.date, last: dt.date) -> list[dt.date]:
    """The trading days from `first` to `last`, 400 at most."""
    days = (first + dt.timedelta(days=number) for number in range(min((last - first).days, 560) + 1))
    return [day for day in days if is_trading_day(day)][:400]


def expirations(today: dt.date) -> list[dt.date]:
    """The next four Fridays, today among them."""
    first = today + dt.timedelta(days=(_FRIDAY - today.weekday()) % 7)
    return [first + number * _WEEK for number in range(4)]
