"""The order book of the simulated Tradier."""

from typing import Any

import pytest

from proxy.simulator.tradier.answers import Mistake, Rejected
from proxy.simulator.tradier.orders import OrderBook
from tests.simulator.support import NOON
from tests.simulator.tradier.support import ACCOUNT, LIMIT, MARKET, App
from tests.simulator.tradier.test_terms import SPREAD


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def _place(book: OrderBook, fields: dict[str, str]) -> int:
    found: Any = book.place(fields, NOON)
    assert "ok" == found["order"]["status"]
    number: int = found["order"]["id"]
    return number


def _read(book: OrderBook, number: int, *, tags: bool = False) -> Any:
    return book.get(number, tags=tags)["order"]


def test_a_limit_order_stays_open_and_a_market_order_fills() -> None:
    """At once, at the market's price; both count."""
    book = OrderBook()
    limit, market = _read(book, _place(book, LIMIT)), _read(book, _place(book, MARKET))

    assert ("open", 10.0, 0.0, 100.5) == tuple(
        limit[name] for name in ("status", "remaining_quantity", "exec_quantity", "price")
    )
    assert ("filled", 0.0, 10.0, 208.22) == tuple(
        market[name] for name in ("status", "remaining_quantity", "exec_quantity", "avg_fill_price")
    )
    assert 2 == book.placed


def test_lists_are_null_one_object_or_a_list(book: OrderBook) -> None:
    """And come in pages."""
    shapes = []
    for _ in range(2):
        shapes.append(type(book.listed(1, 25, tags=False)["orders"]))
        _place(book, LIMIT)

    listed: Any = book.listed(1, 25, tags=False)
    assert [str, dict] == shapes
    assert [257_459, 257_460] == [order["id"] for order in listed["orders"]["order"]]
    page: Any = book.listed(2, 1, tags=False)
    assert 257_460 == page["orders"]["order"]["id"]


def test_a_tag_is_shown_on_request(book: OrderBook) -> None:
    """It is the only mark that a client can put on an order."""
    number = _place(book, {**LIMIT, "tag": "my-tag"})

    assert "tag" not in _read(book, number)
    assert "my-tag" == _read(book, number, tags=True)["tag"]


def test_a_change_keeps_the_order_and_its_number(book: OrderBook) -> None:
    """What is not named stays; prices that the new type needs must be there."""
    number = _place(book, LIMIT)
    book.change(number, {"price": "101", "quantity": "5", "duration": "gtc"}, NOON + 1)

    order = _read(book, number)
    assert (101.0, 5.0, 5.0, "gtc", "limit") == tuple(
        order[name] for name in ("price", "quantity", "remaining_quantity", "duration", "type")
    )
    assert 1 == book.placed
    with pytest.raises(Mistake, match="stop"):
        book.change(number, {"type": "stop"}, NOON)
    with pytest.raises(Mistake, match="duration"):
        book.change(number, {"duration": "x"}, NOON)


def test_what_is_finished_can_be_neither_changed_nor_cancelled(book: OrderBook) -> None:
    """The text that public clients look for."""
    cancelled, filled = _place(book, LIMIT), _place(book, MARKET)
    book.cancel(cancelled, NOON)

    assert "canceled" == _read(book, cancelled)["status"]
    for number in (cancelled, filled):
        with pytest.raises(Mistake, match="order already in finalized state:"):
            book.cancel(number, NOON)
        with pytest.raises(Mistake, match="order already in finalized state:"):
            book.change(number, {"price": "1"}, NOON)
    with pytest.raises(Mistake, match="not found"):
        book.cancel(1, NOON)


def test_a_preview_is_no_order(book: OrderBook) -> None:
    """It says what the order would cost."""
    found: Any = book.place({**LIMIT, "preview": "true"}, NOON)

    assert (True, 1005.0) == (found["order"]["result"], found["order"]["order_cost"])
    assert 0 == book.placed


def test_a_rejected_order_is_not_kept(book: OrderBook) -> None:
    """The next one has the number that it would have had."""
    with pytest.raises(Rejected):
        book.place({**LIMIT, "quantity": "1000"}, NOON)

    assert 257_459 == _place(book, LIMIT)


def test_legs_have_numbers_of_their_own(book: OrderBook) -> None:
    """Which no later order gets."""
    first, second = _place(book, SPREAD), _place(book, LIMIT)
    order = _read(book, first)

    assert (2, [first + 1, first + 2]) == (order["num_legs"], [leg["id"] for leg in order["leg"]])
    assert second == first + 3


async def test_an_order_lives_through_all_its_calls(app: App) -> None:
    """Placed, listed, changed, cancelled, over the wire; counted once."""
    number = (await app.place(tag="mine")).document["order"]["id"]
    changed = await app.call("PUT", f"{ACCOUNT}/orders/{number}", {"price": "99"})
    cancelled = await app.call("DELETE", f"{ACCOUNT}/orders/{number}")
    again = await app.call("DELETE", f"{ACCOUNT}/orders/{number}")
    read = (await app.get(f"{ACCOUNT}/orders/{number}?includeTags=true")).document["order"]

    assert [200, 200, 400] == [reply.status for reply in (changed, cancelled, again)]
    assert b"order already in finalized state: canceled" == again.body
    assert (99.0, "canceled", "mine") == (read["price"], read["status"], read["tag"])
    assert 404 == (await app.get(f"{ACCOUNT}/orders/1")).status
    assert 1 == (await app.state())["orders"]
