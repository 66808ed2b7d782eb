"""Guards of a configuration, held against the brokers' definitions."""

from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from proxy.config import ConfigInvalid
from proxy.gate.guards import Guards, Session
from proxy.guarding import book_of
from proxy.settings import Settings, read

CONFIG = """
version: 1
mounts:
  questrade: {{broker: questrade, environment: live, scopes: [trade], guards: {questrade}}}
  tradier: {{broker: tradier, environment: sandbox, scopes: [trade], guards: {tradier}}}
  alpaca: {{broker: alpaca, environment: paper, scopes: [trading], guards: {alpaca}}}
  data: {{broker: alpaca, environment: paper, api: data, scopes: [data], grant: alpaca, guards: {data}}}
  desk: {{broker: desk, environment: live, scopes: [trade], guards: {desk}}}
grants: {{alpaca: {{login: keys}}}}
clients:
  bot: {{alpaca: {{scopes: [trading], guards: {client}}}}}
brokers:
  desk:
    title: Desk
    scopes: {{trade: Trade}}
    logins: {{token: {{kind: secret}}}}
    environments: {{live: {{api_server: "https://api.desk.test"}}}}
    params: {{account: "[0-9]{{8}}"}}
    {orders}
    rows:
      - {{id: order_new, method: POST, path: "/v1/{{account}}/orders", scope: trade, mutating: true, {order}}}
      - {{id: other, method: POST, path: "/v1/{{account}}/other", scope: trade, mutating: true, {other}}}
"""
FORM = "orders: {ticket: {format: json, symbol: [symbol], quantity: [qty]}}"


def settings(tmp_path: Path, **parts: str) -> Settings:
    """A configuration with these guards; `order` and `other` belong to the rows of the user's own broker."""
    names = ("questrade", "tradier", "alpaca", "data", "desk", "client")
    told = dict.fromkeys(names, "{}") | {"orders": FORM, "order": "order: {kind: place, form: ticket}"}
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(**told | {"other": "order: none"} | parts), "utf-8")
    return read(path, {"HOME": str(tmp_path)})


