"""The order book."""

import uuid
from typing import Any

import pytest

from proxy.simulator.alpaca import assets
from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.orders import OrderBook
from proxy.simulator.alpaca.positions import Positions
from tests.simulator.alpaca.support import LIMIT, MARKET, MISSING
from tests.simulator.support import NOON, fields

OPTION = assets.contracts(NOON)[0].symbol


@pytest.fixture
def positions() -> Positions:
    return Positions.usual()


@pytest.fixture
def book(positions: Positions) -> OrderBook:
    return OrderBook(positions)


def _refused(book: OrderBook, order: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        book.place(order, NOON)
    return refused.value.status, refused.value.message


def test_an_order_has_every_documented_field(book: OrderBook) -> None:
    """Amounts as texts, missing ones as null."""
    names = fields(
        "id client_order_id created_at updated_at submitted_at filled_at expired_at canceled_at failed_at replaced_at"
        " replaced_by replaces asset_id symbol asset_class notional qty filled_qty filled_avg_price order_class"
        " order_type type side time_in_force limit_price stop_price status extended_hours legs trail_percent"
        " trail_price hwm"
    )
    order = book.place(LIMIT, NOON)

    assert names <= set(order)
    assert ("2", "100.5", None, "new") == tuple(order[name] for name in ("qty", "limit_price", "notional", "status"))
    assert 4 == uuid.UUID(str(order["client_order_id"])).version


def test_a_market_order_is_accepted_and_then_filled(book: OrderBook, positions: Positions) -> None:
    """The answer says accepted, a look at it afterwards filled."""
    order = book.place(MARKET, NOON)
    kept = book.get(str(order["id"]))

    assert ("accepted", "filled") == (order["status"], kept["status"])
    assert ("2", "231.45", "2026-03-03T17:00:00.000000Z") == tuple(
        kept[name] for name in ("filled_qty", "filled_avg_price", "filled_at")
    )
    assert 102 == positions.owned(assets.find("AAPL", NOON))
    assert [kept] == book.fills()


def test_an_order_by_amount_buys_a_part(book: OrderBook) -> None:
    """Its quantity stays null."""
    order = book.place({**MARKET, "qty": None, "notional": 500}, NOON)

    assert (None, "500") == (order["qty"], order["notional"])
    assert "2.160293800" == f"{float(str(book.fills()[0]['filled_qty'])):.9f}"


def test_a_client_order_id_is_taken_once(book: OrderBook) -> None:
    """422 the second time, and nothing is kept."""
    order = {**LIMIT, "client_order_id": "mine"}
    book.place(order, NOON)

    assert (422, "client_order_id must be unique") == _refused(book, order)
    assert 1 == book.placed


def test_an_order_is_found_by_both_ids(book: OrderBook) -> None:
    """404 for others."""
    order = book.place({**LIMIT, "client_order_id": "mine"}, NOON)

    assert order == book.get(str(order["id"]).upper()) == book.by_client_id("mine")
    for look in (book.get, book.by_client_id):
        with pytest.raises(Refused, match="40410000"):
            look(MISSING)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": None}, "symbol is required"),
        ({"symbol": "NOPE"}, 'asset "NOPE" not found'),
        ({"side": "hold"}, "invalid side"),
        ({"type": "moon"}, "invalid type"),
        ({"time_in_force": None}, "invalid time_in_force"),
        ({"order_class": "ladder"}, "invalid order_class"),
        ({"qty": None}, "qty or notional is required"),
        ({"notional": "5"}, "only one of qty or notional"),
        ({"qty": "0"}, "qty must be > 0"),
        ({"qty": "-1"}, "qty must be > 0"),
        ({"qty": "x"}, "invalid qty"),
        ({"type": "limit"}, "limit orders require limit price"),
        ({"type": "stop"}, "stop orders require stop price"),
        ({"type": "stop_limit", "limit_price": 1}, "stop_limit orders require stop price"),
        ({"limit_price": 1}, "market orders require no stop or limit price"),
        ({"type": "limit", "limit_price": "0"}, "limit_price must be > 0"),
        ({"type": "trailing_stop"}, "trailing stop orders must specify one of trail_price or trail_percent"),
        ({"client_order_id": "x" * 129}, "client_order_id must be a text of at most 128 characters"),
        ({"client_order_id": 5}, "client_order_id must be a text of at most 128 characters"),
        ({"order_class": "bracket"}, "bracket orders require take_profit and stop_loss"),
        ({"order_class": "mleg"}, "an mleg order needs legs"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else None,
)
def test_what_makes_no_sense_is_unprocessable(book: OrderBook, changes: dict[str, Any], message: str) -> None:
    """422 with a reason, and nothing is kept."""
    assert (422, message) == _refused(book, {**MARKET, **changes})
    assert 0 == book.placed


def test_what_cannot_be_paid_is_forbidden(book: OrderBook) -> None:
    """403, as documented."""
    assert (403, "insufficient buying power") == _refused(book, {**MARKET, "qty": 10_000})


def test_a_replacement_takes_the_place_of_an_open_order(book: OrderBook) -> None:
    """Another id, linked both ways; it is the same order to the counter."""
    old = book.place(LIMIT, NOON)
    new = book.replace(str(old["id"]), {"qty": "3", "limit_price": 101}, NOON)
    kept = book.get(str(old["id"]))

    assert ("3", "101", "gtc", old["id"]) == tuple(
        new[name] for name in ("qty", "limit_price", "time_in_force", "replaces")
    )
    assert ("replaced", new["id"]) == (kept["status"], kept["replaced_by"])
    assert 1 == book.placed


def test_a_trailing_stop_keeps_its_kind_of_trail(book: OrderBook) -> None:
    """A new trail is of the same kind, and a change of quantity leaves it."""
    order = {**MARKET, "side": "sell", "type": "trailing_stop", "trail_percent": "2"}
    first = book.place(order, NOON)
    second = book.replace(str(first["id"]), {"qty": 1}, NOON)
    third = book.replace(str(second["id"]), {"trail": 5}, NOON)

    assert [("2", None), ("5", None)] == [(each["trail_percent"], each["trail_price"]) for each in (second, third)]


def test_nothing_replaces_an_order_without_a_change_or_after_its_end(book: OrderBook) -> None:
    """422 both times."""
    order_id = str(book.place(LIMIT, NOON)["id"])
    with pytest.raises(Refused, match="42210001"):
        book.replace(order_id, {}, NOON)
    book.cancel(order_id, NOON)
    for late in (lambda: book.cancel(order_id, NOON), lambda: book.replace(order_id, {"qty": 1}, NOON)):
        with pytest.raises(Refused) as refused:
            late()
        assert (422, 'order is already in "canceled" state') == (refused.value.status, refused.value.message)


def test_all_open_orders_are_cancelled_at_once(book: OrderBook) -> None:
    """One item each, with a status of its own; filled ones are left alone."""
    book.place(MARKET, NOON)
    orders = [book.place(LIMIT, NOON) for _ in range(2)]

    assert [{"id": order["id"], "status": 200} for order in orders] == book.cancel_all(NOON)
    assert [] == book.cancel_all(NOON)


def test_lists_are_filtered(book: OrderBook) -> None:
    """By status, symbol, side and time; the newest come first unless asked otherwise."""
    first = book.place({**LIMIT, "client_order_id": "a"}, NOON)
    book.place({**MARKET, "client_order_id": "b", "side": "sell"}, NOON + 1)
    book.place({**LIMIT, "client_order_id": "c", "symbol": "SPY"}, NOON + 2)

    def ids(symbols: tuple[str, ...] = (), limit: int = 50, **arguments: str) -> list[object]:
        return [order["client_order_id"] for order in book.listed(arguments, list(symbols), limit)]

    assert ["c", "a"] == ids()
    assert ["b"] == ids(status="closed") == ids(status="all", side="sell")
    assert ["c", "b", "a"] == ids(status="all")
    assert ["a", "b"] == ids(status="all", direction="asc", limit=2)
    assert ["c"] == ids(("SPY",))
    assert ["c", "b"] == ids(status="all", after=str(first["submitted_at"]))
    assert ["a"] == ids(status="all", until=str(first["submitted_at"]))
    with pytest.raises(Refused, match="42210001"):
        ids(status="odd")


@pytest.mark.parametrize(
    ("kind", "profit", "loss", "legs"),
    [
        ("bracket", {"limit_price": 300}, {"stop_price": 200}, ["limit", "stop"]),
        ("bracket", {"limit_price": 300}, {"stop_price": 200, "limit_price": 199}, ["limit", "stop_limit"]),
        ("oto", None, {"stop_price": 200}, ["stop"]),
        ("oto", {"limit_price": 300}, None, ["limit"]),
    ],
    ids=["bracket", "bracket-limit", "oto-loss", "oto-profit"],
)
def test_closing_orders_are_held_as_legs(
    book: OrderBook, kind: str, profit: object, loss: object, legs: list[str]
) -> None:
    """On the other side, until the first one is done."""
    order: Any = book.place({**LIMIT, "order_class": kind, "take_profit": profit, "stop_loss": loss}, NOON)

    assert legs == [leg["type"] for leg in order["legs"]]
    assert {("sell", "held")} == {(leg["side"], leg["status"]) for leg in order["legs"]}


def test_an_order_of_several_legs_has_no_symbol_of_its_own(book: OrderBook) -> None:
    """Each leg has its share of the quantity."""
    legs = [{"symbol": OPTION, "side": side, "ratio_qty": ratio} for side, ratio in (("buy", "1"), ("sell", "2"))]
    asked = {"order_class": "mleg", "qty": "2", "type": "limit", "limit_price": 1, "time_in_force": "day", "legs": legs}
    order: Any = book.place(asked, NOON)

    assert ("", "limit", "mleg") == (order["symbol"], order["type"], order["order_class"])
    assert [("2", "buy"), ("4", "sell")] == [(leg["qty"], leg["side"]) for leg in order["legs"]]
