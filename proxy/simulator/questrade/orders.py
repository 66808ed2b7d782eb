"""Orders that are really kept: placed, listed, replaced, cancelled, counted. Market orders are filled at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.simulator.questrade import account, market, moments
from proxy.simulator.questrade.answers import Mistake
from proxy.simulator.questrade.market import Symbol

_FIRST_ORDER, _FIRST_EXECUTION = 177_106_005, 468_607_085
_COMMISSION = 4.95

_TYPES = frozenset(
    {
        "Market",
        "Limit",
        "Stop",
        "StopLimit",
        "TrailStopInPercentage",
        "TrailStopInDollar",
        "TrailStopLimitInPercentage",
        "TrailStopLimitInDollar",
        "LimitOnOpen",
        "LimitOnClose",
    }
)
_TIMES_IN_FORCE = frozenset(
    {"Day", "GoodTillCanceled", "GoodTillExtendedDay", "GoodTillDate", "ImmediateOrCancel", "FillOrKill"}
)
_CLASSES = frozenset({"Primary", "Limit", "StopLoss"})
_STRATEGIES = frozenset(
    {
        "CoveredCall",
        "MarriedPut",
        "VerticalCall",
        "VerticalPut",
        "CalendarCall",
        "CalendarPut",
        "DiagonalCall",
        "DiagonalPut",
        "Collar",
        "Straddle",
        "Strangle",
        "ButterflyCall",
        "ButterflyPut",
        "IronButterfly",
        "Condor",
        "Custom",
    }
)

Record = dict[str, object]
Request = Mapping[str, object]


@dataclass(slots=True)
class _Order:
    """One order as it is listed, and when it came (Unix seconds)."""

    record: Record
    created: float

    @property
    def open(self) -> bool:
        return self.record["state"] == "Accepted"


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a request asks for, checked."""

    symbol: Symbol
    quantity: int
    action: str
    order_type: str
    time_in_force: str
    limit_price: object
    stop_price: object


class OrderBook:
    """The orders and executions of the one account. Bad requests raise `Mistake`."""

    def __init__(self) -> None:
        self._orders: dict[int, _Order] = {}
        self._executions: list[tuple[float, Record]] = []
        self._untold = 0  # executions that nobody has heard of
        # Who hears of orders that have changed, and of executions.
        self.told: Callable[[Sequence[Record], Sequence[Record]], None] = lambda _orders, _executions: None
        self.placed = 0  # orders accepted; a replacement is the same order, a cancelled one was placed too

    @property
    def next_id(self) -> int:
        """The id that the next order will have."""
        return _FIRST_ORDER + len(self._orders)

    def place(self, request: Request, now: float) -> Record:
        """`POST …/orders`: keep a new order. Answers its id and record."""
        order = self._keep(_terms(request), request, now)
        return self._done([order])

    def replace(self, order_id: int, request: Request, now: float) -> Record:
        """`POST …/orders/:id`: a new order of the same chain takes the place of an open one."""
        old = self._find_open(order_id)
        request = _with_defaults(request, old.record)
        terms = _terms(request)
        new = self._keep(terms, request, now, chain=old.record["chainId"])
        self.placed -= 1
        _close(old, "Replaced", now)
        return self._done([new], also=[old])

    def cancel(self, order_id: int, now: float) -> Record:
        """`DELETE …/orders/:id`."""
        order = self._find_open(order_id)
        _close(order, "Canceled", now)
        self._done([order])
        return {"orderId": order_id}

    def bracket(self, request: Request, now: float) -> Record:
        """`POST …/orders/bracket`: a primary order with the orders that close it, under one group."""
        components = _list(request, "components")
        checked = [(_terms({**request, **part}), part) for part in components]
        if not all(part.get("orderClass") in _CLASSES for part in components):
            raise Mistake(1002)
        kept = [self._keep(terms, {**request, **part}, now) for terms, part in checked]
        group = kept[0].record["id"]
        for order, part in zip(kept, components, strict=True):
            order.record |= {"orderGroupId": group, "orderClass": part["orderClass"], "mainChainId": group}
        return self._done(kept)

    def strategy(self, request: Request, now: float) -> Record:
        """`POST …/orders/strategy`: one order with several legs."""
        terms, legs = _strategy_terms(request)
        order = self._keep(terms, request, now)
        order.record |= {"strategyType": request["strategy"], "legs": legs}
        return self._done([order])

    def get(self, order_id: int) -> Record:
        """Mistake 1020 if there is none."""
        return self._find(order_id).record

    def between(self, start: float, end: float, state: str) -> list[Record]:
        """Records of orders that came between two Unix times; `state` is All, Open or Closed."""
        wanted: dict[str, Callable[[_Order], bool]] = {
            "All": lambda _: True,
            "Open": lambda order: order.open,
            "Closed": lambda order: not order.open,
        }
        if state not in wanted:
            raise Mistake(1002)
        found = (order for order in self._orders.values() if start <= order.created <= end)
        return [order.record for order in found if wanted[state](order)]

    def executions(self, start: float, end: float) -> list[Record]:
        return [record for moment, record in self._executions if start <= moment <= end]

    def _done(self, orders: Sequence[_Order], also: Sequence[_Order] = ()) -> Record:
        """The answer about these orders; whoever listens hears of them, and of `also`."""
        new = [record for _, record in self._executions[self._untold :]]
        self._untold = len(self._executions)
        self.told([order.record for order in (*also, *orders)], new)
        return _answer([order.record for order in orders])

    def _find(self, order_id: int) -> _Order:
        order = self._orders.get(order_id)
        if order is None:
            raise Mistake(1020)
        return order

    def _find_open(self, order_id: int) -> _Order:
        order = self._find(order_id)
        if not order.open:
            raise Mistake(1002)
        return order

    def _keep(self, terms: _Terms, request: Request, now: float, *, chain: object = None) -> _Order:
        number = self.next_id
        order = _Order(_record(number, chain or number, terms, request, moments.written(now)), now)
        self._orders[number] = order
        self.placed += 1
        if terms.order_type == "Market":
            self._fill(order, terms, now)
        return order

    def _fill(self, order: _Order, terms: _Terms, now: float) -> None:
        price = terms.symbol.ask if terms.action == "Buy" else terms.symbol.bid
        order.record |= {
            "state": "Executed",
            "openQuantity": 0,
            "filledQuantity": terms.quantity,
            "avgExecPrice": price,
            "lastExecPrice": price,
            "comissionCharged": _COMMISSION,
        }
        number = _FIRST_EXECUTION + len(self._executions)
        self._executions.append((now, _execution(number, order.record, terms, price, moments.written(now))))


