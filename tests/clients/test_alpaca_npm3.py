"""@alpacahq/alpaca-trade-api 3.1.3 (npm, axios): no code is changed, `bearerd run` sets what it reads."""

import json
from collections.abc import Callable, Mapping

import pytest

from tests.clients.alpaca import ACCOUNT, ORDER, new_id, words
from tests.clients.conftest import HERE, NODE_TALK
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "getAccount": Read(ACCOUNT, at("account_number")),
        "getAccountConfigurations": Read("entry", at("dtbp_check")),
        "getAccountActivities": Read([], at("*/activity_type"), [{"activityTypes": "FILL"}]),
        "getPortfolioHistory": Read("1D", at("timeframe"), [{"period": "1W", "timeframe": "1D"}]),
        "getPositions": Read(["AAPL", "BTCUSD"], at("*/symbol")),
        "getPosition": Read("100", at("qty"), ["AAPL"]),
        "getCalendar": Read(
            ["2026-01-05", "2026-01-06", "2026-01-07"], at("*/date"), [{"start": "2026-01-05", "end": "2026-01-07"}]
        ),
        "getClock": Read(4, at("#")),
        "getAssets": Read(["BTC/USD", "ETH/USD"], at("*/symbol"), [{"asset_class": "crypto"}]),
        "getAsset": Read("AAPL", at("symbol"), ["AAPL"]),
        "getOrders": Read("AAPL", at("0/symbol"), [{"status": "all"}]),
        "getOrder": Read("AAPL", at("symbol"), ["$ORDER"]),
        "getOrderByClientId": Read("AAPL", at("symbol"), ["$MINE"]),
        "getWatchlists": Read("Primary Watchlist", at("0/name")),
        "getWatchlist": Read("Primary Watchlist", at("name"), ["$WATCHLIST"]),
        "getTradesV2": Read(4, at("#"), ["AAPL", {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]),
        "getMultiTradesV2": Read(
            1, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getMultiTradesAsyncV2": Read(
            4, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getQuotesV2": Read(4, at("#"), ["AAPL", {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]),
        "getMultiQuotesV2": Read(
            1, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getMultiQuotesAsyncV2": Read(
            4, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getBarsV2": Read(
            [233.48, 233.52, 232.86],
            at("*/OpenPrice"),
            ["AAPL", {"start": "2026-01-05", "end": "2026-01-08", "timeframe": "1Day"}],
        ),
        "getMultiBarsV2": Read(
            2, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "timeframe": "1Day"}]
        ),
        "getMultiBarsAsyncV2": Read(
            6, at("#"), [["AAPL", "MSFT"], {"start": "2026-01-05", "end": "2026-01-08", "timeframe": "1Day"}]
        ),
        "getLatestTrade": Read(7, at("#"), ["AAPL"]),
        "getLatestTrades": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "getLatestQuote": Read(9, at("#"), ["AAPL"]),
        "getLatestQuotes": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "getLatestBar": Read(8, at("#"), ["AAPL"]),
        "getLatestBars": Read(2, at("#"), [["AAPL", "MSFT"]]),
        "getSnapshot": Read("AAPL", at("symbol"), ["AAPL"]),
        "getSnapshots": Read(["AAPL", "MSFT"], at("*/symbol"), [["AAPL", "MSFT"]]),
        "getCryptoTrades": Read(
            1, at("#"), [["BTC/USD", "ETH/USD"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getCryptoQuotes": Read(
            1, at("#"), [["BTC/USD", "ETH/USD"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]
        ),
        "getCryptoBars": Read(
            2, at("#"), [["BTC/USD", "ETH/USD"], {"start": "2026-01-05", "end": "2026-01-08", "timeframe": "1Day"}]
        ),
        "getLatestCryptoTrades": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "getLatestCryptoQuotes": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "getLatestCryptoBars": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "getCryptoSnapshots": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "getCryptoOrderbooks": Read(2, at("#"), [["BTC/USD", "ETH/USD"]]),
        "getOptionBars": Read(
            1, at("#"), [["$CONTRACT"], {"start": "2026-01-05", "end": "2026-01-08", "timeframe": "1Day"}]
        ),
        "getOptionTrades": Read(1, at("#"), [["$CONTRACT"], {"start": "2026-01-05", "end": "2026-01-08", "limit": 4}]),
        "getOptionLatestTrades": Read(1, at("#"), [["$CONTRACT"]]),
        "getOptionLatestQuotes": Read(1, at("#"), [["$CONTRACT"]]),
        "getOptionSnapshots": Read(1, at("#"), [["$CONTRACT"]]),
        "getOptionChain": Read(10, at("#"), ["AAPL", {}]),
        "getCorporateActions": Read(13, at("#"), [["AAPL"], {"start": "2026-01-01", "end": "2026-12-31"}]),
        "getNews": Read(2, at("#"), [{"symbols": ["AAPL"], "totalLimit": 2}]),
        "sendRequest": Read(ACCOUNT, at("account_number"), ["/account"]),
    },
}
NOT_READS: Mapping[str, str] = {
    "createOrder": "places an order",
    "replaceOrder": "changes an order",
    "cancelOrder": "cancels an order",
    "cancelAllOrders": "cancels orders",
    "closePosition": "places an order",
    "closeAllPositions": "places orders",
    "addWatchlist": "makes a watchlist",
    "addToWatchlist": "changes a watchlist",
    "updateWatchlist": "changes a watchlist",
    "deleteWatchlist": "deletes a watchlist",
    "deleteFromWatchlist": "changes a watchlist",
    "updateAccountConfigurations": "changes the account",
    "newTimeframe": "builds a text",
    "httpRequest": "what the others call",
    "dataHttpRequest": "what the others call",
}
Runner = Callable[..., Conversation]


def opened(client: Conversation, demo: Demo) -> Conversation:
    client.words = words(demo)
    client.make("alpaca3:", {})
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, run_by_bearerd: Runner, node: str) -> Conversation:
    """With the rights of the client `demo`, which may do everything but orders."""
    return opened(run_by_bearerd("demo", node, NODE_TALK), demo)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every function of it is read above or said to be something else, in the version of the README."""
    assert "3.1.3" == json.loads((HERE / "node_modules/alpaca3/package.json").read_text())["version"]
    assert {*map(bare, READS["client"]), *NOT_READS} == client.methods("client")


def test_an_order_is_refused_without_the_scope_trading(client: Conversation, demo: Demo) -> None:
    """The client's error holds our document, and the broker hears nothing."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    with pytest.raises(Failed, match="403") as refused:
        client.call("createOrder", ORDER)

    assert 40301 == json.loads(refused.value.answer or "{}")["code"]
    assert (placed, reached) == (demo.placed("alpaca"), demo.reached("alpaca"))


def test_with_the_scope_trading_an_order_is_placed_exactly_once(demo: Demo, run_by_bearerd: Runner, node: str) -> None:
    """Under `bearerd run --client trader`: placed, then cancelled."""
    client = opened(run_by_bearerd("trader", node, NODE_TALK), demo)
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    answer = client.call("createOrder", {**ORDER, "client_order_id": new_id()})

    assert "AAPL" == answer["symbol"]
    assert (placed + 1, reached + 1) == (demo.placed("alpaca"), demo.reached("alpaca"))
    client.call("cancelOrder", answer["id"])
    assert "canceled" == client.call("getOrder", answer["id"])["status"]
