"""The calls of the Market Data API."""

import base64
import binascii
import itertools
from collections.abc import Callable, Iterable, Iterator

from proxy.simulator.alpaca import assets, events, market, moments, news
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused, Reply, missing
from proxy.simulator.alpaca.assets import Asset
from proxy.simulator.alpaca.routes import Call, Handler, Route, Routes

DATA = "data"
Record = dict[str, object]
_Point = Callable[[Asset, float], Record]

_POINTS: dict[str, _Point] = {
    "bars": market.bar,
    "quotes": market.quote,
    "trades": market.trade,
    "orderbooks": market.orderbook,
    "snapshots": market.snapshot,
}
_MINUTE = market.Frame(1, "Min")
_MAX = 10_000
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
_EXCHANGES = {"V": "IEX", "Q": "NASDAQ", "N": "New York Stock Exchange", "P": "NYSE Arca"}
_CONDITIONS = {"@": "Regular Sale", "R": "Regular Two Sided Open"}


def routes() -> Routes:
    """All calls of the data host."""
    return Routes([*_stocks(), *_crypto(), *_options(), *_others()])


def streamed() -> Routes:
    """The calls of the streams' host that are no WebSockets."""
    return Routes([_get("/v1beta1/events/corporate-actions", events.stream(news.corporate_action_event, named=True))])


def _stocks() -> Iterator[tuple[str, Route]]:
    base = "/v2/stocks"
    for what, point in _POINTS.items():
        if what not in ("orderbooks", "snapshots"):
            yield _get(f"{base}/{what}", series(what, point))
            yield _get(f"{base}/{{symbol}}/{what}", single(what, point))
            yield _get(f"{base}/{what}/latest", latest(what, point))
            yield _get(f"{base}/{{symbol}}/{what}/latest", latest_single(what, point))
    yield _get(f"{base}/snapshots", lambda call: _newest(call, market.snapshot))
    yield _get(f"{base}/{{symbol}}/snapshot", _snapshot)
    yield _get(f"{base}/auctions", series("auctions", _auction))
    yield _get(f"{base}/{{symbol}}/auctions", single("auctions", _auction))
    yield _get(f"{base}/meta/conditions/{{ticktype}}", lambda _: _CONDITIONS)
    yield _get(f"{base}/meta/exchanges", lambda _: _EXCHANGES)


def _crypto() -> Iterator[tuple[str, Route]]:
    base = "/v1beta3/crypto/{loc}"
    for what, point in _POINTS.items():
        if what not in ("orderbooks", "snapshots"):
            yield _open(f"{base}/{what}", series(what, point))
        if what != "snapshots":
            yield _open(f"{base}/latest/{what}", latest(what, point))
    yield _open(f"{base}/snapshots", latest("snapshots", market.snapshot))
    base = "/v1beta1/crypto-perps/{loc}/latest"
    for what in ("bars", "orderbooks", "quotes", "trades"):
        yield _open(f"{base}/{what}", latest(what, _POINTS[what]))
    yield _open(f"{base}/pricing", latest("pricing", lambda asset, at: {"t": market.stamp(at), "mp": asset.price}))


def _options() -> Iterator[tuple[str, Route]]:
    base = "/v1beta1/options"
    yield _get(f"{base}/bars", series("bars", market.bar))
    yield _get(f"{base}/trades", series("trades", _option_trade))
    yield _get(f"{base}/trades/latest", latest("trades", _option_trade))
    yield _get(f"{base}/quotes/latest", latest("quotes", market.quote))
    yield _get(f"{base}/snapshots", _option_snapshots)
    yield _get(f"{base}/snapshots/{{underlying_symbol}}", _option_chain)
    yield _get(f"{base}/meta/conditions/{{ticktype}}", lambda _: _CONDITIONS)
    yield _get(f"{base}/meta/exchanges", lambda _: _EXCHANGES)


def _others() -> Iterator[tuple[str, Route]]:
    rows: dict[str, Handler] = {
        "/v1/corporate-actions": news.corporate_actions,
        "/v1beta1/corporate-actions": news.corporate_actions,  # where an older client asks
        "/v1beta1/fixed_income/latest/prices": lambda call: {"prices": _by_name(call, "isins", {"p": 99.5})},
        "/v1beta1/fixed_income/latest/quotes": lambda call: {
            "quotes": _by_name(call, "isins", {"ap": 99.6, "bp": 99.4})
        },
        "/v1beta1/forex/latest/rates": lambda call: {"rates": _by_name(call, "currency_pairs", {"mp": 1.36})},
        "/v1beta1/forex/rates": lambda call: {
            "rates": {pair: [rate] for pair, rate in _by_name(call, "currency_pairs", {"mp": 1.36}).items()},
            "next_page_token": None,
        },
        "/v1beta1/indices/latest/values": lambda call: {"values": _by_name(call, "symbols", {"v": 5_700.5})},
        "/v1beta1/indices/values": lambda call: {
            "values": {name: [value] for name, value in _by_name(call, "symbols", {"v": 5_700.5}).items()},
            "next_page_token": None,
        },
        "/v1beta1/logos/{symbol}": _logo,
        "/v1beta1/news": news.articles,
        "/v1beta1/screener/stocks/most-actives": news.most_actives,
        "/v1beta1/screener/{market_type}/movers": news.movers,
    }
    for path, answer in rows.items():
        yield _get(path, answer)


def _get(path: str, answer: Handler) -> tuple[str, Route]:
    return "GET", Route(path, DATA, answer)


