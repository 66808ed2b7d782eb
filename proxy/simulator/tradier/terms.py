"""What an order asks for, checked. Mistakes of the request are 400, what risk management refuses is 200."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.simulator.tradier import account, market
from proxy.simulator.tradier.answers import Mistake, Rejected
from proxy.simulator.tradier.options_market import Contract

Fields = Mapping[str, str]

_ONE = ("equity", "option")
_MANY = ("multileg", "combo", "oto", "oco", "otoco")
_TYPES = ("market", "limit", "stop", "stop_limit", "debit", "credit", "even")
_DURATIONS = ("day", "gtc", "pre", "post")
_STOCK_SIDES = ("buy", "buy_to_cover", "sell", "sell_short")
_OPTION_SIDES = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
_PRICED = ("limit", "stop_limit", "debit", "credit")
_MOST = 10_000_000
_MAX_LEGS = 4
_TOO_MUCH = 1e12

# Messages as documented.
_QUANTITY = "Quantity should be between 1 and 10,000,000"
_POWER = "You do not have enough buying power for this trade"
_GTC = "You cannot place market orders with GTC, only day orders are allowed"
_SELL = "Sell order cannot be placed unless you are closing a long position, please check open orders."


@dataclass(frozen=True, slots=True)
class Leg:
    """One thing to buy or sell."""

    traded: market.Stock | Contract
    side: str
    quantity: float

    @property
    def is_option(self) -> bool:
        return isinstance(self.traded, Contract)

    @property
    def buys(self) -> bool:
        return self.side.startswith("buy")

    @property
    def symbol(self) -> str:
        return self.traded.root if isinstance(self.traded, Contract) else self.traded.symbol


@dataclass(frozen=True, slots=True)
class Terms:
    """A whole order: one leg, or several of a class that takes them. Prices are in dollars."""

    order_class: str
    legs: tuple[Leg, ...]
    order_type: str
    duration: str
    price: float | None
    stop: float | None
    tag: str | None

    @property
    def each(self) -> float:
        """What the first leg costs for one: the asked price, or the market's."""
        first = self.legs[0]
        return self.price or (first.traded.ask if first.buys else first.traded.bid)

    @property
    def cost(self) -> float:
        """What is paid: negative for a sale."""
        first = self.legs[0]
        value = self.each * first.quantity * (100 if first.is_option else 1)
        return round(value if first.buys else -value, 2)


def read(fields: Fields, today: dt.date) -> Terms:
    """The terms of a new order. Mistake for a malformed one, Rejected for one that may not be."""
    order_class = _one_of(fields, "class", (*_ONE, *_MANY))
    legs = (_leg(fields, "", today),) if order_class in _ONE else _legs(fields, today)
    # An order that triggers others has its type and price on each part.
    kind = fields.get("type") or fields.get("type[0]") or ""
    order_type = _one_of({"type": kind}, "type", _TYPES)
    duration = _one_of({"duration": fields.get("duration") or fields.get("duration[0]") or ""}, "duration", _DURATIONS)
    price, stop = price_of(fields, "price"), price_of(fields, "stop")
    check_prices(order_type, price, stop)
    terms = Terms(order_class, legs, order_type, duration, price, stop, fields.get("tag"))
    _judge(terms)
    return terms


def price_of(fields: Fields, name: str) -> float | None:
    """A price in dollars; the one of the first part counts for orders of several parts."""
    text = fields.get(name) or fields.get(f"{name}[0]")
    return None if text is None else _number(text, name)


def check_prices(order_type: str, price: float | None, stop: float | None) -> None:
    """Mistake if a price that the type needs is missing."""
    if order_type in _PRICED and price is None:
        raise Mistake("Invalid parameter, price: is required for this type of order")
    if order_type.startswith("stop") and stop is None:
        raise Mistake("Invalid parameter, stop: is required for this type of order")


def changed(fields: Fields, order_type: str, duration: str) -> tuple[str, str]:
    """Type and duration of a change, which default to the order's own."""
    return (
        _one_of({"type": order_type, **fields}, "type", _TYPES),
        _one_of({"duration": duration, **fields}, "duration", _DURATIONS),
    )


def _legs(fields: Fields, today: dt.date) -> tuple[Leg, ...]:
    found = [number for number in range(_MAX_LEGS) if f"side[{number}]" in fields]
    if not found:
        raise Mistake("Invalid parameter, side[0]: is required")
    return tuple(_leg(fields, f"[{number}]", today) for number in found)


def _leg(fields: Fields, index: str, today: dt.date) -> Leg:
    name = f"option_symbol{index}" if fields.get(f"option_symbol{index}") else f"symbol{index}"
    symbol = fields.get(name) or fields.get("symbol", "")
    traded = market.find(symbol.upper(), today)
    if traded is None:
        raise Mistake(f"Invalid parameter, {name}: unknown symbol")
    sides = _OPTION_SIDES if isinstance(traded, Contract) else _STOCK_SIDES
    side = _one_of(fields, f"side{index}", sides)
    return Leg(traded, side, _number(fields.get(f"quantity{index}", ""), f"quantity{index}"))


def _judge(terms: Terms) -> None:
    """What risk management looks at, for orders of one leg."""
    if any(not 1 <= leg.quantity <= _MOST for leg in terms.legs):
        raise Rejected(_QUANTITY)
    if terms.order_type == "market" and terms.duration == "gtc":
        raise Rejected(_GTC)
    first = terms.legs[0]
    if terms.order_class not in _ONE:
        return
    if terms.cost > (account.CASH if first.is_option else account.BUYING_POWER):
        raise Rejected(_POWER)
    if first.side == "sell" and first.quantity > account.HELD.get(first.symbol, 0):
        raise Rejected(_SELL)


def _one_of(fields: Fields, name: str, known: tuple[str, ...]) -> str:
    value = fields.get(name, "").lower()
    if value not in known:
        raise Mistake(f"Invalid parameter, {name}: must be one of {', '.join(known)}")
    return value


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < _TOO_MUCH:
        raise Mistake(f"Invalid parameter, {name}: not a number that is allowed")
    return number
