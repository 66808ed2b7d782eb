"""@alpacahq/alpaca-trade-api 4.0.2 (npm, fetch of Node.js): its classes, and `Alpaca` with another fetch."""

import json
from collections.abc import Callable, Mapping

import pytest

from tests.clients.alpaca import ACCOUNT, new_id, words
from tests.clients.conftest import HERE, NODE_TALK, Opener
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo

SPAN = {"start": {"date": "2026-01-05T00:00:00Z"}, "end": {"date": "2026-01-08T00:00:00Z"}}
# Trading classes by their names, those of market data with `data` before it.
READS: Mapping[str, Mapping[str, Read]] = {
    "AccountsApi": {
        "getAccount": Read(ACCOUNT, at("accountNumber")),
    },
    "AccountConfigurationsApi": {
        "getAccountConfig": Read("entry", at("dtbp_check")),
    },
    "AccountActivitiesApi": {
        "getAccountActivities": Read(["DIV"], at("*/activityType"), [{}]),
        "getAccountActivitiesByActivityType": Read(["DIV"], at("*/activityType"), [{"activityType": "DIV"}]),
    },
    "AssetsApi": {
        "getV2Assets": Read(["BTC/USD", "ETH/USD"], at("*/symbol"), [{"assetClass": "crypto"}]),
        "getV2AssetsSymbolOrAssetId": Read("AAPL", at("symbol"), [{"symbolOrAssetId": "AAPL"}]),
        "getV2AssetsSymbolOrAssetId, crypto": Read("BTC/USD", at("symbol"), [{"symbolOrAssetId": "BTC/USD"}]),
        "getOptionsContracts": Read(10, at("optionContracts/#"), [{"underlyingSymbols": "AAPL"}]),
        "getOptionContractSymbolOrId": Read("AAPL", at("underlyingSymbol"), [{"symbolOrId": "$CONTRACT"}]),
    },
    "CalendarApi": {
        "legacyCalendar": Read(
            ["2026-01-05T00:00:00.000Z", "2026-01-06T00:00:00.000Z", "2026-01-07T00:00:00.000Z"],
            at("*/date"),
            [{"start": {"date": "2026-01-05T12:00:00Z"}, "end": {"date": "2026-01-07T12:00:00Z"}}],
        ),
        "calendar": Read(2, at("market/#"), [{"market": "NYSE"}]),
    },
    "ClockApi": {
        "legacyClock": Read(4, at("#")),
        "clock": Read(1, at("clocks/#"), [{}]),
    },
    "CorporateActionsApi": {
        "getV2CorporateActionsAnnouncements": Read(
            ["AAPL"],
            at("*/initiatingSymbol"),
            [
                {
                    "caTypes": "dividend",
                    "since": {"date": "2026-01-01T00:00:00Z"},
                    "until": {"date": "2026-02-01T00:00:00Z"},
                }
            ],
        ),
    },
    "OrdersApi": {
        "getAllOrders": Read("AAPL", at("0/symbol"), [{"status": "all"}]),
        "getOrderByOrderID": Read("AAPL", at("symbol"), [{"orderId": "$ORDER"}]),
        "getOrderByClientOrderId": Read("AAPL", at("symbol"), [{"clientOrderId": "$MINE"}]),
    },
    "PortfolioHistoryApi": {
        "getAccountPortfolioHistory": Read("1D", at("timeframe"), [{"period": "1W", "timeframe": "1D"}]),
    },
    "PositionsApi": {
        "getAllOpenPositions": Read(["AAPL", "BTCUSD"], at("*/symbol")),
        "getOpenPosition": Read("100", at("qty"), [{"symbolOrAssetId": "AAPL"}]),
    },
    "WatchlistsApi": {
        "getWatchlists": Read("Primary Watchlist", at("0/name")),
        "getWatchlistById": Read("Primary Watchlist", at("name"), [{"watchlistId": "$WATCHLIST"}]),
        "getWatchlistByName": Read("Primary Watchlist", at("name"), [{"name": "Primary Watchlist"}]),
    },
    "LocatesApi": {
        "listLocates": Read({"locates": []}, at(""), [{}]),
        "listLocateQuotes": Read({"quotes": []}, at(""), [{"symbols": "AAPL"}]),
    },
    "TokenizationApi": {
        "getTokenizationRequests": Read("COMPLETE", at("0/status"), [{}]),
    },
    "CryptoFundingApi": {
        "listCryptoFundingWallets": Read({}, at(""), [{}]),
    },
    "dataStockApi": {
        "stockBars": Read(
            [233.48, 233.52, 232.86], at("bars/AAPL/*/o"), [{"symbols": "AAPL,MSFT", "timeframe": "1Day", **SPAN}]
        ),
        "stockBarSingle": Read(
            [233.48, 233.52, 232.86], at("bars/*/o"), [{"symbol": "AAPL", "timeframe": "1Day", **SPAN}]
        ),
        "stockTrades": Read(1, at("trades/#"), [{"symbols": "AAPL,MSFT", "limit": 4, **SPAN}]),
        "stockTradeSingle": Read(4, at("trades/#"), [{"symbol": "AAPL", "limit": 4, **SPAN}]),
        "stockQuotes": Read(1, at("quotes/#"), [{"symbols": "AAPL,MSFT", "limit": 4, **SPAN}]),
        "stockQuoteSingle": Read(4, at("quotes/#"), [{"symbol": "AAPL", "limit": 4, **SPAN}]),
        "stockLatestBars": Read(2, at("bars/#"), [{"symbols": "AAPL,MSFT"}]),
        "stockLatestBarSingle": Read("AAPL", at("symbol"), [{"symbol": "AAPL"}]),
        "stockLatestQuotes": Read(2, at("quotes/#"), [{"symbols": "AAPL,MSFT"}]),
        "stockLatestQuoteSingle": Read("AAPL", at("symbol"), [{"symbol": "AAPL"}]),
        "stockLatestTrades": Read(2, at("trades/#"), [{"symbols": "AAPL,MSFT"}]),
        "stockLatestTradeSingle": Read("AAPL", at("symbol"), [{"symbol": "AAPL"}]),
        "stockSnapshots": Read(2, at("#"), [{"symbols": "AAPL,MSFT"}]),
        "stockSnapshotSingle": Read("AAPL", at("symbol"), [{"symbol": "AAPL"}]),
        "stockAuctions": Read(1, at("auctions/#"), [{"symbols": "AAPL,MSFT", **SPAN}]),
        "stockAuctionSingle": Read(1000, at("auctions/#"), [{"symbol": "AAPL", **SPAN}]),
        "stockMetaConditions": Read(2, at("#"), [{"ticktype": "trade", "tape": "A"}]),
        "stockMetaExchanges": Read(4, at("#")),
    },
    "dataCryptoApi": {
        "cryptoBars": Read(2, at("bars/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD", "timeframe": "1Day", **SPAN}]),
        "cryptoTrades": Read(1, at("trades/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD", "limit": 4, **SPAN}]),
        "cryptoQuotes": Read(1, at("quotes/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD", "limit": 4, **SPAN}]),
        "cryptoLatestBars": Read(2, at("bars/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD"}]),
        "cryptoLatestQuotes": Read(2, at("quotes/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD"}]),
        "cryptoLatestTrades": Read(2, at("trades/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD"}]),
        "cryptoLatestOrderbooks": Read(2, at("orderbooks/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD"}]),
        "cryptoSnapshots": Read(2, at("snapshots/#"), [{"loc": "us", "symbols": "BTC/USD,ETH/USD"}]),
    },
    "dataCryptoPerpetualFuturesApi": {
        "cryptoPerpLatestBars": Read(1, at("#"), [{"loc": "global", "symbols": "BTC-PERP"}]),
        "cryptoPerpLatestFuturesPricing": Read(1, at("#"), [{"loc": "global", "symbols": "BTC-PERP"}]),
        "cryptoPerpLatestOrderbooks": Read(1, at("#"), [{"loc": "global", "symbols": "BTC-PERP"}]),
        "cryptoPerpLatestQuotes": Read(1, at("#"), [{"loc": "global", "symbols": "BTC-PERP"}]),
        "cryptoPerpLatestTrades": Read(1, at("#"), [{"loc": "global", "symbols": "BTC-PERP"}]),
    },
    "dataOptionApi": {
        "optionBars": Read(1, at("bars/#"), [{"symbols": "$CONTRACT", "timeframe": "1Day", **SPAN}]),
        "optionTrades": Read(1, at("trades/#"), [{"symbols": "$CONTRACT", "limit": 4, **SPAN}]),
        "optionChain": Read(10, at("snapshots/#"), [{"underlyingSymbol": "AAPL"}]),
        "optionLatestQuotes": Read(1, at("quotes/#"), [{"symbols": "$CONTRACT"}]),
        "optionLatestTrades": Read(1, at("trades/#"), [{"symbols": "$CONTRACT"}]),
        "optionSnapshots": Read(1, at("snapshots/#"), [{"symbols": "$CONTRACT"}]),
        "optionMetaConditions": Read(2, at("#"), [{"ticktype": "trade"}]),
        "optionMetaExchanges": Read(4, at("#")),
    },
    "dataNewsApi": {
        "news": Read(2, at("news/#"), [{"symbols": "AAPL", "limit": 2}]),
    },
    "dataScreenerApi": {
        "movers": Read("AAPL", at("gainers/0/symbol"), [{"marketType": "stocks", "top": 2}]),
        "mostActives": Read(["AAPL", "MSFT"], at("mostActives/*/symbol"), [{"top": 2}]),
    },
    "dataCorporateActionsApi": {
        "corporateActions": Read(2, at("#"), [{"symbols": "AAPL"}]),
    },
    "dataLogosApi": {
        "logos": Read({}, at(""), [{"symbol": "AAPL"}]),
    },
    "dataFixedIncomeApi": {
        "fixedIncomeLatestPrices": Read(1, at("#"), [{"isins": "US912797KS56"}]),
        "fixedIncomeLatestQuotes": Read(1, at("#"), [{"isins": "US912797KS56"}]),
    },
    "dataForexApi": {
        "latestRates": Read(1, at("#"), [{"currencyPairs": "USDJPY"}]),
        "rates": Read(2, at("#"), [{"currencyPairs": "USDJPY", "timeframe": "1Day", **SPAN}]),
    },
    "dataIndexApi": {
        "indexLatestValues": Read(1, at("#"), [{"symbols": "SPX"}]),
        "indexValues": Read(2, at("#"), [{"symbols": "SPX", **SPAN}]),
    },
}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "AccountConfigurationsApi": {"patchAccountConfig": "changes the account"},
    "CryptoFundingApi": {
        "createCryptoTransferForAccount": "moves crypto: no scope opens it",
        "createWhitelistedAddress": "moves crypto: no scope opens it",
        "deleteWhitelistedAddress": "moves crypto: no scope opens it",
        "getCryptoFundingTransfer": "moves crypto: no scope opens it",
        "getCryptoTransferEstimate": "moves crypto: no scope opens it",
        "listCryptoFundingTransfers": "moves crypto: no scope opens it",
        "listWhitelistedAddress": "moves crypto: no scope opens it",
    },
    "LocatesApi": {"createLocates": "orders a locate", "getLocate": "of a locate that was ordered"},
    "OrdersApi": {
        "deleteAllOrders": "cancels orders",
        "deleteOrderByOrderID": "cancels orders",
        "patchOrderByOrderId": "changes an order",
        "postOrder": "places an order",
    },
    "PositionsApi": {
        "deleteAllOpenPositions": "places orders",
        "deleteOpenPosition": "places orders",
        "optionDoNotExercise": "exercises an option",
        "optionExercise": "exercises an option",
    },
    "TokenizationApi": {
        "postTokenizationMint": "mints: no scope opens it",
        "getTokenizationRequest": "of a request that was made",
        "getTokenizationRequestByClientRequestID": "of a request that was made",
    },
    "WatchlistsApi": {
        "addAssetToWatchlist": "changes a watchlist",
        "addAssetToWatchlistByName": "changes a watchlist",
        "deleteWatchlistById": "changes a watchlist",
        "deleteWatchlistByName": "changes a watchlist",
        "postWatchlist": "changes a watchlist",
        "removeAssetFromWatchlist": "changes a watchlist",
        "updateWatchlistById": "changes a watchlist",
        "updateWatchlistByName": "changes a watchlist",
    },
    "CorporateActionsApi": {"getV2CorporateActionsAnnouncementsId": "of one announcement, by its id"},
}
CREDENTIALS = ("bearer", "key pair")
# Alpaca wants no credential for crypto, and so the package leaves a key pair out; an OAuth token it sends.
WITHOUT_KEYS = ("dataCryptoApi", "dataCryptoPerpetualFuturesApi")
STREAMS = "EventsApi"  # of no use without an end


