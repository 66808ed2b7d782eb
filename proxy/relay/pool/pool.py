"""The connections of one grant to one origin, over one route. Nobody else's calls ever go over them."""

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.outbound import NotSent
from proxy.relay.pool.connection import Connection
from proxy.relay.pool.dialling import Route

IDLE = 15.0  # seconds that a connection is kept for the next call; brokers close theirs after a minute or more
SHORTEST_IDLE = 1.0  # seconds: of a broker that closes sooner nothing is kept
DIALS = 16  # at a time; more reads wait for one of these, or for a connection that becomes free
_CAUTION = 0.75  # of the time after which a broker was seen to close
_RECOVERY = 0.15  # seconds by which that is forgotten at each look


class Pool:
    """`idle` are those that wait for a call, the latest used last. `used`: when the last call went out.

    `limit`: seconds for which one is kept. It shrinks when the broker is seen to close one sooner, and recovers slowly.
    """

    __slots__ = (
        "_closed", "_loop", "_waiting", "dialling", "dials", "grant", "host", "idle", "limit", "open", "retry", "route",
        "used",
    )  # fmt: skip

    def __init__(self, grant: str, route: Route, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.grant = grant
        self.route = route
        self.host = str(route.origin).encode("ascii")
        self.idle: list[Connection] = []
        self.open: set[Connection] = set()
        self.used = -math.inf
        self.limit = IDLE
        self.dialling = self._closed = False
        self.dials = 0  # for calls that wait
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.retry = -math.inf  # when a connection may be dialled ahead again

    @property
    def busy(self) -> bool:
        """Whether a call is out over one of them."""
        return len(self.open) > len(self.idle) or self.dialling or self.dials > 0

    @property
    def crowded(self) -> bool:
        """Whether others wait already."""
        return bool(self._waiting)

    def take(self, now: float) -> Connection | None:
        """One that is open, fresh enough and silent. Of one that is not, the loop will soon read why."""
        idle = self.idle
        aside: list[Connection] | None = None
        connection: Connection | None
        while idle:
            connection = idle.pop()
            if now - connection.since >= self.limit:
                connection.abort()
            elif not connection.unread(0):
                break
            else:
                aside = [connection, *(aside or ())]
        else:
            connection = None
        if aside:
            idle += aside
        return connection

    def add(self, connection: Connection) -> None:
        """A new one, which has a call to carry first."""
        self.open.add(connection)

    def free(self, connection: Connection) -> None:
        """From a connection: it may serve the next call."""
        if self._closed:
            connection.abort()
        else:
            self.idle.append(connection)
        if self._waiting:
            self.wake()

    async def wait(self) -> None:
        """Until a connection is free, or one may be dialled: then look again. Raises `NotSent` if none can be had.

        Hundreds of handshakes at once would be seconds of work, in which orders wait.
        """
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.wake()  # it was meant for somebody who stays
            raise

    @contextmanager
    def dialled(self) -> Iterator[None]:
        """A call's own attempt to get a connection. If it fails, so do those that wait for what comes of it."""
        self.dials += 1
        try:
            yield
        except NotSent as error:
            for turn in self._waiting:
                if not turn.done():
                    turn.set_exception(NotSent(str(error)))
            self._waiting.clear()
            raise
        finally:
            self.dials -= 1
            self.wake()

    def wake(self) -> None:
        """Let the first of those that wait look again."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def gone(self, connection: Connection) -> None:
        """From a connection: it is closed."""
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self.wake()
        if connection.left and (age := self._loop.time() - connection.since) < self.limit:
            self.limit = max(SHORTEST_IDLE, age * _CAUTION)

    def tidy(self, now: float) -> None:
        """Close what has been idle for too long."""
        self.limit = min(IDLE, self.limit + _RECOVERY)
        for connection in [each for each in self.idle if now - each.since >= self.limit]:
            connection.abort()

    def close(self) -> None:
        """Close those that are idle, and those that are out behind their calls."""
        self._closed = True
        for connection in tuple(self.idle):
            connection.abort()


class Single:
    """Where connections belong that carry one call and are closed behind it."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        """A new one."""
        self.open.add(connection)

    def free(self, connection: Connection) -> None:
        """From a connection: its call has ended."""
        connection.abort()

    def gone(self, connection: Connection) -> None:
        """From a connection: it is closed."""
        self.open.discard(connection)
