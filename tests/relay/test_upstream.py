"""Where a bearer may go, and over which connections."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.brokers import HostPattern, Origin
from proxy.brokers.definition import Placement, PlacementKind
from proxy.clock import Now, SystemClock
from proxy.errors import Refusal
from proxy.filestamp import stamp
from proxy.outbound import Lost, NotSent
from proxy.relay import upstream as module
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Call, Place, SessionUpstream, Upload
from proxy.secret import Secret
from proxy.simulator import ca
from proxy.tokens.grant import TokenPair
from tests.cable import Cable
from tests.calling import ANYWHERE, call, fetch
from tests.lab import CA_FILE, TRUST
from tests.wire import ScriptedBroker, Visit, accept, answer, reset

Kind = SessionUpstream | PooledUpstream


made: list[type[Kind]] = []


@pytest.fixture(params=[SessionUpstream, PooledUpstream], ids=["session", "pooled"], autouse=True)
def kind(request: pytest.FixtureRequest) -> type[Kind]:
    """Both upstreams are held to the same."""
    made[:] = [request.param]
    return made[0]


only_the_session = pytest.mark.parametrize("kind", [SessionUpstream], ids=["session"], indirect=True)


@asynccontextmanager
async def brokers(count: int = 1) -> AsyncIterator[tuple[Kind, list[ScriptedBroker]]]:
    """An upstream, and brokers to send to."""
    upstream, found = made[0](), [ScriptedBroker(TRUST.tls) for _ in range(count)]
    for broker in found:
        await broker.start()
    try:
        yield upstream, found
    finally:
        await upstream.close()
        for broker in found:
            await broker.stop()


async def test_nothing_is_added_to_a_call() -> None:
    """Host, the headers that were given, and one Authorization: ours, even if another was smuggled in."""
    async with brokers() as (upstream, (broker,)):
        headers = [("Accept", "*/*"), ("authorization", "Bearer theirs"), ("Authorization", "Basic theirs")]
        await fetch(upstream, call(broker, headers=headers))

        (visit,) = broker.visits
        host = ("Host", f"127.0.0.1:{broker.port}")
        assert [host, ("Accept", "*/*"), ("Authorization", "Bearer the-bearer")] == visit.headers


@pytest.mark.parametrize(
    "target",
    [b"/v1/x?", b"/v1/x?a=%3A%2B%2c&b=+&b=;&&=&c", b"/v1/a,b:c@d/e", b"/v1/BTC%2FUSD?x=[]{}|^`\"<>'", b"/?#"[:2]],
)
async def test_the_target_is_sent_byte_for_byte(target: bytes) -> None:
    """Nothing is quoted, unquoted, sorted or dropped."""
    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker, target=target))

        assert b"GET " + target + b" HTTP/1.1" == broker.visits[0].line


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [("POST", b"", ["0"]), ("POST", b"{}", ["2"]), ("GET", None, []), ("DELETE", b"{}", ["2"])],
)
async def test_a_whole_body_has_its_length(method: str, body: bytes | None, framing: list[str]) -> None:
    """And no Content-Type that nobody gave it."""
    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker, method=method, body=body, mutating=method != "GET"))

        (visit,) = broker.visits
        assert (framing, [], body or b"") == (visit.all("Content-Length"), visit.all("Content-Type"), visit.body)


async def test_a_bearer_does_not_leave_for_an_origin_outside_the_pin() -> None:
    """The last look before it is written: not a connection is opened."""
    async with brokers() as (upstream, (broker,)):
        with pytest.raises(AssertionError, match="outside the pin"):
            await upstream.send(call(broker), replace(ANYWHERE, api_hosts=(HostPattern.parse("127.0.0.1:1"),)))
        with pytest.raises(AssertionError, match="outside the pin"):
            await upstream.send(call(broker), replace(ANYWHERE, api_hosts=()))

        assert 0 == broker.connections


@pytest.mark.parametrize("mutating", [False, True])
async def test_the_last_look_comes_when_the_connection_is_there(mutating: bool) -> None:
    """It may still say no: then not a byte was sent, and the next call is served. A connection that was kept counts."""
    async with brokers() as (upstream, (broker,)):
        seen: list[int] = []

        def look() -> None:
            seen.append(len(broker.visits))
            if len(seen) == 2:
                raise Refusal("halted", "No.")

        wanted = call(broker, last_look=look, mutating=mutating)
        await fetch(upstream, wanted)
        with pytest.raises(Refusal, match="No"):
            await fetch(upstream, wanted)
        await asyncio.sleep(0.05)
        assert 1 == len(broker.visits)
        await fetch(upstream, wanted)
        await fetch(upstream, call(broker))
        assert ([0, 1, 1], 3) == (seen, len(broker.visits))


async def test_the_last_look_waits_for_a_slow_connection() -> None:
    """What comes while TLS is still being set up is seen."""
    async with brokers() as (upstream, (broker,)), Cable(broker.port, delay=0.4) as cable:
        allowed = [True]

        def look() -> None:
            if not allowed[0]:
                raise Refusal("halted", "No.")

        pair = replace(call(broker).pair, origin=Origin("127.0.0.1", cable.port))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_refused(upstream, call(broker, pair=pair, last_look=look, mutating=True)))
            while not cable.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            allowed[0] = False
        assert ("halted", 0) == (task.result(), len(broker.visits))


async def _refused(upstream: Kind, wanted: Call) -> str:
    with pytest.raises(Refusal) as refused:
        await upstream.send(wanted, ANYWHERE)
    return refused.value.kind.name


@pytest.mark.parametrize("kind", ["bearer", "basic", "headers", "query"])
async def test_a_call_has_exactly_one_credential_in_its_place(kind: PlacementKind) -> None:
    """Whatever was smuggled in beside it, under whichever of the names."""
    names = {"headers": ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"), "query": ("api_key",)}.get(kind, ())
    smuggled = [("authorization", "Basic theirs"), *((name.lower(), "theirs") for name in names if kind == "headers")]
    async with brokers() as (upstream, (broker,)):
        pair = replace(call(broker).pair, access_token=Secret("user:the-pass" if kind != "query" else "a/b=c"))
        place = replace(ANYWHERE, placement=Placement(kind, names))
        await fetch(upstream, call(broker, headers=smuggled, pair=pair, target=b"/v1/x?a=%2c"), place)

        (visit,) = broker.visits
        host = ("Host", f"127.0.0.1:{broker.port}")
        expected = {
            "bearer": [("Authorization", "Bearer user:the-pass")],
            "basic": [("Authorization", "Basic dXNlcjp0aGUtcGFzcw==")],
            "headers": [("APCA-API-KEY-ID", "user"), ("APCA-API-SECRET-KEY", "the-pass")],
            "query": [],
        }[kind]
        assert [host, *expected] == visit.headers
        assert b"/v1/x?a=%2c" + b"&api_key=a%2Fb%3Dc" * (kind == "query") == visit.target


async def test_half_a_credential_opens_no_connection() -> None:
    """A key pair without its secret is a fault of ours, found before anything leaves."""
    async with brokers() as (upstream, (broker,)):
        place = replace(ANYWHERE, placement=Placement("headers", ("A-Key", "A-Secret")))
        with pytest.raises(AssertionError, match="2 parts"):
            await upstream.send(call(broker), place)
        place = replace(ANYWHERE, placement=Placement("query", ("key",)))
        with pytest.raises(AssertionError, match="exactly one"):
            await upstream.send(call(broker, target=b"/v1/x?KEY=1"), place)

        assert 0 == broker.connections


async def test_the_definitions_address_goes_before_the_answers() -> None:
    """A broker with fixed addresses does not move because a token answer says so; both are held against the pin."""
    async with brokers(2) as (upstream, (one, two)):
        fixed = replace(ANYWHERE, origin=Origin("127.0.0.1", two.port))
        await fetch(upstream, call(one), fixed)
        assert (0, 1) == (one.connections, two.connections)

        with pytest.raises(AssertionError, match="outside the pin"):
            await upstream.send(call(one), replace(fixed, api_hosts=(HostPattern.parse(f"127.0.0.1:{one.port}"),)))
        assert (0, 1) == (one.connections, two.connections)


async def test_reads_share_a_warm_connection() -> None:
    """One after the other they need one; orders have a fresh one each, which is closed behind them."""
    async with brokers() as (upstream, (broker,)):
        for _ in range(3):
            await fetch(upstream, call(broker))
        assert 1 == broker.connections

        for _ in range(2):
            await fetch(upstream, call(broker, method="POST", body=b"", mutating=True))
        assert 3 == broker.connections
        assert ["close"] == broker.visits[-1].all("Connection")


async def test_connections_are_shared_by_nobody_else() -> None:
    """Another grant, another origin, another trust: each has its own."""
    async with brokers(2) as (upstream, (one, two)):
        await fetch(upstream, call(one))
        await fetch(upstream, call(one), replace(ANYWHERE, grant="other"))
        await fetch(upstream, call(two))

        assert (2, 1) == (one.connections, two.connections)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"private_hosts": frozenset({"old.test"})}, {"private_hosts": frozenset()}),
        ({"egress": None}, {"egress": "http://127.0.0.1:1"}),
    ],
    ids=["private hosts", "egress"],
)
async def test_another_way_there_is_another_connection(before: dict[str, Any], after: dict[str, Any]) -> None:
    """After a reload nothing goes on over a connection that led to a private host, or around a proxy."""
    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker), replace(ANYWHERE, **before))
        with suppress(NotSent):  # nobody listens where the proxy should be
            await fetch(upstream, call(broker), replace(ANYWHERE, **after))

        assert 2 == len(upstream._pools)
        assert (1 if after.get("egress") else 2) == broker.connections


async def test_trust_that_was_taken_back_is_not_used_on() -> None:
    """After a reload without the lab's CA, its warm connections serve nobody."""
    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker))

        with pytest.raises(NotSent, match="not trusted"):
            await upstream.send(call(broker), replace(ANYWHERE, ca_file=None))


