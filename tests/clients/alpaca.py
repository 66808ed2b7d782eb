"""What all clients of Alpaca meet in the demo: its paper account, the market data, the Broker API."""

import uuid
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from tests.clients.conversation import Conversation, bare
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


def check_that_none_is_left_out(
    client: Conversation,
    classes: Mapping[str, str],
    reads: Mapping[str, Collection[str]],
    others: Mapping[str, Collection[str]],
) -> None:
    """Every public method of alpaca-py's `classes` is among `reads` or `others`, in the version of the README."""
    assert "0.44.0" == version("alpaca-py")
    for on, of in classes.items():
        also = set(others.get(on, ()))
        assert {bare(method) for method in reads.get(on, ())} == client.methods(of, inherited=True) - also, on
        assert also <= client.methods(of, inherited=True), on
