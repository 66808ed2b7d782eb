"""A program of a person's own with alpaca-trade-api: it reads where to go, and as whom, from the environment.

`stream_alpaca_trade_api.py WRONG`: tells on stdout, line by line, what it hears and what the package logs, as
`[stream, channel, what]`. One more stream has the key WRONG.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from alpaca_trade_api.stream import Stream  # type: ignore[import-not-found]

quiet = threading.Lock()


def tell(stream: str, channel: str, what: object) -> None:
    with quiet:
        sys.stdout.write(json.dumps([stream, channel, what]) + "\n")
        sys.stdout.flush()


class Told(logging.Handler):
    """What the package logs is about the stream in whose thread it does. It would try for ever, without a pause."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.threadName or "", "log", record.getMessage())
        if record.getMessage().endswith(("auth failed", "failed to authenticate")):
            sys.exit()


def teller(stream: str, channel: str, number: Callable[[Any], object]) -> Any:
    async def heard(message: Any) -> None:
        tell(stream, channel, number(message))

    return heard


logging.getLogger("alpaca_trade_api").addHandler(Told())
logging.getLogger("alpaca_trade_api").setLevel(logging.INFO)

data = Stream(data_feed="iex")
data.subscribe_trades(teller("stocks", "trades", lambda trade: trade.id), "AAPL")
data.subscribe_quotes(teller("stocks", "quotes", lambda quote: quote.bid_size), "AAPL")
data.subscribe_bars(teller("stocks", "bars", lambda bar: bar.volume), "AAPL")

crypto = Stream()
crypto.subscribe_crypto_trades(teller("crypto", "trades", lambda trade: trade.id), "BTC/USD")

news = Stream()
news.subscribe_news(teller("news", "news", lambda article: article.id), "*")

orders = Stream()
orders.subscribe_trade_updates(
    teller("orders", "orders", lambda update: f"{update.event} {update.order['client_order_id']}")
)

refused = Stream("local", sys.argv[1])
refused.subscribe_trades(teller("stocks, wrong key", "trades", lambda trade: trade.id), "AAPL")

streams = {"stocks": data, "crypto": crypto, "news": news, "orders": orders, "stocks, wrong key": refused}
for name, each in streams.items():
    threading.Thread(target=each.run, name=name).start()
