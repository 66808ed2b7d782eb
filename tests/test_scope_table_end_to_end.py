"""Questrade's scope table, through the real server to a simulated broker that counts what reaches it."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from proxy.gate.rows import Row
from tests import tricks
from tests.brokers import near
from tests.callers import Wire, ask
from tests.product import Reply, demo, state

WIRES = 16
TABLE = near.table("questrade", "main")
ACCOUNT = "/v1/accounts/26598145"
SPAN = "startTime=2026-03-02T00:00:00-05:00&endTime=2026-03-03T00:00:00-05:00"
LIMIT = {
    "symbolId": 8049, "quantity": 1, "action": "Buy", "orderType": "Limit", "timeInForce": "Day", "limitPrice": 100,
}  # fmt: skip
BRACKET = {"symbolId": 8049, "components": [{**LIMIT, "orderClass": "Primary"}]}
LEGS = [{"symbolId": 8049, "legQuantity": 100, "action": "Buy"}, {"symbolId": 8049, "legQuantity": 1, "action": "Sell"}]
STRATEGY = {"strategy": "CoveredCall", "orderType": "Limit", "limitPrice": 9, "timeInForce": "Day", "legs": LEGS}

# A call of each row that the broker answers with 200: target, and the body if there is one. `{order}` is an open order.
CALLS: dict[str, tuple[str, object]] = {
    "time": ("/v1/time", None),
    "accounts": ("/v1/accounts", None),
    "positions": (f"{ACCOUNT}/positions", None),
    "balances": (f"{ACCOUNT}/balances", None),
    "executions": (f"{ACCOUNT}/executions?{SPAN}", None),
    "orders": (f"{ACCOUNT}/orders?{SPAN}&stateFilter=Open", None),
    "order": (f"{ACCOUNT}/orders/{{order}}", None),
    "activities": (f"{ACCOUNT}/activities?{SPAN}", None),
    "notifications": ("/v1/notifications?mode=WebSocket", None),
    "symbol": ("/v1/symbols/8049", None),
    "symbols": ("/v1/symbols?ids=8049%2C27426", None),
    "symbols_search": ("/v1/symbols/search?prefix=AA&offset=0", None),
    "symbol_options": ("/v1/symbols/8049/options", None),
    "markets": ("/v1/markets", None),
    "quote": ("/v1/markets/quotes/8049", None),
    "quotes": ("/v1/markets/quotes?ids=8049,27426", None),
    "quotes_stream": ("/v1/markets/quotes?ids=8049&stream=true&mode=WebSocket", None),
    "quotes_options": ("/v1/markets/quotes/options", {"optionIds": [24753669]}),
    "quotes_strategies": ("/v1/markets/quotes/strategies", {"variants": [{"variantId": 1, "legs": LEGS}]}),
    "candles": (f"/v1/markets/candles/8049?{SPAN}&interval=OneHour", None),
    "order_new": (f"{ACCOUNT}/orders", LIMIT),
    "order_replace": (f"{ACCOUNT}/orders/{{order}}", {"limitPrice": 101}),
    "order_impact": (f"{ACCOUNT}/orders/impact", LIMIT),
    "replace_impact": (f"{ACCOUNT}/orders/{{order}}/impact", {"limitPrice": 101}),
    "order_cancel": (f"{ACCOUNT}/orders/{{order}}", None),
    "bracket": (f"{ACCOUNT}/orders/bracket", BRACKET),
    "bracket_impact": (f"{ACCOUNT}/orders/bracket/impact", BRACKET),
    "strategy": (f"{ACCOUNT}/orders/strategy", STRATEGY),
    "strategy_impact": (f"{ACCOUNT}/orders/strategy/impact", STRATEGY),
}


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A running demo whose token outlives all tests, so that nothing but calls reaches the broker."""
    with demo(tmp_path_factory.mktemp("demo")) as found:
        yield found


async def reached(at: dict[str, Any]) -> Counter[str]:
    """What reached the broker so far, token requests and calls of every kind."""
    found = await asyncio.to_thread(state, at["control"])
    return Counter({**found["calls"], "token POSTs": found["token_posts"]})


async def test_each_row_lets_its_own_call_through(at: dict[str, Any]) -> None:
    """All 29 calls are answered by the broker with 200, under the mount and at the root, and reach it once each."""
    assert {row.id for row in TABLE.rows} == CALLS.keys()
    places = ((at["url"], "/questrade"), (at["url"], "/questrade/"), (at["mounts"]["questrade"]["root_url"], ""))
    for row in TABLE.rows:
        for url, mount in places:
            target, body = CALLS[row.id]
            if "{order}" in target:
                placed = await ask(at["url"], "POST", f"/questrade{ACCOUNT}/orders", at["trader_key"], LIMIT)
                target = target.format(order=placed.document["orderId"])
            before = await reached(at)
            reply = await ask(url, row.method, mount + target, at["trader_key"], body)
            assert (200, None) == (reply.status, reply.ours), (row.id, reply.body)
            expected = Counter({f"{row.method} {target.partition('?')[0]}": 1})
            assert expected == await reached(at) - before


async def exchange(wire: Wire, request: bytes, method: str) -> Reply | None:
    """The answer to exact bytes; None if the server closes instead, also on a fresh connection."""
    for _ in range(2):
        try:
            await wire.send(request)
            reply = await wire.reply(method=method)
        except ConnectionError:
            reply = None
        if reply is not None:
            return reply
        await wire.close()
    return None


