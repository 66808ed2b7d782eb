"""What is traded here: six stocks and funds, two crypto pairs, and the options of one month on two of the stocks."""

import datetime as dt
import uuid
from dataclasses import dataclass
from functools import cached_property

from proxy.simulator.alpaca import moments
from proxy.simulator.alpaca.answers import missing

Record = dict[str, object]

_SPACE = uuid.UUID("9f1c2a52-6f0e-4b3f-9d3e-0d7f6f1b2c4d")
_STRIKE_STEPS = (-10, -5, 0, 5, 10)
_UNDERLYING = ("AAPL", "SPY")


@dataclass(frozen=True)
class Asset:
    """One thing that is traded. `price` is the middle of its last quote, in US dollars."""

    symbol: str
    name: str
    price: float
    kind: str = "us_equity"
    exchange: str = "NASDAQ"

    @cached_property
    def id(self) -> str:
        return identifier(self.symbol)

    @property
    def crypto(self) -> bool:
        return self.kind == "crypto"

    @property
    def plain(self) -> str:
        """The symbol without its slash, as positions write it."""
        return self.symbol.replace("/", "")

    @property
    def ask(self) -> float:
        return round(self.price * 1.0002, 2)

    @property
    def bid(self) -> float:
        return round(self.price * 0.9998, 2)

    def record(self) -> Record:
        stock = self.kind == "us_equity"
        sizes = {"min_order_size": "0.0001", "min_trade_increment": "0.0001", "price_increment": "0.01"}
        return {
            "id": self.id,
            "class": self.kind,
            "exchange": self.exchange,
            "symbol": self.symbol,
            "name": self.name,
            "status": "active",
            "tradable": True,
            "marginable": stock,
            "maintenance_margin_requirement": 30 if stock else 100,
            "margin_requirement_long": "30" if stock else "100",
            "margin_requirement_short": "30" if stock else "100",
            "shortable": stock,
            "easy_to_borrow": stock,
            "fractionable": True,
            "attributes": ["has_options"] if self.symbol in _UNDERLYING else [],
        } | (sizes if self.crypto else {})


@dataclass(frozen=True, slots=True)
class Contract:
    """One option. `symbol` is in the OCC's form without blanks."""

    underlying: Asset
    expires: dt.date
    right: str
    strike: float

    @property
    def symbol(self) -> str:
        letter = self.right[0].upper()
        return f"{self.underlying.symbol}{self.expires:%y%m%d}{letter}{round(self.strike * 1000):08}"

    @property
    def price(self) -> float:
        intrinsic = self.underlying.price - self.strike
        return round(max(intrinsic if self.right == "call" else -intrinsic, 0.0) + 3.5, 2)

    def asset(self) -> Asset:
        """The option as something that can be ordered."""
        return Asset(self.symbol, self.name, self.price, "us_option", "OPRA")

    @property
    def name(self) -> str:
        return f"{self.underlying.symbol} {self.expires:%b %d %Y} {self.strike:g} {self.right.title()}"

    def record(self) -> Record:
        day_before = (self.expires - dt.timedelta(days=30)).isoformat()
        return {
            "id": identifier(self.symbol),
            "symbol": self.symbol,
            "name": self.name,
            "status": "active",
            "tradable": True,
            "expiration_date": self.expires.isoformat(),
            "root_symbol": self.underlying.symbol,
            "underlying_symbol": self.underlying.symbol,
            "underlying_asset_id": self.underlying.id,
            "type": self.right,
            "style": "american",
            "strike_price": f"{self.strike:g}",
            "multiplier": "100",
            "size": "100",
            "open_interest": "237",
            "open_interest_date": day_before,
            "close_price": f"{self.price:g}",
            "close_price_date": day_before,
            "ppind": True,
        }


def identifier(name: str) -> str:
    """The UUID that something of this name has here, the same in each run."""
    return str(uuid.uuid5(_SPACE, name))


ASSETS = (
    Asset("AAPL", "Apple Inc. Common Stock", 231.4),
    Asset("MSFT", "Microsoft Corporation Common Stock", 421.55),
    Asset("TSLA", "Tesla, Inc. Common Stock", 251.2),
    Asset("AMZN", "Amazon.com, Inc. Common Stock", 186.9),
    Asset("SPY", "SPDR S&P 500 ETF Trust", 571.3, exchange="ARCA"),
    Asset("BRK.B", "Berkshire Hathaway Inc. Class B", 455.1, exchange="NYSE"),
    Asset("BTC/USD", "Bitcoin / US Dollar", 64_250.0, "crypto", "CRYPTO"),
    Asset("ETH/USD", "Ethereum / US Dollar", 2_655.5, "crypto", "CRYPTO"),
)
_BY_NAME = {name: asset for asset in ASSETS for name in (asset.symbol, asset.plain, asset.id)}


def find(name: str, now: float) -> Asset:
    """By symbol (with or without a slash), option symbol or id. Refused with 404 if there is none."""
    asset = _BY_NAME.get(name)
    return asset if asset is not None else contract(name, now).asset()


def known(name: str) -> Asset | None:
    """A stock, fund or crypto pair by symbol or id."""
    return _BY_NAME.get(name)


def listed(kind: str | None = None, status: str | None = None, exchange: str | None = None) -> list[Record]:
    """Records of `GET /v2/assets`; without a kind the stocks, as live."""
    kind = kind or "us_equity"
    return [
        asset.record()
        for asset in ASSETS
        if asset.kind == kind and status in (None, "", "all", "active") and exchange in (None, "", asset.exchange)
    ]


def contracts(now: float) -> list[Contract]:
    """The options that are there: those that expire on the third Friday of the month after next."""
    today = moments.day(now)
    month = (today.replace(day=1) + dt.timedelta(days=62)).replace(day=15)
    expires = month + dt.timedelta(days=(4 - month.weekday()) % 7)
    return [
        Contract(_BY_NAME[name], expires, right, round(_BY_NAME[name].price / 5) * 5 + step)
        for name in _UNDERLYING
        for right in ("call", "put")
        for step in _STRIKE_STEPS
    ]


def contract(name: str, now: float) -> Contract:
    """By symbol or id. Refused with 404 if there is none."""
    for each in contracts(now):
        if name in (each.symbol, identifier(each.symbol)):
            return each
    raise missing(f"asset for {name[:40]}")