def opened(client: Conversation, demo: Demo, key: str, credential: str) -> Conversation:
    """Each class with a configuration whose address is the mount's."""
    client.words = words(demo)
    fields = {"accessToken": key} if credential == "bearer" else {"keyId": "local", "secret": key}
    for namespace, mount in (("trading", "alpaca"), ("marketData", "alpaca-data")):
        client.make(f"alpaca4:{namespace}.Configuration", {"basePath": demo.at(mount), **fields}, on=namespace)
    for on in READS:
        namespace = "marketData" if on.startswith("data") else "trading"
        client.make(f"alpaca4:{namespace}.{on.removeprefix('data')}", {"kept": namespace}, on=on)
    return client


@pytest.fixture(scope="session")
def clients(demo: Demo, node_client: Opener) -> Mapping[str, Conversation]:
    """With the key that may do everything but orders, as an OAuth token and as a key pair."""
    return {form: opened(node_client("alpaca4"), demo, demo.key, form) for form in CREDENTIALS}


@pytest.fixture
def client(clients: Mapping[str, Conversation]) -> Conversation:
    return clients["bearer"]


ROWS = [
    (form, on, method)
    for form in CREDENTIALS
    for on, reads in READS.items()
    for method in reads
    if form == "bearer" or on not in WITHOUT_KEYS
]


