"""The 29 calls: which path is which, what scope and rate category it has, what it answers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import parse_qsl

from proxy.simulator.questrade import account, market, moments, orders
from proxy.simulator.questrade.answers import Mistake, encoded
from proxy.simulator.questrade.orders import OrderBook
from proxy.simulator.questrade.ports import NOTIFICATIONS, QUOTES, PortFor, closed_port

MAX_DAYS = 31
MAX_LEGS = 4
_WEB = "WebSocket"
_MODES = ("RawSocket", _WEB)


@dataclass(frozen=True)
class Call:
    """One call that passed the front: `numbers` are the numeric path segments, `query` and `body` as they arrived."""

    numbers: tuple[str, ...]
    query: str
    body: bytes
    path: str
    now: float

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def needed(self, name: str) -> str:
        """One argument. Mistake 1004 if it is missing or empty."""
        if not self.arguments.get(name):
            raise Mistake(1004)
        return self.arguments[name]

    @cached_property
    def document(self) -> dict[str, object]:
        """The JSON body, whatever its Content-Type says: some clients label it as a form. Mistake 1002 if malformed."""
        try:
            document = json.loads(self.body)
        except ValueError:
            raise Mistake(1002) from None
        if not isinstance(document, dict):
            raise Mistake(1002)
        return document


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API. `rate` is None for calls that no limit covers; `places_order` marks what changes orders."""

    scope: str
    rate: str | None
    answer: Callable[[Call], bytes]
    places_order: bool = False


@lru_cache(maxsize=4096)
def shape(path: str) -> tuple[str, tuple[str, ...]]:
    """`/v1/symbols/8049/` as (`/v1/symbols/#`, ("8049",)). Mistake 1002 for a comma, as live."""
    if "," in path or "%2c" in path.lower():
        raise Mistake(1002)
    segments = path.removesuffix("/").split("/")
    numbers = [segment for segment in segments if segment.isascii() and segment.isdigit()]
    return "/".join("#" if segment in numbers else segment for segment in segments), tuple(numbers)


