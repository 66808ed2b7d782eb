"""alpaca-py 0.44.0 (requests), TradingClient: with the key as an OAuth token, and as a key pair."""

from collections.abc import Mapping

import pytest

from tests.clients.alpaca import ACCOUNT, check_that_none_is_left_out, new_id, words
from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at
from tests.clients.product import Demo

TRADING = "alpaca.trading.requests"
READS: Mapping[str, Mapping[str, Read]] = {
    "trading": {
        "get_account": Read(ACCOUNT, at("account_number")),
        "get_account_configurations": Read("entry", at("dtbp_check")),
        "get_all_assets": Read(["AAPL", "MSFT", "TSLA", "AMZN", "SPY", "BRK.B"], at("*/symbol")),
        "get_all_assets, some": Read(
            ["BTC/USD", "ETH/USD"], at("*/symbol"), [{"new": f"{TRADING}.GetAssetsRequest", "asset_class": "crypto"}]
        ),
        "get_all_positions": Read(["AAPL", "BTCUSD"], at("*/symbol")),
        "get_asset": Read("AAPL", at("symbol"), ["AAPL"]),
        "get_calendar": Read(
            ["2026-01-05", "2026-01-06", "2026-01-07"],
            at("*/date"),
            [{"new": f"{TRADING}.GetCalendarRequest", "start": {"date": "2026-01-05"}, "end": {"date": "2026-01-07"}}],
        ),
        "get_clock": Read(4, at("#")),
        "get_corporate_announcements": Read(
            ["AAPL"],
            at("*/initiating_symbol"),
            [
                {
                    "new": f"{TRADING}.GetCorporateAnnouncementsRequest",
                    "ca_types": ["dividend"],
                    "since": {"date": "2026-01-01"},
                    "until": {"date": "2026-02-01"},
                }
            ],
        ),
        "get_corporate_announcement_by_id": Read("AAPL", at("initiating_symbol"), ["$ANNOUNCEMENT"]),
        "get_open_position": Read("100", at("qty"), ["AAPL"]),
        "get_option_contracts": Read(
            10,
            at("option_contracts/#"),
            [{"new": f"{TRADING}.GetOptionContractsRequest", "underlying_symbols": ["AAPL"]}],
        ),
        "get_option_contract": Read("AAPL", at("underlying_symbol"), ["$CONTRACT"]),
        "get_order_by_client_id": Read("AAPL", at("symbol"), ["$MINE"]),
        "get_order_by_id": Read("AAPL", at("symbol"), ["$ORDER"]),
        "get_order_by_id, nested": Read(
            "AAPL", at("symbol"), ["$ORDER", {"new": f"{TRADING}.GetOrderByIdRequest", "nested": True}]
        ),
        "get_orders": Read("AAPL", at("0/symbol")),
        "get_orders, filtered": Read(
            "AAPL",
            at("0/symbol"),
            [{"new": f"{TRADING}.GetOrdersRequest", "status": "all", "limit": 5, "symbols": ["AAPL"]}],
        ),
        "get_portfolio_history": Read("1D", at("timeframe")),
        "get_portfolio_history, filtered": Read(
            "1D", at("timeframe"), [{"new": f"{TRADING}.GetPortfolioHistoryRequest", "period": "1W", "timeframe": "1D"}]
        ),
        "get_watchlists": Read("Primary Watchlist", at("0/name")),
        "get_watchlist_by_id": Read("Primary Watchlist", at("name"), ["$WATCHLIST"]),
        "get": Read(ACCOUNT, at("account_number"), ["/account"]),
    },
}
CLASSES = {"trading": "alpaca.trading.client.TradingClient"}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "trading": {
        "delete": "what the others call",
        "patch": "what the others call",
        "post": "what the others call",
        "put": "what the others call",
        "response_wrapper": "sends nothing",
        "submit_order": "places an order",
        "replace_order_by_id": "changes an order",
        "cancel_order_by_id": "cancels an order",
        "cancel_orders": "cancels orders",
        "close_all_positions": "places orders",
        "close_position": "places an order",
        "exercise_options_position": "exercises an option",
        "create_watchlist": "makes a watchlist",
        "update_watchlist_by_id": "changes a watchlist",
        "add_asset_to_watchlist_by_id": "changes a watchlist",
        "remove_asset_from_watchlist_by_id": "changes a watchlist",
        "delete_watchlist_by_id": "deletes a watchlist",
        "set_account_configurations": "changes the account",
    }
}
CREDENTIALS = {
    "bearer": lambda key: {"oauth_token": key},
    "key pair": lambda key: {"api_key": "local", "secret_key": key},
}


