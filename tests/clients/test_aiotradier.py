"""aiotradier 0.0.9 (aiohttp): reads work; its orders lack the type, and the broker refuses them."""

from collections.abc import Mapping
from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import ACCOUNT, words

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "api_get_user_profile": Read(ACCOUNT, at("profile/account/account_number")),
        "api_get_balances": Read(ACCOUNT, at("balances/account_number"), [ACCOUNT]),
        "api_get_positions": Read(["AAPL", "AMZN"], at("positions/position/*/symbol"), [ACCOUNT]),
        "api_get_account_history": Read(["option", "trade", "ach"], at("history/event/*/type"), [ACCOUNT]),
        "api_get_account_gainloss": Read(
            ["GE", "AAPL180921C00190000"], at("gainloss/closed_position/*/symbol"), [ACCOUNT]
        ),
        "api_get_account_orders": Read(1, at("orders/#"), [ACCOUNT]),
        "api_get_order": Read("AAPL", at("order/symbol"), [ACCOUNT, "$ORDER"]),
        "api_get_quotes": Read(["AAPL", "MSFT"], at("quotes/quote/*/symbol"), [["AAPL", "MSFT"]]),
        "api_get_option_expirations": Read(4, at("expirations/date/#"), ["AAPL"]),
        "api_get_option_strikes": Read(188.0, at("strikes/strike/0"), ["AAPL", {"date": "$EXPIRY"}]),
        "api_get_option_chains": Read("AAPL", at("options/option/0/root_symbol"), ["AAPL", {"date": "$EXPIRY"}]),
        "api_get_historical_quotes": Read(
            [208.83, 209.04, 209.25],
            at("history/day/*/open"),
            ["AAPL", "daily", {"date": "2026-01-05"}, {"date": "2026-01-07"}],
        ),
        "api_get_timesales": Read(
            2, at("series/data/#"), ["AAPL", "15min", {"time": "2026-01-05T09:30:00"}, {"time": "2026-01-05T10:30:00"}]
        ),
        "api_get_clock": Read(6, at("clock/#")),
        "api_get_search": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("securities/security/*/symbol"), ["A"]),
        "api_get_lookup": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("securities/security/*/symbol"), ["A"]),
        "api_get_company": Read(None, at(""), [["AAPL"]]),
        "api_get_calendars": Read("AAPL", at("0/request"), [["AAPL"]]),
        "api_get_dividends": Read("AAPL", at("0/request"), [["AAPL"]]),
        "raw_data": Read(ACCOUNT, at("user_profile/profile/account/account_number")),
    },
}
CLASSES = {"client": "aiotradier.tradier_rest.TradierAPIAdapter"}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "client": {"api_place_equity_order": "places an order", "api_place_option_order": "places an order"}
}
BROKEN: Mapping[str, Mapping[str, str]] = {"client": {"api_get_calendar": "asks for the month 1.000000"}}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Pointed at the mount, as the README tells: one attribute."""
    client.words = words(demo)
    client.make(CLASSES["client"], None, token=key, sandbox=False)
    client.assign("client.url", demo.at("tradier"))
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("aiotradier"), demo, demo.key)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    assert "0.0.9" == version("aiotradier")
    for on, of in CLASSES.items():
        others = {*NOT_READS.get(on, ()), *BROKEN.get(on, ())}
        assert {bare(method) for method in READS.get(on, {})} == client.methods(of, inherited=True) - others, on
        assert others <= client.methods(of, inherited=True), on


def test_its_broken_method_gets_the_broker_s_own_answer(client: Conversation, demo: Demo) -> None:
    """A month with six decimals: 400 from the broker, untouched."""
    before = demo.calls_of("tradier", "GET", "/v1/markets/calendar")

    with pytest.raises(Failed, match="400"):
        client.call("api_get_calendar", 1, 2026)

    assert before + 1 == demo.calls_of("tradier", "GET", "/v1/markets/calendar")


ORDER = [ACCOUNT, "equity", "AAPL", "buy", 1, "limit", "day", 100]


def test_an_order_is_refused_without_the_scope_trade(client: Conversation, demo: Demo) -> None:
    """The client raises for 403, and the broker hears nothing."""
    reached = demo.reached("tradier")

    with pytest.raises(Failed, match="403"):
        client.call("api_place_equity_order", *ORDER)

    assert reached == demo.reached("tradier")


def test_with_the_scope_trade_its_order_reaches_the_broker_once(demo: Demo, python_client: Opener) -> None:
    """It names the type `order_type`, which the broker does not know: its refusal comes back, and nothing is placed."""
    client = opened(python_client("aiotradier"), demo, demo.trader_key)
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    with pytest.raises(Failed, match="400"):
        client.call("api_place_equity_order", *ORDER)

    assert (placed, reached + 1) == (demo.placed("tradier"), demo.reached("tradier"))
