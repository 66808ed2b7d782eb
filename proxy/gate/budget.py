"""How many calls of one rate category a grant may still send: what the definition allows, and what the broker tells.

Pure arithmetic, `now` is passed in: seconds of a clock that is never set back. `window.py` counts, `ratehead.py` reads
what answers say, `turns.py` decides who is next, `proxy/pacing.py` waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from proxy.gate.ratehead import Heard, Names, is_unix, reset_in, retry_in
from proxy.gate.turns import LOWER, ORDER, READ
from proxy.gate.window import Window

SECOND, MINUTE, HOUR = 1.0, 60.0, 3600.0
_ASKING = 1.0  # seconds for which the first call may find out alone what is left
_SPACING = 1.0  # seconds between calls that lower risk and go though nothing is left


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a category before anything is sent.

    - `limits`: (seconds, calls), the shortest first; `told`: the length of the one that the broker's headers tell of,
      None if they tell of none; `names`: those headers, see `ratehead.wanted`;
    - `patience`: seconds that a call may wait; `reserve`: the part of a limit that reads leave to orders (if `orders`:
      there are some), and half of which orders leave to calls that lower risk. A client that has had its share of a
      limit leaves the same part to the others;
    - `clients`: who may use it.
    """

    limits: tuple[tuple[float, int], ...] = ()
    told: float | None = None
    names: Names = field(default_factory=lambda: Names({}))
    patience: float = 2.0
    reserve: float = 0.1
    orders: bool = False
    clients: frozenset[str] = frozenset()

    def windows(self) -> tuple[Window, ...]:
        """The limits, nothing counted yet. What headers tell of is a window even if nobody knows its limit."""
        # With one client, or where the next window comes soon, there are no shares.
        several = len(self.clients) != 1
        found = [
            Window(length, calls, told=length == self.told, named=several and length > self.patience)
            for length, calls in self.limits
        ]
        if self.told is not None and not any(window.told for window in found):
            found.append(Window(self.told, None, told=True))
        return tuple(found)


def limits(per_second: float | None, per_minute: float | None, per_hour: float | None) -> tuple[tuple[float, int], ...]:
    """Limits as a definition says them, in whole calls: 2.5 in a second are 5 in two."""
    found = []
    for length, calls in ((SECOND, per_second), (MINUTE, per_minute), (HOUR, per_hour)):
        if calls:
            whole = Fraction(calls).limit_denominator(1000)
            found.append((length * whole.denominator, whole.numerator))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class View:
    """How a budget stands, for people. Seconds and calls; None where there is no limit, or nobody knows."""

    limit: int | None
    remaining: int | None
    seconds: float | None  # until the broker's window ends
    closed: float  # seconds, 0 if it is open