class Calls:
    """All calls of one simulated Questrade, over its one order book. `port_for` gives the ports of sockets."""

    def __init__(self, book: OrderBook, port_for: PortFor = closed_port) -> None:
        self._book = book
        self._port_for = port_for
        self._accounts = encoded(account.ACCOUNTS)
        self._positions = encoded(account.positions())
        self._balances = encoded(account.balances())
        self._symbol = {str(number): _symbols([number]) for number in market.SYMBOLS}
        self._quote = {str(number): _quotes([number]) for number in market.QUOTABLE}
        # shape of the path → method → route
        self.routes: dict[str, dict[str, Route]] = {
            **self._account_routes(),
            **self._market_routes(),
            **self._order_routes(),
        }

    def _account_routes(self) -> dict[str, dict[str, Route]]:
        def row(answer: Callable[[Call], bytes], rate: str | None = "account") -> dict[str, Route]:
            return {"GET": Route("read_acc", rate, answer)}

        owned = self._owned
        return {
            "/v1/time": row(lambda call: encoded({"time": moments.written(call.now)})),
            "/v1/accounts": row(lambda _: self._accounts),
            "/v1/accounts/#/positions": row(owned(lambda _: self._positions)),
            "/v1/accounts/#/balances": row(owned(lambda _: self._balances)),
            "/v1/accounts/#/executions": row(owned(self._executions)),
            "/v1/accounts/#/activities": row(owned(_activities), None),
            "/v1/notifications": row(lambda call: self._stream_port(call, NOTIFICATIONS), None),
        }

    def _market_routes(self) -> dict[str, dict[str, Route]]:
        def symbols(answer: Callable[[Call], bytes]) -> dict[str, Route]:
            return {"GET": Route("read_acc", "account", answer)}  # live, symbols count as account calls

        def data(method: str, answer: Callable[[Call], bytes], scope: str = "read_md") -> dict[str, Route]:
            return {method: Route(scope, "market", answer)}

        return {
            "/v1/symbols/#": symbols(lambda call: _ready(self._symbol, call.numbers[0])),
            "/v1/symbols": symbols(_symbols_by_query),
            "/v1/symbols/search": symbols(_symbols_search),
            "/v1/symbols/#/options": symbols(_symbol_options),
            "/v1/markets": data("GET", lambda call: encoded({"markets": market.markets(call.now)}), "read_acc"),
            "/v1/markets/quotes/#": data("GET", lambda call: _ready(self._quote, call.numbers[0])),
            "/v1/markets/quotes": data("GET", self._quotes_by_query),
            "/v1/markets/quotes/options": data("POST", self._quotes_options),
            "/v1/markets/quotes/strategies": data("POST", _quotes_strategies),
            "/v1/markets/candles/#": data("GET", _candles),
        }

    def _order_routes(self) -> dict[str, dict[str, Route]]:
        book, owned = self._book, self._owned

        def change(answer: Callable[[Call], orders.Record]) -> Route:
            return Route("trade", None, owned(lambda call: encoded(answer(call))), places_order=True)

        def estimate(answer: Callable[[Call], orders.Record]) -> dict[str, Route]:
            return {"POST": Route("trade", None, owned(lambda call: encoded(answer(call))))}

        read = {"list": self._orders, "one": lambda call: encoded({"orders": [book.get(_order_id(call))]})}
        one = "/v1/accounts/#/orders"
        return {
            one: {
                "GET": Route("read_acc", "account", owned(read["list"])),
                "POST": change(lambda call: book.place(call.document, call.now)),
            },
            f"{one}/#": {
                "GET": Route("read_acc", "account", owned(read["one"])),
                "POST": change(lambda call: book.replace(_order_id(call), call.document, call.now)),
                "DELETE": change(lambda call: book.cancel(_order_id(call), call.now)),
            },
            f"{one}/bracket": {"POST": change(lambda call: book.bracket(call.document, call.now))},
            f"{one}/strategy": {"POST": change(lambda call: book.strategy(call.document, call.now))},
            f"{one}/impact": estimate(lambda call: orders.impact(call.document)),
            f"{one}/#/impact": estimate(lambda call: orders.replace_impact(call.document, book.get(_order_id(call)))),
            f"{one}/bracket/impact": estimate(lambda call: orders.bracket_impact(call.document)),
            f"{one}/strategy/impact": estimate(lambda call: orders.strategy_impact(call.document)),
        }

    def _owned(self, answer: Callable[[Call], bytes]) -> Callable[[Call], bytes]:
        """`answer`, for calls whose first number is an account of ours."""

        def checked(call: Call) -> bytes:
            if call.numbers[0] != account.NUMBER:
                raise Mistake(1018)
            return answer(call)

        return checked

    def _quotes_by_query(self, call: Call) -> bytes:
        numbers = _ids(call.needed("ids"))
        if call.arguments.get("stream") != "true":
            return _quotes(numbers)
        first = [market.quote(market.find(number, market.QUOTABLE)) for number in numbers]
        return self._stream_port(call, QUOTES, numbers, first)

    def _quotes_options(self, call: Call) -> bytes:
        if call.document.get("stream") is not True:
            return _quotes_options(call)
        ids = call.document.get("optionIds") or []
        if not isinstance(ids, list) or not all(type(number) is int for number in ids):
            raise Mistake(1002)
        market.options_by_id(ids)
        return self._stream_port(call, QUOTES, ids)

    def _stream_port(
        self, call: Call, kind: str, ids: Sequence[int] = (), quotes: list[dict[str, object]] | None = None
    ) -> bytes:
        """The port of a stream. Nothing listens on those of raw sockets."""
        mode = call.arguments.get("mode", str(_mode_of(call.body)))
        if mode not in _MODES:
            raise Mistake(1002)
        asked = f"{call.path}?{call.query} {call.body.decode(errors='replace')}"
        port = (self._port_for if mode == _WEB else closed_port)(kind, asked, ids)
        return encoded({"streamPort": port} | ({} if quotes is None else {"quotes": quotes}))

    def _executions(self, call: Call) -> bytes:
        return encoded({"executions": self._book.executions(*moments.span(call.arguments, call.now))})

    def _orders(self, call: Call) -> bytes:
        if call.arguments.get("ids"):
            return encoded({"orders": [self._book.get(number) for number in _ids(call.arguments["ids"])]})
        state = call.arguments.get("stateFilter", "All")
        return encoded({"orders": self._book.between(*moments.span(call.arguments, call.now), state)})


def _order_id(call: Call) -> int:
    return int(call.numbers[1])


