"""alpaca-py 0.44.0 (requests), the clients of market data: they only read."""

from collections.abc import Mapping

import pytest

from tests.clients.alpaca import check_that_none_is_left_out, words
from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Read, at
from tests.clients.product import Demo

DATA = "alpaca.data.requests"
DAY = {"value": "alpaca.data.timeframe.TimeFrame.Day"}
SPAN = {"start": {"time": "2026-01-05T14:30:00"}, "end": {"time": "2026-01-07T21:00:00"}}
READS: Mapping[str, Mapping[str, Read]] = {
    "stock": {
        "get_stock_bars": Read(
            [233.52, 232.86],
            at("data/AAPL/*/open"),
            [{"new": f"{DATA}.StockBarsRequest", "symbol_or_symbols": ["AAPL", "MSFT"], "timeframe": DAY, **SPAN}],
        ),
        "get_stock_latest_bar": Read(
            ["AAPL", "MSFT"],
            at("*/symbol"),
            [{"new": f"{DATA}.StockLatestBarRequest", "symbol_or_symbols": ["AAPL", "MSFT"]}],
        ),
        "get_stock_latest_quote": Read(
            ["AAPL", "MSFT"],
            at("*/symbol"),
            [{"new": f"{DATA}.StockLatestQuoteRequest", "symbol_or_symbols": ["AAPL", "MSFT"]}],
        ),
        "get_stock_latest_trade": Read(
            ["AAPL", "MSFT"],
            at("*/symbol"),
            [{"new": f"{DATA}.StockLatestTradeRequest", "symbol_or_symbols": ["AAPL", "MSFT"]}],
        ),
        "get_stock_quotes": Read(
            "AAPL",
            at("data/AAPL/0/symbol"),
            [{"new": f"{DATA}.StockQuotesRequest", "symbol_or_symbols": ["AAPL", "MSFT"], "limit": 4, **SPAN}],
        ),
        "get_stock_snapshot": Read(
            ["AAPL", "MSFT"],
            at("*/symbol"),
            [{"new": f"{DATA}.StockSnapshotRequest", "symbol_or_symbols": ["AAPL", "MSFT"]}],
        ),
        "get_stock_trades": Read(
            "AAPL",
            at("data/AAPL/0/symbol"),
            [{"new": f"{DATA}.StockTradesRequest", "symbol_or_symbols": ["AAPL", "MSFT"], "limit": 4, **SPAN}],
        ),
    },
    "crypto": {
        "get_crypto_latest_bar": Read(
            ["BTC/USD", "ETH/USD"],
            at("*/symbol"),
            [{"new": f"{DATA}.CryptoLatestBarRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"]}],
        ),
        "get_crypto_latest_orderbook": Read(
            ["BTC/USD", "ETH/USD"],
            at("*/symbol"),
            [{"new": f"{DATA}.CryptoLatestOrderbookRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"]}],
        ),
        "get_crypto_latest_quote": Read(
            ["BTC/USD", "ETH/USD"],
            at("*/symbol"),
            [{"new": f"{DATA}.CryptoLatestQuoteRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"]}],
        ),
        "get_crypto_latest_trade": Read(
            ["BTC/USD", "ETH/USD"],
            at("*/symbol"),
            [{"new": f"{DATA}.CryptoLatestTradeRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"]}],
        ),
        "get_crypto_quotes": Read(
            ["BTC/USD"],
            at("data/*/0/symbol"),
            [{"new": f"{DATA}.CryptoQuoteRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"], "limit": 4, **SPAN}],
        ),
        "get_crypto_snapshot": Read(
            ["BTC/USD", "ETH/USD"],
            at("*/symbol"),
            [{"new": f"{DATA}.CryptoSnapshotRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"]}],
        ),
        "get_crypto_trades": Read(
            ["BTC/USD"],
            at("data/*/0/symbol"),
            [{"new": f"{DATA}.CryptoTradesRequest", "symbol_or_symbols": ["BTC/USD", "ETH/USD"], "limit": 4, **SPAN}],
        ),
        "get_crypto_bars": Read(
            ["BTC/USD", "ETH/USD"],
            at("data/*/0/symbol"),
            [
                {
                    "new": f"{DATA}.CryptoBarsRequest",
                    "symbol_or_symbols": ["BTC/USD", "ETH/USD"],
                    "timeframe": DAY,
                    **SPAN,
                }
            ],
        ),
    },
    "option": {
        "get_option_bars": Read(
            [2],
            at("data/*/#"),
            [{"new": f"{DATA}.OptionBarsRequest", "symbol_or_symbols": "$CONTRACT", "timeframe": DAY, **SPAN}],
        ),
        "get_option_chain": Read(10, at("#"), [{"new": f"{DATA}.OptionChainRequest", "underlying_symbol": "AAPL"}]),
        "get_option_exchange_codes": Read(4, at("#")),
        "get_option_latest_quote": Read(
            1, at("#"), [{"new": f"{DATA}.OptionLatestQuoteRequest", "symbol_or_symbols": "$CONTRACT"}]
        ),
        "get_option_latest_trade": Read(
            1, at("#"), [{"new": f"{DATA}.OptionLatestTradeRequest", "symbol_or_symbols": "$CONTRACT"}]
        ),
        "get_option_snapshot": Read(
            1, at("#"), [{"new": f"{DATA}.OptionSnapshotRequest", "symbol_or_symbols": "$CONTRACT"}]
        ),
        "get_option_trades": Read(
            1,
            at("data/#"),
            [{"new": f"{DATA}.OptionTradesRequest", "symbol_or_symbols": "$CONTRACT", "limit": 4, **SPAN}],
        ),
    },
    "news": {
        "get_news": Read(
            [["AAPL"], ["AAPL"]],
            at("data/news/*/symbols"),
            [{"new": f"{DATA}.NewsRequest", "symbols": "AAPL", "limit": 2}],
        ),
    },
    "screener": {
        "get_market_movers": Read("AAPL", at("gainers/0/symbol"), [{"new": f"{DATA}.MarketMoversRequest", "top": 2}]),
        "get_most_actives": Read(
            ["AAPL", "MSFT"], at("most_actives/*/symbol"), [{"new": f"{DATA}.MostActivesRequest", "top": 2}]
        ),
    },
}
HISTORICAL = "alpaca.data.historical"
CLASSES = {
    "stock": f"{HISTORICAL}.StockHistoricalDataClient",
    "crypto": f"{HISTORICAL}.CryptoHistoricalDataClient",
    "option": f"{HISTORICAL}.OptionHistoricalDataClient",
    "news": f"{HISTORICAL}.news.NewsClient",
    "screener": f"{HISTORICAL}.screener.ScreenerClient",
}
ALSO = {
    "delete": "what the others call",
    "patch": "what the others call",
    "post": "what the others call",
    "put": "what the others call",
    "response_wrapper": "sends nothing",
    "get": "what the others call",
}
CREDENTIALS = {
    "bearer": lambda key: {"oauth_token": key},
    "key pair": lambda key: {"api_key": "local", "secret_key": key},
}


@pytest.fixture(scope="session", params=CREDENTIALS)
def client(request: pytest.FixtureRequest, demo: Demo, python_client: Opener) -> Conversation:
    """All five, pointed at the mount by `url_override`."""
    client = python_client("alpaca_py")
    client.words = words(demo)
    for on, of in CLASSES.items():
        client.make(of, **CREDENTIALS[request.param](demo.key), url_override=demo.at("alpaca-data"), on=on)
    return client


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    check_that_none_is_left_out(client, CLASSES, READS, dict.fromkeys(CLASSES, ALSO))
