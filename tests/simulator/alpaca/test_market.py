"""Made-up market data."""

from itertools import islice

import pytest

from proxy.simulator.alpaca import assets, market, moments
from proxy.simulator.alpaca.answers import Refused
from tests.simulator.support import NOON, fields

AAPL, BTC = assets.find("AAPL", NOON), assets.find("BTC/USD", NOON)
DAY = moments.DAY


@pytest.mark.parametrize(
    ("text", "count"), [("1Min", 120), ("15Min", 8), ("1Hour", 2), ("1T", 120), ("1Day", 0), ("2H", 1)]
)
def test_bars_open_at_every_step_while_the_market_is_open(text: str, count: int) -> None:
    """Of two hours of a Tuesday."""
    found = list(market.openings(AAPL, market.frame(text), NOON - 2 * 3600, NOON - 1))

    assert count == len(found)


@pytest.mark.parametrize(("text", "count"), [("1Day", 22), ("1Week", 5), ("1Month", 1)])
def test_longer_bars_open_on_trading_days(text: str, count: int) -> None:
    """Of a month with five Mondays."""
    start = moments.read("2026-03-01T06:00:00Z")

    assert count == len(list(market.openings(AAPL, market.frame(text), start, start + 30 * DAY)))


def test_crypto_is_traded_around_the_clock() -> None:
    """On a Sunday, too."""
    sunday = moments.read("2026-03-01T12:00:00Z")

    assert 3 == len(list(market.openings(BTC, market.frame("1Hour"), sunday, sunday + 7200)))
    assert [] == list(market.openings(AAPL, market.frame("1Min"), sunday, sunday + 7200))


def test_backwards_is_the_same_the_other_way_round() -> None:
    """Over several days."""
    span = NOON - 4 * DAY, NOON
    there = list(market.openings(AAPL, market.frame("1Hour"), *span))

    assert there[::-1] == list(market.openings(AAPL, market.frame("1Hour"), *span, backwards=True))


def test_data_begin_in_2016() -> None:
    """However early the start is."""
    first = next(islice(market.openings(AAPL, market.frame("1Day"), 1e8, NOON), 1))

    assert "2016-01-01" == moments.day(first).isoformat()


@pytest.mark.parametrize("text", ["", "1", "Min", "0Min", "1Year", "100Min", "1min", "-1Day"])
def test_other_steps_are_refused(text: str) -> None:
    """400."""
    with pytest.raises(Refused, match="40010000"):
        market.frame(text)


def test_points_have_the_documented_fields() -> None:
    """Numbers, not texts: this is not the Trading API."""
    assert fields("t o h l c v n vw") == set(market.bar(AAPL, NOON))
    assert fields("t ax ap as bx bp bs c z") == set(market.quote(AAPL, NOON))
    assert fields("t x p s c i z") == set(market.trade(AAPL, NOON))
    assert fields("t p s i tks") == set(market.trade(BTC, NOON))
    assert fields("t a b") == set(market.orderbook(BTC, NOON))
    assert fields("latestTrade latestQuote minuteBar dailyBar prevDailyBar") == set(market.snapshot(AAPL, NOON))
    assert "2026-03-03T17:00:00Z" == market.bar(AAPL, NOON)["t"]


def test_prices_are_the_same_each_time_and_fit_together() -> None:
    """The high is the highest, the ask above the bid."""
    bar, quote = market.bar(AAPL, NOON), market.quote(AAPL, NOON)

    assert bar == market.bar(AAPL, NOON)
    assert float(str(bar["h"])) > float(str(bar["c"])) > float(str(bar["o"])) > float(str(bar["l"]))
    assert float(str(quote["ap"])) > float(str(quote["bp"]))
