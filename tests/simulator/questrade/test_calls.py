"""The 29 calls: what each answers, and what it refuses."""

import json
from typing import Any

import pytest

from proxy.simulator.questrade.answers import Mistake
from proxy.simulator.questrade.calls import Call, Calls, shape
from proxy.simulator.questrade.orders import OrderBook
from tests.simulator.support import ACCOUNT, LIMIT_ORDER, NOON

MARCH = "startTime=2026-03-01T00%3A00%3A00-05%3A00&endTime=2026-03-02T00%3A00%3A00-05%3A00"

# method, target, JSON body, first name in the answer, scope, rate category: a row for each of the 29
ROWS: list[tuple[str, str, object, str, str, str | None]] = [
    ("GET", "/v1/time", None, "time", "read_acc", "account"),
    ("GET", "/v1/accounts", None, "accounts", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/positions", None, "positions", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/balances", None, "perCurrencyBalances", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/executions", None, "executions", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/orders?stateFilter=All", None, "orders", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/orders/177106005", None, "orders", "read_acc", "account"),
    ("GET", f"{ACCOUNT}/activities?{MARCH}", None, "activities", "read_acc", None),
    ("GET", "/v1/notifications?mode=WebSocket", None, "streamPort", "read_acc", None),
    ("GET", "/v1/symbols/8049", None, "symbols", "read_acc", "account"),
    ("GET", "/v1/symbols?ids=8049,27426", None, "symbols", "read_acc", "account"),
    ("GET", "/v1/symbols/search?prefix=AAPL", None, "symbols", "read_acc", "account"),
    ("GET", "/v1/symbols/8049/options", None, "optionChain", "read_acc", "account"),
    ("GET", "/v1/markets", None, "markets", "read_acc", "market"),
    ("GET", "/v1/markets/quotes/8049", None, "quotes", "read_md", "market"),
    ("GET", "/v1/markets/quotes?ids=8049%2C27426", None, "quotes", "read_md", "market"),
    ("GET", "/v1/markets/quotes?ids=8049&stream=true&mode=WebSocket", None, "streamPort", "read_md", "market"),
    ("POST", "/v1/markets/quotes/options", {"optionIds": [24753669]}, "optionQuotes", "read_md", "market"),
    (
        "POST",
        "/v1/markets/quotes/strategies",
        {
            "variants": [
                {"variantId": 1, "strategy": "Custom", "legs": [{"symbolId": 27426, "action": "Buy", "ratio": 1}]}
            ]
        },
        "strategyQuotes",
        "read_md",
        "market",
    ),
    ("GET", f"/v1/markets/candles/8049?{MARCH}&interval=OneDay", None, "candles", "read_md", "market"),
    ("POST", f"{ACCOUNT}/orders", LIMIT_ORDER, "orderId", "trade", None),
    ("POST", f"{ACCOUNT}/orders/177106005", {"quantity": 3}, "orderId", "trade", None),
    ("POST", f"{ACCOUNT}/orders/impact", LIMIT_ORDER, "estimatedCommissions", "trade", None),
    ("POST", f"{ACCOUNT}/orders/177106005/impact", {"quantity": 3}, "estimatedCommissions", "trade", None),
    ("DELETE", f"{ACCOUNT}/orders/177106005", None, "orderId", "trade", None),
    (
        "POST",
        f"{ACCOUNT}/orders/bracket",
        {"symbolId": 8049, "components": [{**LIMIT_ORDER, "orderClass": "Primary"}]},
        "orderId",
        "trade",
        None,
    ),
    ("POST", f"{ACCOUNT}/orders/bracket/impact", {"components": [LIMIT_ORDER]}, "impacts", "trade", None),
    (
        "POST",
        f"{ACCOUNT}/orders/strategy",
        {**LIMIT_ORDER, "strategy": "Custom", "legs": [{"symbolId": 8049, "legQuantity": 1, "action": "Buy"}]},
        "orderId",
        "trade",
        None,
    ),
    (
        "POST",
        f"{ACCOUNT}/orders/strategy/impact",
        {**LIMIT_ORDER, "strategy": "Custom", "legs": [{"symbolId": 8049, "legQuantity": 1, "action": "Buy"}]},
        "estimatedCommissions",
        "trade",
        None,
    ),
]


@pytest.fixture
def calls() -> Calls:
    book = OrderBook()
    book.place(LIMIT_ORDER, NOON)  # 177106005
    return Calls(book)


def _ask(calls: Calls, method: str, target: str, body: object = None) -> Any:
    path, _, query = target.partition("?")
    pattern, numbers = shape(path)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads(calls.routes[pattern][method].answer(Call(numbers, query, raw, path, NOON)))


def _code(calls: Calls, method: str, target: str, body: object = None) -> int:
    with pytest.raises(Mistake) as mistake:
        _ask(calls, method, target, body)
    return mistake.value.code


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_every_row_answers(calls: Calls, row: tuple[str, str, object, str, str, str | None]) -> None:
    """Each of the 29 calls has its answer, its one scope and its rate category."""
    method, target, body, name, scope, rate = row
    route = calls.routes[shape(target.partition("?")[0])[0]][method]

    assert name == next(iter(_ask(calls, method, target, body)))
    assert (scope, rate) == (route.scope, route.rate)


def test_there_are_29_rows_and_no_more(calls: Calls) -> None:
    """27 by method and path; quotes and their stream share one, and the table above has them all."""
    routes = {(pattern, method) for pattern, methods in calls.routes.items() for method in methods}

    assert 29 == len(ROWS)
    assert routes == {(shape(target.partition("?")[0])[0], method) for method, target, *_ in ROWS}


def test_only_five_calls_change_orders(calls: Calls) -> None:
    """Impact calls are POST and change nothing."""
    changing = {
        (method, pattern)
        for pattern, methods in calls.routes.items()
        for method, route in methods.items()
        if route.places_order
    }
    orders = "/v1/accounts/#/orders"

    assert changing == {
        ("POST", orders),
        ("POST", f"{orders}/#"),
        ("DELETE", f"{orders}/#"),
        ("POST", f"{orders}/bracket"),
        ("POST", f"{orders}/strategy"),
    }


def test_the_shape_of_a_path_keeps_words_and_marks_numbers() -> None:
    """Literals are never numbers; one slash at the end is forgiven, an empty segment is not."""
    assert ("/v1/accounts/#/orders/#/impact", ("26598145", "177")) == shape("/v1/accounts/26598145/orders/177/impact")
    assert ("/v1/symbols/search", ()) == shape("/v1/symbols/search")
    assert ("/v1/accounts/#/activities", ("1",)) == shape("/v1/accounts/1/activities/")
    assert "//v1/time" == shape("//v1/time")[0]
    assert "/v1/symbols/\u0661" == shape("/v1/symbols/\u0661")[0]  # a digit, but not of ASCII


@pytest.mark.parametrize("path", ["/v1/markets/quotes/8049,27426", "/v1/symbols/1%2C2", "/v1/symbols/1%2c2"])
def test_a_comma_in_the_path_is_a_mistake(path: str) -> None:
    """Batches go into the query."""
    with pytest.raises(Mistake, match="1002"):
        shape(path)


def test_the_time_is_now(calls: Calls) -> None:
    """Eastern, with microseconds."""
    assert {"time": "2026-03-03T12:00:00.000000-05:00"} == _ask(calls, "GET", "/v1/time")


@pytest.mark.parametrize("path", ["positions", "balances", "executions", "orders", f"activities?{MARCH}"])
def test_another_account_is_not_found(calls: Calls, path: str) -> None:
    """1018, whatever is asked of it."""
    assert 1018 == _code(calls, "GET", f"/v1/accounts/11111111/{path}")


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("GET", "/v1/symbols/1", None, 1019),
        ("GET", "/v1/symbols/1/options", None, 1019),
        ("GET", "/v1/symbols", None, 1004),
        ("GET", "/v1/symbols?ids=8049&names=AAPL", None, 1002),
        ("GET", "/v1/symbols?ids=AAPL", None, 1002),
        ("GET", "/v1/symbols/search", None, 1004),
        ("GET", "/v1/symbols/search?prefix=A&offset=x", None, 1002),
        ("GET", "/v1/markets/quotes", None, 1004),
        ("GET", "/v1/markets/quotes?ids=8049,", None, 1002),
        ("GET", "/v1/markets/quotes?ids=1", None, 1019),
        ("GET", "/v1/markets/quotes/1", None, 1019),
        ("GET", "/v1/markets/quotes?stream=true", None, 1004),
        ("GET", "/v1/markets/quotes?ids=8049&stream=true&mode=Carrier", None, 1002),
        ("GET", "/v1/notifications?mode=Pigeon", None, 1002),
        ("GET", "/v1/markets/candles/8049", None, 1004),
        ("GET", f"/v1/markets/candles/8049?{MARCH}", None, 1004),
        ("GET", f"/v1/markets/candles/8049?{MARCH}&interval=TwoDays", None, 1002),
        ("GET", f"/v1/markets/candles/1?{MARCH}&interval=OneDay", None, 1019),
        ("GET", f"{ACCOUNT}/activities", None, 1004),
        ("GET", f"{ACCOUNT}/activities?startTime=2026-03-01T00%3A00%3A00Z", None, 1004),
        ("GET", f"{ACCOUNT}/activities?startTime=2026-03-01T00:00:00+00:00&endTime=2026-03-02T00:00:00Z", None, 1002),
        ("GET", f"{ACCOUNT}/orders?stateFilter=open", None, 1002),
        ("GET", f"{ACCOUNT}/orders?ids=1", None, 1020),
        ("GET", f"{ACCOUNT}/orders/1", None, 1020),
        ("POST", f"{ACCOUNT}/orders/1/impact", {}, 1020),
        ("POST", f"{ACCOUNT}/orders", b"quantity=10", 1002),
        ("POST", f"{ACCOUNT}/orders", [], 1002),
        ("POST", "/v1/markets/quotes/options", {}, 1004),
        ("POST", "/v1/markets/quotes/options", {"optionIds": ["1"]}, 1002),
        ("POST", "/v1/markets/quotes/options", {"optionIds": [1]}, 1019),
        ("POST", "/v1/markets/quotes/options", {"filters": ["x"]}, 1002),
        ("POST", "/v1/markets/quotes/options", {"filters": [{"underlyingId": 8049}]}, 1004),
        ("POST", "/v1/markets/quotes/options", {"filters": [{"underlyingId": "8049", "expiryDate": "x"}]}, 1002),
        ("POST", "/v1/markets/quotes/options", {"filters": [{"underlyingId": 1, "expiryDate": "x"}]}, 1019),
        ("POST", "/v1/markets/quotes/strategies", {}, 1004),
        ("POST", "/v1/markets/quotes/strategies", {"variants": "x"}, 1002),
        ("POST", "/v1/markets/quotes/strategies", {"variants": [{"legs": [{"symbolId": 8049}] * 5}]}, 1002),
        ("POST", "/v1/markets/quotes/strategies", {"variants": [{"legs": [{"symbolId": "8049"}]}]}, 1002),
        ("POST", "/v1/markets/quotes/strategies", {"variants": [{"legs": [{"symbolId": 1}]}]}, 1019),
    ],
)
def test_wrong_arguments_are_mistakes(calls: Calls, method: str, target: str, body: object, code: int) -> None:
    """1004 for what is missing, 1002 for what is malformed, 1019 and 1020 for what does not exist."""
    assert code == _code(calls, method, target, body)