def impact(request: Request) -> Record:
    """`POST …/orders/impact`: what the order would cost and leave."""
    return _impact(_terms(request))


def replace_impact(request: Request, old: Record) -> Record:
    """`POST …/orders/:id/impact`: the same for a replacement of `old`."""
    return _impact(_terms(_with_defaults(request, old)))


def bracket_impact(request: Request) -> Record:
    return {"impacts": [_impact(_terms({**request, **part})) for part in _list(request, "components")]}


def strategy_impact(request: Request) -> Record:
    return _impact(_strategy_terms(request)[0])


def _impact(terms: _Terms) -> Record:
    price = terms.limit_price or (terms.symbol.ask if terms.action == "Buy" else terms.symbol.bid)
    value = round(terms.quantity * _number(price), 2)
    effect = -value if terms.action == "Buy" else value
    return {
        "estimatedCommissions": _COMMISSION,
        "buyingPowerEffect": round(effect - _COMMISSION, 2),
        "buyingPowerResult": round(166_500 + effect, 2),
        "maintExcessEffect": round(effect - _COMMISSION, 2),
        "maintExcessResult": round(50_000 + effect, 2),
        "side": terms.action,
        "tradeValueCalculation": f"{terms.quantity} x {price}",
        "price": price,
    }


def _terms(request: Request) -> _Terms:
    needed = ("symbolId", "quantity", "action", "orderType", "timeInForce")
    if any(request.get(name) is None for name in needed):
        raise Mistake(1004)
    symbol_id, quantity, action, order_type, time_in_force = (request[name] for name in needed)
    if action not in ("Buy", "Sell") or order_type not in _TYPES or time_in_force not in _TIMES_IN_FORCE:
        raise Mistake(1002)
    if str(request.get("accountNumber", account.NUMBER)) != account.NUMBER:
        raise Mistake(1002)
    limit, stop = request.get("limitPrice"), request.get("stopPrice")
    if ("Limit" in str(order_type) and limit is None) or (str(order_type).startswith("Stop") and stop is None):
        raise Mistake(1004)
    for price in (limit, stop):
        _ = 0.0 if price is None else _number(price)
    symbol = market.find(_whole(symbol_id))
    return _Terms(symbol, _whole(quantity), str(action), str(order_type), str(time_in_force), limit, stop)


