"""The npm package questrade 2.1.0 (fetch of Node.js). It reads, and places, changes and cancels orders."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.clients.conftest import HERE, Opener
from tests.clients.conversation import Conversation, Failed, Read, bare
from tests.clients.product import FILLED_ORDER, LIMIT_ORDER, OPEN_ORDER, Demo
from tests.product import ACCOUNT

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "getAccounts": Read([ACCOUNT], list),
        "getPrimaryAccount": Read(ACCOUNT, lambda got: got["accountId"]),
        "getSymbols": Read([8049, 27426], lambda got: [each["symbolId"] for each in got], [["AAPL", "MSFT"]]),
        "getSymbol": Read(8049, lambda got: got["symbolId"], ["AAPL"]),
        "searchSymbols": Read(["AAPL"], lambda got: [each["symbol"] for each in got], ["AAP"]),
        "getQuotesById": Read(["27426", "8049"], sorted, [[8049, 27426]]),
        "request": Read(["time"], list, ["GET", "/time"]),
        "isConnected": Read(True, bool),
    },
    "account": {
        "getPositions": Read(["AAPL", "TD.TO"], lambda got: [each["symbol"] for each in got["positions"]]),
        "getBalances": Read(["CAD", "USD"], lambda got: [each["currency"] for each in got["perCurrencyBalances"]]),
        # today's: there is no way to give times
        "getExecutions": Read(True, lambda got: {each["orderId"] for each in got["executions"]} <= {FILLED_ORDER}),
        "getOrders": Read(
            [FILLED_ORDER],
            lambda got: [each["id"] for each in got["orders"]],
            [{"ids": str(FILLED_ORDER)}],
        ),
        "getOpenOrders": Read(True, lambda got: FILLED_ORDER not in [each["id"] for each in got["orders"]]),
        "getClosedOrders": Read(True, lambda got: OPEN_ORDER not in [each["id"] for each in got["orders"]]),
        "getAllOrders": Read(["orders"], list),
        "getOrder": Read([OPEN_ORDER], lambda got: [each["id"] for each in got["orders"]], [OPEN_ORDER]),
        "getActivities": Read(
            5,
            lambda got: len(got["activities"]),
            [{"startTime": "2026-01-05T05:00:00Z", "endTime": "2026-01-09T05:00:00Z"}],
        ),
        "getActivities, bare": Read({"DIV"}, lambda got: {each["action"] for each in got["activities"]}),
        "request": Read(["positions"], list, ["GET", "/positions"]),
    },
    "symbol": {
        "getOptionChain": Read(["2030-01-18"], list),
        "getQuote": Read("AAPL", lambda got: got["symbol"]),
        "getCandles": Read(
            5, len, [{"startTime": "2026-01-05T05:00:00Z", "endTime": "2026-01-10T05:00:00Z", "interval": "OneDay"}]
        ),
        # of the last 30 days
        "getCandles, bare": Read(True, lambda got: 30 <= len(got) <= 33),
    },
    "option": {
        "getQuote": Read(
            [24753669, 24753773], lambda got: [got.get(kind, {}).get("symbolId") for kind in ("call", "put")]
        )
    },
}
STRATEGY = {
    "strategy": "CoveredCall",
    "orderType": "Limit",
    "timeInForce": "Day",
    "limitPrice": 1.5,
    "legs": [
        {"legId": 1, "symbolId": 8049, "action": "Buy", "legQuantity": 1},
        {"legId": 2, "symbolId": 8049, "action": "Sell", "legQuantity": 1},
    ],
}
ORDERS: Mapping[str, list[Any]] = {
    "createOrder": [LIMIT_ORDER],
    "updateOrder": [OPEN_ORDER, {"quantity": 5}],
    "removeOrder": [OPEN_ORDER],
    "testOrder": [LIMIT_ORDER],
    "createStrategy": [STRATEGY],
    "testStrategy": [STRATEGY],
}
NOT_READS = {
    "connect": "asks the token endpoint: every test of the second form begins with it",
    "callback": "redeems an authorization code: refused, below",
    "loginUrl": "text",
    "getMarkets": "calls a method that this version of the package does not have",
}


def ready(client: Conversation) -> Conversation:
    """With one account, one symbol and one pair of options at hand."""
    client.keep("account", "getPrimaryAccount")
    client.keep("symbol", "getSymbol", "AAPL")
    client.keep("option", "getOptionChain", on="symbol", path=["2030-01-18", "230"])
    return client


@pytest.fixture(scope="session", params=["access token", "token endpoint"])
def client(request: pytest.FixtureRequest, demo: Demo, node_client: Opener) -> Conversation:
    """The client, with the key and the address of the API, and with the address of the login host instead."""
    client = node_client("questrade")
    if request.param == "access token":
        client.make({"accessToken": demo.key})
        client.assign("apiUrl", f"{demo.url}/v1")
    else:
        client.make(demo.key)
        client.assign("authUrl", demo.url)
        assert demo.key == client.call("connect")
    return ready(client)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every method of its classes is read above or said to be something else, in the version of the README."""
    installed = json.loads((HERE / "node_modules/questrade/package.json").read_text())
    assert "2.1.0" == installed["version"]
    for on, reads in READS.items():
        called = {bare(method) for method in reads}
        others = {"client": NOT_READS, "account": ORDERS}.get(on, {})
        assert {*called, *others} == client.methods(on)