def test_activities_of_31_days_are_given_and_not_of_more() -> None:
    """The limit is on the span, to the second."""
    calls = Calls(OrderBook())
    start = f"{ACCOUNT}/activities?startTime=2026-01-01T00%3A00%3A00-05%3A00&endTime=2026-02-01T00%3A00%3A0"

    assert 32 == len(_ask(calls, "GET", start + "0-05%3A00")["activities"])
    assert 1003 == _code(calls, "GET", start + "1-05%3A00")


def test_symbols_by_name_leave_out_the_unknown(calls: Calls) -> None:
    """Ids and names are two ways to the same records."""
    by_name = _ask(calls, "GET", "/v1/symbols?names=AAPL,NOPE")

    assert _ask(calls, "GET", "/v1/symbols/8049") == by_name
    assert by_name == _ask(calls, "GET", "/v1/symbols?ids=8049")


def test_orders_can_be_asked_for_by_id(calls: Calls) -> None:
    """`ids` finds orders whatever day they are of, and the single form finds the same one."""
    by_ids = _ask(calls, "GET", f"{ACCOUNT}/orders?ids=177106005")

    assert by_ids == _ask(calls, "GET", f"{ACCOUNT}/orders/177106005")
    assert by_ids == _ask(calls, "GET", f"{ACCOUNT}/orders")