def _strategy_terms(request: Request) -> tuple[_Terms, list[Request]]:
    legs = _list(request, "legs")
    if request.get("strategy") not in _STRATEGIES:
        raise Mistake(1002)
    first = legs[0]
    quantity = first.get("legQuantity", first.get("quantity"))
    terms = _terms({**request, "symbolId": first.get("symbolId"), "action": first.get("action"), "quantity": quantity})
    for leg in legs:
        market.find(_whole(leg.get("symbolId")))
    return terms, legs


def _list(request: Request, name: str) -> list[Request]:
    parts = request.get(name)
    if not parts:
        raise Mistake(1004)
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise Mistake(1002)
    return parts


def _whole(value: object) -> int:
    number = _number(value)
    if number < 1 or number != int(number):
        raise Mistake(1002)
    return int(number)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise Mistake(1002)
    return value


def _with_defaults(request: Request, old: Record) -> Request:
    """A replacement names what changes; the rest stays."""
    kept = ("symbolId", "orderType", "timeInForce", "limitPrice", "stopPrice", "primaryRoute", "secondaryRoute")
    before = {name: old[name] for name in kept} | {"action": old["side"], "quantity": old["totalQuantity"]}
    return {**before, **request}


def _close(order: _Order, state: str, now: float) -> None:
    left = order.record["openQuantity"]
    closed: Record = {"state": state, "openQuantity": 0, "updateTime": moments.written(now)}
    order.record |= closed | ({"canceledQuantity": left} if state == "Canceled" else {})


def _answer(records: list[Record]) -> Record:
    return {"orderId": records[0]["id"], "orders": records}


def _record(number: int, chain: object, terms: _Terms, request: Request, moment: str) -> Record:
    return {
        "id": number,
        "symbol": terms.symbol.name,
        "symbolId": terms.symbol.id,
        "totalQuantity": terms.quantity,
        "openQuantity": terms.quantity,
        "filledQuantity": 0,
        "canceledQuantity": 0,
        "side": terms.action,
        "orderType": terms.order_type,
        "limitPrice": terms.limit_price,
        "stopPrice": terms.stop_price,
        "isAllOrNone": bool(request.get("isAllOrNone", False)),
        "isAnonymous": bool(request.get("isAnonymous", False)),
        "icebergQuantity": request.get("icebergQuantity"),
        "minQuantity": request.get("minQuantity"),
        "avgExecPrice": None,
        "lastExecPrice": None,
        "source": "TradingAPI",
        "timeInForce": terms.time_in_force,
        "gtdDate": request.get("gtdDate"),
        "state": "Accepted",
        "clientReasonStr": "",
        "chainId": chain,
        "creationTime": moment,
        "updateTime": moment,
        "notes": "",
        "primaryRoute": request.get("primaryRoute", "AUTO"),
        "secondaryRoute": request.get("secondaryRoute", "AUTO"),
        "orderRoute": "LAMP",
        "venueHoldingOrder": "",
        "comissionCharged": 0,  # one m, as in the real API
        "exchangeOrderId": "",
        "isSignificantShareHolder": False,
        "isInsider": False,
        "isLimitOffsetInDollar": False,
        "userId": account.USER,
        "placementCommission": None,
        "legs": [],
        "strategyType": "SingleLeg",
        "triggerStopPrice": None,
        "orderGroupId": 0,
        "orderClass": None,
        "mainChainId": 0,
    }


def _execution(number: int, order: Record, terms: _Terms, price: float, moment: str) -> Record:
    return {
        "symbol": terms.symbol.name,
        "symbolId": terms.symbol.id,
        "quantity": terms.quantity,
        "side": terms.action,
        "price": price,
        "id": number,
        "orderId": order["id"],
        "orderChainId": order["chainId"],
        "exchangeExecId": str(number),
        "timestamp": moment,
        "notes": "",
        "venue": "LAMP",
        "totalCost": round(price * terms.quantity, 2),
        "orderPlacementCommission": 0,
        "commission": _COMMISSION,
        "executionFee": 0,
        "secFee": 0,
        "legId": 0,
        "canadianExecutionFee": 0,
        "parentId": 0,
    }
