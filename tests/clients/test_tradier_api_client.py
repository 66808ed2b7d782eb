"""tradier-api-client 0.10.0 (requests). It sends fundamentals to `/v1/beta/…`, and believes the rate headers."""

from collections.abc import Mapping
from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import ACCOUNT, words

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "get_user_profile": Read(ACCOUNT, at("profile/account/account_number")),
        "get_balances": Read(ACCOUNT, at("balances/account_number"), [ACCOUNT]),
        "get_positions": Read(["AAPL", "AMZN"], at("positions/position/*/symbol"), [ACCOUNT]),
        "get_history": Read(["option", "trade", "ach"], at("history/event/*/type"), [ACCOUNT]),
        "get_gain_loss": Read(["GE", "AAPL180921C00190000"], at("gainloss/closed_position/*/symbol"), [ACCOUNT]),
        "get_orders": Read("AAPL", at("orders/order/0/symbol"), [ACCOUNT]),
        "get_order": Read("AAPL", at("order/symbol"), [ACCOUNT, "$ORDER"]),
        "get_quotes": Read(["AAPL", "MSFT"], at("quotes/quote/*/symbol"), ["AAPL,MSFT"]),
        "get_quotes_larger": Read(["AAPL", "MSFT"], at("quotes/quote/*/symbol"), ["AAPL,MSFT"]),
        "get_option_chains": Read("AAPL", at("options/option/0/root_symbol"), ["AAPL", "$EXPIRY"]),
        "get_option_strikes": Read(188.0, at("strikes/strike/0"), ["AAPL", "$EXPIRY"]),
        "get_option_expirations": Read(4, at("expirations/date/#"), ["AAPL"]),
        "lookup_option_symbols": Read(4, at("expirations/expiration/#"), ["AAPL"]),
        "lookup_options_symbols": Read(["AAPL"], at("symbols/*/rootSymbol"), ["AAPL"]),
        "get_historical_quotes": Read(
            [208.83, 209.04, 209.25], at("history/day/*/open"), ["AAPL", "daily", "2026-01-05", "2026-01-07"]
        ),
        "get_historical_quotes, as a list": Read(
            [208.83, 209.04, 209.25], at("*/open"), ["AAPL", "daily", "2026-01-05", "2026-01-07", True]
        ),
        "get_time_sales": Read(2, at("series/data/#"), ["AAPL", "15min", "2026-01-05 09:30", "2026-01-05 10:30"]),
        "get_etb_securities": Read("AAPL", at("securities/security/0/symbol")),
        "get_clock": Read(6, at("clock/#")),
        "get_calendar": Read("2026-01-01", at("calendar/days/day/0/date"), [1, 2026]),
        "get_markets_search": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("securities/security/*/symbol"), ["A"]),
        "get_markets_lookup": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("securities/security/*/symbol"), ["A"]),
        "get_watchlists": Read(1, at("watchlists/#")),
        "get_watchlist": Read("default", at("watchlist/name"), ["default"]),
        "create_market_session": Read(2, at("stream/#"), ["$KEY"]),
        "create_account_session": Read(2, at("stream/#"), ["$KEY"]),
        "get": Read(ACCOUNT, at("profile/account/account_number"), ["/user/profile"]),
        "authenticated": Read(True, at("")),
    },
}
MODELS = "tradier_api_client.rest.models.orders_fixed"
LEG = {"side": "buy", "quantity": 1, "type": "limit", "symbol": "AAPL", "duration": "day", "price": 100}
ORDER = {"new": f"{MODELS}.Order", "class_": "equity", "legs": [{"new": f"{MODELS}.OrderLeg", **LEG}]}
CLASSES = {"client": "tradier_api_client.RestClient"}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "client": {
        "create_watchlist": "makes a watchlist",
        "update_watchlist": "changes a watchlist",
        "delete_watchlist": "deletes a watchlist",
        "add_symbols_to_watchlist": "changes a watchlist",
        "remove_symbol_from_watchlist": "changes a watchlist",
        "place_order": "places an order",
        "modify_order": "changes an order",
        "cancel_order": "cancels an order",
        "delete": "what others call",
        "post": "what others call",
        "put": "what others call",
        "prepare_and_send_request": "what others call",
        "send_request": "what others call",
        "convert_to_list": "sends nothing",
        "handle_exception": "sends nothing",
        "load_properties_to_env": "reads a file",
        "set_headers": "sends nothing",
        "update_rate_limit": "sends nothing",
        "RATE_LIMIT_MARKET_DATA": "text",
        "RATE_LIMIT_STANDARD": "text",
        "RATE_LIMIT_TRADING": "text",
        "RateLimitExceeded": "an exception",
    }
}
# The path that each asks for, as the broker gets it.
BROKEN: Mapping[str, Mapping[str, str]] = {
    "client": {
        "get_company": "/beta/markets/fundamentals/company",
        "get_corporate_calendars": "/beta/markets/fundamentals/calendars",
        "get_dividends": "/beta/markets/fundamentals/dividends",
        "get_corporate_actions": "/beta/markets/fundamentals/corporate_actions",
        "get_ratios": "/beta/markets/fundamentals/ratios",
        "get_financial_reports": "/beta/markets/fundamentals/financials",
        "get_price_statistics": "/beta/markets/fundamentals/statistics",
    }
}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Pointed at the mount by its constructor."""
    client.words = words(demo) | {"KEY": key}
    client.make(CLASSES["client"], base_url=demo.at("tradier") + "/v1", api_key=key, account_number=ACCOUNT)
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("tradier_api_client"), demo, demo.key)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    assert "0.10.0" == version("tradier-api-client")
    for on, of in CLASSES.items():
        others = {*NOT_READS.get(on, ()), *BROKEN.get(on, ())}
        assert {bare(method) for method in READS.get(on, {})} == client.methods(of, inherited=True) - others, on
        assert others <= client.methods(of, inherited=True), on


@pytest.mark.parametrize("method", BROKEN["client"])
def test_a_broken_method_reaches_the_broker(client: Conversation, demo: Demo, method: str) -> None:
    """The broker answers these with a list; the package adds a field to an object. The call itself got through."""
    path = BROKEN["client"][method]
    before = demo.calls_of("tradier", "GET", path)

    with pytest.raises(Failed, match="'list' object is not a mapping"):
        client.call(method, ["AAPL"])

    assert before + 1 == demo.calls_of("tradier", "GET", path)


def test_watchlists_are_made_changed_and_deleted(client: Conversation) -> None:
    """POST, PUT and DELETE of the scope write."""
    client.call("create_watchlist", "mine", ["AAPL"])
    added = client.call("add_symbols_to_watchlist", "mine", ["MSFT"])
    assert ["AAPL", "MSFT"] == at("watchlist/items/item/*/symbol")(added)
    client.call("remove_symbol_from_watchlist", "mine", "MSFT")
    client.call("update_watchlist", "mine", "mine", ["SPY"])
    assert "SPY" == at("watchlist/items/item/symbol")(client.call("get_watchlist", "mine"))
    client.call("delete_watchlist", "mine")
    assert "mine" not in str(client.call("get_watchlists"))


def test_an_order_is_refused_without_the_scope_trade(client: Conversation, demo: Demo) -> None:
    """The client raises for 403, the reason reaches its caller, and the broker hears nothing."""
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    with pytest.raises(Failed) as refused:
        client.call("place_order", ORDER)

    assert "40301" in f"{refused.value}{refused.value.answer}"
    assert (placed, reached) == (demo.placed("tradier"), demo.reached("tradier"))


def test_with_the_scope_trade_an_order_is_placed_exactly_once(demo: Demo, python_client: Opener) -> None:
    """One call, one order."""
    client = opened(python_client("tradier_api_client"), demo, demo.trader_key)
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    answer = client.call("place_order", ORDER)

    assert "ok" == answer["order"]["status"]
    assert (placed + 1, reached + 1) == (demo.placed("tradier"), demo.reached("tradier"))