def test_options_are_quoted_by_filter_too(calls: Calls) -> None:
    """Ids and filters add up."""
    filters = [{"underlyingId": 8049, "expiryDate": "2030-01-18T00:00:00.000000-05:00", "optionType": "Put"}]
    found = _ask(calls, "POST", "/v1/markets/quotes/options", {"filters": filters, "optionIds": [24753669]})

    assert [24753669, 24753773, 24753775] == [option["symbolId"] for option in found["optionQuotes"]]


def test_a_json_body_is_read_whatever_it_is_called(calls: Calls) -> None:
    """The body alone decides: one public client labels JSON as a form."""
    assert _ask(calls, "POST", f"{ACCOUNT}/orders/impact", json.dumps(LIMIT_ORDER).encode())["side"] == "Buy"


def test_stream_ports_are_stable_and_differ_by_url(calls: Calls) -> None:
    """One URL, one port; three kinds of stream, three ports, each above the privileged ones."""
    quotes = "/v1/markets/quotes?ids=8049&stream=true&mode=WebSocket"
    first, again = _ask(calls, "GET", quotes), _ask(calls, "GET", quotes)
    notifications = _ask(calls, "GET", "/v1/notifications?mode=WebSocket")
    options = _ask(calls, "POST", "/v1/markets/quotes/options", {"stream": True, "mode": "WebSocket"})

    assert first == again
    assert [8049] == [quote["symbolId"] for quote in first["quotes"]]
    ports = {answer["streamPort"] for answer in (first, notifications, options)}
    assert 3 == len(ports)
    assert all(1024 <= port <= 65535 for port in ports)
