"""Which connection a call goes over. What both upstreams have to do is in `tests/relay/test_upstream.py`."""

import asyncio
from dataclasses import replace

import pytest

from proxy.brokers.origin import HostPattern, Origin
from proxy.outbound import Lost, NotSent
from proxy.relay.pool import pooled
from proxy.relay.pool.pool import IDLE, SHORTEST_IDLE
from tests.callers import eventually
from tests.calling import ANYWHERE, call, fetch, scene
from tests.lab import CA_FILE
from tests.wire import Visit, accept, answer, reset


async def test_a_connection_is_at_hand_for_its_grant_alone() -> None:
    """Not for another grant, another trust or another origin; and for one call at a time."""
    async with scene() as (upstream, broker):
        pair = call(broker).pair
        assert upstream.at_hand(ANYWHERE, pair) is None
        await fetch(upstream, call(broker))
        elsewhere = replace(pair, origin=Origin("127.0.0.1", 1))
        assert upstream.at_hand(replace(ANYWHERE, grant="other"), pair) is None
        assert upstream.at_hand(replace(ANYWHERE, ca_file=None), pair) is None
        assert upstream.at_hand(replace(ANYWHERE, private_hosts=frozenset(("x",))), pair) is None
        assert upstream.at_hand(replace(ANYWHERE, egress="http://p:1"), pair) is None
        assert upstream.at_hand(ANYWHERE, elsewhere) is None
        connection = upstream.at_hand(ANYWHERE, pair)
        assert connection is not None
        assert upstream.at_hand(ANYWHERE, pair) is None
        connection.put_back()
        assert connection is upstream.at_hand(replace(ANYWHERE), replace(pair, generation=2))


async def test_nothing_is_at_hand_outside_the_pin() -> None:
    """Also where a connection is open, since the pin may be another after a reload."""
    async with scene() as (upstream, broker):
        await fetch(upstream, call(broker))
        place = replace(ANYWHERE, api_hosts=(HostPattern.parse("127.0.0.1:1"),))
        with pytest.raises(AssertionError, match="outside the pin"):
            upstream.at_hand(place, call(broker).pair)


async def test_what_is_known_of_a_place_is_of_that_place() -> None:
    """Not of another one that came to lie at the same address in memory."""
    async with scene() as (upstream, broker):
        await fetch(upstream, call(broker))
        for number in range(50):
            place = replace(ANYWHERE, grant=f"g{number}")
            assert upstream.at_hand(place, call(broker).pair) is None
            del place


async def test_a_call_that_changes_something_meets_no_connection_that_was_open() -> None:
    """Nor leaves one behind; a fresh read leaves one."""
    async with scene() as (upstream, broker):
        await fetch(upstream, call(broker))
        await fetch(upstream, call(broker, method="POST", body=b"", mutating=True))
        assert 2 == broker.connections
        assert ["close"] == broker.visits[1].all("Connection")
        assert 1 == len(list(upstream._open))
        await fetch(upstream, call(broker, fresh=True))
        assert (3, []) == (broker.connections, broker.visits[2].all("Connection"))
        assert 2 == len(list(upstream._open))


async def test_whoever_is_cancelled_leaves_nothing_behind() -> None:
    """Before the answer, or in the very moment of it: the connection is cut, or free."""
    async with scene() as (upstream, broker):
        arrived = asyncio.Event()

        async def slow(visit: Visit) -> None:
            arrived.set()
            await visit.wait_gone()

        broker.script = [slow]
        task = asyncio.ensure_future(upstream.send(call(broker), ANYWHERE))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [] == list(upstream._open)
        assert b'{"ok": true}' == await fetch(upstream, call(broker))