class Budget:
    """One category of one grant. `admit` a call, then `finish` it, or `give_back` what was not sent."""

    __slots__ = (
        "_asked", "_closed", "_known", "_mine", "_out", "_overran", "_refusals", "_reset", "_told", "_unasked",
        "_windows", "spec",
    )  # fmt: skip

    def __init__(self, spec: Spec) -> None:
        self._out = 0
        self._mine: dict[str, int] = {}  # those on their way, by client
        self._closed = 0.0  # until when the broker wants nothing
        self._refusals = 0  # 429s in a row that did not say how long
        self._overran = float("-inf")  # when a call last went though nothing was left
        self._asked = 0.0  # when the call was sent that finds out what is left
        self._reset: tuple[bytes | None, float] = (None, 0.0)  # a moment as the broker wrote it, and by our clock
        self._windows: tuple[Window, ...] = ()
        self.redefine(spec)

    def redefine(self, spec: Spec) -> None:
        """Go by another definition. What was counted and learnt for limits that stay is kept."""
        known = {window.length: window for window in self._windows}
        windows = []
        for new in spec.windows():
            old = known.get(new.length, new)
            old.told, old.named = new.told, new.named
            old.defined, old.limit = new.limit, old.limit if old.known is not None else new.limit
            windows.append(old)
        self.spec = spec
        self._windows = tuple(windows)
        self._told = next((window for window in windows if window.told), None)
        self._unasked = self._told is not None and self._told.known is None

    # -- before -------------------------------------------------------------------------------------------------------

    def admit(self, now: float, client: str, kind: int) -> bool:
        """Whether a call may go now; if so, it has its place."""
        if (self._windows or now < self._closed) and not self._free(now, client, kind):
            if kind != LOWER or not self._may_overrun(now):
                return False
            self._overran = now
        if not self._out:  # `_take`, of which every call would feel the detour
            self._asked = now
        self._out += 1
        self._mine[client] = self._mine.get(client, 0) + 1
        return True

    def overrun(self, now: float, client: str) -> bool:
        """Whether a call that lowers risk, and has waited for as long as it may, goes now; if so, it has its place."""
        if now - self._overran < _SPACING:
            return False
        self._overran = now
        self._take(now, client)
        return True

    def _take(self, now: float, client: str) -> None:
        if not self._out:
            self._asked = now
        self._out += 1
        self._mine[client] = self._mine.get(client, 0) + 1

    def when(self, now: float, client: str, kind: int, ahead: int = 0) -> float:
        """When a call could go, behind `ahead` others: a moment, `now` if it hangs on answers that are awaited."""
        moment = self._when(now, client, kind, ahead)
        if kind == LOWER and moment - now > self.spec.patience:
            moment = min(moment, max(now, self._overran + _SPACING) + ahead * _SPACING)
        return moment

    def _free(self, now: float, client: str, kind: int) -> bool:
        if now < self._closed:
            return False
        out = self._out
        if self._unasked and out and kind == READ and now < self._asked + _ASKING:
            return False
        for window in self._windows:
            left = window.left(now, out)
            if left < 1:
                return False
            tight = kind != LOWER and window.limit is not None and left <= window.limit * 2 * self.spec.reserve
            if tight and left <= self._kept(window, client, kind):
                return False
        return True

    def _kept(self, window: Window, client: str, kind: int) -> int:
        """What a call must leave in a window. Nothing where those who come later wait no longer than they may."""
        spec, limit = self.spec, window.limit
        if limit is None or window.length <= spec.patience:
            return 0
        part = int(limit * spec.reserve)
        if kind == ORDER:
            return part // 2
        kept = part if spec.orders else 0
        if not window.named:
            return kept
        crowd = len(spec.clients | window.clients() | self._mine.keys() | {client})
        if crowd > 1 and window.of(client) + self._mine.get(client, 0) >= limit / crowd:
            kept += part
        return kept

    def _may_overrun(self, now: float) -> bool:
        """A call that lowers risk is not kept from the broker for longer than it may wait: it has the last word."""
        return now - self._overran >= _SPACING and self._when(now, "", LOWER, 0) - now > self.spec.patience

    def _when(self, now: float, client: str, kind: int, ahead: int) -> float:
        moment = max(now, self._closed)
        if self._unasked and self._out and kind == READ:
            moment = max(moment, min(self._asked + _ASKING, now + _ASKING))
        for window in self._windows:
            kept = 0 if kind == LOWER else self._kept(window, client, kind)
            moment = max(moment, window.when(now, ahead + 1 + kept, self._out))
        return moment

    # -- after --------------------------------------------------------------------------------------------------------

    def give_back(self, client: str) -> None:
        """The call was not sent after all."""
        self._out -= 1
        left = self._mine[client] - 1
        if left:
            self._mine[client] = left
        else:
            del self._mine[client]

    def finish(
        self, now: float, client: str, heard: Heard | None = None, *, wall: float = 0.0, refused: bool = False,
        calls: int = 1,
    ) -> None:  # fmt: skip
        """The call was answered, or, without `heard`, lost. `calls`: how often it was sent.

        `refused`: the broker said 429. `wall` is Unix time by this machine's clock.
        """
        self._out -= 1  # `give_back`, of which every call would feel the detour
        left = self._mine[client] - 1
        if left:
            self._mine[client] = left
        else:
            del self._mine[client]
        for window in self._windows:
            window.count(now, client, calls)
        told = self._told
        if heard is None:
            if told is not None:
                told.lost(calls)
            return
        self._unasked = False
        if refused:
            self._close(now, wall, heard)
        else:
            self._refusals = 0
        if told is None:
            return
        if heard.limit is not None:
            told.limit = heard.limit
        if heard.remaining is None or refused:
            told.unheard(calls)
        else:
            told.hear(now, heard.remaining, self._ends(now, wall, heard), calls)

    def _ends(self, now: float, wall: float, heard: Heard) -> float | None:
        """When the window ends that the answer speaks of. The same text is the same moment, whatever clocks say."""
        if heard.reset is not None and heard.reset == self._reset[0]:
            return self._reset[1]
        seconds = reset_in(heard, wall)
        if seconds is None or heard.reset is None:
            return None
        if heard.date is None and seconds > self.longest:
            return None  # held against a clock that may be wrong, and it must be
        if is_unix(heard.reset):
            self._reset = (heard.reset, now + seconds)
        return now + seconds

    def _close(self, now: float, wall: float, heard: Heard) -> None:
        """The broker refuses calls: for as long as it says, or else for a little longer each time; never for ever."""
        wait = retry_in(heard)
        if wait is None:
            # The headers may tell of another limit than the one that was hit: then they say nothing of this.
            shortest = min((window.length for window in self._windows), default=SECOND)
            guess = shortest * 2.0 ** min(self._refusals, 12)
            self._refusals += 1
            ends = self._ends(now, wall, heard)
            told = ends - now if ends is not None and ends > now else None
            wait = guess if told is None else min(told, guess) if heard.remaining else told
        self._closed = max(self._closed, now + min(wait, self.longest))

    @property
    def longest(self) -> float:
        """Seconds: nothing that a broker says closes this budget for longer."""
        return max([MINUTE, *(window.length for window in self._windows)])

    def leave(self, now: float, left: Mapping[float, int], closed: float) -> None:
        """Begin with so many calls at most in each window, by its length; in others with none. `closed`: until when."""
        for window in self._windows:
            window.leave(now, left.get(window.length, 0))
        self._closed = max(self._closed, closed)

    # -- what others ask ----------------------------------------------------------------------------------------------

    @property
    def out(self) -> int:
        """Calls on their way."""
        return self._out

    def spare(self, now: float) -> tuple[list[tuple[float, int]], float]:
        """Length and calls left of each window that has a limit, and until when the broker wants nothing."""
        found = ((window.length, window.left(now, self._out)) for window in self._windows)
        return [(length, max(0, int(left))) for length, left in found if left != float("inf")], self._closed

    def idle(self, now: float) -> bool:
        """Whether nothing would be lost with it but what one answer tells."""
        return not self._out and now >= self._closed and all(window.idle(now) for window in self._windows)

    def view(self, now: float) -> View:
        """How it stands: by the window that the broker tells of, or else the longest."""
        closed = max(0.0, self._closed - now)
        window = self._told or next(iter(self._windows[-1:]), None)
        if window is None:
            return View(None, None, None, closed)
        left = window.left(now, self._out)
        ends = window.ends
        return View(
            window.limit,
            None if left == float("inf") else max(0, int(left)),
            None if ends is None else max(0.0, ends - now),
            closed,
        )
