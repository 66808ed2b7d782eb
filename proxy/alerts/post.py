"""One hook: what it is to be told, what it was told, and how that goes.

It is told one thing after the other. What fails is tried again, ever more slowly, and given up after some tries. What
is still wrong then is told anew later: a receiver that is away for a night hears of it in the morning.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy import logs
from proxy.alerts.notice import Answer, Notice, Trouble, begun, foreign, over
from proxy.alerts.queue import ROOM, Queue
from proxy.clock import Clock, Now
from proxy.hooks import Hook

OUTCOMES = ("delivered", "failed", "given-up", "dropped")

log = logs.get("alerts")

Deliver = Callable[[Hook, Notice], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: from a first failure to the next try, at most so long between tries, and until what was given up is told
    anew. `tries` of one notice; `room` for notices that wait."""

    first: float = 1.0
    longest: float = 300.0
    rest: float = 900.0
    tries: int = 10
    room: int = ROOM


class Post:
    """`reconcile` with what is wrong, `put` what has happened, `run` beside that until cancelled.

    `told` is what it was told of and not of the end; `changed` is called when that changes.
    """

    def __init__(
        self,
        hook: Hook,
        deliver: Deliver,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        told: Mapping[str, Trouble] | None = None,
        pace: Pace | None = None,
        jitter: Callable[[], float] = random.random,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.hook = hook
        self.told: dict[str, Trouble] = dict(told or {})
        self.counts: Counter[str] = Counter()
        self._deliver, self._clock, self._new_id, self._jitter, self._changed = deliver, clock, new_id, jitter, changed
        self._pace = pace or Pace()
        self._queue = Queue(self._pace.room)
        self._latest = dict(self.told)  # as it will be told once all that waits has gone
        self._told_at: dict[str, float] = {}  # boot time
        self._repeats: Counter[str] = Counter()
        self._resting: dict[str, float] = {}  # boot time until which a key is left alone
        self._wake, self._alone = asyncio.Event(), asyncio.Lock()
        self._current: Notice | None = None
        self._pausing = False  # between two tries
        self._failures = 0  # in a row
        self._failing_since: float | None = None
        self._last: tuple[float, str, Answer] | None = None

    # -- what it is to be told ----------------------------------------------------------------------------------------

    def reconcile(self, opened: Mapping[str, Trouble]) -> None:
        """Have it told what is wrong that it does not know of, and what is over."""
        now = self._clock.now()
        for key, trouble in opened.items():
            if trouble.event in self.hook.events and now.boot >= self._resting.get(key, now.boot):
                self._reconcile(key, trouble, now)
        for key in [each for each in self._latest if each not in opened]:
            if key in self._latest and self._queue.takes_more and now.boot >= self._resting.get(key, now.boot):
                trouble = self._latest.pop(key)
                self._told_at.pop(key, None)
                if trouble.event in self.hook.events:
                    self.put(over(trouble, self._new_id(), now.wall))
                elif self.told.pop(key, None) is not None:
                    self._changed()

    def _reconcile(self, key: str, trouble: Trouble, now: Now) -> None:
        known = self._latest.get(key)
        if known is None or known.version != trouble.version:
            if not self._queue.takes_more:
                return  # a thousand grants may need a login at once: it is still so at the next look
            self._latest[key], self._told_at[key], self._repeats[key] = trouble, now.boot, 0
            self.put(begun(trouble, self._new_id(), now.wall))
            return
        told_at = self._told_at.setdefault(key, now.boot)
        if self.hook.repeat and now.boot - told_at >= self.hook.repeat and not self._waits(key):
            self._told_at[key] = now.boot
            self._repeats[key] += 1
            self.put(begun(trouble, self._new_id(), now.wall, self._repeats[key]))

    def _waits(self, key: str) -> bool:
        return any(each.key == key for each in self._queue) or (self._current is not None and self._current.key == key)

    def put(self, notice: Notice) -> None:
        """Have it told this, after what waits already."""
        if (lost := self._queue.put(notice)) is not None:
            self.counts["dropped"] += 1
            log.warning("an alert was dropped: too many wait", hook=self.hook.name, alert=lost.event, about=lost.key)
            self._undone(lost)
        self._wake.set()

    def _undone(self, notice: Notice) -> None:
        """It was not told this. If it still matters after a while, it is told then."""
        key, trouble = notice.key, notice.trouble
        if trouble is None or notice.repeat:
            return
        known = self._latest.get(key)
        if (None if known is None else known.version) != (None if notice.kind == "resolved" else trouble.version):
            return  # a later one waits
        self._latest.pop(key, None)
        if key in self.told:
            self._latest[key] = self.told[key]
        self._resting[key] = self._clock.now().boot + self._pace.rest

    # -- telling ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell it, until cancelled."""
        while True:
            self._current = self._queue.take()
            if self._current is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            notice = self._current
            # The end of something that it never heard of is no news.
            if notice.kind != "resolved" or notice.key in self.told:
                await self._tell(notice)
            self._current = None

    async def _tell(self, notice: Notice) -> None:
        for _ in range(self._pace.tries):
            answer = await self.tell(self.hook, notice)
            if answer.ok:
                self._delivered(notice)
                return
            await self._pause(answer.retry_after)
            if not answer.again:
                break
        self.counts["given-up"] += 1
        log.error("an alert was given up", hook=self.hook.name, alert=notice.event, about=notice.key)
        self._undone(notice)

    async def tell(self, hook: Hook, notice: Notice) -> Answer:
        """Tell it this now, once, when it is not being told something else."""
        try:
            async with self._alone:
                answer = await self._deliver(hook, notice)
        except Exception as error:  # noqa: BLE001  a fault of ours must not silence all that follows
            log.error("a hook failed by a fault of ours", hook=hook.name, error=type(error).__name__)
            answer = Answer(ok=False, said="bearerd failed")
        self.heard(notice.event, answer)
        return answer

    def heard(self, event: str, answer: Answer) -> None:
        """A try has ended like this."""
        now = self._clock.now().wall
        self._last = now, event, answer
        if not answer.ok:
            self.counts["failed"] += 1
            if self._failing_since is None:
                self._failing_since = now
            self._failures += 1
            log.warning("an alert was not delivered", hook=self.hook.name, alert=event, reason=foreign(answer.said))
            return
        if self._failing_since is not None:
            log.info("alerts are delivered again", hook=self.hook.name)
        self._failing_since, self._failures = None, 0
        if self._pausing:
            self._wake.set()

    def wait(self, retry_after: float) -> float:
        """Seconds until the next try, of which the other end may ask for more."""
        step = min(self._pace.longest, self._pace.first * 2.0 ** min(self._failures - 1, 20))
        return max(step * (0.5 + 0.5 * self._jitter()), min(retry_after, self._pace.longest))

    async def _pause(self, retry_after: float) -> None:
        self._pausing = True
        try:
            async with asyncio.timeout(self.wait(retry_after)):
                while self._failures:  # until a test says that it hears again
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._pausing = False

    def _delivered(self, notice: Notice) -> None:
        self.counts["delivered"] += 1
        self._resting.pop(notice.key, None)
        if notice.kind == "problem" and notice.trouble is not None:
            self.told[notice.key] = notice.trouble
        elif notice.kind == "resolved":
            self.told.pop(notice.key, None)
        else:
            return
        self._changed()

    # -- seeing -------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether there is something to tell that is not already failing."""
        return (len(self._queue) > 0 or self._current is not None) and not self._pausing

    @property
    def waiting(self) -> int:
        """How much it has not been told yet."""
        return len(self._queue) + (self._current is not None)

    def standing(self) -> dict[str, Any]:
        """How it goes, as plain data. Times are Unix seconds."""
        last = None
        if self._last is not None:
            at, event, answer = self._last
            last = {"at": at, "event": event, "ok": answer.ok, "said": foreign(answer.said)}
        counts = {name.replace("-", "_"): self.counts[name] for name in OUTCOMES}
        return {"waiting": self.waiting, **counts, "failing_since": self._failing_since, "last": last}
