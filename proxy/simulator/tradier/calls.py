"""All calls: which path is which, what scope and rate bucket it has, what it answers."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, unquote

from proxy.simulator.tradier import account, market, moments, options_market
from proxy.simulator.tradier.answers import Mistake, several
from proxy.simulator.tradier.options import Options
from proxy.simulator.tradier.orders import OrderBook
from proxy.simulator.tradier.sessions import ACCOUNTS, MARKETS, Sessions
from proxy.simulator.tradier.watchlists import Watchlists

Record = dict[str, object]
_PAGE = 25
_MOST = 1_000_000
_YEARS, _MONTHS = range(1900, 9999), range(1, 13)


@dataclass(frozen=True)
class Call:
    """One call that passed the front. `parts` are the variable parts of its path, in order."""

    parts: tuple[str, ...]
    query: str
    body: bytes
    now: float

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The query, and the form over it: some clients put the fields of an order into the query of a POST."""
        text = self.body.decode("utf-8", "replace")
        return dict(parse_qsl(self.query, keep_blank_values=True)) | dict(parse_qsl(text, keep_blank_values=True))

    @property
    def today(self) -> dt.date:
        """The day in New York."""
        return moments.eastern(self.now).date()

    def needed(self, name: str) -> str:
        """One argument. Mistake if it is missing or empty."""
        if not self.fields.get(name):
            raise Mistake(f"Invalid parameter, {name}: is required")
        return self.fields[name]

    def flag(self, name: str) -> bool:
        return self.fields.get(name, "").lower() == "true"

    def number(self, name: str, default: int) -> int:
        """A whole number from 1 up. Mistake if it is something else."""
        text = self.fields.get(name, str(default))
        if not (text.isascii() and text.isdigit() and 0 < int(text) < _MOST):
            raise Mistake(f"Invalid parameter, {name}: not a number from 1 up")
        return int(text)

    @property
    def page(self) -> tuple[int, int]:
        return self.number("page", 1), self.number("limit", _PAGE)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API. `places_order` marks what places, changes or cancels."""

    scope: str
    bucket: str
    answer: Callable[[Call], object]
    places_order: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """A path template with its methods."""

    template: str
    pattern: re.Pattern[str] = field(repr=False)
    methods: dict[str, Route] = field(default_factory=dict, repr=False)


class Calls:
    """All calls of one simulated Tradier. `stream_url` is the host where session answers lead, without a slash."""

    def __init__(self, book: OrderBook, options: Options) -> None:
        self._book = book
        self._options = options
        self._watchlists = Watchlists()
        self._rows: dict[str, _Row] = {}
        self.sessions = Sessions(options.now)
        self.stream_url = ""
        self._account_calls()
        self._order_calls()
        self._market_calls()
        self._watchlist_calls()
        self._session_calls()

    @property
    def templates(self) -> set[tuple[str, str, str]]:
        """Every call as (method, path template, scope)."""
        return {(method, row.template, r.scope) for row in self._rows.values() for method, r in row.methods.items()}

    def find(self, path: str) -> tuple[Mapping[str, Route], tuple[str, ...]] | None:
        """The methods of a raw path, and its variable parts; None if there is no such path."""
        for row in self._rows.values():
            match = row.pattern.fullmatch(path)
            if match is not None:
                return row.methods, match.groups()
        return None

    def _add(self, method: str, template: str, route: Route) -> None:
        if template not in self._rows:
            pattern = re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(template))
            self._rows[template] = _Row(template, re.compile(pattern))
        self._rows[template].methods[method] = route

    def _read(self, path: str, answer: Callable[[Call], object]) -> None:
        self._add("GET", path, Route("read", "standard", answer))

    def _account_calls(self) -> None:
        read, owned = self._read, _owned
        each: dict[str, Callable[[Call], Record]] = {
            "balances": lambda _: account.balances(),
            "positions": lambda _: account.positions(self._options.positions),
            "history": lambda call: account.history(*call.page),
            "gainloss": lambda call: account.gain_loss(*call.page),
        }
        read("/v1/user/profile", lambda _: account.PROFILE)
        for name, answer in each.items():
            read(f"/v1/accounts/{{account_id}}/{name}", owned(answer))
        # Seen in old fixtures of a public client only; not in the documentation any more.
        each["orders"] = self._orders
        for name, answer in each.items():
            read(f"/v1/user/{name}", _by_user(answer))

    def _order_calls(self) -> None:
        book, one = self._book, "/v1/accounts/{account_id}/orders/{order_id}"
        every = "/v1/accounts/{account_id}/orders"

        def change(method: str, path: str, answer: Callable[[Call], Record]) -> None:
            self._add(method, path, Route("trade", "trading", _owned(answer), places_order=True))

        self._read(every, _owned(self._orders))
        self._read(one, _owned(lambda call: book.get(_order_id(call), tags=call.flag("includeTags"))))
        change("POST", every, lambda call: book.place(call.fields, call.now))
        change("PUT", one, lambda call: book.change(_order_id(call), call.fields, call.now))
        change("DELETE", one, lambda call: book.cancel(_order_id(call), call.now))

    def _market_calls(self) -> None:
        def data(path: str, answer: Callable[[Call], object], method: str = "GET") -> None:
            self._add(method, path, Route("market", "market", answer))

        data("/v1/markets/quotes", _quotes)
        data("/v1/markets/quotes", _quotes, "POST")
        data("/v1/markets/options/chains", _chains)
        data("/v1/markets/options/strikes", _strikes)
        data("/v1/markets/options/expirations", _expirations)
        data("/v1/markets/options/lookup", _option_lookup)
        data("/v1/markets/history", _history)
        data("/v1/markets/timesales", _timesales)
        data("/v1/markets/etb", lambda _: market.securities(market.STOCKS.values()))
        data("/v1/markets/clock", lambda call: market.clock(call.now))
        data("/v1/markets/calendar", _calendar)
        data("/v1/markets/search", lambda call: market.search(call.needed("q")))
        data("/v1/markets/lookup", lambda call: market.search(call.fields.get("q", "")))
        for kind in ("company", "calendars", "dividends", "corporate_actions", "ratios", "financials", "statistics"):
            data(f"/beta/markets/fundamentals/{kind}", _fundamentals(kind))

    def _watchlist_calls(self) -> None:
        lists, one = self._watchlists, "/v1/watchlists/{watchlist_id}"

        def write(method: str, path: str, answer: Callable[[Call], Record]) -> None:
            self._add(method, path, Route("write", "standard", answer))

        self._read("/v1/watchlists", lambda _: lists.all())
        self._read(one, lambda call: lists.get(*call.parts))
        write("POST", "/v1/watchlists", lambda call: lists.create(call.fields.get("name"), call.fields.get("symbols")))
        write("PUT", one, lambda call: lists.update(call.parts[0], call.fields.get("name"), call.fields.get("symbols")))
        write("DELETE", one, lambda call: lists.delete(*call.parts))
        write("POST", f"{one}/symbols", lambda call: lists.add(call.parts[0], call.needed("symbols")))
        write("DELETE", f"{one}/symbols/{{symbol}}", lambda call: lists.remove(call.parts[0], unquote(call.parts[1])))

    def _session_calls(self) -> None:
        def session(kind: str) -> Callable[[Call], Record]:
            # Where the stream of an account is, that answer says; in what form is not known.
            return lambda _: {
                "stream": {"url": f"{self.stream_url}/v1/{kind}/events", "sessionid": self.sessions.create(kind)}
            }

        self._add("POST", "/v1/markets/events/session", Route("stream", "market", session(MARKETS)))
        self._add("POST", "/v1/accounts/events/session", Route("stream", "standard", session(ACCOUNTS)))

    def _orders(self, call: Call) -> Record:
        return self._book.listed(*call.page, tags=call.flag("includeTags"))


def _owned(answer: Callable[[Call], Record]) -> Callable[[Call], Record]:
    """`answer`, for calls whose first part is an account of ours."""

    def checked(call: Call) -> Record:
        if call.parts[0] != account.NUMBER:
            raise Mistake("Invalid parameter, account: unknown")  # its real answer is not known
        return answer(call)

    return checked


def _by_user(answer: Callable[[Call], Record]) -> Callable[[Call], Record]:
    return lambda call: account.by_user(answer(call))


def _order_id(call: Call) -> int:
    text = call.parts[1]
    if not (text.isascii() and text.isdigit()):
        raise Mistake("Invalid parameter, id: not a number")
    return int(text)


def _quotes(call: Call) -> Record:
    return market.quotes(call.needed("symbols"), greeks=call.flag("greeks"), now=call.now)


def _contracts(call: Call) -> list[options_market.Contract]:
    """Those of one expiration; none if there are none."""
    stock = market.STOCKS.get(call.needed("symbol").upper())
    day = moments.read(call.needed("expiration"), "expiration")
    if stock is None or day not in moments.expirations(call.today):
        return []
    return options_market.chain(stock.symbol, stock.last, day)


def _chains(call: Call) -> Record:
    greeks = call.flag("greeks")
    found: list[object] = [options_market.quote(each, call.now, greeks=greeks) for each in _contracts(call)]
    return several("options", "option", found) if found else {"options": None}


def _strikes(call: Call) -> Record:
    found: list[object] = list(dict.fromkeys(each.strike for each in _contracts(call)))
    return several("strikes", "strike", found) if found else {"strikes": None}


def _expirations(call: Call) -> Record:
    stock = market.STOCKS.get(call.needed("symbol").upper())
    if stock is None:
        return {"expirations": None}
    days = moments.expirations(call.today)
    if not any(call.flag(name) for name in ("strikes", "contractSize", "expirationType")):
        return {"expirations": {"date": [day.isoformat() for day in days]}}
    strikes = options_market.strikes(stock.last)
    return {
        "expirations": {
            "expiration": [
                {
                    "date": day.isoformat(),
                    "contract_size": 100,
                    "expiration_type": "weeklys",
                    "strikes": {"strike": strikes},
                }
                for day in days
            ]
        }
    }


def _option_lookup(call: Call) -> Record:
    stock = market.STOCKS.get(call.needed("underlying").upper())
    if stock is None:
        return {"symbols": None}
    contracts = options_market.all_of(stock.symbol, stock.last, call.today)
    return {"symbols": [{"rootSymbol": stock.symbol, "options": [each.symbol for each in contracts]}]}


def _history(call: Call) -> Record:
    last = moments.read(call.fields["end"], "end") if call.fields.get("end") else call.today
    year_before = last - dt.timedelta(days=365)
    first = moments.read(call.fields["start"], "start") if call.fields.get("start") else year_before
    return market.history(call.needed("symbol"), first, last)


def _timesales(call: Call) -> Record:
    latest = moments.trading_days(call.today - dt.timedelta(days=6), call.today)[-1]
    day = moments.read(call.fields["start"], "start") if call.fields.get("start") else latest
    return market.timesales(call.needed("symbol"), call.fields.get("interval") or "1min", day)


def _calendar(call: Call) -> Record:
    year, month = call.number("year", call.today.year), call.number("month", call.today.month)
    if year not in _YEARS or month not in _MONTHS:
        raise Mistake("Invalid parameter, month: there is no such month")
    return market.calendar(year, month)


def _fundamentals(kind: str) -> Callable[[Call], object]:
    return lambda call: market.fundamentals(kind, call.needed("symbols"))
