"""The orders of one account: checked, kept under two ids, and filled at once if they are market orders."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import Refused, missing, unprocessable
from proxy.simulator.alpaca.assets import Asset
from proxy.simulator.alpaca.positions import Positions, amount, number
from proxy.simulator.alpaca.updates import Updates

Record = dict[str, object]
Request = Mapping[str, object]

_TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
_TIMES = ("day", "gtc", "opg", "cls", "ioc", "fok")
_CLASSES = ("", "simple", "bracket", "oco", "oto", "mleg")
_OPEN = ("new", "accepted", "pending_new", "held")
_MAX_CLIENT_ID = 128


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a request asks for, checked. `quantity` 0 stands for an order by amount; `cost` is in US dollars."""

    asset: Asset
    quantity: float
    side: str
    kind: str
    time_in_force: str
    cost: float


class OrderBook:
    """Every order of one account, oldest first. `placed` counts those accepted; a replacement is the same order."""

    def __init__(self, positions: Positions, updates: Updates | None = None, account_id: str = "") -> None:
        self._positions = positions
        self._account_id = account_id
        self.updates = updates or Updates()
        self._orders: dict[str, Record] = {}
        self.placed = 0

    def place(self, request: Request, now: float) -> Record:
        """`POST /v2/orders`. Refused with 422, or with 403 where money or shares do not suffice."""
        client_id = self._client_id(request)
        if request.get("order_class") == "mleg":
            order = self._several_legs(request, client_id, now)
        else:
            terms = _terms(request, now)
            self._positions.check(terms.asset, terms.quantity, terms.side, terms.cost)
            order = _record(terms, request, client_id, now)
            order["legs"] = _closing_legs(terms, request, now)
        self._orders[str(order["id"])] = order
        self.placed += 1
        answered = dict(order)
        self._tell("new", order | {"status": "new"}, now)
        if order["type"] == "market" and order["symbol"]:
            self._fill(order, now)
        return answered

    def replace(self, order_id: str, request: Request, now: float) -> Record:
        """`PATCH /v2/orders/{order_id}`: a new order takes the place of an open one."""
        old = self._find_open(order_id)
        names = ("qty", "limit_price", "stop_price", "time_in_force", "trail")
        changes = {name: request[name] for name in names if request.get(name) is not None}
        if not changes and request.get("client_order_id") is None:
            raise unprocessable("at least one of qty, time_in_force, limit_price, stop_price, trail must be given")
        kept = {name: old[name] for name in ("symbol", "side", "type", "order_class", "extended_hours", *names[:-1])}
        trail = next((name for name in ("trail_price", "trail_percent") if old[name] is not None), None)
        asked = {**kept, **changes} | ({trail: changes.get("trail", old[trail])} if trail else {})
        new = _record(_terms(asked, now), asked, self._client_id(request), now)
        new["replaces"] = old["id"]
        self._orders[str(new["id"])] = new
        old |= {"status": "replaced", "replaced_by": new["id"], "replaced_at": moments.written(now)}
        self._tell("replaced", old, now)
        self._tell("new", new, now)
        return new

    def cancel(self, order_id: str, now: float) -> None:
        """`DELETE /v2/orders/{order_id}`. Refused with 404, or with 422 if it is no longer open."""
        self._cancel(self._find_open(order_id), now)

    def cancel_all(self, now: float) -> list[Record]:
        """`DELETE /v2/orders`: each open order with its status."""
        still_open = [order for order in self._orders.values() if order["status"] in _OPEN]
        for order in still_open:
            self._cancel(order, now)
        return [{"id": order["id"], "status": 200} for order in still_open]

    def get(self, order_id: str) -> Record:
        """By Alpaca's id. Refused with 404."""
        order = self._orders.get(order_id.lower())
        if order is None:
            raise missing(f"order for {order_id[:40]}")
        return order

    def by_client_id(self, client_id: str) -> Record:
        """By the client's own id; the newest of a chain of replacements. Refused with 404."""
        found = [order for order in self._orders.values() if order["client_order_id"] == client_id]
        if not found:
            raise missing(f"order for {client_id[:40]}")
        return found[-1]

    def listed(self, arguments: Mapping[str, str], symbols: list[str], limit: int) -> list[Record]:
        """`GET /v2/orders` by its query: status, after, until, direction, side, symbols."""
        status = arguments.get("status") or "open"
        wanted: dict[str, Callable[[Record], bool]] = {
            "open": lambda order: order["status"] in _OPEN,
            "closed": lambda order: order["status"] not in _OPEN,
            "all": lambda _: True,
        }
        if status not in wanted:
            raise unprocessable("status must be open, closed or all")
        after = moments.read(arguments["after"]) if arguments.get("after") else 0.0
        until = moments.read(arguments["until"]) if arguments.get("until") else float("inf")
        found = [
            order
            for order in self._orders.values()
            if wanted[status](order)
            and after < moments.read(str(order["submitted_at"])) <= until
            and arguments.get("side") in (None, "", order["side"])
            and (not symbols or order["symbol"] in symbols)
        ]
        return (found if arguments.get("direction") == "asc" else found[::-1])[:limit]

    def fills(self) -> list[Record]:
        """Orders that were filled, oldest first."""
        return [order for order in self._orders.values() if order["status"] == "filled"]

    def _client_id(self, request: Request) -> str:
        client_id = request.get("client_order_id") or str(uuid.uuid4())
        if not isinstance(client_id, str) or len(client_id) > _MAX_CLIENT_ID:
            raise unprocessable(f"client_order_id must be a text of at most {_MAX_CLIENT_ID} characters")
        if any(order["client_order_id"] == client_id for order in self._orders.values()):
            raise unprocessable("client_order_id must be unique")
        return client_id

    def _find_open(self, order_id: str) -> Record:
        order = self.get(order_id)
        if order["status"] not in _OPEN:
            raise unprocessable(f'order is already in "{order["status"]}" state')
        return order

    def _several_legs(self, request: Request, client_id: str, now: float) -> Record:
        legs = request.get("legs")
        if not isinstance(legs, list) or not legs or not all(isinstance(leg, dict) for leg in legs):
            raise unprocessable("an mleg order needs legs")
        quantity = number(request, "qty")
        parts = [{"type": "market", **leg, "qty": number(leg, "ratio_qty", 1) * quantity} for leg in legs]
        shared = {"time_in_force": request.get("time_in_force"), "side": "buy"}
        terms = [_terms({**shared, **part}, now) for part in parts]
        order = _record(terms[0], request, client_id, now)
        order |= {"asset_id": "", "symbol": "", "asset_class": "", "side": "", "order_class": "mleg"}
        order["type"] = order["order_type"] = request.get("type") or "market"
        order["legs"] = [
            _record(each, part, str(uuid.uuid4()), now) | {"ratio_qty": str(leg.get("ratio_qty", 1))}
            for each, part, leg in zip(terms, parts, legs, strict=True)
        ]
        return order

    def _fill(self, order: Record, now: float) -> None:
        asset = assets.find(str(order["symbol"]), now)
        buys = order["side"] == "buy"
        price = asset.ask if buys else asset.bid
        quantity = float(str(order["qty"])) if order["qty"] else round(float(str(order["notional"])) / price, 9)
        self._positions.trade(asset, quantity if buys else -quantity, price)
        done: Record = {"status": "filled", "filled_qty": amount(quantity), "filled_avg_price": amount(price)}
        order |= done | {"filled_at": moments.written(now), "updated_at": moments.written(now)}
        owned = amount(self._positions.owned(asset))
        self._tell("fill", order, now, {"price": amount(price), "qty": amount(quantity), "position_qty": owned})

    def _cancel(self, order: Record, now: float) -> None:
        order |= {"status": "canceled", "canceled_at": moments.written(now), "updated_at": moments.written(now)}
        self._tell("canceled", order, now)

    def _tell(self, event: str, order: Record, now: float, more: Record | None = None) -> None:
        self.updates.add(self._account_id, event, order, now, more)


