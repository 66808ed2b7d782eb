"""alpaca-trade-api 3.2.0 (requests): nothing of it is changed, `bearerd run` sets what it reads."""

import subprocess
from collections.abc import Callable, Mapping

import pytest

from tests.clients.alpaca import ACCOUNT, new_id, words
from tests.clients.conftest import PYTHON_TALK
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo

DAY = {"value": "alpaca_trade_api.TimeFrame.Day"}
READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "get_account": Read(ACCOUNT, at("account_number")),
        "get_account_configurations": Read("entry", at("dtbp_check")),
        "get_activities": Read(["DIV"], at("*/activity_type")),
        "get_activities, of one type": Read([], at("*/activity_type"), ["FILL"]),
        "get_asset": Read("AAPL", at("symbol"), ["AAPL"]),
        "list_assets": Read(["AAPL", "MSFT", "TSLA", "AMZN", "SPY", "BRK.B"], at("*/symbol")),
        "get_calendar": Read(["2026-01-05", "2026-01-06", "2026-01-07"], at("*/date"), ["2026-01-05", "2026-01-07"]),
        "get_clock": Read(4, at("#")),
        "get_order": Read("AAPL", at("symbol"), ["$ORDER"]),
        "get_order_by_client_order_id": Read("AAPL", at("symbol"), ["$MINE"]),
        "list_orders": Read("AAPL", at("0/symbol")),
        "list_orders, filtered": Read("AAPL", at("0/symbol"), options={"status": "all", "symbols": ["AAPL"]}),
        "get_portfolio_history": Read("1D", at("timeframe")),
        "get_position": Read("100", at("qty"), ["AAPL"]),
        "list_positions": Read(["AAPL", "BTCUSD"], at("*/symbol")),
        "get_watchlist": Read("Primary Watchlist", at("name"), ["$WATCHLIST"]),
        "get_watchlist_by_name": Read("Primary Watchlist", at("name"), ["Primary Watchlist"]),
        "get_watchlists": Read("Primary Watchlist", at("0/name")),
        "get_bars": Read([233.48, 233.52, 232.86], at("*/o"), ["AAPL", DAY, "2026-01-05", "2026-01-08"]),
        "get_bars_iter": Read([233.48, 233.52, 232.86], at("*/o"), ["AAPL", DAY, "2026-01-05", "2026-01-08"]),
        "get_trades": Read(4, at("#"), ["AAPL"], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}),
        "get_trades_iter": Read(4, at("#"), ["AAPL"], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}),
        "get_quotes": Read(4, at("#"), ["AAPL"], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}),
        "get_quotes_iter": Read(4, at("#"), ["AAPL"], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}),
        "get_latest_bar": Read(8, at("#"), ["AAPL"]),
        "get_latest_bars": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "get_latest_quote": Read(9, at("#"), ["AAPL"]),
        "get_latest_quotes": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "get_latest_trade": Read(7, at("#"), ["AAPL"]),
        "get_latest_trades": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "get_snapshot": Read(5, at("#"), ["AAPL"]),
        "get_snapshots": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "get_crypto_bars": Read(
            ["BTC/USD", "BTC/USD", "ETH/USD", "ETH/USD"],
            at("*/S"),
            [["BTC/USD", "ETH/USD"], DAY, "2026-01-05", "2026-01-07"],
        ),
        "get_crypto_bars_iter": Read(
            ["BTC/USD", "BTC/USD", "ETH/USD", "ETH/USD"],
            at("*/S"),
            [["BTC/USD", "ETH/USD"], DAY, "2026-01-05", "2026-01-07"],
        ),
        "get_crypto_trades": Read(
            4, at("#"), [["BTC/USD", "ETH/USD"]], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}
        ),
        "get_crypto_trades_iter": Read(
            4, at("#"), [["BTC/USD", "ETH/USD"]], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}
        ),
        "get_crypto_quotes": Read(
            4, at("#"), [["BTC/USD", "ETH/USD"]], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}
        ),
        "get_crypto_quotes_iter": Read(
            4, at("#"), [["BTC/USD", "ETH/USD"]], {"start": "2026-01-05", "end": "2026-01-07", "limit": 4}
        ),
        "get_crypto_snapshot": Read(1, at("#"), ["BTC/USD"]),
        "get_crypto_snapshots": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "get_latest_crypto_bars": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "get_latest_crypto_orderbook": Read(1, at("#"), ["BTC/USD"]),
        "get_latest_crypto_orderbooks": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "get_latest_crypto_quotes": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "get_latest_crypto_trades": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "get_news": Read([["AAPL"], ["AAPL"]], at("*/symbols"), ["AAPL"], {"limit": 2}),
        "get_news_iter": Read(2, at("#"), ["AAPL"], {"limit": 2}),
        "get": Read(ACCOUNT, at("account_number"), ["/account"]),
        "data_get": Read(2, at("#"), ["/stocks/AAPL/bars/latest"], {"api_version": "v2"}),
    },
}
REST = "alpaca_trade_api.REST"
NOT_READS: Mapping[str, str] = {
    "delete": "what the others call",
    "patch": "what the others call",
    "post": "what the others call",
    "put": "what the others call",
    "close": "closes its session",
    "response_wrapper": "sends nothing",
    "submit_order": "places an order",
    "replace_order": "changes an order",
    "cancel_order": "cancels an order",
    "cancel_all_orders": "cancels orders",
    "close_position": "places an order",
    "close_all_positions": "places orders",
    "create_watchlist": "makes a watchlist",
    "update_watchlist": "changes a watchlist",
    "add_to_watchlist": "changes a watchlist",
    "delete_from_watchlist": "changes a watchlist",
    "delete_watchlist": "deletes a watchlist",
    "update_account_configurations": "changes the account",
}
Runner = Callable[..., Conversation]


def opened(client: Conversation, demo: Demo) -> Conversation:
    client.words = words(demo)
    client.make(REST)
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, run_by_bearerd: Runner, legacy: str) -> Conversation:
    """With the rights of the client `demo`, which may do everything but orders."""
    return opened(run_by_bearerd("demo", legacy, "-P", PYTHON_TALK), demo)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation, legacy: str) -> None:
    """Every public method is read above or said to be something else, in the version of the README."""
    told = "from importlib.metadata import version; print(version('alpaca-trade-api'))"
    assert "3.2.0\n" == subprocess.run([legacy, "-c", told], capture_output=True, text=True, check=True).stdout
    assert {*map(bare, READS["client"]), *NOT_READS} == client.methods(REST, inherited=True)


def test_an_order_is_refused_without_the_scope_trading(client: Conversation, demo: Demo) -> None:
    """The client's error holds our sentence, it is not repeated, and the broker hears nothing."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    with pytest.raises(Failed, match="trading"):
        client.call("submit_order", "AAPL", 1, "buy", "limit", "day", "100")

    assert (placed, reached) == (demo.placed("alpaca"), demo.reached("alpaca"))


def test_with_the_scope_trading_an_order_is_placed_exactly_once(
    demo: Demo, run_by_bearerd: Runner, legacy: str
) -> None:
    """Under `bearerd run --client trader`: placed, then cancelled."""
    client = opened(run_by_bearerd("trader", legacy, "-P", PYTHON_TALK), demo)
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    answer = client.call("submit_order", "AAPL", 1, "buy", "limit", "day", "100", client_order_id=new_id())

    assert "AAPL" == answer["symbol"]
    assert (placed + 1, reached + 1) == (demo.placed("alpaca"), demo.reached("alpaca"))
    client.call("cancel_order", answer["id"])
    assert "canceled" == client.call("get_order", answer["id"])["status"]
