"""Guards before real clients: an order inside of them is placed, one outside is told to its caller and nobody else."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.clients import (
    test_alpaca_py_trading,
    test_lumiwealth_tradier,
    test_tradier_python,
    test_uvatradier,
)
from tests.clients.conftest import Opener
from tests.clients.conversation import Failed
from tests.clients.product import LIMIT_ORDER, Demo
from tests.product import ACCOUNT

GUARDS: Mapping[str, Mapping[str, Any]] = {
    "questrade": {"accounts": [ACCOUNT], "symbols": ["8049"], "max_quantity": 10, "max_notional": 1005},
    "tradier": {"symbols": ["AAPL"], "underlyings": ["AAPL"], "max_quantity": 2, "max_notional": 400},
    "alpaca": {"symbols": ["AAPL"], "max_quantity": 2, "max_notional": "200.5"},
}
DENIED = 40302


@pytest.fixture(scope="module", autouse=True)
def _guarded(demo: Demo) -> Iterator[None]:
    """On the demo that all tests of real clients share, and only as long as these run."""
    with demo.guarded(GUARDS):
        yield


def counted(demo: Demo, broker: str, ask: Callable[[], object]) -> tuple[object, int]:
    """What the client made of the answer, and how many orders more the broker has."""
    before = demo.placed(broker)
    try:
        answer: object = ask()
    except Failed as failed:
        answer = f"{failed} {failed.answer}"
    return answer, demo.placed(broker) - before


def test_uvatradier_orders_in_the_query_of_a_post(demo: Demo, python_client: Opener) -> None:
    """Its shares are ordered in the query, without a body."""
    client = test_uvatradier.opened(python_client("uvatradier"), demo, demo.trader_key)

    def order(symbol: str, quantity: int, price: float) -> tuple[Any, int]:
        ask = lambda: client.call("order", symbol, "buy", quantity, "limit", limit_price=price, on="EquityOrder")  # noqa: E731
        return counted(demo, "tradier", ask)

    answer, placed = order("AAPL", 2, 200)
    assert ("ok", 1) == (answer["order"]["status"], placed)
    for symbol, quantity, price in (("MSFT", 1, 1), ("AAPL", 3, 1), ("AAPL", 2, 200.01)):
        answer, placed = order(symbol, quantity, price)
        assert (DENIED, 403, 0) == (answer["code"], answer["status"], placed), (symbol, quantity, price)


def test_uvatradier_orders_options_in_a_form(demo: Demo, python_client: Opener) -> None:
    """Its options are ordered in a body: one alone, and a spread with numbered legs."""
    client = test_uvatradier.opened(python_client("uvatradier"), demo, demo.trader_key)
    ours, theirs = contracts(demo, "AAPL"), contracts(demo, "MSFT")

    def option(symbol: str, price: float) -> tuple[Any, int]:
        arguments = (symbol, "limit", "buy_to_open", 1)
        ask = lambda: client.call("options_order", *arguments, limit_price=price, on="OptionsOrder")  # noqa: E731
        return counted(demo, "tradier", ask)

    answer, placed = option(ours[0], 4)
    assert ("ok", 1) == (answer["order"]["status"], placed)
    assert [0, 0] == [option(symbol, price)[1] for symbol, price in ((ours[0], 4.01), (theirs[0], 1))]
    spread = lambda: client.call("bull_call_spread", "AAPL", ours[0], 1, ours[1], 1, on="OptionsOrder")  # noqa: E731
    answer, placed = counted(demo, "tradier", spread)
    assert (DENIED, 0) == (answer["code"] if isinstance(answer, dict) else answer, placed)  # no price bounds it


def contracts(demo: Demo, root: str) -> list[str]:
    """Two options of the simulated market."""
    expiry = demo.ask("tradier", f"/v1/markets/options/expirations?symbol={root}")["expirations"]["date"][0]
    chain = demo.ask("tradier", f"/v1/markets/options/chains?symbol={root}&expiration={expiry}")
    return [option["symbol"] for option in chain["options"]["option"][:2]]


def test_tradier_python_orders_in_the_query_of_a_post(demo: Demo, python_client: Opener) -> None:
    """It leaves out what is None, and fails over the answer to an order that was placed."""
    client = test_tradier_python.opened(python_client("tradier_python"), demo, demo.trader_key)

    def order(symbol: str, quantity: int, price: float) -> tuple[Any, int]:
        ask = lambda: client.call("order_equity", symbol, "buy", quantity, "limit", "day", price)  # noqa: E731
        return counted(demo, "tradier", ask)

    answer, placed = order("AAPL", 2, 200)
    assert 1 == placed, answer
    for symbol, quantity, price in (("MSFT", 1, 1), ("AAPL", 3, 1), ("AAPL", 2, 200.01)):
        answer, placed = order(symbol, quantity, price)
        assert (True, 0) == (str(DENIED) in answer, placed), answer


def test_lumiwealth_tradier_orders_in_a_form(demo: Demo, python_client: Opener) -> None:
    """It sends an empty option_symbol with each order of shares."""
    client = test_lumiwealth_tradier.opened(python_client("lumiwealth_tradier"), demo, demo.trader_key)

    def order(symbol: str, quantity: int, price: float) -> tuple[Any, int]:
        ask = lambda: client.call("order", symbol, "buy", quantity, "limit", limit_price=price, on="orders")  # noqa: E731
        return counted(demo, "tradier", ask)

    answer, placed = order("AAPL", 2, 200)
    assert ("ok", 1) == (answer["status"], placed)
    assert [0, 0, 0] == [order(*told)[1] for told in (("MSFT", 1, 1), ("AAPL", 3, 1), ("AAPL", 2, 200.01))]


@pytest.mark.parametrize("kind", ["LimitOrderRequest", "MarketOrderRequest"])
def test_alpaca_py_orders_in_json(demo: Demo, python_client: Opener, kind: str) -> None:
    """Limit orders by quantity; a market order tells no price and is refused."""
    client = test_alpaca_py_trading.opened(python_client("alpaca_py"), demo, demo.trader_key)

    def order(**changes: object) -> tuple[Any, int]:
        told = {**test_alpaca_py_trading.order(), "new": f"{test_alpaca_py_trading.TRADING}.{kind}", **changes}
        if kind == "MarketOrderRequest":
            told.pop("limit_price")
        return counted(demo, "alpaca", lambda: client.call("submit_order", told, on="trading"))

    if kind == "LimitOrderRequest":
        answer, placed = order()
        assert ("AAPL", 1) == (answer["symbol"], placed)
        assert [0, 0, 0] == [order(**told)[1] for told in ({"symbol": "MSFT"}, {"qty": 3}, {"limit_price": 200.51})]
    else:
        answer, placed = order()
        assert (True, 0) == (str(DENIED) in answer, placed), answer


def test_qtrade_orders_in_json(demo: Demo, python_client: Opener) -> None:
    """Every post of an order outside is refused, and the account in the body counts as the one in the path does."""
    client = python_client("qtrade")
    document = demo.token_file("qtrade").replace(demo.key, demo.trader_key)
    (client.home / "access_token.yml").write_text(document)
    client.make("qtrade.Questrade", token_yaml="access_token.yml")

    def order(account: str = ACCOUNT, **changes: Any) -> tuple[Any, int]:
        return counted(demo, "questrade", lambda: client.call("submit_order", account, {**LIMIT_ORDER, **changes}))

    assert order(limitPrice=100.5)[1] > 0
    changes: list[dict[str, Any]] = [{"symbolId": 9292}, {"quantity": 11}, {"limitPrice": 101}]
    assert [0, 0, 0] == [order(**each)[1] for each in changes]
    assert [0, 0] == [order("26598146")[1], order(accountNumber="26598146")[1]]
    assert "403" in str(order("26598146")[0])
