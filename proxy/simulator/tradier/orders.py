"""The order book. Market orders fill at once, others stay open until they are cancelled."""

import uuid
from collections.abc import Callable

from proxy.simulator.tradier import account, moments, terms
from proxy.simulator.tradier.answers import Mistake, several
from proxy.simulator.tradier.terms import Fields, Leg, Terms

_FIRST = 257_459
_FINAL = frozenset({"filled", "canceled", "rejected", "expired"})

Record = dict[str, object]


class OrderBook:
    """The orders of the one account. Bad requests raise `Mistake`, refused orders `Rejected`."""

    def __init__(self) -> None:
        self._orders: dict[int, Record] = {}
        self._tags: dict[int, str] = {}
        self._partner = str(uuid.uuid4())
        self._next = _FIRST
        self.placed = 0  # orders kept; a changed or cancelled one was placed too
        # Who hears of orders that have changed.
        self.told: Callable[[Record], None] = lambda _order: None

    def place(self, fields: Fields, now: float) -> Record:
        """`POST …/orders`. With `preview=true` nothing is kept."""
        asked = terms.read(fields, moments.eastern(now).date())
        if fields.get("preview", "").lower() == "true":
            return {"order": _preview(asked, now)}
        number = self._next
        self._next += 1 + (len(asked.legs) if len(asked.legs) > 1 else 0)  # legs have ids of their own
        self.placed += 1
        self._orders[number] = _record(number, asked, now)
        if asked.tag:
            self._tags[number] = asked.tag
        if asked.order_type == "market":
            self.told(self._orders[number])
            _fill(self._orders[number], asked, now)
        return self._done(number)

    def change(self, number: int, fields: Fields, now: float) -> Record:
        """`PUT …/orders/{id}`: type, duration, price, stop, quantity."""
        order = self._find_open(number)
        kind, duration = terms.changed(fields, str(order["type"]), str(order["duration"]))
        price, stop = terms.price_of(fields, "price"), terms.price_of(fields, "stop")
        wanted: Record = {"price": price, "stop_price": stop, "quantity": terms.price_of(fields, "quantity")}
        after = order | {name: value for name, value in wanted.items() if value is not None}
        terms.check_prices(kind, _price(after, "price"), _price(after, "stop_price"))
        after["remaining_quantity"] = after["quantity"]
        self._orders[number] = after | {"type": kind, "duration": duration, "transaction_date": moments.written(now)}
        return self._done(number)

    def cancel(self, number: int, now: float) -> Record:
        """`DELETE …/orders/{id}`."""
        order = self._find_open(number)
        order |= {"status": "canceled", "remaining_quantity": 0.0, "transaction_date": moments.written(now)}
        return self._done(number)

    def get(self, number: int, *, tags: bool) -> Record:
        return {"order": self._shown(number, self._find(number), tags=tags)}

    def listed(self, page: int, limit: int, *, tags: bool) -> Record:
        """The newest last."""
        shown: list[object] = [self._shown(number, order, tags=tags) for number, order in self._orders.items()]
        return several("orders", "order", shown[(page - 1) * limit : page * limit])

    def _done(self, number: int) -> Record:
        self.told(self._orders[number])
        return {"order": {"id": number, "status": "ok", "partner_id": self._partner}}

    def _shown(self, number: int, order: Record, *, tags: bool) -> Record:
        return order | ({"tag": self._tags[number]} if tags and number in self._tags else {})

    def _find(self, number: int) -> Record:
        order = self._orders.get(number)
        if order is None:
            raise Mistake("order not found", 404)  # its real text is not known
        return order

    def _find_open(self, number: int) -> Record:
        order = self._find(number)
        if order["status"] in _FINAL:
            raise Mistake(f"order already in finalized state: {order['status']}")  # observed in a public client
        return order


def _price(order: Record, name: str) -> float | None:
    price = order.get(name)
    return price if isinstance(price, float) else None


def _record(number: int, asked: Terms, now: float) -> Record:
    record = _one(number, asked, asked.legs[0], now)
    if len(asked.legs) == 1:
        return record
    legs = [_one(number + place, asked, leg, now) for place, leg in enumerate(asked.legs, 1)]
    return record | {"num_legs": len(legs), "strategy": "unknown", "leg": legs}


def _one(number: int, asked: Terms, leg: Leg, now: float) -> Record:
    moment = moments.written(now)
    record: Record = {
        "id": number,
        "type": asked.order_type,
        "symbol": leg.symbol,
        "side": leg.side,
        "quantity": leg.quantity,
        "status": "open",
        "duration": asked.duration,
        "avg_fill_price": 0.0,
        "exec_quantity": 0.0,
        "last_fill_price": 0.0,
        "last_fill_quantity": 0.0,
        "remaining_quantity": leg.quantity,
        "create_date": moment,
        "transaction_date": moment,
        "class": asked.order_class,
    }
    record |= {"option_symbol": leg.traded.symbol} if leg.is_option else {}
    record |= {"price": asked.price} if asked.price is not None else {}
    return record | ({"stop_price": asked.stop} if asked.stop is not None else {})


def _fill(order: Record, asked: Terms, now: float) -> None:
    order |= {
        "status": "filled",
        "avg_fill_price": asked.each,
        "last_fill_price": asked.each,
        "exec_quantity": order["quantity"],
        "last_fill_quantity": order["quantity"],
        "remaining_quantity": 0.0,
        "transaction_date": moments.written(now),
    }


def _preview(asked: Terms, now: float) -> Record:
    first = asked.legs[0]
    return {
        "status": "ok",
        "commission": 0.0,
        "cost": asked.cost,
        "fees": 0.0,
        "symbol": first.symbol,
        "quantity": first.quantity,
        "side": first.side,
        "type": asked.order_type,
        "result": True,
        "order_cost": asked.cost,
        "margin_change": round(asked.cost / 2, 2),
        "request_date": moments.written(now),
        "extended_hours": False,
        "class": asked.order_class,
        "strategy": asked.order_class,
        "duration": asked.duration,
        "price": asked.price,
        "day_trades": 0,
        "account": account.NUMBER,
    }