def _terms(request: Request, now: float) -> _Terms:
    symbol, side, kind = request.get("symbol"), request.get("side"), request.get("type")
    time_in_force = request.get("time_in_force")
    if not isinstance(symbol, str) or not symbol:
        raise unprocessable("symbol is required")
    for name, value, allowed in (
        ("side", side, ("buy", "sell")),
        ("type", kind, _TYPES),
        ("time_in_force", time_in_force, _TIMES),
        ("order_class", request.get("order_class") or "", _CLASSES),
    ):
        if value not in allowed:
            raise unprocessable(f"invalid {name}")
    try:
        asset = assets.find(symbol, now)
    except Refused:
        raise unprocessable(f'asset "{symbol[:40]}" not found') from None
    quantity, notional = request.get("qty"), request.get("notional")
    if (quantity is None) == (notional is None):
        raise unprocessable("qty or notional is required" if quantity is None else "only one of qty or notional")
    _check_prices(request, str(kind))
    price = number(request, "limit_price") if "limit" in str(kind) else asset.ask
    count = 0.0 if quantity is None else number(request, "qty")
    size = 100 if asset.kind == "us_option" else 1
    cost = number(request, "notional") if quantity is None else count * price * size
    if count <= 0 and cost <= 0:
        raise unprocessable("qty must be > 0")
    return _Terms(asset, count, str(side), str(kind), str(time_in_force), cost)


