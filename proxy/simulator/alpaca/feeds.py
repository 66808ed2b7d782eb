"""What Alpaca's market data sockets carry: which path is which feed, its channels, and its messages at each beat.

https://docs.alpaca.markets/docs/real-time-stock-pricing-data, …/real-time-crypto-pricing-data, …/real-time-option-data,
…/streaming-real-time-news. Any symbol is traded here. The number of the beat stands in every message: in stocks' and
crypto's trades `i`, in quotes `bs`, in bars `v`, in options' trades `s`; in order books as the size of the best bid, in
statuses as the reason's number, in bands as their upper end, in news as `id` (counted from `FIRST_ARTICLE`).
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgpack  # type: ignore[import-untyped]

from proxy.simulator.alpaca import assets
from proxy.simulator.alpaca.assets import Asset

Message = dict[str, object]
Pair = tuple[str, str]  # a channel and a symbol of it
Maker = Callable[[Asset, int, object, object], Message]  # of an asset, a beat, its time and its minute

FIRST_ARTICLE = 24_843_171
EVERYTHING = "*"
_MINUTE = 60
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """When messages are sent: Unix nanoseconds."""

    nanoseconds: int

    def written(self) -> str:
        seconds, rest = divmod(self.nanoseconds, 1_000_000_000)
        return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"

    def minute(self) -> "Moment":
        return Moment(self.nanoseconds - self.nanoseconds % (_MINUTE * 1_000_000_000))


@dataclass(frozen=True, slots=True)
class Codec:
    """How frames are written and read. `time` makes a moment into what stands in a message."""

    name: str
    encode: Callable[[object], bytes]
    decode: Callable[[str | bytes], object]
    time: Callable[[Moment], object]


def _from_json(frame: str | bytes) -> object:
    if isinstance(frame, bytes):
        raise ValueError("a binary frame is no JSON")  # noqa: TRY004  whoever asks looks for one exception
    return json.loads(frame)


def _from_msgpack(frame: str | bytes) -> object:
    if isinstance(frame, str):
        raise ValueError("a text frame is no MessagePack")  # noqa: TRY004  likewise
    found: object = msgpack.unpackb(frame)
    return found


JSON = Codec("json", lambda document: json.dumps(document, separators=(",", ":")).encode(), _from_json,
             Moment.written)  # fmt: skip
MSGPACK = Codec("msgpack", msgpack.packb, _from_msgpack,
                lambda moment: msgpack.Timestamp.from_unix_nano(moment.nanoseconds))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of feed: its channels, and what of a channel there is for a symbol at a beat.

    `pool` is what a star stands for. `only_msgpack`, and `no_star` channels: rules of the options feeds.
    """

    name: str
    makers: dict[str, Maker]
    pool: tuple[str, ...]
    implied: dict[str, tuple[str, ...]]
    only_msgpack: bool = False
    no_star: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """In the order in which the broker confirms them."""
        return (*self.makers, *(name for names in self.implied.values() for name in names))

    def messages(self, pairs: Iterable[Pair], beats: Sequence[int], moment: Moment, codec: Codec) -> list[Message]:
        """Beat by beat, each symbol of each channel once, whether asked for by name, by a star or by both."""
        now, minute = codec.time(moment), codec.time(moment.minute())
        wanted = self._meant(pairs)
        made = (maker(asset, beat, now, minute) for beat in beats for maker, each in wanted for asset in each)
        return [message for message in made if message]

    def _meant(self, pairs: Iterable[Pair]) -> list[tuple[Maker, list[Asset]]]:
        """What makes the messages of each channel, and of which symbols."""
        by_channel: dict[str, dict[str, None]] = {}
        for channel, symbol in pairs:
            if channel in self.makers:
                names = self.pool if symbol == EVERYTHING else (symbol,)
                by_channel.setdefault(channel, {}).update(dict.fromkeys(names))
        return [(self.makers[channel], [_asset(name) for name in names]) for channel, names in by_channel.items()]


def _asset(symbol: str) -> Asset:
    return assets.known(symbol) or Asset(symbol, symbol, 100.0)


def is_symbol(text: object) -> bool:
    """Whether this may be subscribed to."""
    return isinstance(text, str) and (text == EVERYTHING or _SYMBOL.fullmatch(text) is not None)


def feed_of(path: str) -> "Feed | None":
    """The feed of a raw path; None if there is none."""
    return next((feed for pattern, feed in _PATHS if pattern.fullmatch(path)), None)


def _price(asset: Asset, beat: int) -> float:
    return round(asset.price * (1 + (beat % 21 - 10) / 10_000), 2)


def _trade(asset: Asset, beat: int, now: object, _: object) -> Message:
    return {"T": "t", "i": beat, "S": asset.symbol, "x": "V", "p": _price(asset, beat), "s": 100, "t": now, "c": ["@"],
            "z": "C"}  # fmt: skip


