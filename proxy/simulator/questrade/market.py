"""What is traded here: a few symbols with made-up, unmoving prices, one option chain, bodies made once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from proxy.simulator.questrade import moments
from proxy.simulator.questrade.answers import Mistake

_EXPIRY = "2030-01-18T00:00:00.000000-05:00"
_LAST_TRADE = "2026-03-03T15:59:59.416000-05:00"
MAX_CANDLES = 2000

INTERVALS = {  # seconds
    "OneMinute": 60,
    "TwoMinutes": 120,
    "ThreeMinutes": 180,
    "FourMinutes": 240,
    "FiveMinutes": 300,
    "TenMinutes": 600,
    "FifteenMinutes": 900,
    "TwentyMinutes": 1200,
    "HalfHour": 1800,
    "OneHour": 3600,
    "TwoHours": 7200,
    "FourHours": 14_400,
    "OneDay": 86_400,
    "OneWeek": 604_800,
    "OneMonth": 2_592_000,
    "OneYear": 31_536_000,
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """One security. Prices are in `currency`."""

    id: int
    name: str
    description: str
    exchange: str
    currency: str
    price: float
    sector: str = "Technology"
    has_options: bool = False

    @property
    def bid(self) -> float:
        return round(self.price - 0.01, 2)

    @property
    def ask(self) -> float:
        return round(self.price + 0.01, 2)


SYMBOLS = {
    symbol.id: symbol
    for symbol in (
        Symbol(8049, "AAPL", "APPLE INC", "NASDAQ", "USD", 236.47, has_options=True),
        Symbol(27426, "MSFT", "MICROSOFT CORP", "NASDAQ", "USD", 412.9),
        Symbol(34659, "SHOP.TO", "SHOPIFY INC", "TSX", "CAD", 141.25),
        Symbol(38526, "TD.TO", "TORONTO DOMINION BANK", "TSX", "CAD", 83.1, sector="FinancialServices"),
        Symbol(5475155, "VFV.TO", "VANGUARD S&P 500 INDEX ETF", "TSX", "CAD", 152.3, sector="FinancialServices"),
    )
}
BY_NAME = {symbol.name: symbol for symbol in SYMBOLS.values()}

# option id → (underlying, strike, type)
_OPTIONS = {
    24753669: (SYMBOLS[8049], 230.0, "Call"),
    24753773: (SYMBOLS[8049], 230.0, "Put"),
    24753671: (SYMBOLS[8049], 240.0, "Call"),
    24753775: (SYMBOLS[8049], 240.0, "Put"),
}


def _as_symbol(number: int) -> Symbol:
    """An option as what quotes are made from."""
    under, strike, kind = _OPTIONS[number]
    price = round(max(under.price - strike if kind == "Call" else strike - under.price, 0) + 4.5, 2)
    name = f"{under.name}18Jan30{kind[0]}{strike:.2f}"
    return Symbol(number, name, f"{kind.upper()} {under.description}", "OPRA", under.currency, price)


# Plain quotes are for options, too: the npm client asks for those of its chain this way.
QUOTABLE = SYMBOLS | {number: _as_symbol(number) for number in _OPTIONS}


def find(symbol_id: int, among: Mapping[int, Symbol] = SYMBOLS) -> Symbol:
    """Mistake 1019 if there is no such symbol."""
    try:
        return among[symbol_id]
    except KeyError:
        raise Mistake(1019) from None


def record(symbol: Symbol) -> dict[str, object]:
    """As in `GET /v1/symbols/:id`."""
    return {
        "symbol": symbol.name,
        "symbolId": symbol.id,
        "prevDayClosePrice": round(symbol.price * 0.998, 2),
        "highPrice52": round(symbol.price * 1.1, 2),
        "lowPrice52": round(symbol.price * 0.7, 2),
        "averageVol3Months": 28_400_285,
        "averageVol20Days": 28_833_656,
        "outstandingShares": 4_519_180_000,
        "eps": 11.78,
        "pe": 19.53226,
        "dividend": 0.77,
        "yield": 1.33861,
        "exDate": "2026-02-06T00:00:00.000000-05:00",
        "marketCap": round(symbol.price * 4_519_180_000),
        "tradeUnit": 1,
        "optionType": None,
        "optionDurationType": None,
        "optionRoot": "",
        "optionContractDeliverables": {"underlyings": [], "cashInLieu": 0},
        "optionExerciseType": None,
        "listingExchange": symbol.exchange,
        "description": symbol.description,
        "securityType": "Stock",
        "optionExpiryDate": None,
        "dividendDate": "2026-02-12T00:00:00.000000-05:00",
        "optionStrikePrice": None,
        "isTradable": True,
        "isQuotable": True,
        "hasOptions": symbol.has_options,
        "currency": symbol.currency,
        "minTicks": [{"pivot": 0, "minTick": 0.0001}, {"pivot": 1, "minTick": 0.01}],
        "industrySector": symbol.sector,
        "industryGroup": "ComputerHardware",
        "industrySubgroup": "ConsumerElectronics",
    }


def search(prefix: str, offset: int) -> list[dict[str, object]]:
    """As in `GET /v1/symbols/search`: symbols that begin with `prefix`, from the offset-th on."""
    found = [symbol for name, symbol in sorted(BY_NAME.items()) if name.startswith(prefix.upper())]
    return [
        {
            "symbol": symbol.name,
            "symbolId": symbol.id,
            "description": symbol.description,
            "securityType": "Stock",
            "listingExchange": symbol.exchange,
            "isTradable": True,
            "isQuotable": True,
            "currency": symbol.currency,
        }
        for symbol in found[offset:]
    ]


def option_chain(symbol: Symbol) -> list[dict[str, object]]:
    """As in `GET /v1/symbols/:id/options`; empty for a symbol without options."""
    if not symbol.has_options:
        return []
    ids = {(strike, kind): number for number, (_, strike, kind) in _OPTIONS.items()}
    strikes = [
        {"strikePrice": strike, "callSymbolId": ids[strike, "Call"], "putSymbolId": ids[strike, "Put"]}
        for strike in sorted({strike for strike, _ in ids})
    ]
    return [
        {
            "expiryDate": _EXPIRY,
            "description": symbol.description,
            "listingExchange": "OPRA",
            "optionExerciseType": "American",
            "chainPerRoot": [{"optionRoot": symbol.name, "chainPerStrikePrice": strikes, "multiplier": 100}],
        }
    ]


def quote(symbol: Symbol) -> dict[str, object]:
    """As in `GET /v1/markets/quotes/:id`."""
    return {
        "symbol": symbol.name,
        "symbolId": symbol.id,
        "tier": "",
        "bidPrice": symbol.bid,
        "bidSize": 19,
        "askPrice": symbol.ask,
        "askSize": 1,
        "lastTradePriceTrHrs": symbol.price,
        "lastTradePrice": symbol.price,
        "lastTradeSize": 100,
        "lastTradeTick": "Up",
        "lastTradeTime": _LAST_TRADE,
        "volume": 24_413_484,
        "openPrice": round(symbol.price * 0.99, 2),
        "highPrice": round(symbol.price * 1.01, 2),
        "lowPrice": round(symbol.price * 0.985, 2),
        "delay": 0,
        "isHalted": False,
        "high52w": round(symbol.price * 1.1, 2),
        "low52w": round(symbol.price * 0.7, 2),
        "VWAP": round(symbol.price * 1.001, 6),
    }


def options_by_id(numbers: list[int]) -> list[dict[str, object]]:
    """Mistake 1019 if one of them is no option."""
    if not _OPTIONS.keys() >= set(numbers):
        raise Mistake(1019)
    return [_option_quote(number) for number in numbers]


def options_by_filter(
    underlying: int, expiry: str, kind: str | None, lowest: float, highest: float
) -> list[dict[str, object]]:
    """The options of one underlying that expire on the day of `expiry`, of one type and range of strikes if given."""
    if expiry[:10] != _EXPIRY[:10]:
        return []
    return [
        _option_quote(number)
        for number, (symbol, strike, option_type) in _OPTIONS.items()
        if symbol.id == underlying and kind in (None, option_type) and lowest <= strike <= highest
    ]


def _option_quote(number: int) -> dict[str, object]:
    symbol, _, kind = _OPTIONS[number]
    option = QUOTABLE[number]
    price = option.price
    return {
        "underlying": symbol.name,
        "underlyingId": symbol.id,
        "symbol": option.name,
        "symbolId": number,
        "bidPrice": round(price - 0.05, 2),
        "bidSize": 10,
        "askPrice": round(price + 0.05, 2),
        "askSize": 12,
        "lastTradePriceTrHrs": price,
        "lastTradePrice": price,
        "lastTradeSize": 1,
        "lastTradeTick": "Equal",
        "lastTradeTime": _LAST_TRADE,
        "volume": 318,
        "openPrice": price,
        "highPrice": price,
        "lowPrice": price,
        "volatility": 27.63,
        "delta": 0.53 if kind == "Call" else -0.47,
        "gamma": 0.012,
        "theta": -0.05,
        "vega": 0.31,
        "rho": 0.11,
        "openInterest": 2481,
        "delay": 0,
        "isHalted": False,
        "VWAP": price,
    }


def candles(symbol: Symbol, start: float, end: float, interval: str) -> list[dict[str, object]]:
    """Candles of `interval` from `start` up to `end` (Unix seconds), the first 2000 at most. Mistake 1002: interval."""
    step = INTERVALS.get(interval)
    if step is None:
        raise Mistake(1002)
    return [_candle(symbol, *each) for each in islice(_periods(start, end, step), MAX_CANDLES)]


def _periods(start: float, end: float, step: int) -> Iterator[tuple[float, float]]:
    """First and last moment of each candle; those of a day and longer begin at Eastern midnights."""
    days = step // int(moments.DAY)
    begin = moments.midnight(start) if days else start // step * step
    while begin < end:
        after = moments.midnight(begin, days) if days else begin + step
        yield begin, after
        begin = after


def _candle(symbol: Symbol, begin: float, after: float) -> dict[str, object]:
    # A wave that depends on the time alone: the same question has the same answer.
    number = round(begin / (after - begin))
    middle = symbol.price * (1 + (number % 20 - 10) / 500)
    return {
        "start": moments.written(begin),
        "end": moments.written(after),
        "low": round(middle * 0.995, 2),
        "high": round(middle * 1.005, 2),
        "open": round(middle * 0.999, 2),
        "close": round(middle * 1.001, 2),
        "volume": 100_000 + number % 1000,
        "VWAP": round(middle, 6),
    }


def markets(now: float) -> list[dict[str, object]]:
    """As in `GET /v1/markets`, with today's hours."""
    midnight = moments.midnight(now)
    hours = {"extendedStartTime": 7.0, "startTime": 9.5, "endTime": 16.0, "extendedEndTime": 20.0}
    times = {name: moments.written(midnight + hour * 3600) for name, hour in hours.items()}
    rows = (
        ("TSX", ["TSX", "ALPH", "CXC"], ["TSX"], ["ALPH", "TSX"]),
        ("NASDAQ", ["NSDQ", "ARCA"], ["NSDQ"], ["ARCA"]),
    )
    return [
        {
            "name": name,
            "tradingVenues": venues,
            "defaultTradingVenue": "AUTO",
            "primaryOrderRoutes": ["AUTO"],
            "secondaryOrderRoutes": [venues[0], "AUTO"],
            "level1Feeds": level1,
            "level2Feeds": level2,
            **times,
            "snapQuotesLimit": 2_147_483_647,
        }
        for name, venues, level1, level2 in rows
    ]
