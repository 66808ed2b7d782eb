"""lumiwealth-tradier 0.1.18 (requests; under lumibot). It repeats GETs, and takes 404 and 502 for no error."""

from collections.abc import Mapping
from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import ACCOUNT, words

READS: Mapping[str, Mapping[str, Read]] = {
    "account": {
        "get_user_profile": Read(ACCOUNT, at("0/account.account_number")),
        "get_account_balance": Read(ACCOUNT, at("0/account_number")),
        "get_gainloss": Read(["GE", "AAPL180921C00190000"], at("*/symbol")),
        "get_positions": Read(["AAPL", "AMZN"], at("*/symbol")),
        "get_positions, equities": Read(["AAPL", "AMZN"], at("*/symbol"), options={"equities": True}),
        "get_history": Read(["option", "trade", "ach"], at("*/type")),
        "get_history, of some kind": Read(
            3,
            at("#"),
            options={
                "start_date": "2018-01-01",
                "end_date": "2018-12-31",
                "limit": 5,
                "activity_type": "trade",
                "symbol": "AMZN",
            },
        ),
    },
    "market": {
        "get_quotes": Read(["AAPL", "MSFT"], at("*/symbol"), [["AAPL", "MSFT"]]),
        "get_quotes, greeks": Read(["AAPL"], at("*/symbol"), ["AAPL", True]),
        "get_last_price": Read(208.21, at(""), ["AAPL"]),
        "get_historical_quotes": Read(
            [208.83, 209.04, 209.25], at("*/open"), ["AAPL"], {"start_date": "2026-01-05", "end_date": "2026-01-07"}
        ),
        "get_timesales": Read(
            2,
            at("#"),
            ["AAPL", 15],
            {"start_date": {"time": "2026-01-05T09:30:00"}, "end_date": {"time": "2026-01-05T10:30:00"}},
        ),
        "get_option_expirations": Read(4, at("#"), ["AAPL"]),
        "get_option_chains": Read("AAPL", at("0/root_symbol"), ["AAPL", "$EXPIRY"]),
        "get_option_strikes": Read(188.0, at("0"), ["AAPL", "$EXPIRY"]),
        "get_calendar": Read("2026-01-01", at("0/date"), [1, 2026]),
        "get_clock": Read(6, at("#")),
        "lookup_symbol": Read(["AAPL"], at("*/symbol"), ["AAPL"]),
        "get_previous_trading_day": Read("2026-01-09", at(""), [{"date": "2026-01-12"}]),
    },
    "orders": {
        "get_orders": Read("AAPL", at("0/symbol")),
        "get_order": Read("AAPL", at("0/symbol"), ["$ORDER"]),
    },
}
CLASSES = {
    "account": "lumiwealth_tradier.account.Account",
    "market": "lumiwealth_tradier.market.MarketData",
    "orders": "lumiwealth_tradier.orders.Orders",
}
ALSO: Mapping[str, str] = {
    "delete": "what the others call",
    "request": "what the others call",
    "send": "what the others call",
    "base_url": "text",
    "date2str": "text",
    "requests_retry_session": "a session, sends nothing",
}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "market": {"get_option_symbol": "builds a text, sends nothing"},
    "orders": {
        "order": "places an order",
        "order_option": "places an order",
        "multileg_order": "places an order",
        "oco_order": "places orders",
        "advanced_order": "places orders",
        "modify": "changes an order",
        "cancel": "cancels an order",
    },
}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Pointed at the mount, as the README tells: one value of a module."""
    client.words = words(demo)
    client.assign("lumiwealth_tradier.base.TRADIER_LIVE_URL", demo.at("tradier"))
    for on, of in CLASSES.items():
        client.make(of, ACCOUNT, key, is_paper=False, on=on)
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("lumiwealth_tradier"), demo, demo.key)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    assert "0.1.18" == version("lumiwealth-tradier")
    for on, of in CLASSES.items():
        others = {*ALSO, *NOT_READS.get(on, ())}
        assert {bare(method) for method in READS.get(on, {})} == client.methods(of, inherited=True) - others, on
        assert others - ALSO.keys() <= client.methods(of, inherited=True), on


def test_orders_are_changed_and_cancelled(demo: Demo, python_client: Opener) -> None:
    """PUT and DELETE get through with the scope, and place nothing."""
    client = opened(python_client("lumiwealth_tradier"), demo, demo.trader_key)
    placed = demo.placed("tradier")

    assert "ok" == client.call("modify", "$ORDER", limit_price=101, on="orders")["status"]
    assert "ok" == client.call("cancel", "$ORDER", on="orders")["status"]
    assert placed == demo.placed("tradier")


def test_an_order_is_refused_without_the_scope_trade(client: Conversation, demo: Demo) -> None:
    """The client raises for 403, the reason reaches its caller, and the broker hears nothing."""
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    with pytest.raises(Failed) as refused:
        client.call("order", "AAPL", "buy", 1, "limit", limit_price=100, on="orders")

    assert "40301" in f"{refused.value}{refused.value.answer}"
    assert (placed, reached) == (demo.placed("tradier"), demo.reached("tradier"))


def test_with_the_scope_trade_an_order_is_placed_exactly_once(demo: Demo, python_client: Opener) -> None:
    """One call, one order."""
    client = opened(python_client("lumiwealth_tradier"), demo, demo.trader_key)
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    answer = client.call("order", "AAPL", "buy", 1, "limit", limit_price=100, on="orders")

    assert "ok" == answer["status"]
    assert (placed + 1, reached + 1) == (demo.placed("tradier"), demo.reached("tradier"))