def order() -> dict[str, object]:
    fields = {"symbol": "AAPL", "qty": 1, "limit_price": 100, "side": "buy", "time_in_force": "day"}
    return {"new": f"{TRADING}.LimitOrderRequest", **fields, "client_order_id": new_id()}


def opened(client: Conversation, demo: Demo, key: str, form: str = "bearer") -> Conversation:
    """Pointed at the mount by `url_override`."""
    client.words = words(demo)
    client.make(CLASSES["trading"], **CREDENTIALS[form](key), url_override=demo.at("alpaca"), on="trading")
    since, until = {"date": "2026-01-01"}, {"date": "2026-02-01"}
    dividends = {"new": f"{TRADING}.GetCorporateAnnouncementsRequest", "ca_types": ["dividend"]}
    found = client.call("get_corporate_announcements", {**dividends, "since": since, "until": until}, on="trading")
    client.words["ANNOUNCEMENT"] = found[0]["id"]
    return client


@pytest.fixture(scope="session", params=CREDENTIALS)
def client(request: pytest.FixtureRequest, demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("alpaca_py"), demo, demo.key, request.param)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    check_that_none_is_left_out(client, CLASSES, READS, NOT_READS)


def test_an_order_is_refused_without_the_scope_trading(client: Conversation, demo: Demo) -> None:
    """The client's error holds our code and sentence, and the broker hears nothing."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    with pytest.raises(Failed, match=r'"code": ?40301'):
        client.call("submit_order", order(), on="trading")

    assert (placed, reached) == (demo.placed("alpaca"), demo.reached("alpaca"))


@pytest.mark.parametrize("form", CREDENTIALS)
def test_with_the_scope_trading_an_order_is_placed_exactly_once(demo: Demo, python_client: Opener, form: str) -> None:
    """Placed, changed, cancelled: one order, whose replacement is the broker's."""
    client = opened(python_client("alpaca_py"), demo, demo.trader_key, form)
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    answer = client.call("submit_order", order(), on="trading")

    assert "AAPL" == answer["symbol"]
    assert (placed + 1, reached + 1) == (demo.placed("alpaca"), demo.reached("alpaca"))
    client.call("cancel_order_by_id", answer["id"], on="trading")
    assert "canceled" == client.call("get_order_by_id", answer["id"], on="trading")["status"]


def test_watchlists_are_made_changed_and_deleted(client: Conversation) -> None:
    """POST, PUT and DELETE of the scope account:write."""
    request = {"new": f"{TRADING}.CreateWatchlistRequest", "name": new_id(), "symbols": ["AAPL"]}
    made = client.call("create_watchlist", request, on="trading")["id"]
    added = client.call("add_asset_to_watchlist_by_id", made, "MSFT", on="trading")
    assert ["AAPL", "MSFT"] == at("assets/*/symbol")(added)
    left = client.call("remove_asset_from_watchlist_by_id", made, "AAPL", on="trading")
    assert ["MSFT"] == at("assets/*/symbol")(left)
    client.call("delete_watchlist_by_id", made, on="trading")
    with pytest.raises(Failed, match="404"):
        client.call("get_watchlist_by_id", made, on="trading")
