"""Whose call goes on when there is more to do than this process can: cancels, then orders, then reads.

A process with too much to do gets slow for everybody alike: a cancel waits behind a thousand quotes. How late the loop
comes to its timers shows it (`watchdog.py` tells, forty times a second). One long turn of the loop is no overload, most
of a second spent in long ones is. Then reads are refused in part, at once and before anything is sent: the part grows
as long as turns are long, and shrinks when they are short again.

At any time few calls set off in one turn of the loop; the others wait for a later one, cancels before orders before
reads, and each client in its turn. A thousand calls that came together would go on together, each of them a step a
turn, and make the turns so long that an order, which takes a dozen, is a second late. Whoever waits for seconds is
refused too.
"""

import asyncio
import math
from dataclasses import dataclass

from proxy.errors import Refusal
from proxy.gate.rows import Row
from proxy.gate.turns import LOWER, ORDER, READ, Turns

LONG = 0.03  # seconds that a timer is late at least when a turn of the loop is too long
COUNTED = 0.15  # seconds of such a turn that count: one that takes a second is something else
MEMORY = 1.0  # seconds in which what was counted fades, to a third
TOO_MUCH = 0.3  # seconds that were counted, and have not faded: that is overload
GOAL = 0.02  # seconds that a timer may be late then, before fewer reads go on
LESS, MORE = 0.7, 0.03  # what becomes of the part of reads that goes on, at a long turn and at a short one
LEAST = 0.02  # of reads go on, whatever happens: else nobody would see that it is over
AT_ONCE = 16  # calls that set off in one turn of the loop
PATIENCE = {LOWER: 30.0, ORDER: 10.0, READ: 2.0}  # seconds that a call waits for its turn
AGAIN = 1.0  # seconds until a refused client should try again


@dataclass(eq=False, slots=True)
class _Waiter:
    turn: "asyncio.Future[None]"
    queued: bool = True


class Pressure:
    """Of one process. `calm` is what a call looks at first: as long as it holds, it asks nothing else here."""

    __slots__ = ("_counted", "_due", "_part", "_pumping", "_seen", "_started", "_turns", "calm", "shed")

    def __init__(self) -> None:
        self.calm = True
        self.shed = 0  # calls refused since the start
        self._part = 1.0  # of reads that go on
        self._due = 0.0
        self._counted = 0.0  # seconds of turns that were too long
        self._seen = 0.0  # when that was
        self._turns: Turns[_Waiter] = Turns()
        self._pumping = False
        self._started = 0  # calls that have set off in this turn

    def noticed(self, late: float, now: float) -> None:
        """A timer of the loop was `late` by so many seconds at `now` (on the loop's clock)."""
        if self._counted:
            self._counted *= math.exp((self._seen - now) / MEMORY)
        if late >= LONG:
            self._counted += min(late, COUNTED)
        self._seen = now
        if self.calm:
            self.calm = self._counted < TOO_MUCH
        elif late < GOAL:
            self._part = min(1.0, self._part + MORE)
            if self._part == 1.0:
                self.calm, self._counted = True, 0.0
        if not self.calm and late >= GOAL:
            self._part = max(LEAST, self._part * LESS)

    @property
    def part(self) -> float:
        """The part of reads that goes on."""
        return self._part

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._turns)

    def sheds(self) -> bool:
        """Whether this read, which has not waited yet, is one of those to be refused."""
        if self.calm:
            return False
        self._due += self._part
        if self._due >= 1.0:
            self._due -= 1.0
            return False
        self.shed += 1
        return True

    def ask_again(self) -> None:
        """The read that `sheds` let go on is about to be asked about once more: by a way that takes others, too."""
        self._due += 1.0 - self._part

    def refusal(self) -> Refusal:
        """What a call gets that is refused. Nothing of it was sent."""
        return Refusal("overloaded", "More calls come than can be served. Nothing was sent.", retry_after=AGAIN)

    async def place(self, row: Row, client: str) -> None:
        """Wait for the turn of this call, of which nothing was sent. `Refusal("overloaded")`, sooner for reads."""
        kind = kind_of(row)
        if not self.calm and kind == READ and self.sheds():
            raise self.refusal()
        if self._started < AT_ONCE and not self._turns:
            self._start()
            return
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._turns.add(kind, client, waiter)
        try:
            async with asyncio.timeout(PATIENCE[kind]):
                await waiter.turn
        except TimeoutError:
            self.shed += 1
            raise self.refusal() from None
        finally:
            if waiter.queued:
                self._turns.remove(kind, client, waiter)

    def _start(self) -> None:
        self._started += 1
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """A new turn of the loop."""
        self._pumping, self._started = False, 0
        while self._started < AT_ONCE and (waiter := self._turns.next(_anyone)) is not None:
            waiter.queued = False
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                self._start()


def kind_of(row: Row) -> int:
    """Which calls go first: those that lower risk, then whatever else changes something, then reads."""
    if row.order is not None and row.order.kind == "lower":
        return LOWER
    return ORDER if row.mutating else READ


def _anyone(_client: str, _kind: int) -> bool:
    return True