@pytest.mark.parametrize(("form", "on", "method"), ROWS)
def test_a_read_method_works(clients: Mapping[str, Conversation], form: str, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == clients[form].read(method, READS[on][method], on)


def test_crypto_needs_the_key_as_an_oauth_token(clients: Mapping[str, Conversation], demo: Demo) -> None:
    """With a key pair the package sends no credential: 401 that says so, and the broker hears nothing."""
    reached = demo.reached("alpaca")

    with pytest.raises(Failed, match="carries no client key"):
        clients["key pair"].read("cryptoBars", READS["dataCryptoApi"]["cryptoBars"], "dataCryptoApi")

    assert reached == demo.reached("alpaca")


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every method of every class is read above or said to be something else, in the version of the README."""
    assert "4.0.2" == json.loads((HERE / "node_modules/alpaca4/package.json").read_text())["version"]
    for on, reads in READS.items():
        namespace = "marketData" if on.startswith("data") else "trading"
        methods = client.methods(f"alpaca4:{namespace}.{on.removeprefix('data')}")
        public = {name for name in methods if not name.endswith(("Raw", "RequestOpts"))}
        assert {*map(bare, reads), *NOT_READS.get(on, {})} == public, on
    for namespace in ("trading", "marketData"):
        classes = {name for name in client.exports(f"alpaca4:{namespace}") if name.endswith("Api")}
        known = {on.removeprefix("data") for on in READS if on.startswith("data") == (namespace == "marketData")}
        assert known == classes - {STREAMS}


def test_an_order_is_refused_without_the_scope_trading(client: Conversation, demo: Demo) -> None:
    """The client raises for 403, and the broker hears nothing."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    with pytest.raises(Failed, match=r"403|PermissionError|scope"):
        client.call("postOrder", {"postOrderRequest": CAMEL}, on="OrdersApi")

    assert (placed, reached) == (demo.placed("alpaca"), demo.reached("alpaca"))


CAMEL = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limitPrice": "100", "timeInForce": "day"}


def test_with_the_scope_trading_an_order_is_placed_exactly_once(demo: Demo, node_client: Opener) -> None:
    """Placed, then cancelled."""
    client = opened(node_client("alpaca4"), demo, demo.trader_key, "bearer")
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    answer = client.call("postOrder", {"postOrderRequest": {**CAMEL, "clientOrderId": new_id()}}, on="OrdersApi")

    assert "AAPL" == answer["symbol"]
    assert (placed + 1, reached + 1) == (demo.placed("alpaca"), demo.reached("alpaca"))
    client.call("deleteOrderByOrderID", {"orderId": answer["id"]}, on="OrdersApi")


def test_its_ergonomic_client_reads_keys_that_bearerd_run_has_set(
    demo: Demo, run_by_bearerd: Callable[..., Conversation], node: str
) -> None:
    """It has no option for an address and reads none: its fetch is exchanged; the keys are the environment's."""
    client = run_by_bearerd("trader", node, NODE_TALK)
    routes = {
        "https://paper-api.alpaca.markets": demo.at("alpaca"),
        "https://data.alpaca.markets": demo.at("alpaca-data"),
    }
    client.make("alpaca4:Alpaca", {"fetchApi": {"routes": routes}})
    placed = demo.placed("alpaca")

    assert ACCOUNT == client.call("trading.account.getAccount")["accountNumber"]
    latest = client.call("marketData.stocks.stockLatestTrades", {"symbols": "AAPL,MSFT"})
    assert {"AAPL", "MSFT"} == set(latest["trades"])
    order = {"symbol": "AAPL", "qty": 1, "side": "buy", "limitPrice": 100, "clientOrderId": new_id()}
    assert "AAPL" == client.call("trading.orders.limit", order)["symbol"]
    assert placed + 1 == demo.placed("alpaca")
