"""uvatradier 0.4.7 (requests): the fields of an order are in the query of a POST without a body."""

from collections.abc import Mapping
from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import ACCOUNT, words

READS: Mapping[str, Mapping[str, Read]] = {
    "Account": {
        "get_user_profile": Read(ACCOUNT, at("0/account.account_number")),
        "get_account_balance": Read(ACCOUNT, at("0/account_number")),
        "get_gainloss": Read(["GE", "AAPL180921C00190000"], at("*/symbol")),
        "get_positions": Read(["AAPL", "AMZN"], at("*/symbol")),
        "get_positions, some": Read(["AAPL"], at("*/symbol"), options={"symbols": ["AAPL"]}),
        "get_orders": Read("AAPL", at("0/symbol")),
    },
    "Quotes": {
        "get_historical_quotes": Read(
            [208.83, 209.04, 209.25], at("*/open"), ["AAPL"], {"start_date": "2026-01-05", "end_date": "2026-01-07"}
        ),
        "get_quote_day": Read("AAPL", at("0/symbol"), ["AAPL"]),
        "get_quote_day, price": Read(208.21, at(""), ["AAPL"], {"last_price": True}),
        "get_quote_data": Read(["AAPL", "MSFT"], at("*/symbol"), [["AAPL", "MSFT"]]),
        "get_timesales": Read(2, at("#"), ["AAPL", "15min", "2026-01-05 09:30", "2026-01-05 10:30"]),
        "search_companies": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("*/symbol"), ["A"]),
    },
    "OptionsData": {
        "get_expiry_dates": Read(4, at("#"), ["AAPL"]),
        "get_expiry_dates, strikes": Read(1, at("#"), ["AAPL"], {"strikes": True}),
        "get_closest_expiry": Read(10, at("#"), ["AAPL", 30]),
        "get_chain_day": Read(22, at("#"), ["AAPL", "$EXPIRY"]),
        "get_options_symbols": Read(88, at("#"), ["AAPL"]),
    },
}
CLASSES = {
    "Account": "uvatradier.Account",
    "Quotes": "uvatradier.Quotes",
    "OptionsData": "uvatradier.OptionsData",
    "EquityOrder": "uvatradier.EquityOrder",
    "OptionsOrder": "uvatradier.OptionsOrder",
    "Stream": "uvatradier.Stream",
}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "Quotes": {"get_timeseries_plot": "draws what get_historical_quotes reads"},
    "EquityOrder": {"order": "places an order"},
    "OptionsOrder": {
        "bear_call_spread": "places an order",
        "bear_put_spread": "places an order",
        "bull_call_spread": "places an order",
        "bull_put_spread": "places an order",
        "multileg_order": "places an order",
        "options_order": "places an order",
        "extract_occ_underlying": "takes a text apart",
    },
    "Stream": {
        "http_market_stream_connect": "what stream_market_events calls",
        "stream_market_events": "a WebSocket: test_streaming.py",
        "ws_market_connect": "what stream_market_events calls",
    },
}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Each of its objects pointed at the mount, as the README tells."""
    client.words = words(demo)
    for on, of in CLASSES.items():
        client.make(of, ACCOUNT, key, live_trade=True, on=on)
        client.assign(f"{on}.BASE_URL", demo.at("tradier"))
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("uvatradier"), demo, demo.key)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    assert "0.4.7" == version("uvatradier")
    for on, of in CLASSES.items():
        others = set(NOT_READS.get(on, ()))
        assert {bare(method) for method in READS.get(on, {})} == client.methods(of, inherited=True) - others, on
        assert others <= client.methods(of, inherited=True), on


def test_an_order_is_refused_without_the_scope_trade(client: Conversation, demo: Demo) -> None:
    """The client hands out the refusal as if it were data, and the broker hears nothing."""
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    answer = client.call("order", "AAPL", "buy", 1, "limit", limit_price=100, on="EquityOrder")

    assert (40301, 403) == (answer["code"], answer["status"])
    assert (placed, reached) == (demo.placed("tradier"), demo.reached("tradier"))


def test_with_the_scope_trade_an_order_is_placed_exactly_once(demo: Demo, python_client: Opener) -> None:
    """One call, one order."""
    client = opened(python_client("uvatradier"), demo, demo.trader_key)
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    answer = client.call("order", "AAPL", "buy", 1, "limit", limit_price=100, on="EquityOrder")

    assert "ok" == answer["order"]["status"]
    assert (placed + 1, reached + 1) == (demo.placed("tradier"), demo.reached("tradier"))
