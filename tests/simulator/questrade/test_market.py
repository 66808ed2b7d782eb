"""Symbols, quotes, options, candles."""

import pytest

from proxy.simulator.questrade import market
from proxy.simulator.questrade.answers import Mistake
from tests.simulator.support import NOON, fields

AAPL = market.SYMBOLS[8049]

SYMBOL_FIELDS = fields(
    """
    symbol symbolId prevDayClosePrice highPrice52 lowPrice52 averageVol3Months averageVol20Days
    outstandingShares eps pe dividend yield exDate marketCap tradeUnit optionType optionDurationType
    optionRoot optionContractDeliverables optionExerciseType listingExchange description securityType
    optionExpiryDate dividendDate optionStrikePrice isTradable isQuotable hasOptions currency minTicks
    industrySector industryGroup industrySubgroup
    """
)
QUOTE_FIELDS = fields(
    """
    symbol symbolId tier bidPrice bidSize askPrice askSize lastTradePriceTrHrs lastTradePrice
    lastTradeSize lastTradeTick lastTradeTime volume openPrice highPrice lowPrice delay isHalted high52w
    low52w VWAP
    """
)
OPTION_FIELDS = fields(
    """
    underlying underlyingId symbol symbolId bidPrice bidSize askPrice askSize lastTradePriceTrHrs
    lastTradePrice lastTradeSize lastTradeTick lastTradeTime volume openPrice highPrice lowPrice
    volatility delta gamma theta vega rho openInterest delay isHalted VWAP
    """
)


def test_records_have_every_field_of_a_live_answer() -> None:
    """Symbols, quotes and option quotes; `delay` is an integer, as live."""
    assert SYMBOL_FIELDS == market.record(AAPL).keys()
    assert QUOTE_FIELDS == market.quote(AAPL).keys()
    assert OPTION_FIELDS == market.options_by_id([24753669])[0].keys()
    assert type(market.quote(AAPL)["delay"]) is int


def test_search_is_by_prefix_in_any_case_from_an_offset() -> None:
    """Results come in the order of their names."""
    assert ["AAPL"] == [found["symbol"] for found in market.search("aa", 0)]
    assert ["TD.TO", "VFV.TO"] == [found["symbol"] for found in market.search("", 3)]
    assert [] == market.search("ZZZ", 0)


def test_the_option_chain_names_ids_that_can_be_quoted() -> None:
    """Each strike has a call and a put; a symbol without options has an empty chain."""
    (chain,) = market.option_chain(AAPL)
    assert {"expiryDate", "description", "listingExchange", "optionExerciseType", "chainPerRoot"} == chain.keys()
    roots = chain["chainPerRoot"]
    assert isinstance(roots, list)
    ids = [strike[name] for strike in roots[0]["chainPerStrikePrice"] for name in ("callSymbolId", "putSymbolId")]

    assert 4 == len(market.options_by_id(ids))
    assert [] == market.option_chain(market.SYMBOLS[38526])


def test_options_are_filtered_by_type_strike_and_day() -> None:
    """What does not fit is left out; another day has none."""
    day = "2030-01-18T00:00:00.000000-05:00"

    assert [24753669] == [option["symbolId"] for option in market.options_by_filter(8049, day, "Call", 200, 235)]
    assert 4 == len(market.options_by_filter(8049, day, None, 0, float("inf")))
    assert [] == market.options_by_filter(8049, "2030-01-19", None, 0, float("inf"))
    assert [] == market.options_by_filter(27426, day, None, 0, float("inf"))


def test_candles_cover_the_span_and_stop_at_two_thousand() -> None:
    """The same question has the same answer, and never more candles than Questrade gives."""
    hour = market.candles(AAPL, NOON, NOON + 3600, "OneMinute")

    assert 60 == len(hour)
    assert {"start", "end", "low", "high", "open", "close", "volume", "VWAP"} == hour[0].keys()
    assert "2026-03-03T12:00:00.000000-05:00" == hour[0]["start"]
    assert hour == market.candles(AAPL, NOON, NOON + 3600, "OneMinute")
    assert market.MAX_CANDLES == len(market.candles(AAPL, NOON - 10 * 86_400, NOON, "OneMinute"))


def test_daily_candles_begin_at_eastern_midnights() -> None:
    """On the day the clocks change as on any other."""
    before_change = NOON + 4 * 86_400  # Saturday, 7 March; the clocks change on Sunday
    days = market.candles(AAPL, before_change, before_change + 2 * 86_400, "OneDay")

    assert ["03-07T00:00:00.000000-05:00", "03-08T00:00:00.000000-05:00", "03-09T00:00:00.000000-04:00"] == [
        str(day["start"])[5:] for day in days
    ]
    assert days[1]["end"] == days[2]["start"]


def test_unknown_intervals_symbols_and_options_are_mistakes() -> None:
    """1002 for the interval, 1019 for what is not traded here."""
    with pytest.raises(Mistake, match="1002"):
        market.candles(AAPL, NOON, NOON, "TwoDays")
    with pytest.raises(Mistake, match="1019"):
        market.find(1)
    with pytest.raises(Mistake, match="1019"):
        market.options_by_id([24753669, 1])


def test_markets_open_today() -> None:
    """The hours are those of the current day; the documentation's `currency` is absent, as live."""
    first = market.markets(NOON)[0]

    assert ("TSX", "2026-03-03T09:30:00.000000-05:00") == (first["name"], first["startTime"])
    assert "currency" not in first