def _ready(bodies: dict[str, bytes], number: str) -> bytes:
    if number not in bodies:
        raise Mistake(1019)
    return bodies[number]


def _ids(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise Mistake(1002)
    return [int(part) for part in parts]


def _activities(call: Call) -> bytes:
    start, end = moments.span({name: call.needed(name) for name in ("startTime", "endTime")}, call.now)
    if end - start > MAX_DAYS * moments.DAY:
        raise Mistake(1003)
    return encoded(account.activities(start, end))


def _symbols(numbers: list[int]) -> bytes:
    return encoded({"symbols": [market.record(market.find(number)) for number in numbers]})


def _quotes(numbers: list[int]) -> bytes:
    return encoded({"quotes": [market.quote(market.find(number, market.QUOTABLE)) for number in numbers]})


def _symbols_by_query(call: Call) -> bytes:
    ids, names = call.arguments.get("ids"), call.arguments.get("names")
    if ids and names:
        raise Mistake(1002)
    if names:
        found = [market.BY_NAME[name] for name in names.split(",") if name in market.BY_NAME]
        return _symbols([symbol.id for symbol in found])
    return _symbols(_ids(call.needed("ids")))


def _symbols_search(call: Call) -> bytes:
    offset = call.arguments.get("offset", "0")
    if not (offset.isascii() and offset.isdigit()):
        raise Mistake(1002)
    return encoded({"symbols": market.search(call.needed("prefix"), int(offset))})


def _symbol_options(call: Call) -> bytes:
    return encoded({"optionChain": market.option_chain(market.find(int(call.numbers[0])))})


def _candles(call: Call) -> bytes:
    start, end = moments.span({name: call.needed(name) for name in ("startTime", "endTime")}, call.now)
    symbol = market.find(int(call.numbers[0]))
    return encoded({"candles": market.candles(symbol, start, end, call.needed("interval"))})


def _quotes_options(call: Call) -> bytes:
    ids, filters = call.document.get("optionIds") or [], call.document.get("filters") or []
    if not isinstance(ids, list) or not isinstance(filters, list) or not all(type(number) is int for number in ids):
        raise Mistake(1002)
    if not ids and not filters:
        raise Mistake(1004)
    found = market.options_by_id(ids)
    for each in filters:
        found += _filtered(each)
    return encoded({"optionQuotes": found})


def _filtered(each: object) -> list[dict[str, object]]:
    if not isinstance(each, dict):
        raise Mistake(1002)
    underlying, expiry = each.get("underlyingId"), each.get("expiryDate")
    if underlying is None or expiry is None:
        raise Mistake(1004)
    lowest, highest = each.get("minstrikePrice") or 0, each.get("maxstrikePrice") or float("inf")
    typed = type(underlying) is int and isinstance(expiry, str) and isinstance(each.get("optionType"), str | None)
    if not typed or not all(isinstance(price, int | float) for price in (lowest, highest)):
        raise Mistake(1002)
    market.find(underlying)
    return market.options_by_filter(underlying, expiry, each.get("optionType"), lowest, highest)


def _quotes_strategies(call: Call) -> bytes:
    variants = call.document.get("variants")
    if not variants:
        raise Mistake(1004)
    if not isinstance(variants, list):
        raise Mistake(1002)
    return encoded({"strategyQuotes": [_strategy_quote(variant) for variant in variants]})


def _strategy_quote(variant: object) -> dict[str, object]:
    legs = variant.get("legs") if isinstance(variant, dict) else None
    if not isinstance(legs, list) or not 1 <= len(legs) <= MAX_LEGS or not isinstance(legs[0], dict):
        raise Mistake(1002)
    number = legs[0].get("symbolId")
    if type(number) is not int:
        raise Mistake(1002)
    symbol = market.find(number)
    return {
        "variantId": variant.get("variantId") if isinstance(variant, dict) else None,
        "bidPrice": symbol.bid,
        "askPrice": symbol.ask,
        "underlying": symbol.name,
        "underlyingId": symbol.id,
        "openPrice": None,
        "volatility": 0,
        "delta": 1,
        "gamma": 0,
        "theta": 0,
        "vega": 0,
        "rho": 0,
        "isRealTime": True,
    }


def _mode_of(body: bytes) -> object:
    """The mode that a JSON body names; without one it is a raw socket."""
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return None
    return document.get("mode", _MODES[0]) if isinstance(document, dict) else None
