"""The order book."""

import pytest

from proxy.simulator.questrade import orders
from proxy.simulator.questrade.answers import Mistake
from proxy.simulator.questrade.orders import OrderBook, Request
from tests.simulator.support import LIMIT_ORDER, MARKET_ORDER, NOON, fields

DAY = (NOON - 43_200, NOON + 43_200)
ORDER_FIELDS = fields(
    """
    id symbol symbolId totalQuantity openQuantity filledQuantity canceledQuantity side orderType
    limitPrice stopPrice isAllOrNone isAnonymous icebergQuantity minQuantity avgExecPrice lastExecPrice
    source timeInForce gtdDate state clientReasonStr chainId creationTime updateTime notes primaryRoute
    secondaryRoute orderRoute venueHoldingOrder comissionCharged exchangeOrderId
    isSignificantShareHolder isInsider isLimitOffsetInDollar userId placementCommission legs
    strategyType triggerStopPrice orderGroupId orderClass mainChainId
    """
)
EXECUTION_FIELDS = fields(
    """
    symbol symbolId quantity side price id orderId orderChainId exchangeExecId timestamp notes venue
    totalCost orderPlacementCommission commission executionFee secFee legId canadianExecutionFee
    parentId
    """
)
IMPACT_FIELDS = fields(
    """
    estimatedCommissions buyingPowerEffect buyingPowerResult maintExcessEffect maintExcessResult side
    tradeValueCalculation price
    """
)
PARTS: list[Request] = [
    {**LIMIT_ORDER, "orderClass": "Primary"},
    {**LIMIT_ORDER, "action": "Sell", "limitPrice": 120, "orderClass": "Limit"},
    {**LIMIT_ORDER, "action": "Sell", "orderType": "Stop", "stopPrice": 90, "orderClass": "StopLoss"},
]
BRACKET = {"symbolId": 8049, "components": PARTS}
STRATEGY = {
    "strategy": "CoveredCall",
    "orderType": "Limit",
    "limitPrice": 230,
    "timeInForce": "Day",
    "legs": [
        {"symbolId": 8049, "legQuantity": 100, "action": "Buy"},
        {"symbolId": 8049, "legQuantity": 1, "action": "Sell"},
    ],
}


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def _id(answer: orders.Record) -> int:
    number = answer["orderId"]
    assert isinstance(number, int)
    return number


def _states(book: OrderBook, state: str = "All") -> list[object]:
    return [record["state"] for record in book.between(*DAY, state)]


def test_a_placed_order_is_kept_with_every_field(book: OrderBook) -> None:
    """The answer and the list show the same record, whose `comissionCharged` has one m as live."""
    answer = book.place({**LIMIT_ORDER, "icebergQuantity": 1, "isAllOrNone": True}, NOON)
    record = book.get(_id(answer))

    assert {"orderId": record["id"], "orders": [record]} == answer
    assert ORDER_FIELDS == record.keys()
    assert ("Accepted", 10, 0, "Buy", 100.5) == tuple(
        record[name] for name in ("state", "openQuantity", "filledQuantity", "side", "limitPrice")
    )
    assert (1, True) == (record["icebergQuantity"], record["isAllOrNone"])
    assert 1 == book.placed


@pytest.mark.parametrize(("action", "price"), [("Buy", 236.48), ("Sell", 236.46)])
def test_a_market_order_is_filled_at_once(book: OrderBook, action: str, price: float) -> None:
    """Bought at the ask, sold at the bid, with an execution to show."""
    record = book.get(_id(book.place({**MARKET_ORDER, "action": action}, NOON)))
    (execution,) = book.executions(*DAY)

    assert ("Executed", 0, 10, price) == tuple(
        record[name] for name in ("state", "openQuantity", "filledQuantity", "avgExecPrice")
    )
    assert EXECUTION_FIELDS == execution.keys()
    assert (record["id"], price, 10) == (execution["orderId"], execution["price"], execution["quantity"])
    assert [] == book.executions(NOON + 1, NOON + 2)


def test_a_replacement_is_a_new_order_of_the_same_chain(book: OrderBook) -> None:
    """What the request leaves out stays as it was; it counts as the same order."""
    old = _id(book.place(LIMIT_ORDER, NOON))
    new = book.get(_id(book.replace(old, {"quantity": 5, "limitPrice": 99}, NOON)))

    assert (old, 5, 99, "Accepted") == (new["chainId"], new["totalQuantity"], new["limitPrice"], new["state"])
    assert "Replaced" == book.get(old)["state"]
    assert old != new["id"]
    assert 1 == book.placed


def test_a_cancelled_order_stays_in_the_list(book: OrderBook) -> None:
    """Its whole quantity is cancelled; it was placed all the same."""
    order_id = _id(book.place(LIMIT_ORDER, NOON))

    assert {"orderId": order_id} == book.cancel(order_id, NOON + 1)
    record = book.get(order_id)
    assert ("Canceled", 0, 10) == (record["state"], record["openQuantity"], record["canceledQuantity"])
    assert 1 == book.placed


def test_a_closed_order_can_neither_be_cancelled_nor_replaced(book: OrderBook) -> None:
    """A filled order stays as it is."""
    order_id = _id(book.place(MARKET_ORDER, NOON))

    with pytest.raises(Mistake, match="1002"):
        book.cancel(order_id, NOON)
    with pytest.raises(Mistake, match="1002"):
        book.replace(order_id, {"quantity": 1}, NOON)
    assert ["Executed"] == _states(book)


