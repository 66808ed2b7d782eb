"""The session that everything outward goes through, on real sockets: once, verified, with nothing added."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from proxy import flow
from proxy.outbound import READ_AHEAD, Lost, NotSent, Trace, own_errors, patient, session, tls_context
from proxy.resolver import PublicResolver
from proxy.simulator import ca
from tests.callers import eventually
from tests.wire import ScriptedBroker, Visit, answer, reset

METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"]
NEAR = "127.1"  # no address to a strict reader, so it goes to the resolver, and that knows the old short form


@pytest.fixture
async def client(authority: ca.Authority) -> AsyncIterator[aiohttp.ClientSession]:
    tls = await tls_context(str(authority.ca_file))
    async with session(tls, keep_alive=15) as client:
        yield client


async def fetch(client: aiohttp.ClientSession, port: int, method: str = "GET", **options: object) -> tuple[int, bytes]:
    """Status and body of one request."""
    url = URL(f"https://127.0.0.1:{port}/x?a=%2F", encoded=True)
    with own_errors():
        async with client.request(method, url, allow_redirects=False, **options) as reply:  # type: ignore[arg-type]
            return reply.status, await reply.read()


def ends(end: Callable[[asyncio.StreamWriter], None]) -> Callable[[Visit], object]:
    async def step(visit: Visit) -> None:
        await visit.read()
        end(visit.writer)

    return step


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_request_whose_connection_dies_is_not_sent_again(
    client: aiohttp.ClientSession,
    broker: ScriptedBroker,
    method: str,
    end: Callable[[asyncio.StreamWriter], None],
    *,
    pooled: bool,
) -> None:
    """On a fresh connection or one that was used before: whoever called must decide."""
    if pooled:
        await fetch(client, broker.port)
    before = len(broker.visits)
    broker.script.append(ends(end))  # type: ignore[arg-type]
    trace = Trace()
    with pytest.raises(Lost) as caught:
        await fetch(client, broker.port, method, trace_request_ctx=trace)

    assert (1, "reset", pooled) == (len(broker.visits) - before, caught.value.kind, trace.reused)


async def test_nothing_is_added_to_a_request(client: aiohttp.ClientSession, broker: ScriptedBroker) -> None:
    """No agent, no encodings, no cookie of an earlier answer; the target byte for byte."""

    async def bake(visit: Visit) -> None:
        await visit.write(answer(200, b"", "Set-Cookie: a=b; Path=/"))

    broker.script.append(bake)
    await fetch(client, broker.port)
    await fetch(client, broker.port)

    names = {name.lower() for visit in broker.visits for name, _ in visit.headers}
    assert {"host"} == names - {"connection"}
    assert b"GET /x?a=%2F HTTP/1.1" == broker.visits[1].line


async def test_a_packed_body_stays_packed_and_an_error_is_an_answer(
    client: aiohttp.ClientSession, broker: ScriptedBroker
) -> None:
    """Nothing is unpacked, and no status raises."""

    async def packed(visit: Visit) -> None:
        await visit.write(answer(503, b"not gzip at all", "Content-Encoding: gzip"))

    broker.script.append(packed)

    assert (503, b"not gzip at all") == await fetch(client, broker.port)


async def test_the_environments_proxies_are_not_used(
    client: aiohttp.ClientSession, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the shell must not lead tokens elsewhere."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert 200 == (await fetch(client, broker.port))[0]


async def test_a_session_without_keep_alive_uses_each_connection_once(
    authority: ca.Authority, broker: ScriptedBroker
) -> None:
    """With it the same one serves again."""
    tls = await tls_context(str(authority.ca_file))
    for keep_alive, expected in ((None, 3), (15.0, 1)):
        before = broker.connections
        async with session(tls, keep_alive=keep_alive) as client:
            for _ in range(3):
                await fetch(client, broker.port)
        assert expected == broker.connections - before


async def test_those_that_trust_the_same_share_a_context(authority: ca.Authority, tmp_path: Path) -> None:
    """As long as the file is the one that was read; a new one counts for whoever asks next."""
    file, pem = tmp_path / "ca.pem", await asyncio.to_thread(authority.ca_file.read_bytes)
    await asyncio.to_thread(file.write_bytes, pem)
    first, again = await asyncio.gather(*(tls_context(str(file)) for _ in range(2)))
    others = [await tls_context(None), await tls_context(str(authority.ca_file))]
    await asyncio.to_thread(file.write_bytes, pem + b"\n")
    changed = await tls_context(str(file))

    assert first is again
    assert 4 == len({first, changed, *others})
    with pytest.raises(OSError, match="No such file"):
        await tls_context(str(tmp_path / "none.pem"))


async def test_no_certificate_is_trusted_that_was_not_named(broker: ScriptedBroker) -> None:
    """TLS 1.2 at least, names checked; a refused handshake sends nothing."""
    tls = await tls_context(None)
    assert (ssl.CERT_REQUIRED, True) == (tls.verify_mode, tls.check_hostname)
    assert ssl.TLSVersion.TLSv1_2 <= tls.minimum_version
    async with session(tls, keep_alive=None) as client:
        with pytest.raises(NotSent, match="the TLS certificate is not trusted"):
            await fetch(client, broker.port)

    assert [] == broker.visits


async def test_a_certificate_for_another_name_is_not_trusted(authority: ca.Authority, broker: ScriptedBroker) -> None:
    """The CA is known, the address is not in the certificate."""
    tls = await tls_context(str(authority.ca_file))
    async with session(tls, keep_alive=None) as client:
        url = URL(f"https://127.0.0.2:{broker.port}/", encoded=True)
        with pytest.raises(NotSent), own_errors():
            await client.get(url, allow_redirects=False)


async def test_a_port_that_nobody_listens_on_is_told_as_not_sent(client: aiohttp.ClientSession) -> None:
    """A bearer that never left need not be doubted."""
    with pytest.raises(NotSent, match="refused or could not be made"):
        await fetch(client, 1)


async def test_a_name_that_leads_to_a_private_address_is_refused(authority: ca.Authority) -> None:
    """A poisoned name must not aim a bearer at the local network; every session without a proxy asks this resolver."""
    tls = await tls_context(str(authority.ca_file))
    async with session(tls, keep_alive=None) as client:
        assert isinstance(client.connector, aiohttp.TCPConnector)
        resolver = client.connector._resolver
        assert isinstance(resolver, PublicResolver)
        with pytest.raises(OSError, match="private address"):
            await resolver.resolve(NEAR, 443)


async def test_little_waits_of_an_unread_answer(client: aiohttp.ClientSession, broker: ScriptedBroker) -> None:
    """Of 24 megabytes what is read ahead, and as much again in TLS; of what is sent no more."""

    async def large(visit: Visit) -> None:
        await visit.write(answer(200, b"x" * (24 << 20)))

    broker.script.append(large)
    url = URL(f"https://127.0.0.1:{broker.port}/x", encoded=True)
    async with client.get(url, allow_redirects=False) as reply:
        assert reply.connection is not None
        line: Any = reply.connection.transport
        seen = [-1]
        async for _ in eventually(5, pause=0.02):
            seen.append(line.get_read_buffer_size())
            if seen[-1] and len(set(seen[-8:])) == 1:
                break
        piece = flow.PIECE if hasattr(line, "_ssl_protocol") else 256 * 1024  # uvloop's own TLS cannot be told
        assert 0 < seen[-1] < 2 * piece
        assert 0 < reply.content.total_bytes <= 2 * (READ_AHEAD + piece)
        assert flow.WAITING == line.get_write_buffer_limits()[1]


async def test_an_answer_that_breaks_off_is_lost(client: aiohttp.ClientSession, broker: ScriptedBroker) -> None:
    """As a reset of the connection, since what came is incomplete."""

    async def half(visit: Visit) -> None:
        await visit.write(answer(200, b"abc", length=10))
        visit.writer.close()

    broker.script.append(half)
    with pytest.raises(Lost, match="before the answer was complete") as caught:
        await fetch(client, broker.port)

    assert "reset" == caught.value.kind


async def test_a_time_out_is_lost(client: aiohttp.ClientSession, broker: ScriptedBroker) -> None:
    """The request may have been processed."""

    async def hang(visit: Visit) -> None:
        await visit.wait_gone()

    broker.script.append(hang)
    with pytest.raises(Lost) as caught:
        await fetch(client, broker.port, timeout=aiohttp.ClientTimeout(total=0.2))

    assert "timeout" == caught.value.kind


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"]
)
async def test_what_is_no_http_is_lost(client: aiohttp.ClientSession, broker: ScriptedBroker, text: bytes) -> None:
    """And told apart from a lost connection."""

    async def talk(visit: Visit) -> None:
        await visit.write(text)

    broker.script.append(talk)
    with pytest.raises(Lost, match="no valid HTTP") as caught:
        await fetch(client, broker.port)

    assert "malformed" == caught.value.kind


@pytest.mark.parametrize("together", [True, False], ids=["with the head", "later"])
async def test_a_body_that_goes_wrong_ends_at_once(
    client: aiohttp.ClientSession, broker: ScriptedBroker, together: bool
) -> None:
    """The library closes the connection and leaves whoever reads the body waiting, for ever if nothing limits it.

    If this fails after an update of aiohttp, look for another way to tell the reader of a body.
    """

    async def stray(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n")
        if not together:
            await asyncio.sleep(0.05)
        await visit.write(b"this is no chunk\r\n")
        await visit.wait_gone()

    broker.script.append(stray)
    async with asyncio.timeout(3):
        with pytest.raises(Lost, match="no valid HTTP"):
            await fetch(client, broker.port, timeout=aiohttp.ClientTimeout(total=None))
        await broker.visits[0].gone.wait()


async def test_a_silent_peer_is_asked_whether_it_is_there(
    client: aiohttp.ClientSession, broker: ScriptedBroker
) -> None:
    """By TCP, after half a minute: on a stream there is nothing of ours that could fail to arrive."""
    url = URL(f"https://127.0.0.1:{broker.port}/x", encoded=True)

    async def begin(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await visit.wait_gone()

    broker.script.append(begin)
    async with client.get(url, allow_redirects=False) as reply:
        assert reply.connection is not None
        assert reply.connection.transport is not None
        line = reply.connection.transport.get_extra_info("socket")
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = [name for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT") if hasattr(socket, name)]
        assert [30, 10, 3][-len(names) :] == [
            line.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names
        ]
        reply.close()


async def test_no_error_of_ours_repeats_what_was_sent(client: aiohttp.ClientSession, broker: ScriptedBroker) -> None:
    """Neither URL nor header nor answer; the cause is hidden too."""

    async def garble(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 canary\r\n\r\n")

    broker.script.append(garble)
    with pytest.raises(Lost) as caught:
        await fetch(client, broker.port, headers={"Authorization": "Bearer canary"})

    assert "canary" not in repr(caught.value) + str(caught.value)
    assert (None, True) == (caught.value.__cause__, caught.value.__suppress_context__)


async def arrives(arrival: float, seconds: float, stall: float) -> bytes | None:
    """What is read of a socket when something comes after `arrival` s, and the loop stands still for `stall` s."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        sender = threading.Timer(arrival, lambda: theirs.send(b"answer"))
        sender.start()
        loop.call_later(0.05, time.sleep, stall)
        try:
            async with patient(seconds):
                return await loop.sock_recv(ours, 100)
        except TimeoutError:
            return None
        finally:
            sender.join()


@pytest.mark.parametrize(
    ("arrival", "stall", "found"),
    [(0.1, 0.0, b"answer"), (0.2, 1.5, b"answer"), (1.2, 0.0, None)],
    ids=["in time", "while we stood still", "too late"],
)
async def test_an_answer_that_came_during_a_pause_is_read(arrival: float, stall: float, found: bytes | None) -> None:
    """A paused machine finds its time-out over and the answer there: the answer counts."""
    assert found == await arrives(arrival, 0.6, stall)


async def test_waiting_tells_what_is_left() -> None:
    """For the next step of the same request."""
    async with patient(0.6) as waiting:
        await asyncio.sleep(0.2)

    assert 0.3 <= waiting.left <= 0.5
