"""What Tradier's market streams carry (https://docs.tradier.com/reference/streaming): its messages at each beat.

Anything that begins with a letter is traded here. The number of the beat stands in every message: in trades as `cvol`,
in quotes as `bidsz`, in time sales as `seq`, in summaries as `prevClose`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proxy.simulator.tradier import market

Message = dict[str, object]

_SYMBOL = re.compile(r"[A-Z][A-Z0-9./]{0,20}", re.ASCII)


def _trade(price: float, beat: int, date: str) -> Message:
    return {
        "exch": "J",
        "price": f"{price:.2f}",
        "size": "100",
        "cvol": str(beat),
        "date": date,
        "last": f"{price:.2f}",
    }


def _quote(price: float, beat: int, date: str) -> Message:
    return {"bid": round(price - 0.01, 2), "bidsz": beat, "bidexch": "M", "biddate": date,
            "ask": round(price + 0.01, 2), "asksz": 6, "askexch": "Z", "askdate": date}  # fmt: skip


def _summary(price: float, beat: int, _: str) -> Message:
    return {"open": f"{price:.2f}", "high": f"{price:.2f}", "low": f"{price:.2f}", "prevClose": str(beat)}


def _timesale(price: float, beat: int, date: str) -> Message:
    return {"exch": "Q", "bid": f"{price - 0.01:.2f}", "ask": f"{price + 0.01:.2f}", "last": f"{price:.2f}",
            "size": "100", "date": date, "seq": beat, "flag": "", "cancel": False, "correction": False,
            "session": "normal"}  # fmt: skip


KINDS: Mapping[str, Callable[[float, int, str], Message]] = {
    "trade": _trade,
    "quote": _quote,
    "summary": _summary,
    "timesale": _timesale,
    "tradex": _trade,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What one stream wants: kinds of messages, of symbols. `lines`: each message ends a line."""

    symbols: tuple[str, ...] = ()
    kinds: tuple[str, ...] = tuple(KINDS)
    lines: bool = False

    def messages(self, beats: Iterable[int], now: float) -> list[bytes]:
        """In order, encoded; `now` is Unix time."""
        date, end = str(int(now * 1000)), b"\n" if self.lines else b""
        return [
            encoded({"type": kind, "symbol": symbol, **KINDS[kind](price(symbol, beat), beat, date)}) + end
            for beat in beats
            for symbol in self.symbols
            for kind in self.kinds
        ]


def asked(fields: Mapping[str, object]) -> tuple[Asked, list[str]]:
    """What a client wants, and the symbols that are none. Lists may be written with commas between their items."""
    symbols = list(dict.fromkeys(symbol.upper() for symbol in _items(fields.get("symbols"))))
    good = [symbol for symbol in symbols if _SYMBOL.fullmatch(symbol)]
    kinds = tuple(kind for kind in KINDS if kind in _items(fields.get("filter"))) or tuple(KINDS)
    lines = str(fields.get("linebreak", "")).lower() == "true"
    return Asked(tuple(good), kinds, lines), [symbol for symbol in symbols if symbol not in good]


def price(symbol: str, beat: int) -> float:
    """A small wave around the price that the other calls know."""
    stock = market.STOCKS.get(symbol)
    return round((stock.last if stock is not None else 100.0) * (1 + (beat % 21 - 10) / 10_000), 2)


def encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _items(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
