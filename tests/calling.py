"""Calls to scripted brokers through an upstream, without anything in front of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from proxy.brokers.origin import HostPattern, Origin
from proxy.clock import Now
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Call, Place, Upstream
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from tests.lab import CA_FILE, TRUST
from tests.wire import ScriptedBroker

ANYWHERE = Place("g", (HostPattern.parse("127.0.0.1:*"),), CA_FILE, total=2, idle=2)


def call(broker: ScriptedBroker, **fields: object) -> Call:
    """A read, unless `fields` say otherwise."""
    origin = Origin("127.0.0.1", broker.port)
    pair = TokenPair(1, Secret("the-bearer"), origin, Now(9e9, 9e9), 1800)
    plain = Call("GET", b"/v1/x", [("Accept", "*/*"), ("User-Agent", "b/1")], pair, mutating=False)
    return replace(plain, **fields)  # type: ignore[arg-type]


async def fetch(upstream: Upstream, wanted: Call, place: Place = ANYWHERE) -> bytes:
    """One whole exchange: the body of the answer."""
    found = await upstream.send(wanted, place)
    body, whole = await found.start(1 << 20)
    assert whole
    found.close()
    return body


@asynccontextmanager
async def scene() -> AsyncIterator[tuple[PooledUpstream, ScriptedBroker]]:
    """Our own upstream, and a broker that does what its script says."""
    broker, upstream = ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    try:
        yield upstream, broker
    finally:
        await upstream.close()
        await broker.stop()
