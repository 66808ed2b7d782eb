"""Cash and positions."""

import pytest

from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.assets import Asset, find
from proxy.simulator.alpaca.positions import Positions, amount, number
from tests.simulator.support import NOON, fields

AAPL, SPY, BTC = (find(symbol, NOON) for symbol in ("AAPL", "SPY", "BTC/USD"))


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (100.0, "100"), (-23140.2, "-23140.2"), (0.0, "0"), (1 / 3, "0.333333333")]
)
def test_amounts_are_texts_without_zeros_at_the_end(value: float, text: str) -> None:
    """At most nine places."""
    assert text == amount(value)


@pytest.mark.parametrize("value", ["two", "", "nan", "inf", True, None, [], 10**400], ids=lambda value: repr(value)[:8])
def test_what_is_no_number_is_refused(value: object) -> None:
    """422, and the message names it."""
    with pytest.raises(Refused, match="42210001"):
        number({"qty": value}, "qty")


def test_numbers_come_as_texts_too() -> None:
    """SDKs send both."""
    assert [2.5, 2.5, 7] == [number({"qty": "2.5"}, "qty"), number({"qty": 2.5}, "qty"), number({}, "qty", 7)]


def test_a_position_has_every_documented_field() -> None:
    """Amounts as texts, a crypto pair without its slash."""
    names = fields(
        "asset_id symbol exchange asset_class qty qty_available avg_entry_price side market_value cost_basis"
        " unrealized_pl unrealized_plpc unrealized_intraday_pl unrealized_intraday_plpc current_price lastday_price"
        " change_today"
    )
    records = Positions.usual().records()

    assert ["AAPL", "BTCUSD"] == [record["symbol"] for record in records]
    assert names <= set(records[0])
    assert ("100", "long", "20050") == tuple(records[0][name] for name in ("qty", "side", "cost_basis"))


def test_buying_more_averages_the_entry() -> None:
    """And takes cash."""
    own = Positions.usual()
    own.trade(AAPL, 100, 220.5)

    assert ("200", "210.5") == (own.get(AAPL)["qty"], own.get(AAPL)["avg_entry_price"])
    assert 100_000 - 22_050 == own.cash


def test_selling_all_of_it_ends_a_position() -> None:
    """The rest of 404s follows."""
    own = Positions.usual()
    own.trade(AAPL, -100, 230.0)

    assert 0 == own.owned(AAPL)
    with pytest.raises(Refused, match="40410000"):
        own.get(AAPL)


def test_a_stock_can_be_sold_short() -> None:
    """Then its value counts against the account."""
    own = Positions(10_000)
    own.trade(SPY, -10, 570.0)

    assert ("short", "-10") == (own.get(SPY)["side"], own.get(SPY)["qty"])
    assert 0 > own.short_value


@pytest.mark.parametrize(
    ("asset", "quantity", "side", "cost", "message"),
    [
        (SPY, 400, "buy", 228_520.0, "insufficient buying power"),
        (AAPL, 101, "sell", 0.0, "insufficient qty available for order (requested: 101, available: 100)"),
        (BTC, 1, "sell", 0.0, "insufficient qty available for order (requested: 1, available: 0.5)"),
    ],
    ids=["money", "shares", "crypto"],
)
def test_what_cannot_be_paid_or_delivered_is_forbidden(
    asset: Asset, quantity: float, side: str, cost: float, message: str
) -> None:
    """403 with what there is."""
    with pytest.raises(Refused) as refused:
        Positions.usual().check(asset, quantity, side, cost)

    assert (403, message) == (refused.value.status, refused.value.message)


def test_orders_within_means_pass() -> None:
    """Shares that are there, a short sale of what is not held."""
    own = Positions.usual()
    own.check(AAPL, 100, "sell", 0.0)
    own.check(SPY, 10, "sell", 0.0)
    own.check(SPY, 1, "buy", 571.0)


@pytest.mark.parametrize(
    ("quantity", "percentage", "part"), [(None, None, 100), ("30", None, 30), (None, "25", 25)], ids=["all", "qty", "%"]
)
def test_a_position_is_closed_whole_or_in_part(quantity: str | None, percentage: str | None, part: float) -> None:
    """By an order on the other side."""
    order = Positions.usual().to_close(AAPL, quantity, percentage)

    assert (part, "sell", "market") == (order["qty"], order["side"], order["type"])


@pytest.mark.parametrize("quantity", ["101", "0", "-1", "x"])
def test_no_more_is_closed_than_is_there(quantity: str) -> None:
    """422 for what makes no sense."""
    with pytest.raises(Refused, match="42210001"):
        Positions.usual().to_close(AAPL, quantity, None)
