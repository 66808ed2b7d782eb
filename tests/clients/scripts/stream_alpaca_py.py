"""A program of a person's own: every stream of alpaca-py, side by side. Nothing of ours is here.

`stream_alpaca_py.py WS KEY WRONG OPTION`: WS is bearerd's address, `ws://…`. Tells on stdout, line by line, what each
of them hears and what the package logs, as `[stream, channel, what]`. Two more have the key WRONG.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from alpaca.data.live import CryptoDataStream, NewsDataStream, OptionDataStream, StockDataStream
from alpaca.data.live.websocket import DataStream
from alpaca.trading.stream import TradingStream

url, key, wrong, option = sys.argv[1:]
quiet = threading.Lock()


def tell(stream: str, channel: str, what: object) -> None:
    with quiet:
        sys.stdout.write(json.dumps([stream, channel, what]) + "\n")
        sys.stdout.flush()


class Told(logging.Handler):
    """What the package logs is about the stream in whose thread it does."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.threadName or "", "log", record.getMessage())


def teller(stream: str, channel: str, number: Callable[[Any], object]) -> Any:
    async def heard(message: Any) -> None:
        tell(stream, channel, number(message))

    return heard


logging.getLogger("alpaca").addHandler(Told())
logging.getLogger("alpaca").setLevel(logging.INFO)

stocks = StockDataStream("local", key, url_override=f"{url}/alpaca-stream/v2/iex")
stocks.subscribe_trades(teller("stocks", "trades", lambda trade: trade.id), "AAPL")
stocks.subscribe_quotes(teller("stocks", "quotes", lambda quote: int(quote.bid_size)), "AAPL")
stocks.subscribe_bars(teller("stocks", "bars", lambda bar: int(bar.volume)), "AAPL")

crypto = CryptoDataStream("local", key, url_override=f"{url}/alpaca-stream/v1beta3/crypto/us")
crypto.subscribe_trades(teller("crypto", "trades", lambda trade: trade.id), "BTC/USD")
crypto.subscribe_orderbooks(teller("crypto", "orderbooks", lambda book: int(book.bids[0].size)), "BTC/USD")

news = NewsDataStream("local", key, url_override=f"{url}/alpaca-stream/v1beta1/news")
news.subscribe_news(teller("news", "news", lambda article: article.id), "*")

options = OptionDataStream("local", key, url_override=f"{url}/alpaca-stream/v1beta1/indicative")
options.subscribe_trades(teller("options", "trades", lambda trade: int(trade.size)), option)
options.subscribe_quotes(teller("options", "quotes", lambda quote: int(quote.bid_size)), option)

orders = TradingStream("local", key, url_override=f"{url}/alpaca/stream")
orders.subscribe_trade_updates(
    teller("orders", "orders", lambda update: update.event + " " + update.order.client_order_id)
)

no_data = StockDataStream("local", wrong, url_override=f"{url}/alpaca-stream/v2/iex")
no_data.subscribe_trades(teller("stocks, wrong key", "trades", lambda trade: trade.id), "AAPL")
no_orders = TradingStream("local", wrong, url_override=f"{url}/alpaca/stream")
no_orders.subscribe_trade_updates(teller("orders, wrong key", "orders", lambda update: update.order.client_order_id))

streams: dict[str, DataStream | TradingStream] = {
    "stocks": stocks,
    "crypto": crypto,
    "news": news,
    "options": options,
    "orders": orders,
    "stocks, wrong key": no_data,
    "orders, wrong key": no_orders,
}
for name, each in streams.items():
    threading.Thread(target=each.run, name=name).start()