def test_orders_are_listed_by_time_and_state(book: OrderBook) -> None:
    """Open are those that wait, closed all others."""
    book.cancel(_id(book.place(LIMIT_ORDER, NOON)), NOON)
    book.place(MARKET_ORDER, NOON)
    book.place(LIMIT_ORDER, NOON)

    assert ["Canceled", "Executed", "Accepted"] == _states(book)
    assert ["Accepted"] == _states(book, "Open")
    assert ["Canceled", "Executed"] == _states(book, "Closed")
    assert [] == book.between(NOON + 1, NOON + 2, "All")
    with pytest.raises(Mistake, match="1002"):
        book.between(*DAY, "open")


def test_an_unknown_order_is_a_mistake(book: OrderBook) -> None:
    """1020 for each call that names one."""
    with pytest.raises(Mistake, match="1020"):
        book.get(1)
    with pytest.raises(Mistake, match="1020"):
        book.cancel(1, NOON)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbolId": None}, 1004),
        ({"quantity": None}, 1004),
        ({"limitPrice": None}, 1004),
        ({"orderType": "Stop"}, 1004),
        ({"orderType": "StopLimit"}, 1004),
        ({"symbolId": 1}, 1019),
        ({"symbolId": "8049"}, 1002),
        ({"quantity": 0}, 1002),
        ({"quantity": 1.5}, 1002),
        ({"quantity": True}, 1002),
        ({"quantity": -1}, 1002),
        ({"limitPrice": "537"}, 1002),
        ({"action": "Short"}, 1002),
        ({"orderType": "Best"}, 1002),
        ({"timeInForce": "Forever"}, 1002),
        ({"accountNumber": "11111111"}, 1002),
    ],
)
def test_a_wrong_order_is_refused_and_not_kept(book: OrderBook, changes: dict[str, object], code: int) -> None:
    """1004 for what is missing, 1002 for what makes no sense, 1019 for what is not traded."""
    with pytest.raises(Mistake, match=str(code)):
        book.place({**LIMIT_ORDER, **changes}, NOON)

    assert (0, []) == (book.placed, _states(book))


def test_an_account_number_may_be_a_number(book: OrderBook) -> None:
    """The documentation's sample has it without quotes."""
    book.place({**LIMIT_ORDER, "accountNumber": 26598145}, NOON)

    assert 1 == book.placed


def test_a_bracket_is_a_group_of_orders(book: OrderBook) -> None:
    """The primary order's id is the group; each order carries its class."""
    answer = book.bracket(BRACKET, NOON)
    records = book.between(*DAY, "All")

    assert records == answer["orders"]
    assert [answer["orderId"]] * 3 == [record["orderGroupId"] for record in records]
    assert ["Primary", "Limit", "StopLoss"] == [record["orderClass"] for record in records]
    assert 3 == book.placed


def test_a_bracket_with_one_bad_part_places_nothing(book: OrderBook) -> None:
    """All or nothing: a primary order without its stop would be a surprise."""
    for bad in ({"quantity": 0}, {"orderClass": "Third"}):
        components = [*PARTS[:2], {**PARTS[2], **bad}]
        with pytest.raises(Mistake, match="1002"):
            book.bracket({**BRACKET, "components": components}, NOON)

    assert 0 == book.placed


@pytest.mark.parametrize(("components", "code"), [(None, 1004), ([], 1004), ("x", 1002), ([1], 1002)])
def test_a_bracket_needs_its_components(book: OrderBook, components: object, code: int) -> None:
    """Missing is 1004, malformed is 1002."""
    with pytest.raises(Mistake, match=str(code)):
        book.bracket({**BRACKET, "components": components}, NOON)


def test_a_strategy_is_one_order_with_legs(book: OrderBook) -> None:
    """Its type is the strategy; a leg that is not traded is refused."""
    record = book.get(_id(book.strategy(STRATEGY, NOON)))

    assert ("CoveredCall", STRATEGY["legs"]) == (record["strategyType"], record["legs"])
    with pytest.raises(Mistake, match="1002"):
        book.strategy({**STRATEGY, "strategy": "Luck"}, NOON)
    with pytest.raises(Mistake, match="1019"):
        book.strategy({**STRATEGY, "legs": [*STRATEGY["legs"], {"symbolId": 1}]}, NOON)  # type: ignore[misc]
    assert 1 == book.placed


def test_impacts_say_what_an_order_would_cost() -> None:
    """Every kind of order has one, with the documented properties, and it places nothing."""
    book = OrderBook()
    old = book.get(_id(book.place(LIMIT_ORDER, NOON)))
    single = orders.impact(LIMIT_ORDER)
    bracket: Request = orders.bracket_impact(BRACKET)
    assert isinstance(bracket["impacts"], list)
    found = [single, orders.replace_impact({"quantity": 1}, old), orders.strategy_impact(STRATEGY), *bracket["impacts"]]

    assert [IMPACT_FIELDS] * 6 == [set(each) for each in found]
    assert ("Buy", 100.5, -1009.95) == (single["side"], single["price"], single["buyingPowerEffect"])
    assert 236.46 == orders.impact({**MARKET_ORDER, "action": "Sell"})["price"]
    assert 1 == book.placed
