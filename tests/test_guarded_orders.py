"""Guards over the wire: before each simulated broker, with orders that may be and orders that may not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.config import Tcp
from tests.everybroker import in_front_of
from tests.orderforms import ALPACA, OPTION, QUESTRADE, TRADIER, form
from tests.wire import Reply, connected

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
Told = tuple[str, str, str | None, bytes]  # method, target below the mount, Content-Type, body


async def call(app: App, told: Told) -> Reply:
    bound = app.doors.listeners[0].bound
    assert isinstance(bound, Tcp)
    method, target, media, body = told
    lines = [f"{method} /here{target} HTTP/1.1", f"Host: 127.0.0.1:{bound.port}", "Accept: application/json"]
    lines += [f"Content-Length: {len(body)}"] + ([f"Content-Type: {media}"] if media else [])
    async with connected("127.0.0.1", bound.port) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        reply: Reply = await wire.reply(method=method)
        return reply


def posted(path: str, fields: object, media: str = JSON) -> Told:
    body = form(fields) if media == FORM and isinstance(fields, Mapping) else json.dumps(fields).encode()
    return "POST", path, media, body


def asked(path: str, fields: Mapping[str, Any]) -> Told:
    """The order in the query of a POST."""
    return "POST", f"{path}?{form(fields).decode()}", None, b""


def cleaned(method: str, target: str) -> Told:
    return method, target, None, b""


LOGINS = {"questrade": "refresh-token", "tradier": "personal", "alpaca": "keys"}
SCOPES = {
    "questrade": ["read_acc", "trade"],
    "tradier": ["read", "trade"],
    "alpaca": ["account:read", "trading"],
}


def reached(simulator: Any) -> int:
    """How many calls have come to a simulated broker."""
    return int(sum(simulator.state()["calls"].values()))


async def tried(directory: Path, broker: str, guards: Mapping[str, Any], calls: list[Told]) -> list[str]:
    """What becomes of each call: `sent`, or what the refusal says; then nothing reaches the broker."""
    found = []
    login = LOGINS[broker]
    async with in_front_of(directory, broker, login, scopes=SCOPES[broker], guards=guards) as (app, simulator):
        links = simulator.links()
        await app.operations.login("here", links.logins[login].get("secret") or links.refresh_token or "")
        for told in calls:
            before = reached(simulator)
            reply = await call(app, told)
            sent = reached(simulator) - before
            document = json.loads(reply.body) if reply.status == 403 else {}
            if document.get("type", "").endswith("/guard-denied"):
                assert document["fix"]
            assert (403 != reply.status) == (1 == sent), reply
            found.append("sent" if sent else document["detail"])
    return found


BASE = "/v1/accounts/26598145"
NO_ACCOUNT = "The call names an account that is not allowed."


async def test_questrades_orders_are_guarded(tmp_path: Path) -> None:
    """JSON bodies: the account in path and body, the symbol's number, the quantity, the money; a cancel passes."""
    order, change = f"{BASE}/orders", f"{BASE}/orders/177106005"
    part = {name: value for name, value in QUESTRADE.items() if name != "symbolId"}
    parts = [part | {"orderClass": "Primary"}, part | {"orderClass": "Limit", "action": "Sell", "quantity": 11}]
    bracket = {"symbolId": 8049, "timeInForce": "Day", "components": parts}
    guards = {"accounts": ["26598145"], "symbols": ["8049"], "max_quantity": 10, "max_notional": 1005}
    told = {"timeInForce": "Day", **QUESTRADE}
    expected = [
        (posted(order, told), "sent"),
        (posted(order, told | {"accountNumber": 26598145}), "sent"),
        (posted(order, told | {"accountNumber": "26598146"}), NO_ACCOUNT),
        (posted("/v1/accounts/26598146/orders", told), NO_ACCOUNT),
        (posted(f"{order}/impact", told | {"accountNumber": "26598146"}), NO_ACCOUNT),
        (cleaned("GET", "/v1/accounts/26598146/balances"), NO_ACCOUNT),
        (cleaned("GET", f"{BASE}/balances"), "sent"),
        (cleaned("GET", "/v1/accounts"), "sent"),
        (posted(order, told | {"symbolId": 9292}), "The order's symbol is not allowed."),
        (posted(order, told | {"quantity": 11}), "The order's quantity is above 10."),
        (posted(order, told | {"limitPrice": 100.51}), "The order is worth more than 1005."),
        (posted(order, told | {"SymbolId": 9292}), "The body names the same member twice."),
        (posted(f"{order}/bracket", bracket), "The order's quantity is above 10."),
        (posted(change, told | {"quantity": 11}), "The order's quantity is above 10."),
        (posted(change, told | {"quantity": 9}), "sent"),
        (cleaned("DELETE", f"{BASE}/orders/177106006"), "sent"),
    ]
    assert [text for _, text in expected] == await tried(tmp_path, "questrade", guards, [each for each, _ in expected])


