"""Times as Tradier writes them."""

import datetime as dt

import pytest

from proxy.simulator.tradier import moments
from proxy.simulator.tradier.answers import Mistake
from tests.simulator.support import NOON


def test_times_are_written_in_two_ways() -> None:
    """With New York's offset in token answers, in UTC elsewhere."""
    assert "2026-03-03T12:00:00-05:00" == moments.issued_at(NOON)
    assert "2026-03-03T17:00:00.500Z" == moments.written(NOON + 0.5)


def test_dates_are_read_with_or_without_a_time() -> None:
    """Anything else is a mistake that names the parameter."""
    assert dt.date(2019, 5, 17) == moments.read("2019-05-17", "start")
    assert dt.date(2019, 5, 17) == moments.read("2019-05-17 09:30", "start")
    with pytest.raises(Mistake, match="start"):
        moments.read("soon", "start")


def test_trading_days_are_monday_to_friday() -> None:
    """At most 400 of them, and none if the end is before the start."""
    monday = dt.date(2026, 3, 2)

    assert 5 == len(moments.trading_days(monday, monday + dt.timedelta(days=6)))
    assert 400 >= len(moments.trading_days(monday, dt.date(9998, 1, 1)))
    assert [] == moments.trading_days(monday, monday - dt.timedelta(days=3))


def test_expirations_are_the_next_fridays() -> None:
    """Four of them, today among them."""
    friday = dt.date(2026, 3, 6)

    assert [friday + dt.timedelta(weeks=number) for number in range(4)] == moments.expirations(friday)
    assert friday == moments.expirations(dt.date(2026, 3, 3))[0]