async def send_all(url: str, key: str, calls: Sequence[tuple[str, str]]) -> list[Reply | None]:
    """The answers to raw targets, each sent byte for byte, over a few connections at a time."""
    answers: list[Reply | None] = [None] * len(calls)

    async def some(first: int) -> None:
        wire = Wire(url)
        head = f" HTTP/1.1\r\nHost: {wire.host}:{wire.port}\r\nAuthorization: Bearer {key}\r\n\r\n"
        for place in range(first, len(calls), WIRES):
            method, target = calls[place]
            answers[place] = await exchange(wire, f"{method} {target}{head}".encode("latin-1"), method)
        await wire.close()

    async with asyncio.TaskGroup() as group:
        for first in range(WIRES):
            group.create_task(some(first))
    return answers


def taken(calls: Iterable[tuple[str, str]], answers: Iterable[Reply | None]) -> list[tuple[str, str, int]]:
    """The calls that bearerd did not refuse."""
    return [
        (method, target, answer.status)
        for (method, target), answer in zip(calls, answers, strict=True)
        if answer is not None and (answer.ours is None or answer.status < 400)
    ]


def misses(row: Row) -> list[tuple[str, str]]:
    """Calls that differ from the row's own in one respect and are no other row's."""
    return list(TABLE.near(row))


async def test_near_misses_of_each_row_are_refused_without_reaching_the_broker(at: dict[str, Any]) -> None:
    """At least 5 for each row, with the key that may do everything: all refused by us, 0 requests upstream."""
    before = await reached(at)
    calls = [(method, "/questrade" + raw) for row in TABLE.rows for method, raw in misses(row)]
    assert all(5 <= len(misses(row)) for row in TABLE.rows)
    answers = await send_all(at["url"], at["trader_key"], calls)
    assert [] == taken(calls, answers)
    assert before == await reached(at)
    refused = Counter(answer.ours for answer in answers if answer is not None)
    assert {"ambiguous-target", "scope-denied", "bad-request", "cross-site"} >= refused.keys()


async def test_what_a_body_or_its_size_forbids_does_not_reach_the_broker(at: dict[str, Any]) -> None:
    """A body where none belongs, one that is too large, and one that would open a stream are refused."""
    stream = {"optionIds": [24753669], "stream": True}
    url, key, before = at["url"], at["trader_key"], await reached(at)
    for body, name in (
        (stream, "guard-denied"),
        (b'{"optionIds": [1], "stream": false, "stream": true}', "guard-denied"),
        (b'{"optionIds": [1], "\\u0073tream": true}', "guard-denied"),
        (b"[]", "guard-denied"),
        (b"x" * 1_048_577, "body-too-large"),
    ):
        reply = await ask(url, "POST", "/questrade/v1/markets/quotes/options", key, body)
        assert name == reply.ours, body[:80] if isinstance(body, bytes) else body
    for method, target, size in (
        ("GET", "/v1/accounts", 1),
        ("DELETE", f"{ACCOUNT}/orders/1", 65),
        ("POST", f"{ACCOUNT}/orders", 65_537),
    ):
        reply = await ask(url, method, "/questrade" + target, key, b"x" * size)
        assert "body-too-large" == reply.ours, (method, target)
    assert before == await reached(at)


async def test_orders_are_refused_to_a_client_without_the_scope(at: dict[str, Any]) -> None:
    """Each row of `trade` is denied to a key that may only read, with what would allow it; nothing is sent."""
    before = await reached(at)
    for row in TABLE.rows:
        target, body = CALLS[row.id]
        if row.scope == "trade":
            sent = target.format(order=177106005)
            reply = await ask(at["url"], row.method, "/questrade" + sent, at["client_key"], body)
            assert (403, "scope-denied") == (reply.status, reply.ours)
            assert "add trade to clients.demo.questrade" == json.loads(reply.body)["fix"]
    assert before == await reached(at)


def tricked(rows: Iterable[Row], mount: str) -> list[tuple[str, str]]:
    """Tricks at places of every row's path, each fifth of all that there are, as method and raw target."""
    every = [
        (row.method, mount + raw if raw.startswith("/") else raw)
        for row in rows
        for trick in tricks.read("paths")
        for place in trick.places(TABLE.path(row))
        for raw in (trick.at(TABLE.path(row), place),)
        if "\n" not in raw  # it would be a request of two lines
    ]
    return every[::5]


def same_call(method: str, target: str, mount: str) -> str | None:
    """The row's call that a target still is: spaces around it, and the mount's own slash doubled, are never sent."""
    path = target.removesuffix(" HTTP/1.1").strip(" ").removeprefix(mount)
    path = path[1:] if path.startswith("//") else path
    return f"{method} {path}" if TABLE.in_table(method, path) else None


@pytest.mark.parametrize("mount", ["/questrade", ""])
@pytest.mark.timeout(120)
async def test_no_trick_makes_the_broker_see_another_call(at: dict[str, Any], mount: str) -> None:
    """Over 5,000 raw targets, byte for byte: what reaches the broker at all is a row's own call, to the byte."""
    url = at["url"] if mount else at["mounts"]["questrade"]["root_url"]
    calls = tricked(TABLE.rows, mount)
    assert 5000 <= len(calls)
    before = await reached(at)
    answers = await send_all(url, at["trader_key"], calls)
    through = [same_call(method, target, mount) for method, target, _ in taken(calls, answers)]
    assert None not in through
    assert Counter(str(call).partition("?")[0] for call in through) == await reached(at) - before
