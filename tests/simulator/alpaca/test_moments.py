"""Times, days and the market's clock."""

import datetime as dt
from typing import Any

import pytest

from proxy.simulator.alpaca import moments
from proxy.simulator.alpaca.answers import Refused
from tests.simulator.support import NOON

TUESDAY = dt.date(2026, 3, 3)


def test_times_are_written_in_utc_and_eastern() -> None:
    """Microseconds and a Z for records, an offset for the clock."""
    assert "2026-03-03T17:00:00.250000Z" == moments.written(NOON + 0.25)
    assert "2026-03-03T12:00:00-05:00" == moments.eastern(NOON)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-03T12:00:00-05:00", NOON),
        ("2026-03-03T17:00:00Z", NOON),
        ("2026-03-03T17:00:00", NOON),
        ("2026-03-03", NOON - 17 * 3600),
    ],
)
def test_times_are_read_with_and_without_an_offset(text: str, moment: float) -> None:
    """Without one it is UTC."""
    assert moment == moments.read(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0001-01-01", "9999-12-31T23:59:59Z", "1"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Times that no calendar here covers too."""
    with pytest.raises(Refused, match="40010000"):
        moments.read(text)
    with pytest.raises(Refused):
        moments.read_day(text)


def test_the_clock_tells_when_the_market_opens_and_closes() -> None:
    """On a Tuesday at noon it is open until four."""
    assert {
        "timestamp": "2026-03-03T12:00:00-05:00",
        "is_open": True,
        "next_open": "2026-03-04T09:30:00-05:00",
        "next_close": "2026-03-03T16:00:00-05:00",
    } == moments.clock(NOON)


def test_the_market_is_closed_at_the_weekend() -> None:
    """From Saturday the next opening is on Monday."""
    saturday = moments.clock(NOON + 4 * moments.DAY)

    assert (False, "2026-03-09T09:30:00-04:00") == (saturday["is_open"], saturday["next_open"])


def test_the_newer_clock_has_a_phase() -> None:
    """One row a market."""
    found: Any = moments.clocks(NOON)
    (row,) = found["clocks"]

    assert ("core", True, "2026-03-03T16:00:00-05:00") == (row["phase"], row["is_market_day"], row["phase_until"])


def test_the_calendar_has_trading_days_only() -> None:
    """A week has five, and each settles on the next one."""
    rows = moments.calendar(TUESDAY, TUESDAY + dt.timedelta(days=6))

    assert ["03", "04", "05", "06", "09"] == [str(row["date"])[-2:] for row in rows]
    assert ("09:30", "16:00", "2026-03-09") == (rows[3]["open"], rows[3]["close"], rows[3]["settlement_date"])


def test_days_run_both_ways() -> None:
    """Backwards they are the same days."""
    forwards = list(moments.days(TUESDAY, TUESDAY + dt.timedelta(days=9)))

    assert forwards == list(moments.days(TUESDAY, TUESDAY + dt.timedelta(days=9), backwards=True))[::-1]


def test_a_session_lasts_six_and_a_half_hours() -> None:
    """From 9:30 to 16:00."""
    opens, closes = moments.session(TUESDAY)

    assert 6.5 * 3600 == closes - opens
    assert TUESDAY == moments.day(opens)