def problems(tmp_path: Path, **parts: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as invalid:
        settings(tmp_path, **parts)
    return [problem.text for problem in invalid.value.problems]


def test_a_book_holds_what_was_written(tmp_path: Path) -> None:
    """Exact numbers, sets of words, minutes of the day; by mount, and by client and mount."""
    hours = "{days: [sat], open: 00:30, close: '24:00', zone: Europe/Zurich}"
    guards = f"{{symbols: [AAPL], max_quantity: 0.5, max_notional: '7', orders_per_minute: 3, hours: {hours}}}"
    book = book_of(settings(tmp_path, alpaca=guards, client="{sides: [buy]}").config)
    expected = Guards(
        "mounts.alpaca.guards", symbols=frozenset({"AAPL"}), max_quantity=Decimal("0.5"), max_notional=Decimal(7),
        orders_per_minute=3, hours=Session(frozenset({5}), 30, 1440, ZoneInfo("Europe/Zurich")),
    )  # fmt: skip
    assert (expected, Guards("clients.bot.alpaca.guards", sides=frozenset({"buy"}))) == book.of("alpaca", "bot")
    assert (Guards("mounts.data.guards"),) == book.of("data", "bot")


@pytest.mark.parametrize(
    "guards",
    [
        {"questrade": "{accounts: ['1'], symbols: ['8049'], sides: [Buy], types: [Limit], max_quantity: 1}"},
        {"questrade": "{symbols: ['8049'], max_quantity: 1, max_notional: 1}"},
        {"tradier": "{accounts: [VA000001], underlyings: [AAPL], max_notional: 5, sides: [buy, buy_to_open]}"},
        {"alpaca": "{symbols: [AAPL], max_notional: 5, max_quantity: 5}"},
        {"alpaca": "{max_quantity: 5}", "client": "{max_notional: 5}"},
        {"alpaca": "{sides: [buy]}", "client": "{max_notional: 5}"},
        {"desk": "{symbols: [A], max_quantity: 1, orders_per_minute: 1}"},
        {"desk": "{symbols: [A]}", "orders": FORM.replace("symbol: [symbol]", 'symbol: ["{account}"]')},
        {"desk": "{accounts: ['1']}", "orders": f"{FORM}\n    account_params: [account]"},
        {"desk": "{accounts: ['1']}", "order": "accounts: [acct]"},
        {"desk": "{}", "other": "max_body: 5"},
    ],
    ids=[
        "questrade", "money with symbols", "tradier", "alpaca", "sales bound", "no sales", "own",
        "in the path", "own accounts", "accounts in a body", "none",
    ],
)  # fmt: skip
def test_guards_that_the_definition_can_feed_load(tmp_path: Path, guards: dict[str, str]) -> None:
    """Each with what it needs."""
    assert "desk" in settings(tmp_path, **guards).config.mounts


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"alpaca": "{accounts: ['1']}"}, "mounts.alpaca.guards.accounts: no call of the API 'trading' names"),
        ({"desk": "{accounts: ['1']}"}, "mounts.desk.guards.accounts: no call of the API 'main' names"),
        ({"data": "{symbols: [A]}"}, "mounts.data.guards.symbols: no call of the API 'data' is an order, remove it"),
        ({"data": "{orders_per_minute: 1}"}, "mounts.data.guards.orders_per_minute: no call of the API"),
        (
            {"questrade": "{underlyings: [AAPL]}"},
            "mounts.questrade.guards.underlyings: orders name a symbol by its number",
        ),
        (
            {"questrade": "{max_notional: 5, max_quantity: 1}"},
            "mounts.questrade.guards.max_notional: orders name a symbol by its number, so that a contract",
        ),
        (
            {"alpaca": "{max_notional: 5}"},
            "mounts.alpaca.guards.max_notional: a sale's limit price is the least that it brings",
        ),
        ({"client": "{max_notional: 5, sides: [buy, sell]}"}, "clients.bot.alpaca.guards.max_notional: a sale's"),
        ({"desk": "{sides: [buy]}"}, "mounts.desk.guards.sides: brokers.desk.orders.ticket does not say"),
        (
            {"desk": "{sides: [buy]}", "orders": FORM.replace("qty]", "qty], untold: [side]")},
            "mounts.desk.guards.sides: no order of this broker tells its side, so that all would be refused, remove it",
        ),
        (
            {"desk": "{symbols: [A]}", "order": "order: {kind: place}"},
            "mounts.desk.guards.symbols: row order_new does not say how its orders are written",
        ),
        (
            {"desk": "{orders_per_minute: 1}", "other": "max_body: 5"},
            "mounts.desk.guards: row other does not say whether it is an order",
        ),
        (
            {"desk": "{symbols: [A]}", "order": "max_body: 5"},
            "mounts.desk.guards.symbols: no call of the API 'main' is an order",
        ),
    ],
    ids=[
        "no accounts", "own, no accounts", "no orders", "none to count", "options", "contracts", "sales", "a client's",
        "no place", "never told", "no form", "neither order nor none", "no row",
    ],
)  # fmt: skip
def test_a_guard_that_cannot_be_fed_is_an_error_at_load(tmp_path: Path, parts: dict[str, str], expected: str) -> None:
    """It would refuse everything, or hold nothing back; the problem names the guard and the fix."""
    found = problems(tmp_path, **parts)
    assert any(text.startswith(expected) for text in found), found
    assert all(text.count(", ") for text in found)


def test_a_mount_of_an_unknown_broker_is_told_once(tmp_path: Path) -> None:
    """Its guards are no further problem."""
    path = tmp_path / "config.yaml"
    path.write_text("mounts: {a: {broker: nobody, environment: live, scopes: [], guards: {sides: [buy]}}}\n")
    with pytest.raises(ConfigInvalid) as invalid:
        read(path, {"HOME": str(tmp_path)})
    assert ["mounts.a.broker"] == [problem.path for problem in invalid.value.problems]
