"""How long to wait after a failed redeem, and when to stop trying. Pure; times are boot times in seconds."""

from collections import deque
from collections.abc import Callable

from proxy.tokens.grant import DAY, HOUR
from proxy.tokens.schedule import backoff

REFUSALS_TO_STOP = 12
UNUSABLE_TO_STOP = 4
UNUSABLE_PAUSE = 60.0
LOCAL_PAUSE = 5.0  # seconds at most between looks at a store that fails
AWAITED_PAUSE = 1.0  # likewise, while a call waits


class Patience:
    """One grant's tries. `retry_at` is the time before which no redeem may start.

    `local`: what is waited for is our own store or journal, so that looking again burdens no broker.
    """

    __slots__ = ("_first_failure", "_jitter", "_refusals", "_rotations", "_unusable", "failures", "local", "retry_at")

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self.retry_at = 0.0
        self.local = False
        self.failures = 0
        self._first_failure = 0.0
        self._refusals = 0
        self._unusable = 0
        self._rotations: deque[float] = deque()

    def failed(self, now: float, *, retry_after: float | None = None, refused: bool = False) -> None:
        """A redeem brought nothing. `refused`: by a 403 or an unknown 4xx, as opposed to an outage."""
        if self.failures == 0:
            self._first_failure = now
        self.failures += 1
        self._refusals = self._refusals + 1 if refused else 0
        wait = backoff(self.failures, now - self._first_failure, self._jitter)
        self._wait(now + max(wait, min(retry_after or 0.0, HOUR)))

    def hindered(self, now: float) -> None:
        """Store or journal failed, and nothing was asked of anybody: look again soon, however long it has lasted."""
        self._wait(now + LOCAL_PAUSE * (0.5 + 0.5 * self._jitter()), local=True)

    def hasten(self, now: float) -> None:
        """A call waits: look sooner, if that costs nobody anything."""
        if self.local:
            self.retry_at = min(self.retry_at, now + AWAITED_PAUSE * (0.5 + 0.5 * self._jitter()))

    def _wait(self, until: float, *, local: bool = False) -> None:
        self.retry_at, self.local = until, local

    def succeeded(self, now: float) -> None:
        self.failures = self._refusals = 0
        self._wait(0.0)
        self._rotations.append(now)

    def pair_usable(self) -> None:
        self._unusable = 0

    def pair_unusable(self, now: float) -> None:
        """A redeem brought a refresh token, but nothing that may be served: an API server outside the pin, say."""
        self._unusable += 1
        self._wait(now + UNUSABLE_PAUSE)

    def rest(self, now: float) -> None:
        """The grant has stopped: one try an hour."""
        self._wait(now + HOUR)

    def reset(self) -> None:
        """A person has looked at it: begin anew."""
        self._wait(0.0)
        self.failures = self._refusals = self._unusable = 0
        self._rotations.clear()

    @property
    def refused_too_often(self) -> bool:
        return self._refusals >= REFUSALS_TO_STOP

    @property
    def unusable_too_often(self) -> bool:
        return self._unusable >= UNUSABLE_TO_STOP

    def rotated_too_often(self, now: float, limit: int) -> bool:
        """Whether `limit` rotations lie within the last 24 h; 0 is no limit."""
        while self._rotations and now - self._rotations[0] > DAY:
            self._rotations.popleft()
        return 0 < limit <= len(self._rotations)
