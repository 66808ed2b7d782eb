"""What an order asks for."""

import datetime as dt

import pytest

from proxy.simulator.tradier import terms
from proxy.simulator.tradier.answers import Mistake, Rejected
from tests.simulator.tradier.support import LIMIT, MARKET

TODAY = dt.date(2026, 3, 3)
OPTION = {
    "class": "option", "symbol": "AAPL", "option_symbol": "AAPL260306C00208000", "side": "buy_to_open",
    "quantity": "1", "type": "limit", "duration": "gtc", "price": "1.50", "tag": "mine",
}  # fmt: skip
SPREAD = {
    "class": "multileg", "symbol": "AAPL", "type": "debit", "duration": "day", "price": "1.25",
    "option_symbol[0]": "AAPL260306C00208000", "side[0]": "buy_to_open", "quantity[0]": "1",
    "option_symbol[1]": "AAPL260306C00212000", "side[1]": "sell_to_open", "quantity[1]": "1",
}  # fmt: skip
TRIGGER = {
    "class": "oto", "duration": "day", "symbol[0]": "F", "side[0]": "buy", "quantity[0]": "5", "type[0]": "limit",
    "price[0]": "10", "symbol[1]": "F", "side[1]": "sell", "quantity[1]": "5", "type[1]": "limit", "price[1]": "12",
}  # fmt: skip


def test_an_order_of_one_leg_is_read() -> None:
    """Stocks by the piece, options by the hundred."""
    stock, option = terms.read(LIMIT, TODAY), terms.read(OPTION, TODAY)

    assert ("AAPL", "buy", 10.0, 1005.0) == (
        stock.legs[0].symbol,
        stock.legs[0].side,
        stock.legs[0].quantity,
        stock.cost,
    )
    assert ("mine", True, 150.0) == (option.tag, option.legs[0].is_option, option.cost)
    assert -2070.0 < terms.read({**MARKET, "side": "sell"}, TODAY).cost + 2082 < 1


@pytest.mark.parametrize("fields", [SPREAD, TRIGGER])
def test_an_order_of_several_legs_is_read(fields: dict[str, str]) -> None:
    """With the type and price of the whole, or those of the first part."""
    found = terms.read(fields, TODAY)

    assert 2 == len(found.legs)
    assert found.price in (1.25, 10.0)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"class": "stock"}, "class"),
        ({"symbol": "XX"}, "symbol"),
        ({"side": "long"}, "side"),
        ({"side": "buy_to_open"}, "side"),
        ({"quantity": "ten"}, "quantity"),
        ({"quantity": "-1"}, "quantity"),
        ({"quantity": "nan"}, "quantity"),
        ({"type": ""}, "type"),
        ({"type": "stop"}, "stop"),
        ({"type": "stop_limit", "stop": "1", "price": ""}, "price"),
        ({"duration": "forever"}, "duration"),
        ({"price": "1e300"}, "price"),
        ({"class": "multileg"}, r"side\[0\]"),
    ],
)
def test_a_malformed_request_is_a_mistake_that_names_the_field(changes: dict[str, str], name: str) -> None:
    """In plain text."""
    with pytest.raises(Mistake, match=f"^Invalid parameter, {name}: "):
        terms.read({**LIMIT, **changes}, TODAY)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"quantity": "0"}, "Quantity should be between 1 and 10,000,000"),
        ({"quantity": "10000001"}, "Quantity should be between 1 and 10,000,000"),
        ({"quantity": "1000"}, "You do not have enough buying power for this trade"),
        ({"type": "market", "duration": "gtc"}, "You cannot place market orders with GTC, only day orders are allowed"),
        ({"side": "sell", "quantity": "11"}, "Sell order cannot be placed unless you are closing a long position"),
    ],
)
def test_what_may_not_be_is_rejected_with_the_documented_message(changes: dict[str, str], text: str) -> None:
    """Risk management speaks after the request was understood."""
    with pytest.raises(Rejected, match=text):
        terms.read({**LIMIT, **changes}, TODAY)