@pytest.mark.parametrize("way", ["form", "query"])
async def test_tradiers_orders_are_guarded(tmp_path: Path, way: str) -> None:
    """Forms, and the same fields in the query of a POST; legs with numbers; options by their underlying."""
    orders = "/v1/accounts/VA000001/orders"

    def write(**fields: Any) -> Told:
        told = TRADIER | {"duration": "day"} | fields
        return asked(orders, told) if way == "query" else posted(orders, told, FORM)

    option = {"class": "option", "option_symbol": OPTION, "side": "buy_to_open", "quantity": "1", "price": "2"}
    legs = {"class": "multileg", "type": "debit", "side": None, "quantity": None, "price": "1"}
    legs |= {"option_symbol[0]": OPTION, "side[0]": "buy_to_open", "quantity[0]": "11"}
    guards = {
        "symbols": ["AAPL"], "underlyings": ["AAPL"], "types": ["limit", "debit"], "sides": ["buy", "buy_to_open"],
        "max_quantity": "10",
    }  # fmt: skip
    expected = [
        (write(), "sent"),
        (write(symbol="TSLA"), "The order's symbol is not allowed."),
        (write(type="market", price=None), "The order's type is not allowed; allowed: debit, limit."),
        (write(side="sell"), "The order's side is not allowed; allowed: buy, buy_to_open."),
        (write(quantity="10.5"), "The order's quantity is above 10."),
        (write(**{"quantity[0]": "99"}), "The order has parts, where its kind has none."),
        (write(**option, symbol="AAPL"), "sent"),
        (write(**option | {"option_symbol": "TSLA270115C00200000"}), "The order's option's underlying is not allowed."),
        (write(**legs), "The order's quantity is above 10."),
        (
            posted(f"{orders}?quantity=99", TRADIER, FORM),
            "The order stands in the body, and its query names part of it too.",
        ),
        (cleaned("DELETE", f"{orders}/228175"), "sent"),
    ]
    assert [text for _, text in expected] == await tried(tmp_path, "tradier", guards, [each for each, _ in expected])


async def test_alpacas_orders_are_guarded(tmp_path: Path) -> None:
    """Orders in money and in fractions; and a position that is closed whatever the guards say."""
    orders, day = "/v2/orders", {"time_in_force": "day"}
    market = {"symbol": "AAPL", "side": "buy", "type": "market"} | day
    guards = {"symbols": ["AAPL"], "max_quantity": 10, "max_notional": "1005.5"}
    expected = [
        (posted(orders, ALPACA | day), "sent"),
        (posted(orders, ALPACA | day | {"limit_price": "100.56"}), "The order is worth more than 1005.5."),
        (posted(orders, ALPACA | day | {"qty": "0.5", "limit_price": "500"}), "sent"),
        (
            posted(orders, market | {"qty": "1"}),
            "The order does not tell its amount, nor a limit price that binds, and",
        ),
        (
            posted(orders, market | {"notional": "500"}),
            "The order does not tell its quantity, and a guard asks for it.",
        ),
        (posted(orders, ALPACA | day | {"qty": "-1"}), "The order's quantity is no plain number, such as 10 or 0.25."),
        (posted(orders, ALPACA | day | {"symbol": OPTION}), "The order's option's underlying is not allowed."),
        (cleaned("DELETE", "/v2/positions/TSLA"), "sent"),
        (cleaned("DELETE", orders), "sent"),
    ]
    found = await tried(tmp_path, "alpaca", guards, [each for each, _ in expected])
    assert all(text.startswith(start) for text, (_, start) in zip(found, expected, strict=True)), found


async def test_without_guards_a_body_is_none_of_our_business(tmp_path: Path) -> None:
    """Even one that nobody can read goes to the broker, byte for byte: it is the broker's to refuse."""
    assert ["sent"] * 2 == await tried(
        tmp_path, "alpaca", {}, [("POST", "/v2/orders", None, b"\xff{"), posted("/v2/orders", {"a": 1})]
    )


async def test_orders_a_minute_are_counted_across_a_reload(tmp_path: Path) -> None:
    """What was let through before counts after it."""
    async with in_front_of(tmp_path, "alpaca", "keys", scopes=SCOPES["alpaca"], guards={"orders_per_minute": 2}) as (
        app,
        simulator,
    ):
        await app.operations.login("here", simulator.links().logins["keys"]["secret"])
        order = posted("/v2/orders", ALPACA | {"time_in_force": "day"})
        assert 200 == (await call(app, order)).status
        await app.reload()
        assert [200, 403, 403] == [(await call(app, order)).status for _ in range(3)]
        assert 207 == (await call(app, cleaned("DELETE", "/v2/orders"))).status
