"""Options of the stocks: four expirations, eleven strikes around the price, calls and puts."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.simulator.tradier import moments

Record = dict[str, object]
_NAME = re.compile(r"(?P<root>[A-Z]{1,6})(?P<day>\d{6})(?P<kind>[CP])(?P<strike>\d{8})")
_STRIKES = range(-5, 6)


@dataclass(frozen=True, slots=True)
class Contract:
    """One option. `price` is that of the stock, in dollars."""

    root: str
    expiration: dt.date
    kind: str  # call or put
    strike: float
    price: float

    @property
    def symbol(self) -> str:
        """The OCC name: `AAPL190517C00200000`."""
        return f"{self.root}{self.expiration:%y%m%d}{self.kind[0].upper()}{round(self.strike * 1000):08}"

    @property
    def last(self) -> float:
        inner = self.price - self.strike if self.kind == "call" else self.strike - self.price
        return round(max(inner, 0) + 1.25, 2)

    @property
    def bid(self) -> float:
        return round(self.last - 0.05, 2)

    @property
    def ask(self) -> float:
        return round(self.last + 0.05, 2)


def strikes(price: float) -> list[float]:
    """In steps of about two hundredths of the stock's price."""
    step = max(0.5, round(price / 50 * 2) / 2)
    middle = round(price / step) * step
    return [round(middle + number * step, 3) for number in _STRIKES if middle + number * step > 0]


def chain(root: str, price: float, expiration: dt.date) -> list[Contract]:
    return [Contract(root, expiration, kind, strike, price) for strike in strikes(price) for kind in ("call", "put")]


def all_of(root: str, price: float, today: dt.date) -> Iterator[Contract]:
    for expiration in moments.expirations(today):
        yield from chain(root, price, expiration)


def find(symbol: str, prices: Mapping[str, float], today: dt.date) -> Contract | None:
    """The contract of an OCC name, if it is traded."""
    match = _NAME.fullmatch(symbol)
    if match is None or match["root"] not in prices:
        return None
    return next((each for each in all_of(match["root"], prices[match["root"]], today) if each.symbol == symbol), None)


def quote(contract: Contract, now: float, *, greeks: bool) -> Record:
    moment = int(now * 1000)
    record: Record = {
        "symbol": contract.symbol,
        "description": f"{contract.root} {contract.expiration:%b %d %Y} ${contract.strike:.2f} {contract.kind.title()}",
        "exch": "Z",
        "type": "option",
        "last": contract.last,
        "change": 0.0,
        "volume": 120,
        "open": contract.last,
        "high": contract.last,
        "low": contract.last,
        "close": None,
        "bid": contract.bid,
        "ask": contract.ask,
        "underlying": contract.root,
        "strike": contract.strike,
        "change_percentage": 0.0,
        "average_volume": 0,
        "last_volume": 1,
        "trade_date": moment,
        "prevclose": contract.last,
        "week_52_high": 0.0,
        "week_52_low": 0.0,
        "bidsize": 10,
        "bidexch": "C",
        "bid_date": moment,
        "asksize": 12,
        "askexch": "C",
        "ask_date": moment,
        "open_interest": 1024,
        "contract_size": 100,
        "expiration_date": contract.expiration.isoformat(),
        "expiration_type": "weeklys",
        "option_type": contract.kind,
        "root_symbol": contract.root,
    }
    return record | ({"greeks": _greeks(contract, now)} if greeks else {})


def _greeks(contract: Contract, now: float) -> Record:
    sign = 1 if contract.kind == "call" else -1
    return {
        "delta": 0.5 * sign,
        "gamma": 0.01,
        "theta": -0.05,
        "vega": 0.1,
        "rho": 0.02 * sign,
        "phi": -0.02 * sign,
        "bid_iv": 0.25,
        "mid_iv": 0.26,
        "ask_iv": 0.27,
        "smv_vol": 0.26,
        "updated_at": moments.eastern(now).strftime("%Y-%m-%d %H:%M:%S"),
    }
