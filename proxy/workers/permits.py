"""Budgets in a worker: places are borrowed from custody, some at a time, and given back if they are not used.

So all processes together never send more than the budget has. A category of which no limit is known, neither by the
definition nor by the broker's headers, has no places to be shared: each process waits out a 429 for itself.

While custody is away each worker may use its part of what the definition allows, as long as that is a whole call at
least. It begins with its part of half of what custody has last said to be left, and with nothing where it has not said
so: nobody knows what the others have sent since. The rest of its part is there a window's length later.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.gate.budget import Spec
from proxy.gate.clients import grant_of
from proxy.gate.ratehead import Heard, Names, hear
from proxy.gate.rows import Row
from proxy.pacing import Observe, Pacing, Turn
from proxy.workers.line import HOLD, Line, Reply
from proxy.workers.parcels import headers_told, refusal_of

MOST = 256  # places that are asked for at a time
_SILENCE = Heard()
_ALWAYS = frozenset((b"retry-after", b"date"))
_TOO_MANY = 429
_NOTHING_SENT = (403, 429, 503)


@dataclass(slots=True)
class _Stock:
    """Places of one client in one budget."""

    key: tuple[str, str | None, str]
    names: Names
    left: int = 0
    done: int = 0  # answered since the last report, by answers that say nothing of the budget, or less than `heard`
    heard: "tuple[Heard, list[Any]] | None" = None  # what the last ones say of it, and the message that tells it
    used: int = 0  # since the last report
    before: int = 0  # between the two reports before that
    asked: int = 0  # the question that is out
    out: int = 0  # calls on their way
    custody: int = 0  # which one has lent these, counted from the first
    low: int = 0  # with no more than that left, more are asked for
    coming: "asyncio.Future[Refusal | None] | None" = None

    def outdone_by(self, heard: Heard) -> bool:
        """Whether an answer says what custody has to know beside, or in the place of, `self.heard`.

        Of answers about one window the lowest number was counted last: the others need not be told.
        """
        if self.heard is None:
            return True
        last = self.heard[0]
        if (last.limit, last.reset) != (heard.limit, heard.reset) or None in (last.remaining, heard.remaining):
            return True
        if last.remaining is not None and heard.remaining is not None and heard.remaining < last.remaining:
            self.heard = None
            self.done += 1  # that one is as good as silent
            return True
        return False


class Borrowed(Turn):
    """A place that custody has lent us."""

    __slots__ = ("_custody", "_stock", "_tell")

    def __init__(self, stock: _Stock, tell: Callable[[list[Any]], None]) -> None:
        stock.left -= 1
        stock.used += 1
        stock.out += 1
        self._stock: _Stock | None = stock
        self._custody = stock.custody
        self._tell = tell

    def _taken(self) -> _Stock | None:
        """The stock, once; none if the custody that lent this has gone, and its budget with it."""
        stock, self._stock = self._stock, None
        if stock is None or stock.custody != self._custody:
            return None
        stock.out -= 1
        return stock

    def answered(
        self,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        calls: int = 1,
        now: Now | None = None,  # noqa: ARG002  custody's clock counts
    ) -> None:
        stock = self._taken()
        if stock is None:
            return
        heard = hear(headers, stock.names) if stock.names else _SILENCE
        speaks = heard.limit is not None or heard.remaining is not None
        if status != _TOO_MANY and calls == 1 and not (speaks and stock.outdone_by(heard)):
            stock.done += 1
            return
        told = headers_told(headers, {*stock.names, *_ALWAYS}) if speaks or status == _TOO_MANY else []
        message = [*stock.key, "answered", status, calls, told]
        if status == _TOO_MANY or calls != 1:
            self._tell(message)
        else:
            if stock.heard is not None:
                self._tell(stock.heard[1])
            stock.heard = heard, message

    def give_back(self) -> None:
        if (stock := self._taken()) is not None:
            self._tell([*stock.key, "unused", 1])

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if (stock := self._taken()) is not None:
            unsent = isinstance(error, Refusal) and error.kind.status in _NOTHING_SENT
            self._tell([*stock.key, "unused" if unsent else "lost", 1])


class Permits(Pacing):
    """`Pacing` in a worker. `gone` is what the next report has to say of places."""

    def __init__(self, clock: Clock, line: Line, observe: Observe) -> None:
        super().__init__(clock, observe)
        self.gone: list[list[Any]] = []
        self._custody = line
        self._shared: Mapping[str, Mapping[str | None, Spec]] = {}
        self._alone = Pacing(clock, observe)
        self._stocks: dict[tuple[str, str | None, str], _Stock] = {}
        self._count = 1
        self._left: dict[tuple[str, str | None], tuple[dict[float, int], float]] = {}  # as custody has last said
        self._begun: set[tuple[str, str | None]] = set()  # budgets that were used alone since custody went

    def share(self, specs: Mapping[str, Mapping[str | None, Spec]], count: int) -> None:
        """Go by these from now on; there are `count` workers."""
        self.define(specs)
        self._shared, self._count = specs, count
        self._alone.define(
            {grant: {name: _part(spec, count) for name, spec in found.items()} for grant, found in specs.items()}
        )

    def _spec_of(self, grant: str, category: str | None) -> Spec:
        known = self._shared.get(grant_of(grant), {})
        return known.get(category) or known.get(None) or Spec()

    def turn_now(self, client: str, row: Row, grant: str, now: Now | None = None) -> Turn | None:
        """See `Pacing`. None, too, while places are on their way."""
        stock = self._stocks.get((grant, row.rate, client))
        if stock is not None and stock.left > stock.low:  # what most calls find
            return Borrowed(stock, self.gone.append)
        spec = self._spec_of(grant, row.rate)
        if not spec.limits and spec.told is None:
            return super().turn_now(client, row, grant, now)
        if not self._custody.up and _part(spec, 1).limits:
            return self._turn_alone(client, row, grant, now)
        stock = self._stock(grant, row.rate, client, spec)
        if stock.left <= stock.low and not stock.asked:
            self._ask(stock)
        if not stock.left:
            return None
        return Borrowed(stock, self.gone.append)

    async def turn(self, client: str, row: Row, grant: str) -> Turn:
        """See `Pacing`."""
        spec = self._spec_of(grant, row.rate)
        if not spec.limits and spec.told is None:
            return await super().turn(client, row, grant)
        deadline = asyncio.get_running_loop().time() + HOLD
        while (turn := self.turn_now(client, row, grant)) is None:
            stock = self._stock(grant, row.rate, client, spec)
            refusal = await self._coming(stock, deadline)
            if refusal is not None:
                raise refusal
        return turn

    async def _coming(self, stock: _Stock, deadline: float) -> Refusal | None:
        if not stock.asked:
            self._ask(stock)
        loop = asyncio.get_running_loop()
        coming = stock.coming = stock.coming or loop.create_future()
        await asyncio.wait((coming,), timeout=min(0.5, max(0.0, deadline - loop.time())))
        if coming.done():
            return coming.result()
        if loop.time() >= deadline:
            return Refusal(
                "paced", "The process that keeps the budgets does not answer. Nothing was sent.", retry_after=1
            )
        return None

    def _turn_alone(self, client: str, row: Row, grant: str, now: Now | None) -> Turn | None:
        if not self._has_part(grant, row.rate):
            return None
        key = grant, row.rate
        if key not in self._begun:
            self._begun.add(key)
            left, closed = self._left.get(key, ({}, 0.0))
            ours = {length: calls // (2 * self._count) for length, calls in left.items()}
            self._alone.leave(grant, row.rate, ours, closed)
        return self._alone.turn_now(client, row, grant, now)

    def _has_part(self, grant: str, category: str | None) -> bool:
        known = self._alone._specs.get(grant_of(grant), {})  # noqa: SLF001  one of its own kind
        spec = known.get(category) or known.get(None)
        return spec is not None and bool(spec.limits)

    def _stock(self, grant: str, category: str | None, client: str, spec: Spec) -> _Stock:
        key = grant, category, client
        stock = self._stocks.get(key)
        if stock is None:
            stock = self._stocks[key] = _Stock(key, spec.names)
        return stock

    def _ask(self, stock: _Stock) -> None:
        grant, category, client = stock.key
        what = {"what": "turns", "grant": grant, "category": category, "client": client}

        def done(reply: Reply) -> None:
            stock.asked = 0
            coming, stock.coming = stock.coming, None
            refusal = None if reply is None else reply.get("refusal")
            stock.left += 0 if reply is None or refusal else int(reply["turns"])
            if coming is not None and not coming.done():
                coming.set_result(refusal_of(refusal) if refusal else None)

        stock.asked = self._custody.request(what | {"most": max(1, min(MOST, 2 * max(stock.used, stock.before)))}, done)

    def report(self) -> list[list[Any]]:
        """What became of places since the last report; those that nobody has wanted meanwhile go back."""
        for key, stock in list(self._stocks.items()):
            if stock.done:
                self.gone.append([*key, "done", stock.done])
                stock.done = 0
            if stock.heard is not None:
                self.gone.append(stock.heard[1])
                stock.heard = None
            spare = max(0, stock.left - stock.used)
            stock.left -= spare
            if spare:
                self.gone.append([*key, "unused", spare])
            if not (stock.used or stock.left or stock.asked or stock.out):
                del self._stocks[key]
            stock.before, stock.used = stock.used, 0
            stock.low = stock.before // 2
        told, self.gone = self.gone, []
        return told

    def hear_spare(self, spare: Iterable[list[Any]]) -> None:
        """What custody says is left of budgets, see `Pacing.spare`."""
        for grant, category, left, closed in spare:
            self._left[grant, category] = {float(length): int(calls) for length, calls in left}, float(closed)

    def anew(self) -> None:
        """Another custody: it has not said what is left."""
        self._left.clear()

    def lost(self) -> None:
        """Custody has gone, and its budgets with it: nothing that it lent counts any more."""
        self.gone.clear()
        self._begun.clear()
        for stock in self._stocks.values():
            stock.left = stock.done = stock.out = 0
            stock.heard = None
            stock.custody += 1


def _part(spec: Spec, count: int) -> Spec:
    """What one of `count` may send by itself; nothing, where that is not a whole call."""
    limits = tuple((seconds, calls // count) for seconds, calls in spec.limits)
    return replace(spec, limits=limits if all(calls for _, calls in limits) else ())
