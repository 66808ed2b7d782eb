"""Market data that is made up, but the same each time: prices move in a small wave around each asset's own price."""

import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.simulator.alpaca import moments
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused
from proxy.simulator.alpaca.assets import Asset

Record = dict[str, object]

_FRAME = re.compile(r"([1-9][0-9]?)(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII)
_SECONDS = {"Min": 60, "T": 60, "Hour": 3600, "H": 3600, "Day": 86_400, "D": 86_400}
_EARLIEST = dt.date(2016, 1, 1)  # stocks' data begin here


@dataclass(frozen=True, slots=True)
class Frame:
    """The step of bars: so many seconds, or weeks or months."""

    count: int
    unit: str

    @property
    def seconds(self) -> float | None:
        """Below a day; None for days and longer."""
        length = _SECONDS.get(self.unit, moments.DAY)
        return None if length >= moments.DAY else float(self.count * length)

    def opens(self, date: dt.date) -> bool:
        """Whether a bar of at least a day opens on this trading day."""
        before = date - dt.timedelta(days=1)
        while not moments.trades_on(before):
            before -= dt.timedelta(days=1)
        match self.unit[0]:
            case "W":
                return date.isocalendar()[1] != before.isocalendar()[1]
            case "M":
                return date.month != before.month
            case _:
                return True


def frame(text: str) -> Frame:
    """`1Min`, `15Min`, `1Hour`, `1Day`, `1Week`, `1Month`. Refused with 400."""
    found = _FRAME.fullmatch(text)
    if found is None:
        raise Refused(BAD_REQUEST, "invalid timeframe")
    return Frame(int(found[1]), found[2])


def openings(asset: Asset, step: Frame, start: float, end: float, *, backwards: bool = False) -> Iterator[float]:
    """Unix times at which bars open, from `start` to `end`; those of stocks only while the market is open."""
    first = max(moments.day(start), _EARLIEST)
    for date in _days(asset, first, moments.day(end), backwards=backwards):
        if step.seconds is None:
            times = [moments.at(date, dt.time())] if asset.crypto or step.opens(date) else []
        else:
            opens, closes = _session(asset, date)
            times = [opens + number * step.seconds for number in range(int((closes - opens) // step.seconds))]
        if backwards:
            times.reverse()
        yield from (time for time in times if start <= time <= end)


def bar(asset: Asset, moment: float) -> Record:
    middle = price(asset, moment)
    opened, closed = round(middle * 0.9995, 2), round(middle * 1.0005, 2)
    return {
        "t": stamp(moment),
        "o": opened,
        "h": round(middle * 1.001, 2),
        "l": round(middle * 0.999, 2),
        "c": closed,
        "v": 0.125 if asset.crypto else 12_000 + int(moment // 60) % 500,
        "n": 120 + int(moment // 60) % 50,
        "vw": round(middle, 4),
    }


def trade(asset: Asset, moment: float) -> Record:
    record: Record = {"t": stamp(moment), "p": price(asset, moment), "i": int(moment // 60)}
    if asset.crypto:
        return record | {"s": 0.0125, "tks": "B"}
    return record | {"s": 100, "x": "V", "c": ["@"], "z": "C"}


def quote(asset: Asset, moment: float) -> Record:
    middle = price(asset, moment)
    record: Record = {"t": stamp(moment), "ap": round(middle * 1.0002, 2), "bp": round(middle * 0.9998, 2)}
    if asset.crypto:
        return record | {"as": 0.75, "bs": 0.5}
    return record | {"as": 4, "bs": 4, "ax": "V", "bx": "V", "c": ["R"], "z": "C"}


def orderbook(asset: Asset, moment: float) -> Record:
    middle = price(asset, moment)
    sides = {side: [{"p": round(middle * (1 + sign * step / 5000), 2), "s": 0.5 * step} for step in (1, 2, 3)]
             for side, sign in (("b", -1), ("a", 1))}  # fmt: skip
    return {"t": stamp(moment), **sides}


def snapshot(asset: Asset, moment: float) -> Record:
    today = moment - moment % moments.DAY
    return {
        "latestTrade": trade(asset, moment),
        "latestQuote": quote(asset, moment),
        "minuteBar": bar(asset, moment - moment % 60),
        "dailyBar": bar(asset, today),
        "prevDailyBar": bar(asset, today - moments.DAY),
    }


def price(asset: Asset, moment: float) -> float:
    return round(asset.price * (1 + 0.01 * math.sin(moment / 7200)), 2)


def stamp(moment: float) -> str:
    """Unix time as `2022-04-12T17:26:45Z`."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _days(asset: Asset, first: dt.date, last: dt.date, *, backwards: bool) -> Iterator[dt.date]:
    if not asset.crypto:
        yield from moments.days(first, last, backwards=backwards)
        return
    for number in range((last - first).days + 1):
        yield last - dt.timedelta(days=number) if backwards else first + dt.timedelta(days=number)


def _session(asset: Asset, date: dt.date) -> tuple[float, float]:
    if not asset.crypto:
        return moments.session(date)
    return moments.at(date, dt.time()), moments.at(date + dt.timedelta(days=1), dt.time())
