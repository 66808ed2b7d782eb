"""Connections that are ready before there is a call: for whom, for how long, and what a broker thinks of it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from proxy.brokers.origin import Origin
from proxy.outbound import NotSent
from proxy.relay.pool.dialling import Route
from proxy.relay.pool.pool import IDLE, Pool
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.pool.warm import AHEAD, GRANTS, RETRY, SHORTEST, WARM_FOR, keep_warm, lacking
from proxy.relay.upstream import Place
from proxy.tokens.grant import TokenPair
from tests.callers import eventually
from tests.calling import ANYWHERE, call, fetch
from tests.lab import TRUST
from tests.wire import ScriptedBroker

NOW = 10_000.0


class Kept:
    """An idle connection, as far as it is looked at here."""

    def __init__(self, since: float) -> None:
        self.since = since


def pool(grant: str = "g", *, used: float = NOW, origin: str = "h", ca_file: str | None = None) -> Pool:
    found = Pool(grant, Route(Origin(origin, 443), ca_file), asyncio.get_running_loop())
    found.used = used
    return found


async def test_only_those_used_lately_have_one_ready() -> None:
    """The 64 latest, until a quarter of an hour after their last call."""
    pools = [pool(f"g{number}", used=NOW - number) for number in range(GRANTS + 10)]
    assert pools[:GRANTS] == lacking(pools, NOW)
    assert [] == lacking([pool(used=NOW - WARM_FOR), pool("h", used=float("-inf"))], NOW)


async def test_one_is_dialled_anew_before_the_broker_closes_it() -> None:
    """Not before; and of a broker that closes at once, none is kept."""
    found = pool()
    found.idle = [Kept(NOW - IDLE + AHEAD + 0.1)]  # type: ignore[list-item]
    assert [] == lacking([found], NOW)
    assert [found] == lacking([found], NOW + 0.2)
    found.limit = SHORTEST - 0.1
    assert [] == lacking([found], NOW + 0.2)


async def test_a_failure_is_not_repeated_at_once() -> None:
    """The next call will tell of it."""
    found, tried = pool(used=asyncio.get_running_loop().time()), 0

    async def dial(_: Pool) -> None:
        nonlocal tried
        tried += 1
        raise NotSent("no")

    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await keep_warm(lambda: [found], dial)
    assert (1, False) == (tried, found.dialling)
    now = asyncio.get_running_loop().time()
    assert [] == lacking([found], now)
    assert [found] == lacking([found], now + RETRY)


async def test_of_two_ways_to_the_same_origin_the_latest_counts() -> None:
    """After a reload nothing is dialled any more with the trust of before."""
    before, after = pool(used=NOW - 5, ca_file="old.pem"), pool(used=NOW - 1, ca_file="new.pem")
    assert [after] == lacking([before, after], NOW)
    other = pool(used=NOW - 5, origin="other")
    assert [after, other] == lacking([before, after, other], NOW)


async def test_a_call_finds_a_connection_ready() -> None:
    """It was dialled where calls will go, and serves only the grant that it was dialled for."""
    broker, upstream = ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    pair = call(broker).pair

    def destinations() -> Iterator[tuple[Place, TokenPair]]:
        yield ANYWHERE, pair

    running = asyncio.ensure_future(upstream.run(destinations))
    try:
        async for _ in eventually(5):
            if broker.connections and any(each.idle for each in upstream._pools.values()):
                break
        assert (1, []) == (broker.connections, broker.visits)
        assert upstream.at_hand(replace(ANYWHERE, grant="other"), pair) is None
        connection = upstream.at_hand(ANYWHERE, pair)
        assert connection is not None
        assert connection.used  # the broker may be closing it: a call over it may meet that
        connection.put_back()
        await fetch(upstream, call(broker, mutating=True, method="POST"))
        assert 2 == broker.connections
        await fetch(upstream, call(broker))
        assert 2 == broker.connections
    finally:
        running.cancel()
        await asyncio.wait([running])
        await upstream.close()
        await broker.stop()
