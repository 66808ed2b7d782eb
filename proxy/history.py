"""How a server fared in the last hour and the last day, for the console's charts: in memory, since the start.

Every ten seconds the counters are looked at, which stand in `metrics.py` and hold what workers have counted too; a call
pays nothing for it. What has been counted since the look before goes into two rings of fixed length. Ages are judged by
the clock that is never stepped; where nobody looked, because the machine slept, there is a gap and no zero.
"""

import asyncio
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Literal

from proxy.clock import Clock
from proxy.counts import SECONDS
from proxy.metrics import Metrics
from proxy.pacing import Pacing

Span = Literal["1h", "24h"]
Key = tuple[str, str]  # what is measured, and of what: a mount, a grant's budget; empty: of all
Values = list[float | None]
Budget = tuple[str, int, int]  # what it is called, how many calls are left, and of how many

STEP = 10.0  # seconds between two looks
STEPS = 360  # an hour of them
LONG_STEP = 300.0  # seconds
LONG_STEPS = 288  # a day of them
MOUNTS = 24  # that have a line of their own; the others are one
BUDGETS = 16
OTHERS = "others"  # mounts beyond those, some that are gone, and calls that named none
CALLS, DENIED, ERRORS, P50, P95, LEFT = "calls", "denied", "errors", "p50", "p95", "left"
_LATE = 3  # looks that may be missed until what was counted since the last one belongs to no time in particular
_GAP = math.nan
# Refusals that tell of the broker, and not of what a caller may do.
_BROKEN = frozenset({"broker-unreachable", "bad-answer", "broker-timeout", "outcome-unknown"})


@dataclass(frozen=True, slots=True)
class Shown:
    """The past, oldest first: one value each `step` seconds up to `end` (Unix time); None where nobody looked.

    Calls, refusals and errors are a second; times are in seconds until the broker's answer began, None without a call;
    budgets are what is left, as a part of the limit.
    """

    step: float
    end: float
    calls: Mapping[str, Values]
    denied: Values
    errors: Values
    p50: Values
    p95: Values
    left: Mapping[str, Values]


@dataclass(slots=True)
class _Growth:
    """What has been counted in so many `seconds`. `times` are those of `counts.Times`, without their sum."""

    seconds: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
    denied: float = 0.0
    errors: float = 0.0
    times: list[float] = field(default_factory=lambda: [0.0] * (len(SECONDS) + 1))
    left: dict[str, float] = field(default_factory=dict)

    def add(self, more: "_Growth") -> None:
        self.seconds += more.seconds
        self.denied += more.denied
        self.errors += more.errors
        self.times = [one + other for one, other in zip(self.times, more.times, strict=True)]
        for name, count in more.calls.items():
            self.calls[name] = self.calls.get(name, 0.0) + count
        for name, part in more.left.items():
            self.left[name] = min(part, self.left.get(name, part))

    def values(self) -> Iterator[tuple[Key, float]]:
        """What is drawn of it."""
        yield from (((CALLS, name), count / self.seconds) for name, count in self.calls.items())
        yield (DENIED, ""), self.denied / self.seconds
        yield (ERRORS, ""), self.errors / self.seconds
        yield (P50, ""), quantile(0.5, self.times)
        yield (P95, ""), quantile(0.95, self.times)
        yield from (((LEFT, name), part) for name, part in self.left.items())


class Ring:
    """Series of numbers of fixed length, which all stand at the same place. A number takes four bytes."""

    __slots__ = ("length", "newest", "series", "step")

    def __init__(self, step: float, length: int) -> None:
        self.step, self.length = step, length
        self.newest = -1  # number of the newest place, counted from the start of the clock
        self.series: dict[Key, array[float]] = {}

    def forward(self, place: int) -> None:
        """Go on to a place; what lies between is a gap."""
        between = min(place - self.newest, self.length)
        for values in self.series.values():
            for number in range(place - between + 1, place + 1):
                values[number % self.length] = _GAP
        self.newest = place

    def put(self, key: Key, value: float) -> None:
        """A number at the newest place. What finds no room is left out."""
        if (values := self.series.get(key)) is None:
            if not self._has_room(key[0]):
                return
            values = self.series[key] = array("f", [_GAP]) * self.length
        values[self.newest % self.length] = value

    def _has_room(self, kind: str) -> bool:
        most = {CALLS: MOUNTS + 1, LEFT: BUDGETS}.get(kind, 1)
        own = [key for key in self.series if key[0] == kind]
        for key in own if len(own) >= most else ():
            if all(map(math.isnan, self.series[key])):  # gone, for as long as anybody can see
                del self.series[key]
                return True
        return len(own) < most

    def read(self, key: Key) -> Values:
        """A series, oldest first."""
        values = self.series.get(key)
        if values is None:
            return [None] * self.length
        begin = (self.newest + 1) % self.length
        return [None if math.isnan(value) else value for value in (*values[begin:], *values[:begin])]

    def names(self, kind: str) -> list[str]:
        """Of what there is such a series; the one for all others comes last."""
        return sorted((key[1] for key in self.series if key[0] == kind), key=lambda name: (name == OTHERS, name))

    @property
    def size(self) -> int:
        """Bytes that its numbers take."""
        return sum(len(values) * values.itemsize for values in self.series.values())


