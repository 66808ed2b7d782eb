"""Articles, screeners and corporate actions of the Market Data API."""

import datetime as dt

from proxy.simulator.alpaca import assets, market, moments
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused
from proxy.simulator.alpaca.routes import Call

Record = dict[str, object]

_ARTICLES = 60
_CUSIP = "037833100"


def articles(call: Call) -> Record:
    """`GET /v1beta1/news`: one article an hour, newest first; the page token is the number of the next one."""
    limit = call.number("limit", 10, 50)
    start = call.number("page_token", 0, _ARTICLES, least=0)
    wanted = call.listed("symbols")
    found = [_article(number, call.now) for number in range(_ARTICLES)]
    if wanted:
        found = [each for each in found if {str(symbol) for symbol in _symbols(each)} & set(wanted)]
    end = start + limit
    return {"news": found[start:end], "next_page_token": str(end) if end < len(found) else None}


def most_actives(call: Call) -> Record:
    top = call.number("top", 10, 100)
    rows = [
        {"symbol": asset.symbol, "volume": 90_000_000 - 1_000_000 * number, "trade_count": 700_000 - 10_000 * number}
        for number, asset in enumerate(_stocks())
    ]
    return {"most_actives": rows[:top], "last_updated": market.stamp(call.now)}


def movers(call: Call) -> Record:
    kind = call.captures["market_type"]
    if kind not in ("stocks", "crypto"):
        raise Refused(BAD_REQUEST, "invalid market type")
    top = call.number("top", 10, 50)
    found = [asset for asset in assets.ASSETS if asset.crypto == (kind == "crypto")]

    def rows(sign: int) -> list[Record]:
        return [
            {"symbol": asset.symbol, "percent_change": sign * 2.5, "change": sign * 1.25, "price": asset.price}
            for asset in found[:top]
        ]

    return {"gainers": rows(1), "losers": rows(-1), "market_type": kind, "last_updated": market.stamp(call.now)}


def corporate_actions(call: Call) -> Record:
    """One of each kind that a client parses, or of the kinds in `types`."""
    wanted = call.listed("types")
    every = _actions(moments.day(call.now))
    kinds = {kind: rows for kind, rows in every.items() if not wanted or kind.removesuffix("s") in wanted}
    return {"corporate_actions": kinds, "next_page_token": None}


def corporate_action_event(number: int, call: Call) -> Record:
    """One event of the stream of corporate actions."""
    return {"action": "create", "number": number, **_actions(moments.day(call.now))["cash_dividends"][0]}


def _stocks() -> list[assets.Asset]:
    return [asset for asset in assets.ASSETS if asset.kind == "us_equity"]


def _symbols(article: Record) -> list[object]:
    symbols = article["symbols"]
    return symbols if isinstance(symbols, list) else []


def _article(number: int, now: float) -> Record:
    moment = market.stamp(now - now % 3600 - number * 3600)
    symbol = assets.ASSETS[number % len(assets.ASSETS)].plain
    return {
        "id": 24_843_171 + number,
        "headline": f"A simulated headline about {symbol}",
        "author": "Sam Simulator",
        "created_at": moment,
        "updated_at": moment,
        "summary": "",
        "content": "",
        "url": f"https://www.benzinga.com/news/{24_843_171 + number}",
        "images": [{"size": "thumb", "url": "https://cdn.benzinga.com/thumb.png"}],
        "symbols": [symbol],
        "source": "benzinga",
    }


def _actions(day: dt.date) -> dict[str, list[Record]]:
    date = day.isoformat()
    ex: Record = {"process_date": date, "ex_date": date, "record_date": date, "payable_date": date}
    effective: Record = {"process_date": date, "effective_date": date, "payable_date": date}
    own: Record = {"symbol": "AAPL", "cusip": _CUSIP}
    target: Record = {"acquiree_symbol": "TSLA", "acquiree_cusip": "88160R101"}
    buyer: Record = {"acquirer_symbol": "AAPL", "acquirer_cusip": _CUSIP}
    source: Record = {"source_symbol": "AAPL", "source_cusip": _CUSIP, "new_symbol": "NEW", "new_cusip": "999999101"}
    named: Record = {"old_symbol": "OLD", "old_cusip": "888888101", "new_symbol": "NEW", "new_cusip": "999999101"}
    kinds: dict[str, Record] = {
        "cash_dividends": {**own, **ex, "rate": 0.24, "special": False, "foreign": False},
        "forward_splits": {**own, **ex, "new_rate": 4, "old_rate": 1},
        "reverse_splits": {**ex, "symbol": "AAPL", "old_cusip": _CUSIP, "new_cusip": _CUSIP, "new_rate": 1,
                           "old_rate": 4},
        "unit_splits": {**named, **effective, "old_rate": 1, "new_rate": 1, "alternate_rate": 1,
                        "alternate_symbol": "ALT", "alternate_cusip": "777777101"},
        "stock_dividends": {**own, **ex, "rate": 0.05},
        "spin_offs": {**source, **ex, "source_rate": 1, "new_rate": 0.25},
        "cash_mergers": {**target, **effective, "rate": 54.2},
        "stock_mergers": {**target, **buyer, **effective, "acquirer_rate": 0.5, "acquiree_rate": 1},
        "stock_and_cash_mergers": {**target, **buyer, **effective, "acquirer_rate": 0.5, "acquiree_rate": 1,
                                   "cash_rate": 10},
        "redemptions": {**own, "rate": 10.1, "process_date": date, "payable_date": date},
        "name_changes": {**named, "process_date": date},
        "worthless_removals": {**own, "process_date": date},
        "rights_distributions": {**source, **ex, "rate": 1, "expiration_date": date},
    }  # fmt: skip
    return {kind: [{"id": assets.identifier(kind), **record}] for kind, record in kinds.items()}