async def test_a_file_that_was_replaced_is_another_trust(tmp_path: Path) -> None:
    """After a reload nobody is trusted any more because of what stood in a file of that name."""
    file = tmp_path / "ca.pem"
    others = await asyncio.to_thread(ca.create, tmp_path / "others", now=SystemClock().now().wall)

    async def holding(authority: Path) -> Place:
        await asyncio.to_thread(shutil.copy2, authority, file)
        return replace(ANYWHERE, ca_file=str(file), trust=await asyncio.to_thread(stamp, file))

    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker), await holding(Path(CA_FILE)))
        after = await holding(others.ca_file)

        with pytest.raises(NotSent, match="not trusted"):
            await upstream.send(call(broker), after)


async def test_first_calls_that_come_together_make_one_pool() -> None:
    """None is left open behind the others' backs."""
    async with brokers() as (upstream, (broker,)):
        await asyncio.gather(*(fetch(upstream, call(broker)) for _ in range(8)))

        assert 1 == len(upstream._pools)


@only_the_session
@pytest.mark.parametrize("mutating", [False, True], ids=["read", "order"])
async def test_no_call_waits_for_another_ones_connection(mutating: bool) -> None:
    """How many there are is limited before: else answers that one client does not take would stop all others."""
    async with brokers() as (upstream, (broker,)):
        await fetch(upstream, call(broker, mutating=mutating))
        assert isinstance(upstream, SessionUpstream)
        (pool,) = upstream._pools.values()
        assert pool.client.connector is not None
        assert 0 == pool.client.connector.limit == pool.client.connector.limit_per_host


