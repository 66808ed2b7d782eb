"""What all clients of Alpaca meet in the demo: its paper account, the market data, the Broker API."""

import uuid
from typing import Any

from tests.clients.product import Demo

ACCOUNT = "PA3SIMULATED"
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "100", "time_in_force": "day"}


def words(demo: Demo) -> dict[str, object]:
    """`$ORDER` and `$MINE`: an open order and its client's id; `$WATCHLIST`; `$CONTRACT`: an option of AAPL."""
    mine = str(uuid.uuid4())
    order: Any = demo.ask("alpaca", "/v2/orders", "POST", {**ORDER, "client_order_id": mine})
    watchlists: Any = demo.ask("alpaca", "/v2/watchlists")
    contracts: Any = demo.ask("alpaca", "/v2/options/contracts?underlying_symbols=AAPL")
    return {
        "ORDER": order["id"],
        "MINE": mine,
        "WATCHLIST": watchlists[0]["id"],
        "CONTRACT": contracts["option_contracts"][0]["symbol"],
    }


def new_id() -> str:
    """A client's id of an order: Alpaca takes each once."""
    return str(uuid.uuid4())