def _quote(asset: Asset, beat: int, now: object, _: object) -> Message:
    price = _price(asset, beat)
    return {"T": "q", "S": asset.symbol, "bx": "V", "bp": price - 0.01, "bs": beat, "ax": "V", "ap": price + 0.01,
            "as": 4, "t": now, "c": ["R"], "z": "C"}  # fmt: skip


def _bar(letter: str) -> Maker:
    def make(asset: Asset, beat: int, _: object, minute: object) -> Message:
        price = _price(asset, beat)
        return {"T": letter, "S": asset.symbol, "o": price, "h": price + 0.5, "l": price - 0.5, "c": price, "v": beat,
                "n": 12, "vw": price, "t": minute}  # fmt: skip

    return make


def _status(asset: Asset, beat: int, now: object, _: object) -> Message:
    return {"T": "s", "S": asset.symbol, "sc": "T", "sm": "Trading", "rc": str(beat), "rm": "", "t": now, "z": "C"}


def _band(asset: Asset, beat: int, now: object, _: object) -> Message:
    return {"T": "l", "S": asset.symbol, "u": beat, "d": 0, "i": "B", "t": now, "z": "C"}


def _crypto_trade(asset: Asset, beat: int, now: object, _: object) -> Message:
    return {"T": "t", "S": asset.symbol, "p": _price(asset, beat), "s": 0.5, "t": now, "i": beat, "tks": "B"}


def _crypto_quote(asset: Asset, beat: int, now: object, _: object) -> Message:
    price = _price(asset, beat)
    return {"T": "q", "S": asset.symbol, "bp": price - 0.01, "bs": beat, "ap": price + 0.01, "as": 0.5, "t": now}


def _order_book(asset: Asset, beat: int, now: object, _: object) -> Message:
    price = _price(asset, beat)
    return {"T": "o", "S": asset.symbol, "t": now, "b": [{"p": price - 0.01, "s": beat}],
            "a": [{"p": price + 0.01, "s": 0.5}], "r": True}  # fmt: skip


def _option_trade(asset: Asset, beat: int, now: object, _: object) -> Message:
    return {"T": "t", "S": asset.symbol, "t": now, "p": _price(asset, beat), "s": beat, "x": "N", "c": "S"}


def _option_quote(asset: Asset, beat: int, now: object, _: object) -> Message:
    price = _price(asset, beat)
    return {"T": "q", "S": asset.symbol, "t": now, "bx": "C", "bp": price - 0.01, "bs": beat, "ax": "C",
            "ap": price + 0.01, "as": 38, "c": "A"}  # fmt: skip


def _article(asset: Asset, beat: int, now: object, _: object) -> Message:
    """One article a beat, about each asset in turn; nothing if this is not the one."""
    if asset.symbol != NEWS.pool[beat % len(NEWS.pool)]:
        return {}
    return {
        "T": "n",
        "id": FIRST_ARTICLE + beat,
        "headline": f"A simulated headline about {asset.plain}",
        "summary": "",
        "author": "Sam Simulator",
        "created_at": now,
        "updated_at": now,
        "url": f"https://www.benzinga.com/news/{FIRST_ARTICLE + beat}",
        "content": "",
        "symbols": [asset.plain],
        "source": "benzinga",
    }


def _pool(kind: str) -> tuple[str, ...]:
    return tuple(asset.symbol for asset in assets.ASSETS if asset.kind == kind)


NEWS_CHANNEL = "news"
STOCKS = Feed(
    "stocks",
    {
        "trades": _trade,
        "quotes": _quote,
        "bars": _bar("b"),
        "updatedBars": _bar("u"),
        "dailyBars": _bar("d"),
        "statuses": _status,
        "lulds": _band,
    },
    _pool("us_equity"),
    {"trades": ("corrections", "cancelErrors")},
)
TEST = Feed("test", {name: STOCKS.makers[name] for name in ("trades", "quotes", "bars")}, ("FAKEPACA",), {})
CRYPTO = Feed(
    "crypto",
    {
        "trades": _crypto_trade,
        "quotes": _crypto_quote,
        "orderbooks": _order_book,
        "bars": _bar("b"),
        "updatedBars": _bar("u"),
        "dailyBars": _bar("d"),
    },
    _pool("crypto"),
    {},
)
OPTIONS = Feed(
    "options",
    {"trades": _option_trade, "quotes": _option_quote},
    ("AAPL260515C00230000", "AAPL260515P00230000"),
    {},
    only_msgpack=True,
    no_star=("quotes",),
)
NEWS = Feed("news", {NEWS_CHANNEL: _article}, _pool("us_equity"), {})

# A literal is tried before a pattern.
_PATHS = (
    (re.compile("/v1beta1/news"), NEWS),
    (re.compile("/v2/test"), TEST),
    (re.compile("/v2/(sip|iex|delayed_sip|boats|overnight)"), STOCKS),
    (re.compile("/v1beta3/crypto/(us|us-1|eu-1)|/v1beta2/crypto"), CRYPTO),
    (re.compile("/v1beta1/(opra|indicative)"), OPTIONS),
)
