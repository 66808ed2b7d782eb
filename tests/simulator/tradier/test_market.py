"""What is traded at the simulated Tradier."""

import datetime as dt
from typing import Any

import pytest

from proxy.simulator.tradier import market
from tests.simulator.support import NOON, fields

TODAY = dt.date(2026, 3, 3)
QUOTE = fields(
    "symbol description exch type last change volume open high low close bid ask change_percentage average_volume"
    " last_volume trade_date prevclose week_52_high week_52_low bidsize bidexch bid_date asksize askexch ask_date"
    " root_symbols"
)


def _quotes(symbols: str) -> Any:
    return market.quotes(symbols, greeks=False, now=NOON)["quotes"]


def test_one_quote_is_an_object_and_two_are_a_list() -> None:
    """With the fields of the documented sample."""
    assert QUOTE == _quotes("aapl")["quote"].keys()
    assert ["AAPL", "F"] == [quote["symbol"] for quote in _quotes("AAPL, F")["quote"]]


def test_unknown_symbols_are_listed_beside_the_quotes() -> None:
    """One as a text, several as a list; nothing at all is the string `null`."""
    assert {"unmatched_symbols": {"symbol": "XX"}} == _quotes("XX")
    assert ["XX", "YY"] == _quotes("XX,F,YY")["unmatched_symbols"]["symbol"]
    assert "F" == _quotes("XX,F")["quote"]["symbol"]
    assert "null" == _quotes(",")


def test_history_has_a_record_a_trading_day() -> None:
    """One day is an object, and none is null."""
    monday = dt.date(2026, 3, 2)
    week: Any = market.history("AAPL", monday, monday + dt.timedelta(days=6))

    assert [f"2026-03-0{day}" for day in range(2, 7)] == [each["date"] for each in week["history"]["day"]]
    assert fields("date open high low close volume") == market.history("F", monday, monday)["history"]["day"].keys()  # type: ignore[index]
    assert {"history": None} == market.history("XX", monday, monday)
    assert {"history": None} == market.history("F", dt.date(2026, 3, 7), dt.date(2026, 3, 8))


@pytest.mark.parametrize(("interval", "count"), [("1min", 30), ("5min", 6), ("15min", 2)])
def test_timesales_are_the_first_half_hour(interval: str, count: int) -> None:
    """In steps of the interval; nothing on a day off."""
    found: Any = market.timesales("AAPL", interval, TODAY)["series"]

    assert ("2026-03-03T09:30:00", count) == (found["data"][0]["time"], len(found["data"]))
    assert {"series": None} == market.timesales("AAPL", interval, dt.date(2026, 3, 7))


@pytest.mark.parametrize(
    ("hours", "state", "then"),
    [
        (-5, "premarket", "open"),
        (0, "open", "postmarket"),
        (5, "postmarket", "closed"),
        (9, "closed", "premarket"),
        (96, "closed", "premarket"),
    ],
)
def test_the_clock_follows_new_york(hours: int, state: str, then: str) -> None:
    """From noon of a Tuesday on."""
    found: Any = market.clock(NOON + hours * 3600)["clock"]

    assert (state, then) == (found["state"], found["next_state"])


def test_the_calendar_has_every_day_of_the_month() -> None:
    """Weekends are closed."""
    days: Any = market.calendar(2026, 2)["calendar"]["days"]["day"]  # type: ignore[index]

    assert (28, 20) == (len(days), len([day for day in days if day["status"] == "open"]))


def test_search_looks_at_symbols_and_names() -> None:
    """One hit is an object, none is null."""
    one: Any = market.search("corp")["securities"]
    several: Any = market.search("a")["securities"]

    assert "MSFT" == one["security"]["symbol"]
    assert {"AAPL", "AMZN"} <= {each["symbol"] for each in several["security"]}
    assert {"securities": None} == market.search("nothing like it")


def test_fundamentals_are_a_list_with_an_entry_a_symbol() -> None:
    """As the beta answers them."""
    found: Any = market.fundamentals("ratios", "f, aapl")

    assert ["F", "AAPL"] == [each["request"] for each in found]
    assert ["ratios"] == list(found[0]["results"][0]["tables"])


def test_options_are_found_by_their_name() -> None:
    """And stocks by theirs."""
    contract = market.find("AAPL260306C00208000", TODAY)

    assert contract is not None
    assert contract.symbol == "AAPL260306C00208000"
    assert market.find("AAPL260307C00208000", TODAY) is None
    assert market.find("XX260306C00208000", TODAY) is None
    assert market.find("AAPL", TODAY) is market.STOCKS["AAPL"]