class History:
    """Two rings, and what the counters said when they were last looked at.

    `mounts` are the names in the configuration, asked at each look; `budgets` are those of brokers' rate limits. What
    it keeps is at most 29 series and 16 budgets of 648 numbers: 114 KiB, however many mounts and grants there are.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        mounts: Callable[[], Iterable[str]],
        budgets: Callable[[], Iterable[Budget]] = tuple,
    ) -> None:
        self._clock, self._metrics, self._mounts, self._budgets = clock, metrics, mounts, budgets
        self._hour, self._day = Ring(STEP, STEPS), Ring(LONG_STEP, LONG_STEPS)
        self._seen: dict[Key, float] = {}
        self._looked = clock.now().boot
        self._lately = _Growth()  # since the day's newest place began

    async def run(self) -> None:
        """Look every ten seconds, for as long as the server runs."""
        while True:
            await asyncio.sleep(STEP - self._clock.now().boot % STEP)
            self.sample()

    def sample(self) -> None:
        """Look at the counters now. A second look in the same ten seconds is none."""
        boot = self._clock.now().boot
        place = round(boot / STEP) - 1  # the look at the end of ten seconds is about them
        missed = place - self._hour.newest - 1 if self._hour.newest >= 0 else 0
        if place <= self._hour.newest or boot <= self._looked:
            return
        growth = self._growth(boot - self._looked)
        self._looked = boot
        if missed > _LATE:
            self._hour.forward(place)
            return
        for number in range(place - missed, place + 1):
            self._note(self._hour, number, growth)
        day = int(place * STEP // LONG_STEP)
        if day != self._day.newest:
            self._lately = _Growth()
        self._lately.add(growth)
        self._note(self._day, day, self._lately)

    @staticmethod
    def _note(ring: Ring, place: int, growth: _Growth) -> None:
        if place != ring.newest:
            ring.forward(place)
        for key, value in growth.values():
            ring.put(key, value)

    def _growth(self, seconds: float) -> _Growth:
        """What has been counted since the last look."""
        known, grown = frozenset(self._drawn(CALLS, self._mounts(), MOUNTS)), self._grown()
        growth = _Growth(seconds, dict.fromkeys(known, 0.0), grown.pop((DENIED, "")), grown.pop((ERRORS, "")))
        growth.times = [grown.pop(("times", str(place))) for place in range(len(growth.times))]
        for (_, mount), count in grown.items():
            name = mount if mount in known else OTHERS
            if name in known or count:
                growth.calls[name] = growth.calls.get(name, 0.0) + count
        left = {name: min(left / limit, 1.0) for name, left, limit in self._budgets() if limit > 0}
        growth.left = {name: left[name] for name in self._drawn(LEFT, left, BUDGETS)}
        return growth

    def _drawn(self, kind: str, names: Iterable[str], most: int) -> list[str]:
        """The names that have a line: those that had one first, as long as they are there."""
        there = dict.fromkeys(names)
        before = (name for name in self._hour.names(kind) if name in there)
        return list(dict.fromkeys((*before, *there)))[:most]

    def _grown(self) -> dict[Key, float]:
        """By how much each count has grown. One that got smaller has begun anew."""
        before, self._seen = self._seen, self._counted()
        return {key: now - then if now >= (then := before.get(key, 0.0)) else now for key, now in self._seen.items()}

    def _counted(self) -> dict[Key, float]:
        """What the counters say, as far as it is drawn."""
        cells = self._metrics.cells
        found = {(CALLS, mount): sum(times) for (mount,), (_, *times) in cells("request_seconds")}
        times = [0.0] * (len(SECONDS) + 1)
        for _, (_, *between) in cells("upstream_seconds"):
            times = list(map(add, times, between))
        found |= {("times", str(place)): count for place, count in enumerate(times)}
        denied = errors = 0.0
        for (kind, *_), (count,) in cells("denials"):
            broken = kind in _BROKEN
            errors, denied = errors + count * broken, denied + count * (not broken)
        errors += sum(count for (_, status), (count,) in cells("upstream_answers") if status == "5xx")
        return found | {(DENIED, ""): denied, (ERRORS, ""): errors}

    def shown(self, span: Span) -> Shown:
        """The last hour or the last day."""
        ring = self._hour if span == "1h" else self._day
        now = self._clock.now()
        return Shown(
            step=ring.step,
            end=now.wall - now.boot + (ring.newest + 1) * ring.step if ring.newest >= 0 else now.wall,
            calls={name: ring.read((CALLS, name)) for name in ring.names(CALLS)},
            denied=ring.read((DENIED, "")),
            errors=ring.read((ERRORS, "")),
            p50=ring.read((P50, "")),
            p95=ring.read((P95, "")),
            left={name: ring.read((LEFT, name)) for name in ring.names(LEFT)},
        )

    @property
    def size(self) -> int:
        """Bytes that the numbers of both rings take."""
        return self._hour.size + self._day.size


def quantile(part: float, between: Sequence[float]) -> float:
    """The time in seconds that this part of all calls did not exceed, from counts between the bounds of `SECONDS`.

    Within two bounds as if evenly spread; beyond the last one nobody knows, and it is that. Not a number: no call.
    """
    total = sum(between)
    if not total:
        return _GAP
    rank, below = part * total, 0.0
    for index, count in enumerate(between[:-1]):
        if count and below + count >= rank:
            lower = SECONDS[index - 1] if index else 0.0
            return lower + (SECONDS[index] - lower) * max(0.0, rank - below) / count
        below += count
    return SECONDS[-1]


def budgets_of(pacing: Pacing) -> Iterator[Budget]:
    """The rate limits of the brokers that somebody knows, as far as they have been used."""
    for grant, category, view, _ in pacing.standings():
        if view.remaining is not None and view.limit is not None:
            yield f"{grant} {category}".rstrip(), view.remaining, view.limit
