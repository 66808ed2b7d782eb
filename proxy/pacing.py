"""Calls wait for their turn here, so that a broker need not refuse them.

Each grant, and each member of one, has a budget for each of the broker's rate categories, shared by all clients. What
may go, and who is next, is decided in `gate/budget.py` and `gate/turns.py`; this is the waiting. There is no task:
calls wake each other, or a timer of the loop does.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.gate.budget import Budget, Spec, View
from proxy.gate.clients import grant_of
from proxy.gate.ratehead import Heard, hear, wanted
from proxy.gate.rows import Row
from proxy.gate.turns import LOWER, ORDER, READ, Turns

_TOO_MANY = 429
_NOTHING_SENT = (403, 429, 503)  # refusals with these statuses say so; by others the broker may have counted the call
_SOON = 0.005  # seconds: the least that a timer is set to
_ROOM = 64  # budgets that are kept without looking which of them are idle

_RETRY = wanted({})
_SILENCE = Heard()

Outcome = Literal["waited", "refused", "left"]
Observe = Callable[[str, Outcome, float], None]


@dataclass(eq=False, slots=True)
class _Waiter:
    client: str
    kind: int
    turn: "asyncio.Future[None]"


class _Line:
    """One budget, and the calls that wait for it."""

    __slots__ = ("_clock", "_timer", "budget", "category", "grant", "turns")

    def __init__(self, grant: str, category: str | None, spec: Spec, clock: Clock) -> None:
        self.grant = grant
        self.category = category
        self.budget = Budget(spec)
        self.turns: Turns[_Waiter] = Turns()
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, client: str, kind: int) -> Outcome:
        """Until it is this call's turn: "waited", and its place in the budget is taken; or "refused"."""
        waiter = _Waiter(client, kind, asyncio.get_running_loop().create_future())
        self.turns.add(kind, client, waiter)
        try:
            self.dispatch()
            await asyncio.wait((waiter.turn,), timeout=self.budget.spec.patience)
        except BaseException:
            self._leave(waiter)  # its client has gone
            raise
        if waiter.turn.done():
            return "waited"
        # Answers that it waited for, and that would have made room, have not come: the broker has the last word.
        goes = kind == LOWER and self.budget.overrun(self._clock.now().boot, client)
        self._leave(waiter)
        return "waited" if goes else "refused"

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.turn.done():
            self.budget.give_back(waiter.client)
        else:
            self.turns.remove(waiter.kind, waiter.client, waiter)
        self.dispatch()

    def dispatch(self) -> None:
        """Let go whoever may, and look again when the next one might."""
        if not self.turns:
            return
        now = self._clock.now().boot
        admit = partial(self.budget.admit, now)
        while (waiter := self.turns.next(admit)) is not None:
            waiter.turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.turns:
            moment = min(self.budget.when(now, client, kind) for client, kind in self.turns.heads())
            if moment > now or not self.budget.out:  # else an answer will wake them
                self._timer = asyncio.get_running_loop().call_later(max(_SOON, moment - now), self.dispatch)

    def wait_for(self, client: str, kind: int) -> float:
        """Seconds until a call that came now would have its turn."""
        now = self._clock.now().boot
        return self.budget.when(now, client, kind, self.turns.ahead(kind, client)) - now


class Turn:
    """A call's place in its budget: from its sending until its answer's head. `with` it, and tell what came of it."""

    __slots__ = ("_client", "_clock", "_line")

    def __init__(self, line: _Line, client: str, clock: Clock) -> None:
        self._line: _Line | None = line
        self._client = client
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def answered(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], *, calls: int = 1, now: Now | None = None
    ) -> None:
        """The broker's answer begins. `calls`: how often the call was sent; `now` as for `Pacing.turn_now`."""
        line, self._line = self._line, None
        if line is None:
            return
        names = line.budget.spec.names
        refused = status == _TOO_MANY
        heard = hear(headers, names or _RETRY) if names or refused else _SILENCE
        now = now or self._clock.now()
        line.budget.finish(now.boot, self._client, heard, wall=now.wall, refused=refused, calls=calls)
        if line.turns.count:
            line.dispatch()

    def give_back(self) -> None:
        """The call was not sent after all."""
        line, self._line = self._line, None
        if line is not None:
            line.budget.give_back(self._client)
            line.dispatch()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        if isinstance(error, Refusal) and error.kind.status in _NOTHING_SENT:
            line.budget.give_back(self._client)
        else:
            line.budget.finish(self._clock.now().boot, self._client)
        line.dispatch()


def _kind(row: Row) -> int:
    order = row.order
    return READ if order is None else LOWER if order.kind == "lower" else ORDER


