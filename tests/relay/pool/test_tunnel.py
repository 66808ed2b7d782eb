"""What a proxy on the way out may answer, and what becomes of it. It sees no call before there is a tunnel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from proxy.outbound import NotSent
from proxy.relay.pool.pooled import PooledUpstream
from tests.calling import ANYWHERE, call, fetch
from tests.lab import TRUST
from tests.wire import ScriptedBroker

OPEN = b"HTTP/1.1 200 Connected\r\n\r\n"


@dataclass
class Proxy:
    """Answers CONNECT as it is told, and tunnels if that was a 200."""

    answer: bytes
    asked: list[bytes] = field(default_factory=list)
    more: bytes = b""
    url: str = ""
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._speak(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        if not self.answer:
            return
        for piece in (self.answer[:9], self.answer[9:]):
            writer.write(piece)
            await asyncio.sleep(0.001)
        if not self.answer.endswith(b"\r\n\r\n") or b" 200" not in self.answer.split(b"\r\n\r\n")[-2]:
            self.more += await reader.read()
            return
        host, _, port = self.asked[-1].split(b" ")[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        with suppress(OSError):
            await far_writer.wait_closed()


@asynccontextmanager
async def through(answer: bytes) -> AsyncIterator[tuple[PooledUpstream, ScriptedBroker, Proxy]]:
    proxy, broker, upstream = Proxy(answer), ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    server = await asyncio.start_server(proxy.meet, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream, broker, proxy
    finally:
        await upstream.close()
        server.close()
        await asyncio.gather(*(task for task in proxy.tasks if task is not None))
        await broker.stop()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OPEN, id="200"),
        pytest.param(b"HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n", id="1.0"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OPEN, id="interim"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", id="framing"),
    ],
)
async def test_a_tunnel_is_used(answer: bytes) -> None:
    """The proxy was told a host and a port, and nothing else."""
    async with through(answer) as (upstream, broker, proxy):
        place = replace(ANYWHERE, egress=proxy.url)
        for _ in range(2):
            assert b'{"ok": true}' == await fetch(upstream, call(broker), place)
        authority = b"127.0.0.1:%d" % broker.port
        assert [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)] == proxy.asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n", "refused the connection", id="auth"),
        pytest.param(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "refused the connection", id="403"),
        pytest.param(b"HTTP/1.1 201 Created\r\n\r\n", "refused the connection", id="201"),
        pytest.param(b"HTTP/1.1 302 Moved\r\nLocation: http://x/\r\n\r\n", "refused the connection", id="302"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n" * 9 + b"\r\n", "makes sense", id="interim for ever"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "makes sense", id="no HTTP"),
        pytest.param(b"HTTP/2 200\r\n\r\n", "makes sense", id="HTTP/2"),
        pytest.param(b"HTTP/1.1 2000 X\r\n\r\n", "makes sense", id="four digits"),
        pytest.param(b"HTTP/1.1 999 X\r\n\r\n", "makes sense", id="999"),
        pytest.param(b"x" * 40_000 + b"\r\n\r\n", "makes sense", id="an endless head"),
    ],
)
async def test_without_a_tunnel_nothing_is_sent(answer: bytes, why: str) -> None:
    """`NotSent`, for orders too; and not a byte of the call has reached anybody."""
    async with through(answer) as (upstream, broker, proxy):
        for mutating in (False, True):
            with pytest.raises(NotSent, match=why):
                await upstream.send(call(broker, mutating=mutating), replace(ANYWHERE, egress=proxy.url))
        assert (0, b"") == (broker.connections, proxy.more)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(OPEN + b"more", "makes sense", id="something behind the answer"),
        pytest.param(b"", "closed the connection", id="a proxy that hangs up"),
        pytest.param(b"HTTP/1.1 200 Connec", "no connection within 0 s", id="half an answer"),
    ],
)
async def test_what_is_no_tunnel_is_not_used(answer: bytes, why: str) -> None:
    """Nobody at its far end speaks before we do; and what says nothing has the call's time, and not more."""
    async with through(answer) as (upstream, broker, proxy):
        with pytest.raises(NotSent, match=why):
            await upstream.send(call(broker), replace(ANYWHERE, egress=proxy.url, total=0.3))
        assert 0 == broker.connections


async def test_a_proxy_that_is_not_there_is_said_so() -> None:
    """As a broker would be."""
    async with through(OPEN) as (upstream, broker, _):
        with pytest.raises(NotSent, match="could not be made"):
            await upstream.send(call(broker), replace(ANYWHERE, egress="http://127.0.0.1:1"))


async def test_a_proxy_whose_name_is_none_is_said_so() -> None:
    """No library's error comes out, which would end what keeps connections ready for all."""
    async with through(OPEN) as (upstream, broker, _):
        with pytest.raises(NotSent, match="could not be resolved"):
            await upstream.send(call(broker), replace(ANYWHERE, egress="http://a..b:80"))