def _check_prices(request: Request, kind: str) -> None:
    limit, stop = request.get("limit_price"), request.get("stop_price")
    if "limit" in kind and limit is None:
        raise unprocessable(f"{kind} orders require limit price")
    if kind.startswith("stop") and stop is None:
        raise unprocessable(f"{kind} orders require stop price")
    if kind == "market" and (limit is not None or stop is not None):
        raise unprocessable("market orders require no stop or limit price")
    if kind == "trailing_stop" and (request.get("trail_price") is None) == (request.get("trail_percent") is None):
        raise unprocessable("trailing stop orders must specify one of trail_price or trail_percent")
    for name in ("limit_price", "stop_price", "trail_price", "trail_percent"):
        if request.get(name) is not None and number(request, name) <= 0:
            raise unprocessable(f"{name} must be > 0")


def _closing_legs(terms: _Terms, request: Request, now: float) -> list[Record] | None:
    """The orders that close a bracket, oco or oto order."""
    kind = request.get("order_class") or ""
    profit, loss = request.get("take_profit"), request.get("stop_loss")
    if kind in ("", "simple"):
        return None
    if (kind in ("bracket", "oco") and not (profit and loss)) or not (profit or loss):
        raise unprocessable(f"{kind} orders require take_profit and stop_loss")
    side = "sell" if terms.side == "buy" and kind != "oco" else "buy" if kind != "oco" else terms.side
    shared = {
        "symbol": terms.asset.symbol,
        "qty": request.get("qty"),
        "side": side,
        "time_in_force": terms.time_in_force,
    }
    asked = []
    if isinstance(profit, dict) and kind != "oco":
        asked.append({**shared, "type": "limit", "limit_price": profit.get("limit_price")})
    if isinstance(loss, dict):
        stop: Record = {"type": "stop_limit" if loss.get("limit_price") else "stop", **loss}
        asked.append({**shared, **stop})
    return [
        _record(_terms(each, now), {**each, "order_class": kind}, str(uuid.uuid4()), now) | {"status": "held"}
        for each in asked
    ]


def _record(terms: _Terms, request: Request, client_id: str, now: float) -> Record:
    moment = moments.written(now)
    prices = ("notional", "qty", "limit_price", "stop_price", "trail_percent", "trail_price")
    return {
        "id": str(uuid.uuid4()),
        "client_order_id": client_id,
        "created_at": moment,
        "updated_at": moment,
        "submitted_at": moment,
        **dict.fromkeys(("filled_at", "expired_at", "canceled_at", "failed_at")),
        **dict.fromkeys(("replaced_at", "replaced_by", "replaces")),
        "asset_id": terms.asset.id,
        "symbol": terms.asset.symbol,
        "asset_class": terms.asset.kind,
        **{name: None if request.get(name) is None else amount(number(request, name)) for name in prices},
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": request.get("order_class") or "",
        "order_type": terms.kind,
        "type": terms.kind,
        "side": terms.side,
        "position_intent": f"{terms.side}_to_open",
        "time_in_force": terms.time_in_force,
        "status": "accepted" if terms.kind == "market" else "new",
        "extended_hours": bool(request.get("extended_hours", False)),
        "legs": None,
        "hwm": None,
        "commission": "0",
        "subtag": None,
        "source": None,
    }
