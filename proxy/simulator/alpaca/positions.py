"""What one account owns: cash and positions, as trades change them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.simulator.alpaca.answers import FORBIDDEN, Refused, missing, unprocessable
from proxy.simulator.alpaca.assets import Asset, known

Record = dict[str, object]

_MARGIN = 2.0  # buying power for each dollar of cash
_DUST = 1e-9


@dataclass(slots=True)
class _Position:
    """How much of something is owned, less than 0 for a short one, and what one cost in US dollars."""

    asset: Asset
    quantity: float
    entry: float

    @property
    def size(self) -> float:
        return 100.0 if self.asset.kind == "us_option" else 1.0

    @property
    def value(self) -> float:
        return self.quantity * self.asset.price * self.size

    def record(self) -> Record:
        cost, before = self.quantity * self.entry * self.size, self.asset.price * 0.995
        gain, today = self.value - cost, self.quantity * (self.asset.price - before) * self.size
        return {
            "asset_id": self.asset.id,
            "symbol": self.asset.plain,
            "exchange": "" if self.asset.kind == "us_option" else self.asset.exchange,
            "asset_class": self.asset.kind,
            "asset_marginable": self.asset.kind == "us_equity",
            "qty": amount(self.quantity),
            "qty_available": amount(self.quantity),
            "avg_entry_price": amount(self.entry),
            "side": "long" if self.quantity > 0 else "short",
            "market_value": amount(self.value),
            "cost_basis": amount(cost),
            "unrealized_pl": amount(gain),
            "unrealized_plpc": amount(gain / abs(cost)),
            "unrealized_intraday_pl": amount(today),
            "unrealized_intraday_plpc": amount(today / abs(cost)),
            "current_price": amount(self.asset.price),
            "lastday_price": amount(before),
            "change_today": amount(0.005),
        }


class Positions:
    """The positions and the cash of one account, in US dollars."""

    def __init__(self, cash: float) -> None:
        self.cash = cash
        self._held: dict[str, _Position] = {}

    @classmethod
    def usual(cls) -> "Positions":
        """What every simulated account starts with: a hundred AAPL, half a bitcoin, a hundred thousand dollars."""
        new = cls(100_000.0)
        for symbol, quantity, entry in (("AAPL", 100.0, 200.5), ("BTC/USD", 0.5, 58_000.0)):
            asset = known(symbol)
            if asset is not None:
                new._held[asset.plain] = _Position(asset, quantity, entry)
        return new

    @property
    def buying_power(self) -> float:
        return max(0.0, self.cash * _MARGIN)

    @property
    def long_value(self) -> float:
        return sum(max(0.0, held.value) for held in self._held.values())

    @property
    def short_value(self) -> float:
        return sum(min(0.0, held.value) for held in self._held.values())

    def records(self) -> list[Record]:
        return [held.record() for held in self._held.values()]

    def get(self, asset: Asset) -> Record:
        """Refused with 404 if nothing of it is owned."""
        return self._find(asset).record()

    def owned(self, asset: Asset) -> float:
        """How much; 0 for nothing."""
        return self._held[asset.plain].quantity if asset.plain in self._held else 0.0

    def to_close(self, asset: Asset, quantity: str | None, percentage: str | None) -> Record:
        """The order that closes a position, or a part of it. Refused with 404 or 422."""
        held = self._find(asset).quantity
        part = abs(held)
        if quantity:
            part = number({"qty": quantity}, "qty")
        elif percentage:
            part = round(abs(held) * number({"percentage": percentage}, "percentage") / 100, 9)
        if not 0 < part <= abs(held):
            raise unprocessable("qty must be > 0 and at most the position's")
        side = "sell" if held > 0 else "buy"
        time_in_force = "gtc" if asset.crypto else "day"
        return {"symbol": asset.symbol, "qty": part, "side": side, "type": "market", "time_in_force": time_in_force}

    def check(self, asset: Asset, quantity: float, side: str, cost: float) -> None:
        """Whether an order can be paid, or what it sells is there. Refused with 403 if not."""
        owned = self.owned(asset)
        if side == "buy":
            if owned >= 0 and cost > self.buying_power:
                power = amount(self.buying_power)
                raise Refused(FORBIDDEN, "insufficient buying power", buying_power=power, cost_basis=amount(cost))
            return
        short = asset.kind == "us_equity" and owned <= 0
        if quantity > owned and not short:
            numbers = {"available": amount(owned), "existing_qty": amount(owned), "held_for_orders": "0"}
            message = (
                f"insufficient qty available for order (requested: {amount(quantity)}, available: {amount(owned)})"
            )
            raise Refused(FORBIDDEN, message, symbol=asset.symbol, **numbers)

    def trade(self, asset: Asset, quantity: float, price: float) -> None:
        """Buy, or with a quantity below 0 sell."""
        held = self._held.setdefault(asset.plain, _Position(asset, 0.0, price))
        self.cash -= quantity * price * held.size
        after = held.quantity + quantity
        if abs(after) < _DUST:
            del self._held[asset.plain]
            return
        if held.quantity * quantity >= 0:  # more of the same side: the entry is the mean
            held.entry = (held.quantity * held.entry + quantity * price) / after
        held.quantity = after

    def _find(self, asset: Asset) -> _Position:
        if asset.plain not in self._held:
            raise missing("position")
        return self._held[asset.plain]


def amount(value: float) -> str:
    """A number as Alpaca writes money and quantities: as a text, without zeros at the end."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def number(request: Mapping[str, object], name: str, default: object = None) -> float:
    """A number that came as one or as a text. Refused with 422 if it is neither, or not finite."""
    value = request.get(name, default)
    try:
        found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise unprocessable(f"invalid {name}")
    return found