def test_its_broken_method_sends_nothing(client: Conversation, demo: Demo) -> None:
    """getMarkets() fails inside the package."""
    calls = demo.calls

    with pytest.raises(Failed, match=r"this\._api is not a function"):
        client.call("getMarkets")

    assert calls == demo.calls


def test_an_authorization_code_is_not_ours_to_redeem(demo: Demo, node_client: Opener) -> None:
    """The token endpoint takes client keys only; anything else is refused as JSON, which the package hands out."""
    client = node_client("questrade")
    client.make("client-id")
    client.assign("authUrl", demo.url)

    assert 40101 == client.call("callback", "a-code")["code"]


@pytest.mark.parametrize("method", ORDERS)
def test_order_calls_are_refused_without_the_scope_trade(client: Conversation, demo: Demo, method: str) -> None:
    """The package returns the refusal as if it were data: code 40301, and nothing went upstream."""
    calls = demo.calls

    answer = client.call(method, *ORDERS[method], on="account")

    assert (40301, 403) == (answer["code"], answer["status"])
    assert "trade" in answer["message"]
    assert calls == demo.calls


def test_with_the_scope_trade_each_order_is_placed_exactly_once(client: Conversation, demo: Demo) -> None:
    """Placed, replaced, cancelled; estimates place nothing."""
    orders = demo.orders

    with demo.allowing("trade"):
        placed = client.call("createOrder", LIMIT_ORDER, on="account")["orders"][0]
        assert (orders + 1, "Accepted") == (demo.orders, placed["state"])

        changed = client.call("updateOrder", placed["id"], {"quantity": 5}, on="account")["orders"][0]
        assert (orders + 1, 5, placed["id"]) == (demo.orders, changed["totalQuantity"], changed["chainId"])

        assert changed["id"] == client.call("removeOrder", changed["id"], on="account")["orderId"]
        assert "Canceled" == client.call("getOrder", changed["id"], on="account")["orders"][0]["state"]

        assert "Buy" == client.call("testOrder", LIMIT_ORDER, on="account")["side"]
        assert "Buy" == client.call("testStrategy", STRATEGY, on="account")["side"]
        assert orders + 1 == demo.orders

        strategy = client.call("createStrategy", STRATEGY, on="account")["orders"][0]
        assert (orders + 2, "CoveredCall") == (demo.orders, strategy["strategyType"])

    assert 40301 == client.call("createOrder", LIMIT_ORDER, on="account")["code"]
