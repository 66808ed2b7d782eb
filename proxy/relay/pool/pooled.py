"""Our own upstream: which connection a call goes over, and what is written.

A call that changes something never meets a connection that was open before: nobody could tell afterwards whether an
order got through on one that the broker was just closing.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator

from proxy.brokers.origin import Origin, pinned
from proxy.outbound import NO_ANSWER, Lost, NotSent
from proxy.relay import credential, wirehead
from proxy.relay.credential import NO_LINES
from proxy.relay.pool.answer import PooledAnswer
from proxy.relay.pool.connection import Connection
from proxy.relay.pool.deadlines import Deadlines
from proxy.relay.pool.dialling import Dialling, Route
from proxy.relay.pool.plainanswer import PlainAnswers
from proxy.relay.pool.pool import DIALS, IDLE, Pool, Single
from proxy.relay.pool.uploads import Sending
from proxy.relay.pool.warm import GRANTS, WARM_FOR, keep_warm
from proxy.relay.upstream import Call, Place, Upload
from proxy.tokens.grant import TokenPair

TIDY = 5.0  # seconds between two looks at what is idle
MOST_POOLS = 1024  # grants, origins and routes whose connections are kept
_MOST_NEAR = 1024
_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # of which an empty one is not announced

_Key = tuple[str, Route]


class _Waiting:
    """A caller who waits for an answer."""

    __slots__ = ("answer", "future")

    def __init__(self, future: "asyncio.Future[PooledAnswer]") -> None:
        self.future = future
        self.answer: PooledAnswer | None = None

    def answered(self, answer: PooledAnswer) -> None:
        self.answer = answer
        if not self.future.done():
            self.future.set_result(answer)

    def failed(self, error: Lost) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class PooledUpstream:
    """Connections of our own, held to sending once, never shared between grants, origins or what is trusted."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._dialling = Dialling(self._loop)
        self._plain = PlainAnswers()
        self._pools: dict[_Key, Pool] = {}
        # A place is the same object for all calls of a mount: what was found out about it need not be again.
        self._near: dict[int, tuple[Place, Origin, Pool]] = {}
        self._single = Single()
        self._tidying: asyncio.TimerHandle | None = None

    # -- calls --------------------------------------------------------------------------------------------------------

    async def send(self, call: Call, place: Place) -> PooledAnswer:
        """Send once. Raises `NotSent` (not a byte has left) or `Lost` (it may have been processed)."""
        pool = self._pool_of(place, place.origin_for(call.pair))
        data = _written(call, place, pool.host)
        began = pool.used = self._loop.time()
        connection = None if call.mutating or call.fresh else pool.take(began)
        if connection is None:
            connection = await self._dialled(pool, place.total, call)
        try:
            if call.last_look is not None:
                call.last_look()
        except BaseException:
            connection.put_back()
            raise
        waiting = _Waiting(self._loop.create_future())
        connection.send(
            data,
            waiting,
            method=call.method,
            total=place.total - (self._loop.time() - began),
            idle=place.idle if call.idle is None else call.idle,
            read_ahead=False,
            endless=call.streaming,
            uploading=isinstance(call.body, Upload),
        )
        if isinstance(call.body, Upload):
            Sending(call.body, connection)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if waiting.answer is not None:
                waiting.answer.close()
            else:
                connection.abort()
            raise

    def at_hand(self, place: Place, pair: TokenPair) -> Connection | None:
        """A connection for a read of this grant: open, idle, healthy and silent. None: there is none. It is taken."""
        origin = place.origin or pair.origin
        near = self._near.get(id(place))
        if near is None or near[0] is not place or near[1] is not origin:
            pool = self._pool_of(place, origin)
        else:
            pool = near[2]
        if not pool.idle:
            return None
        now = self._loop.time()
        connection = pool.take(now)
        if connection is not None:
            pool.used = now
        return connection

    # -- connections --------------------------------------------------------------------------------------------------

    def warm(self, place: Place, pair: TokenPair) -> None:
        """Calls will go there: have a connection ready, if the grant is one of those used lately, or there is room."""
        pool = self._pool_of(place, place.origin_for(pair))
        now = self._loop.time()
        if pool.used == -math.inf and (len(self._pools) <= GRANTS or self._lately(place.grant, now)):
            pool.used = now

    async def run(self, destinations: Callable[[], Iterable[tuple[Place, TokenPair]]]) -> None:
        """Keep connections ready, until this is cancelled. `destinations`: where calls will go, at the moment."""

        def look() -> Iterable[Pool]:
            for place, pair in destinations():
                self.warm(place, pair)
            return self._pools.values()

        await keep_warm(look, self._ahead)

    async def close(self) -> None:
        """Cut all connections. Whoever still waits for an answer gets `Lost`."""
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for connection in tuple(self._open):
            connection.give_up(Lost(NO_ANSWER))
        self._deadlines.close()
        self._pools.clear()
        self._near.clear()

    def _lately(self, grant: str, now: float) -> bool:
        return any(pool.grant == grant and now - pool.used < WARM_FOR for pool in self._pools.values())

    async def _dialled(self, pool: Pool, seconds: float, call: Call) -> Connection:
        try:
            async with asyncio.timeout(seconds):
                if call.mutating:
                    return await self._dial(pool, self._single)
                crowded = pool.crowded
                while crowded or pool.dials >= DIALS:
                    await pool.wait()
                    crowded = False
                    if not call.fresh and (connection := pool.take(self._loop.time())) is not None:
                        if pool.dials < DIALS:
                            pool.wake()
                        return connection
                with pool.dialled():
                    return await self._dial(pool, pool)
        except TimeoutError:
            raise NotSent(f"no connection within {seconds:.0f} s") from None

    async def _ahead(self, pool: Pool) -> None:
        """Dial before there is a call."""
        (await self._dial(pool, pool)).put_back()

    async def _dial(self, pool: Pool, home: Pool | Single) -> Connection:
        def make() -> Connection:
            return Connection(pool.host, home, self._deadlines, self._plain, self._loop)

        found = await self._dialling.dial(pool.route, make)
        if not found.alive:
            raise NotSent("the broker closed the connection at once")
        if self._tidying is None:
            self._tidying = self._loop.call_later(TIDY, self._tidy)
        return found

    def _tidy(self) -> None:
        self._tidying = None
        now = self._loop.time()
        for pool in self._pools.values():
            pool.tidy(now)
        if any(pool.open or pool.limit < IDLE for pool in self._pools.values()):
            self._tidying = self._loop.call_later(TIDY, self._tidy)

    @property
    def _open(self) -> Iterator[Connection]:
        yield from self._single.open
        for pool in self._pools.values():
            yield from pool.open

    def _pool_of(self, place: Place, origin: Origin) -> Pool:
        """The pool for calls to there. `AssertionError`: no bearer may go there."""
        if not pinned(origin, place.api_hosts):
            raise AssertionError("a credential was about to leave for an origin outside the pin")
        # What a connection trusts is part of the key: after a reload nothing goes on over one that trusted more.
        route = Route(origin, place.ca_file, place.private_hosts, place.egress, place.trust)
        key = (place.grant, route)
        pool = self._pools.get(key)
        if pool is None:
            self._make_room()
            pool = self._pools[key] = Pool(place.grant, route, self._loop)
        if len(self._near) >= _MOST_NEAR:
            self._near.clear()
        self._near[id(place)] = (place, origin, pool)
        return pool

    def _make_room(self) -> None:
        """Give up what was unused for longest. A pool with a call out is never cut."""
        excess = len(self._pools) - MOST_POOLS + 1
        if excess > 0:
            idle = sorted((pool.used, at) for at, pool in enumerate(self._pools.values()) if not pool.busy)
            keys = list(self._pools)
            for _, at in idle[: excess + MOST_POOLS // 16]:  # to look through all of them for each new one is too much
                self._pools.pop(keys[at]).close()
            self._near.clear()


def _written(call: Call, place: Place, host: bytes) -> bytes:
    """The request: its head, and its body if that is whole."""
    target, headers = call.target, credential.without(place.placement, call.headers)
    lines = credential.lines(place.placement, call.pair.access_token)
    if lines is None:
        target, lines = credential.write(place.placement, call.pair.access_token, target, ()).target, NO_LINES
    block = wirehead.block_of(headers, place.placement)
    framing = wirehead.LAST if call.mutating else b""
    body = b""
    if isinstance(call.body, Upload):
        length = call.body.length
        framing = (wirehead.CHUNKED if length is None else wirehead.length(length)) + framing
    else:
        body = call.body or b""
        if body or call.method not in _WITHOUT_BODY:
            framing = wirehead.length(len(body)) + framing
    return wirehead.head(call.method.encode("ascii"), target, host, block, lines, framing) + body