async def test_an_answer_that_nobody_reads_to_its_end_takes_its_connection_along() -> None:
    """The rest of it would be the next one's."""

    async def long(visit: Visit) -> None:
        await visit.write(answer(200, b"x" * 200_000))

    async with scene() as (upstream, broker):
        broker.script = [long]
        found = await upstream.send(call(broker), ANYWHERE)
        found.close()
        assert b'{"ok": true}' == await fetch(upstream, call(broker))
        assert 2 == broker.connections


async def test_what_is_open_is_closed_with_the_upstream() -> None:
    """Whoever waits is told; a new connection is not kept."""
    async with scene() as (upstream, broker):
        await fetch(upstream, call(broker))
        arrived = asyncio.Event()

        async def slow(visit: Visit) -> None:
            arrived.set()
            await visit.wait_gone()

        broker.script = [slow]
        task = asyncio.ensure_future(upstream.send(call(broker, mutating=True), ANYWHERE))
        await arrived.wait()
        await upstream.close()
        with pytest.raises(Lost):
            await task
        assert [] == list(upstream._open)


async def test_a_connection_that_the_broker_has_closed_is_not_used() -> None:
    """With its end read or not."""
    async with scene() as (upstream, broker):
        for end in (reset, asyncio.StreamWriter.close):
            await fetch(upstream, call(broker))
            end(broker.visits[-1].writer)
            async for _ in eventually(5):
                if not list(upstream._open):
                    break
            before = broker.connections
            assert b'{"ok": true}' == await fetch(upstream, call(broker))
            assert before + 1 == broker.connections


async def test_pools_that_nobody_uses_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one unused for longest first; never one with a call out."""
    monkeypatch.setattr(pooled, "MOST_POOLS", 2)
    async with scene() as (upstream, broker):
        arrived, going = asyncio.Event(), asyncio.Event()

        async def slow(visit: Visit) -> None:
            arrived.set()
            await going.wait()
            await accept(visit)

        broker.script = [slow]
        first = asyncio.ensure_future(fetch(upstream, call(broker), replace(ANYWHERE, grant="busy")))
        await arrived.wait()
        for name in ("a", "b", "c"):
            await fetch(upstream, call(broker), replace(ANYWHERE, grant=name))
        assert {"busy", "c"} == {pool.grant for pool in upstream._pools.values()}
        going.set()
        assert b'{"ok": true}' == await first


async def test_a_pool_that_plain_reads_use_is_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come by a short cut, which counts like the long way."""
    monkeypatch.setattr(pooled, "MOST_POOLS", 2)
    async with scene() as (upstream, broker):
        first = replace(ANYWHERE, grant="a")
        for place in (first, replace(ANYWHERE, grant="b")):
            await fetch(upstream, call(broker), place)
        connection = upstream.at_hand(first, call(broker).pair)
        assert connection is not None
        connection.put_back()
        await fetch(upstream, call(broker), replace(ANYWHERE, grant="c"))
        assert {"a", "c"} == {pool.grant for pool in upstream._pools.values()}


async def test_the_whole_call_has_its_time() -> None:
    """Connecting too: where nobody speaks TLS, nothing was sent."""
    gone = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with scene() as (upstream, broker):
        pair = replace(call(broker).pair, origin=Origin("127.0.0.1", server.sockets[0].getsockname()[1]))
        with pytest.raises(NotSent, match="no connection within"):
            await upstream.send(call(broker, pair=pair), replace(ANYWHERE, ca_file=CA_FILE, total=0.2))
        await gone.wait()
        server.close()


async def test_what_a_broker_did_is_forgotten_while_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a grant that calls once a minute has none ready for half an hour after a broker was started anew."""
    monkeypatch.setattr(pooled, "TIDY", 0.002)
    async with scene() as (upstream, broker):
        await fetch(upstream, call(broker))
        (pool,) = upstream._pools.values()
        pool.limit = SHORTEST_IDLE
        pool.idle[0].abort()
        async for _ in eventually(5):
            if pool.limit == IDLE:
                break
        assert (IDLE, set()) == (pool.limit, pool.open)