class Pacing:
    """Every budget of this server. `observe(grant, outcome, seconds)` is told of each call that had to wait.

    A member's calls are told of under the name of the configured grant.
    """

    def __init__(self, clock: Clock, observe: Observe = lambda _grant, _outcome, _seconds: None) -> None:
        self._clock = clock
        self._observe = observe
        self._lines: dict[tuple[str, str | None], _Line] = {}
        self._specs: Mapping[str, Mapping[str | None, Spec]] = {}
        self._room = _ROOM

    def define(self, specs: Mapping[str, Mapping[str | None, Spec]]) -> None:
        """Grant → category → what is known of it. What was counted and learnt stays."""
        self._specs = specs
        for line in self._lines.values():
            spec = self._spec(line.grant, line.category)
            if line.budget.spec != spec:
                line.budget.redefine(spec)
                line.dispatch()

    async def turn(self, client: str, row: Row, grant: str) -> Turn:
        """A place for this call, at once or after a while. `Refusal("paced")` if that would be too long."""
        turn = self.turn_now(client, row, grant)
        if turn is not None:
            return turn
        line = self._lines[grant, row.rate]
        await self._wait(line, client, _kind(row))
        return Turn(line, client, self._clock)

    def turn_now(self, client: str, row: Row, grant: str, now: Now | None = None) -> Turn | None:
        """A place for this call at once, None where it would have to wait or be refused: then nothing has changed.

        `now`: for whoever has just looked at the clock.
        """
        line = self._lines.get((grant, row.rate)) or self._new(grant, row.rate)
        # A call that would be next anyway goes first; nobody overtakes those that wait.
        boot, kind = (now or self._clock.now()).boot, READ if row.order is None else _kind(row)
        if line.turns.count or not line.budget.admit(boot, client, kind):
            return None
        return Turn(line, client, self._clock)

    async def reads(self, client: str, category: str | None, grant: str, most: int) -> list[Turn]:
        """Places for up to `most` reads, at least one, for somebody who sends them elsewhere. As `turn`."""
        line = self._line(grant, category)
        now = self._clock.now().boot
        found: list[Turn] = []
        while len(found) < most and not line.turns and line.budget.admit(now, client, READ):
            found.append(Turn(line, client, self._clock))
        if not found:
            await self._wait(line, client, READ)
            found.append(Turn(line, client, self._clock))
        return found

    def leave(self, grant: str, category: str | None, left: Mapping[float, int], closed: float) -> None:
        """A budget begins with so many calls, see `Budget.leave`: somebody else has counted it until now."""
        self._line(grant, category).budget.leave(self._clock.now().boot, left, closed)

    def spare(self) -> list[tuple[str, str | None, list[tuple[float, int]], float]]:
        """What is left of the budgets of configured grants that were used, see `Budget.spare`."""
        now = self._clock.now().boot
        return [
            (grant, category, *line.budget.spare(now))
            for (grant, category), line in self._lines.items()
            if "/" not in grant
        ]

    def _line(self, grant: str, category: str | None) -> _Line:
        return self._lines.get((grant, category)) or self._new(grant, category)

    async def _wait(self, line: _Line, client: str, kind: int) -> None:
        grant, began = grant_of(line.grant), self._clock.now().boot
        if line.wait_for(client, kind) > line.budget.spec.patience:
            self._observe(grant, "refused", 0.0)
            raise self._paced(line, client, kind)
        try:
            outcome = await line.wait(client, kind)
        except asyncio.CancelledError:
            self._observe(grant, "left", self._clock.now().boot - began)
            raise
        self._observe(grant, outcome, self._clock.now().boot - began)
        if outcome == "refused":
            raise self._paced(line, client, kind)

    def _paced(self, line: _Line, client: str, kind: int) -> Refusal:
        wait = max(0.001, line.wait_for(client, kind))
        about = f"calls of the category {line.category}" if line.category else "calls"
        detail = f"There is no room for more {about} of the grant {line.grant} before {wait:.1f} s from now."
        return Refusal("paced", detail + " Nothing was sent.", retry_after=wait, rule=line.category or "429")

    def _new(self, grant: str, category: str | None) -> _Line:
        if len(self._lines) >= self._room:
            now = self._clock.now().boot
            self._lines = {key: line for key, line in self._lines.items() if line.turns or not line.budget.idle(now)}
            self._room = max(_ROOM, 2 * len(self._lines))
        line = self._lines[grant, category] = _Line(grant, category, self._spec(grant, category), self._clock)
        return line

    def _spec(self, grant: str, category: str | None) -> Spec:
        known = self._specs.get(grant_of(grant), {})
        spec = known.get(category) or known.get(None) or Spec()
        # How many keys stand for a member is nobody's to know: those that call are its clients.
        return spec if "/" not in grant else replace(spec, clients=frozenset())

    # -- what others ask ----------------------------------------------------------------------------------------------

    def standings(self) -> Iterator[tuple[str, str, View, int]]:
        """Grant, category, how it stands and how many wait, of all configured grants' budgets that were used."""
        now = self._clock.now().boot
        for (grant, category), line in self._lines.items():
            if category is not None and "/" not in grant:
                yield grant, category, line.budget.view(now), len(line.turns)

    def left(self) -> Iterator[tuple[str, str, int | None, int]]:
        """Grant, category, calls that are left (None: not known, or no limit) and calls that wait."""
        return ((grant, category, view.remaining, waiting) for grant, category, view, waiting in self.standings())

    def told(self, grant: str) -> list[dict[str, Any]]:
        """The budgets of a grant as plain data. Seconds and calls; None: no limit, or not known."""
        return [
            {
                "category": category,
                "limit": view.limit,
                "remaining": view.remaining,
                "seconds": view.seconds,
                "closed": view.closed,
                "waiting": waiting,
            }
            for name, category, view, waiting in sorted(self.standings(), key=lambda found: found[:2])
            if name == grant
        ]