@only_the_session
async def test_a_pool_with_a_call_out_is_never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit it is the idle ones that go."""
    monkeypatch.setattr(module, "POOLS", 1)
    arrived, going = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> None:
        arrived.set()
        await going.wait()
        await accept(visit)

    async with brokers(5) as (upstream, found):
        found[0].script = [slow]
        async with asyncio.TaskGroup() as group:
            first = group.create_task(fetch(upstream, call(found[0])))
            await arrived.wait()
            for broker in found[1:]:
                await fetch(upstream, call(broker))
            assert 2 == len(upstream._pools)
            going.set()
        assert b'{"ok": true}' == first.result()

        await fetch(upstream, call(found[4]))
        assert 1 == found[4].connections


async def test_a_lost_answer_says_whether_its_connection_had_been_used_before() -> None:
    """Only then may the broker just have been closing it."""

    async def cut(visit: Visit) -> None:
        reset(visit.writer)

    async with brokers() as (upstream, (broker,)):
        broker.script = [accept, cut, cut]
        await fetch(upstream, call(broker))
        for expected in (True, False):
            with pytest.raises(Lost) as lost:
                await upstream.send(call(broker), ANYWHERE)
            assert (expected, "reset") == (lost.value.reused, lost.value.kind)


async def test_start_reads_no_more_than_it_is_asked_for() -> None:
    """And says whether that was all; the rest comes in chunks."""

    async def step(visit: Visit) -> None:
        await visit.write(answer(200, b"0123456789"))

    async with brokers() as (upstream, (broker,)):
        broker.script = [step]
        found = await upstream.send(call(broker), ANYWHERE)
        assert (b"0123", False) == await found.start(4)
        assert b"456789" == b"".join([chunk async for chunk in found.chunks()])
        found.close()


async def test_an_upload_that_is_refused_is_remembered() -> None:
    """The connection is lost for everybody; `fault` says why."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise Refusal("slow-request", "too slow")

    async with brokers() as (upstream, (broker,)):
        upload = Upload(pieces(), 100)
        with pytest.raises(Lost):
            await upstream.send(call(broker, method="POST", body=upload), ANYWHERE)

        assert upload.fault is not None
        assert "slow-request" == upload.fault.kind.name


async def test_an_egress_proxy_sees_no_bearer() -> None:
    """It is asked for a tunnel, and only what comes out of its far end speaks TLS and HTTP."""
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        host, _, port = asked[0].split(b" ")[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    async with brokers() as (upstream, (broker,)):
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        egress = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        assert b'{"ok": true}' == await fetch(upstream, call(broker), replace(ANYWHERE, egress=egress))
        await upstream.close()
        proxy.close()

        (head,) = asked
        assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % broker.port)
        assert b"the-bearer" not in head


async def test_a_proxy_of_the_environment_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the configuration may send a bearer through somebody."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with brokers() as (upstream, (broker,)):
        assert b'{"ok": true}' == await fetch(upstream, call(broker))


def test_a_call_shows_nothing_of_itself() -> None:
    """Its repr holds no target, header, body or token."""
    pair = TokenPair(1, Secret("the-bearer"), Origin("h", 443), Now(0, 0), 1)
    shown = repr(Call("POST", b"/v1/x?k=canary", [("A", "canary")], pair, mutating=True, body=b"canary"))

    assert "canary" not in shown
    assert "the-bearer" not in shown
