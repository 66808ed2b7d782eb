"""Many calls at once that find no connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from proxy.brokers import HostPattern, Origin
from proxy.clock import Now
from proxy.outbound import NotSent
from proxy.relay.pool.pool import DIALS
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Call, Place
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from tests.lab import CA_FILE, TRUST
from tests.wire import ScriptedBroker, Visit, answer

HERE = Place("g", (HostPattern.parse("127.0.0.1:*"),), CA_FILE, total=5, idle=5)
READS = 6 * DIALS


@asynccontextmanager
async def crowded(status: str = "kept") -> AsyncIterator[tuple[PooledUpstream, ScriptedBroker]]:
    """A broker that takes its time, and then keeps the connection, or closes it."""
    upstream, broker = PooledUpstream(), ScriptedBroker(TRUST.tls)

    async def slow(visit: Visit) -> None:
        await visit.read()
        await asyncio.sleep(0.02)
        await visit.write(answer(200, b"{}", *["Connection: close"] * (status == "closed")))
        if status == "closed":
            visit.writer.close()

    broker.otherwise = slow
    await broker.start()
    try:
        yield upstream, broker
    finally:
        await upstream.close()
        await broker.stop()


def read(port: int) -> Call:
    pair = TokenPair(1, Secret("the-bearer"), Origin("127.0.0.1", port), Now(9e9, 9e9), 1800)
    return Call("GET", b"/v1/x", [("Accept", "*/*")], pair, mutating=False)


async def fetch(upstream: PooledUpstream, call: Call) -> int:
    found = await upstream.send(call, HERE)
    await found.start(1 << 20)
    found.close()
    return found.status


@pytest.mark.parametrize("status", ["kept", "closed"])
async def test_few_handshakes_are_made_at_a_time(status: str) -> None:
    """The other calls wait for a connection that becomes free, or for a place to dial; all are served."""
    async with crowded(status) as (upstream, broker):
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, *(pool.dials for pool in upstream._pools.values()), 0)
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        statuses = await asyncio.gather(*(fetch(upstream, read(broker.port)) for _ in range(READS)))
        watching.cancel()

        assert [200] * READS == statuses
        assert 0 < most <= DIALS
        assert broker.connections == READS if status == "closed" else broker.connections < READS


async def test_an_order_does_not_wait_for_them() -> None:
    """It dials at once, whoever dials or waits."""
    async with crowded() as (upstream, broker):
        order = replace(read(broker.port), method="POST", body=b"{}", mutating=True)
        reads = [asyncio.ensure_future(fetch(upstream, read(broker.port))) for _ in range(READS)]
        await asyncio.sleep(0)
        assert 200 == await fetch(upstream, order)
        assert not all(each.done() for each in reads)
        await asyncio.gather(*reads)


async def test_who_leaves_gives_up_nobody_else_s_turn() -> None:
    """Half of those that wait go away; the others are all served."""
    async with crowded("closed") as (upstream, broker):
        reads = [asyncio.ensure_future(fetch(upstream, read(broker.port))) for _ in range(READS)]
        await asyncio.sleep(0.01)
        for each in reads[::2]:
            each.cancel()
        await asyncio.wait(reads)

        assert {200} == {each.result() for each in reads if not each.cancelled()}
        assert READS // 2 <= sum(not each.cancelled() for each in reads)


async def test_where_nobody_can_be_reached_all_are_told() -> None:
    """As soon as one attempt has failed, and not one after the other."""
    async with crowded() as (upstream, broker):
        port = broker.port
        await broker.stop()
        reads = [fetch(upstream, read(port)) for _ in range(READS)]
        found = await asyncio.gather(*reads, return_exceptions=True)

        assert {NotSent} == {type(each) for each in found}
