"""What is traded here: a few stocks; quotes, days and minutes are made up from them, shaped as in Tradier's samples."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.simulator.tradier import moments, options_market
from proxy.simulator.tradier.answers import Mistake, several
from proxy.simulator.tradier.options_market import Contract

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Stock:
    """One stock or fund, in dollars."""

    symbol: str
    description: str
    exchange: str
    kind: str
    last: float

    @property
    def bid(self) -> float:
        return round(self.last - 0.02, 2)

    @property
    def ask(self) -> float:
        return round(self.last + 0.01, 2)


STOCKS = {
    stock.symbol: stock
    for stock in (
        Stock("AAPL", "Apple Inc", "Q", "stock", 208.21),
        Stock("AMZN", "Amazon.com Inc", "Q", "stock", 1950.55),
        Stock("F", "Ford Motor Co", "N", "stock", 10.42),
        Stock("GOOGL", "Alphabet Inc", "Q", "stock", 1193.46),
        Stock("MSFT", "Microsoft Corp", "Q", "stock", 128.15),
        Stock("SPY", "SPDR S&P 500", "P", "etf", 292.82),
        Stock("TSLA", "Tesla Inc", "Q", "stock", 255.34),
    )
}
_PRICES = {name: stock.last for name, stock in STOCKS.items()}
_DAY = (  # minute at which a state ends, the state, when and what comes next
    (570, "premarket", "09:30", "open"),
    (960, "open", "16:00", "postmarket"),
    (1200, "postmarket", "20:00", "closed"),
)
_INTERVALS = {"1min": 1, "5min": 5, "15min": 15, "tick": 1}


def find(symbol: str, today: dt.date) -> Stock | Contract | None:
    """A stock, or one of its options."""
    return STOCKS.get(symbol) or options_market.find(symbol, _PRICES, today)


def quotes(symbols: str, *, greeks: bool, now: float) -> Record:
    """`symbols` with commas between. What is unknown comes as `unmatched_symbols`."""
    today = moments.eastern(now).date()
    wanted = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    found = {name: find(name, today) for name in wanted}
    known: list[object] = [_quote(each, now, greeks=greeks) for each in found.values() if each is not None]
    unknown: list[object] = [name for name, each in found.items() if each is None]
    matched = several("quotes", "quote", known)["quotes"] if known else {}
    unmatched = several("unmatched_symbols", "symbol", unknown) if unknown else {}
    return {"quotes": {**(matched if isinstance(matched, dict) else {}), **unmatched} or "null"}


def _quote(each: Stock | Contract, now: float, *, greeks: bool) -> Record:
    if isinstance(each, Contract):
        return options_market.quote(each, now, greeks=greeks)
    moment = int(now * 1000)
    return {
        "symbol": each.symbol,
        "description": each.description,
        "exch": each.exchange,
        "type": each.kind,
        "last": each.last,
        "change": -3.75,
        "volume": 25_288_395,
        "open": round(each.last * 0.981, 2),
        "high": round(each.last * 1.002, 2),
        "low": round(each.last * 0.977, 2),
        "close": None,
        "bid": each.bid,
        "ask": each.ask,
        "change_percentage": -1.77,
        "average_volume": 27_215_269,
        "last_volume": 100,
        "trade_date": moment,
        "prevclose": round(each.last + 3.75, 2),
        "week_52_high": round(each.last * 1.12, 2),
        "week_52_low": round(each.last * 0.68, 2),
        "bidsize": 12,
        "bidexch": "Q",
        "bid_date": moment,
        "asksize": 1,
        "askexch": "Y",
        "ask_date": moment,
        "root_symbols": each.symbol,
    }


def history(symbol: str, first: dt.date, last: dt.date) -> Record:
    """One record a trading day; `{"history": null}` for an unknown symbol or no day."""
    stock = STOCKS.get(symbol.upper())
    days: list[object] = [] if stock is None else [_day(stock, day) for day in moments.trading_days(first, last)]
    return several("history", "day", days) if days else {"history": None}


def _day(stock: Stock, day: dt.date) -> Record:
    price = round(stock.last * (1 + day.toordinal() % 11 / 1000), 2)
    bars = {"open": price, "high": round(price * 1.01, 2), "low": round(price * 0.99, 2), "close": stock.last}
    return {"date": day.isoformat(), **bars, "volume": 25_000_000 + day.toordinal() % 1000}


def timesales(symbol: str, interval: str, day: dt.date) -> Record:
    """The first half hour of `day`, in steps of `interval`."""
    stock, step = STOCKS.get(symbol.upper()), _INTERVALS.get(interval)
    if step is None:
        raise Mistake("Invalid parameter, interval: unknown")
    if stock is None or not moments.is_trading_day(day):
        return {"series": None}
    opening = dt.datetime(day.year, day.month, day.day, 9, 30, tzinfo=moments.EASTERN)
    minutes = (opening + dt.timedelta(minutes=number) for number in range(0, 30, step))
    return {"series": {"data": [_minute(stock, minute) for minute in minutes]}}


def _minute(stock: Stock, minute: dt.datetime) -> Record:
    return {
        "time": minute.strftime("%Y-%m-%dT%H:%M:%S"),
        "timestamp": int(minute.timestamp()),
        "price": stock.last,
        "open": stock.bid,
        "high": stock.ask,
        "low": stock.bid,
        "close": stock.last,
        "volume": 2300,
        "vwap": stock.last,
    }


def securities(stocks: Iterable[Stock]) -> Record:
    found: list[object] = [
        {"symbol": each.symbol, "exchange": each.exchange, "type": each.kind, "description": each.description}
        for each in stocks
    ]
    return several("securities", "security", found) if found else {"securities": None}


def search(text: str) -> Record:
    """Stocks whose symbol begins with, or whose name contains, `text`."""
    wanted = text.lower()
    return securities(
        stock
        for stock in STOCKS.values()
        if stock.symbol.lower().startswith(wanted) or wanted in stock.description.lower()
    )


def clock(now: float) -> Record:
    """Open from 09:30 to 16:00 on trading days."""
    here = moments.eastern(now)
    minute = here.hour * 60 + here.minute
    state, change, then = next(
        ((state, change, then) for end, state, change, then in _DAY if minute < end and moments.is_trading_day(here)),
        ("closed", "07:00", "premarket"),
    )
    text = "Market is open from 09:30 to 16:00" if moments.is_trading_day(here) else "Market is closed"
    return {
        "clock": {
            "date": here.date().isoformat(),
            "description": text,
            "state": state,
            "timestamp": int(now),
            "next_change": change,
            "next_state": then,
        }
    }


def calendar(year: int, month: int) -> Record:
    """Every day of a month."""
    first = dt.date(year, month, 1)
    days = (first + dt.timedelta(days=number) for number in range(31))
    return {"calendar": {"month": month, "year": year, "days": {"day": [_date(d) for d in days if d.month == month]}}}


def _date(day: dt.date) -> Record:
    if not moments.is_trading_day(day):
        return {"date": day.isoformat(), "status": "closed", "description": "Market is closed"}
    return {
        "date": day.isoformat(),
        "status": "open",
        "description": "Market is open",
        "premarket": {"start": "07:00", "end": "09:24"},
        "open": {"start": "09:30", "end": "16:00"},
        "postmarket": {"start": "16:00", "end": "19:55"},
    }


def fundamentals(kind: str, symbols: str) -> list[object]:
    """The beta calls answer a list with one entry a symbol; `kind` is the last part of the path."""
    return [
        {
            "request": name,
            "type": "Symbol",
            "results": [{"type": "Company", "id": f"0C0000{number:04}", "tables": {kind: None}}],
        }
        for number, name in enumerate(name.strip().upper() for name in symbols.split(",") if name.strip())
    ]