def _open(path: str, answer: Handler) -> tuple[str, Route]:
    """A call that needs no credential."""
    return "GET", Route(path, DATA, answer, public=True)


def series(what: str, point: _Point) -> Handler:
    """Points of a span for several symbols, page after page: one symbol after the other."""

    def answer(call: Call) -> Record:
        found, token = _page(call, _named(call), point)
        return {what: found, "next_page_token": token}

    return answer


def single(what: str, point: _Point) -> Handler:
    """The same for the symbol in the path."""

    def answer(call: Call) -> Record:
        asset = assets.find(call.captures["symbol"], call.now)
        found, token = _page(call, [asset], point)
        return {"symbol": asset.symbol, what: found.get(asset.symbol, []), "next_page_token": token}

    return answer


def latest(what: str, point: _Point) -> Handler:
    """The newest point of each symbol."""
    return lambda call: {what: _newest(call, point)}


def latest_single(what: str, point: _Point) -> Handler:
    """The newest point of the symbol in the path, under a name for one."""

    def answer(call: Call) -> Record:
        asset = assets.find(call.captures["symbol"], call.now)
        return {"symbol": asset.symbol, what.removesuffix("s"): point(asset, call.now)}

    return answer


def _page(call: Call, wanted: list[Asset], point: _Point) -> tuple[dict[str, list[Record]], str | None]:
    limit = call.number("limit", 1000, _MAX)
    backwards = call.arguments.get("sort") == "desc"
    points = _from_token(_moments(call, wanted, backwards=backwards), call.arguments.get("page_token"))
    page = list(itertools.islice(points, limit + 1))
    found: dict[str, list[Record]] = {}
    for asset, moment in page[:limit]:
        found.setdefault(asset.symbol, []).append(point(asset, moment))
    token = _token(*page[limit]) if len(page) > limit else None
    return found, token


def _moments(call: Call, wanted: list[Asset], *, backwards: bool) -> Iterator[tuple[Asset, float]]:
    bars = call.arguments.get("timeframe")
    step = market.frame(bars) if bars else _MINUTE
    end = moments.read(call.arguments["end"]) if call.arguments.get("end") else call.now
    start = call.arguments.get("start")
    # Without a start it is the beginning of the day, as documented.
    begin = moments.read(start) if start else call.now - call.now % moments.DAY
    for asset in wanted:
        for moment in market.openings(asset, step, begin, min(end, call.now), backwards=backwards):
            yield asset, moment


def _token(asset: Asset, moment: float) -> str:
    return base64.b64encode(f"{asset.symbol}|{moment}".encode()).decode()


def _from_token(points: Iterable[tuple[Asset, float]], token: str | None) -> Iterator[tuple[Asset, float]]:
    """The points from the one that the token names."""
    if not token:
        return iter(points)
    try:
        symbol, _, moment = base64.b64decode(token, validate=True).decode().partition("|")
        at = float(moment)
    except (ValueError, binascii.Error):
        raise Refused(BAD_REQUEST, "invalid page_token") from None
    return itertools.dropwhile(lambda each: each[0].symbol != symbol or each[1] != at, points)


def _named(call: Call) -> list[Asset]:
    """The assets of `symbols`; unknown ones are left out, as live."""
    call.needed("symbols")
    found = []
    for symbol in call.listed("symbols"):
        try:
            found.append(assets.find(symbol, call.now))
        except Refused:
            continue
    return found


def _newest(call: Call, point: _Point) -> dict[str, Record]:
    return {asset.symbol: point(asset, call.now) for asset in _named(call)}


def _by_name(call: Call, name: str, record: Record) -> dict[str, Record]:
    call.needed(name)
    return {each: {**record, "t": market.stamp(call.now)} for each in call.listed(name)}


def _snapshot(call: Call) -> Record:
    asset = assets.find(call.captures["symbol"], call.now)
    return {"symbol": asset.symbol, **market.snapshot(asset, call.now)}


def _auction(asset: Asset, moment: float) -> Record:
    one = [{"t": market.stamp(moment), "x": "P", "p": asset.price, "c": "O"}]
    return {"d": moments.day(moment).isoformat(), "o": one, "c": one}


def _option_trade(asset: Asset, moment: float) -> Record:
    return {"t": market.stamp(moment), "p": asset.price, "s": 2, "x": "N", "c": "I"}


def _option_snapshot(asset: Asset, moment: float) -> Record:
    greeks = {"delta": 0.52, "gamma": 0.03, "rho": 0.08, "theta": -0.09, "vega": 0.2}
    quote = {**market.quote(asset, moment), "c": "A"}
    trade = _option_trade(asset, moment)
    return {"latestTrade": trade, "latestQuote": quote, "impliedVolatility": 0.24, "greeks": greeks}


def _option_snapshots(call: Call) -> Record:
    return {"snapshots": _newest(call, _option_snapshot), "next_page_token": None}


def _option_chain(call: Call) -> Record:
    chain = [
        each for each in assets.contracts(call.now) if each.underlying.symbol == call.captures["underlying_symbol"]
    ]
    if not chain:
        raise missing("underlying symbol")
    return {
        "snapshots": {each.symbol: _option_snapshot(each.asset(), call.now) for each in chain},
        "next_page_token": None,
    }


def _logo(call: Call) -> Reply:
    """A picture of one pixel for every stock."""
    assets.find(call.captures["symbol"], call.now)
    return Reply(_PIXEL, headers={"Content-Type": "image/png"})
