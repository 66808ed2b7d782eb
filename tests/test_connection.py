"""One connection: real sockets, raw bytes in, and what may come back, be logged, or reach a handler."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from proxy import flow
from proxy.config import Tcp
from proxy.connection import LARGEST_HEAD, LONGEST_LINE, MOST_HEADERS, UNFINISHED
from proxy.listener import Listener, open_listener
from proxy.parser import REQUESTS_AHEAD
from proxy.vestibule import Crowd
from tests.callers import eventually
from tests.lab import running
from tests.service import ANY_PORT, CANARY, HOST, Service, connect, get, talk
from tests.wire import Visit, Wire, answer

HEAD = len("GET/HostxConnectioncloseXXX")  # bytes that count in `get(b"/")` with three headers X


@pytest.fixture(name="service")
def _service() -> Service:
    return Service()


@pytest.fixture(name="listener")
async def _listener(service: Service) -> AsyncIterator[Listener]:
    listener = await open_listener(ANY_PORT, service.handle, grace=0.1)
    yield listener
    await listener.close()


@pytest.fixture(name="lines")
def _lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, by anybody, with tracebacks and before anything is redacted."""
    caplog.set_level("DEBUG")
    return caplog


def header(size: int) -> bytes:
    """A header whose value has `size` bytes."""
    return b"X: %b\r\n" % (b"a" * size)


async def test_a_request_is_handled(listener: Listener, service: Service) -> None:
    """A plain request reaches the handler with its raw target."""
    answer = await talk(listener, get(b"/a/%2e%2e?q=%41"))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhere")
    assert ["/a/%2e%2e?q=%41"] == service.seen


BAD = {
    "NUL in a header": b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \0%b\r\n\r\n",
    "CR in a header": b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \r%b\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n" + HOST + b": %b\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n %b\r\n\r\n",
    "8-bit target": b"GET /?key=%b\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the target": b"GET /?key=%b b HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad method": b"%b / HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower-case method": b"get /%b HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad version": b"GET /%b HTTP/1.x\r\n" + HOST + b"\r\n",
    "two lengths": b"POST /%b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "two framings": b"POST /%b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%b",
}
LONG = {
    "long target": b"GET /%b" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long header": b"GET / HTTP/1.1\r\n" + HOST + b"X: %b" + b"a" * 9000 + b"\r\n\r\n",
    "many headers": b"GET /%b HTTP/1.1\r\n" + HOST + b"".join(b"X%d: 1\r\n" % n for n in range(MOST_HEADERS)) + b"\r\n",
    "large head": b"GET /%b HTTP/1.1\r\n" + HOST + (b"X: " + b"a" * 8000 + b"\r\n") * 3 + b"\r\n",
}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        *(pytest.param(sent, b"400", id=name) for name, sent in BAD.items()),
        *(pytest.param(sent, b"431", id=name) for name, sent in LONG.items()),
    ],
)
async def test_a_bad_head_is_refused_and_not_quoted(
    listener: Listener, service: Service, lines: pytest.LogCaptureFixture, sent: bytes, status: bytes
) -> None:
    """What the parser refuses gets fixed words; no byte of it is answered, logged or handled."""
    answer = await talk(listener, sent.replace(b"%b", CANARY.encode()))

    assert status == answer.split(b" ")[1]
    assert b"application/problem+json" in answer
    assert CANARY.encode() not in answer
    assert CANARY not in lines.text
    assert [] == service.seen


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ([b"X%d: 1\r\n" % n for n in range(MOST_HEADERS - 2)], b"200"),
        ([b"X%d: 1\r\n" % n for n in range(MOST_HEADERS - 1)], b"431"),
        ([header(LONGEST_LINE)], b"200"),
        ([header(LONGEST_LINE + 1)], b"431"),
        ([header(8000), header(8000), header(LARGEST_HEAD - 16000 - HEAD)], b"200"),
        ([header(8000), header(8000), header(LARGEST_HEAD - 16000 - HEAD + 1)], b"431"),
    ],
)
async def test_the_limits_of_a_head(listener: Listener, more: list[bytes], status: bytes) -> None:
    """What is exactly at a limit passes, and one more is refused: headers, bytes of a line, bytes in all."""
    answer = await talk(listener, get(b"/", *more))

    assert status == answer.split(b" ")[1]


async def test_an_endless_head_is_refused_early(listener: Listener, service: Service) -> None:
    """Not at the parser's limits, half a megabyte, and in words that arrive, though the client still writes."""
    reader, writer = await connect(listener)
    writer.write(b"GET / HTTP/1.1\r\n" + HOST)
    writer.write(b"X: %b\r\n" % (b"a" * 8000) * 50)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
        assert b"431" == answer.split(b" ")[1]
        assert b"head-too-large" in answer
        writer.write(b"X: %b\r\n" % (b"a" * 8000) * 50)
        assert b"" == (await reader.read()).strip()
    writer.close()
    assert [] == service.seen


async def test_the_head_behind_a_long_body_has_its_own_limit(listener: Listener, service: Service) -> None:
    """What belongs to bodies counts for no head, however it is framed; the head after them does."""
    chunks = b"POST /body HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000
    length = b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000
    answer = await talk(listener, length + chunks + b"0\r\n\r\n" + get(b"/end", header(8000), header(8000)))

    assert [b"200"] * 3 == re.findall(rb"HTTP/1.1 (\d+)", answer)
    assert ["/body", "/body", "/end"] == service.seen


async def test_what_comes_after_an_upgrade_is_no_head(listener: Listener) -> None:
    """A conversation in another protocol may be as long as it likes."""
    url = f"{listener.url}/socket"
    async with aiohttp.ClientSession() as client, client.ws_connect(url, timeout=aiohttp.ClientWSTimeout(5)) as line:
        for _ in range(3):
            await line.send_bytes(b"x" * 30_000)
        assert "[30000, 30000, 30000]" == await line.receive_str(timeout=5)


async def test_a_body_behind_an_upgrade_that_is_declined_is_no_head(listener: Listener, service: Service) -> None:
    """What a client has sent already, in the hope of another protocol, is read as the request that it is."""
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    length = b"POST /body HTTP/1.1\r\n%bContent-Length: 200000\r\nConnection: close\r\n\r\n" % HOST
    answer = await talk(listener, b"GET / HTTP/1.1\r\n" + HOST + upgrade + b"\r\n" + length + b"a" * 200_000)

    assert ["/", "/body"] == service.seen
    assert answer.endswith(b"\r\n\r\n" + b"a" * 200_000)


async def test_requests_that_are_sent_ahead_of_a_body_s_end_are_all_answered(listener: Listener) -> None:
    """aiohttp counts a request that was taken before its body was there as one that waits, and so pauses too early."""
    reader, writer = await connect(listener)
    async with asyncio.timeout(5):
        writer.write(b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n")
        await asyncio.sleep(0.05)
        ahead = 3 * REQUESTS_AHEAD
        writer.write(b"body" + (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * ahead + get(b"/end"))
        assert 1 + ahead + 1 == (await reader.read()).count(b" 200 OK\r\n")
    writer.close()


async def test_a_head_that_comes_in_small_pieces_has_the_same_limit(listener: Listener) -> None:
    """What never ends is refused after twenty kilobytes, on a connection where heads came in pieces before."""
    reader, writer = await connect(listener)
    sent = 0
    async with asyncio.timeout(5):
        for _ in range(10):
            writer.write(b"GET / HTTP/1.1\r\n" + HOST + header(4000))
            await asyncio.sleep(0.01)
            writer.write(b"\r\n")
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\n" + HOST)
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        while not answer.done() and sent < 100_000:
            writer.write(header(1000))
            sent += len(header(1000))
            await asyncio.sleep(0.002)
        assert b"431" == (await answer).split(b" ")[1]
    writer.close()
    assert UNFINISHED < sent < 2 * UNFINISHED


@pytest.mark.parametrize("target", [b"/body", b"/unread"])
async def test_a_bad_chunk_is_not_quoted(listener: Listener, lines: pytest.LogCaptureFixture, target: bytes) -> None:
    """A chunk size that is no number ends the connection, whether the handler reads the body or not."""
    head = b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (target, HOST)
    answer = await talk(listener, head + CANARY.encode() + b"\r\nabc\r\n0\r\n\r\n")

    assert CANARY.encode() not in answer
    assert CANARY not in lines.text


async def test_a_bug_is_logged_by_type_and_place(listener: Listener, lines: pytest.LogCaptureFixture) -> None:
    """A handler's exception is answered with 500 in fixed words; its text is nowhere, its type and line are logged."""
    answer = await talk(listener, get(b"/bug"))

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert CANARY.encode() not in answer
    assert CANARY not in lines.text
    assert "'error': 'ValueError'" in lines.text
    assert re.search(r"'at': '.*→ service\.py:\d+'", lines.text)


async def test_a_broken_answer_is_cut_off(listener: Listener, lines: pytest.LogCaptureFixture) -> None:
    """If the handler fails after the answer has begun, the connection ends without the end of the answer."""
    answer = await talk(listener, get(b"/late-bug"))

    assert answer.endswith(b"half an \r\n")
    assert CANARY not in lines.text


@pytest.mark.parametrize("sent", [b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n"])
async def test_http_0_9_reaches_no_handler(listener: Listener, service: Service, sent: bytes) -> None:
    """A request without a version is not answered by a handler."""
    answer = await talk(listener, sent)

    assert [] == service.seen
    assert b"here" not in answer


async def test_http_1_0_reaches_the_handler(listener: Listener, service: Service) -> None:
    """Health probes speak it; whoever does not want it refuses it."""
    answer = await talk(listener, b"GET /probe HTTP/1.0\r\n\r\n")

    assert ["/probe"] == service.seen
    assert answer.endswith(b"here")


async def test_a_compressed_body_stays_compressed(listener: Listener) -> None:
    """Nothing is unpacked: 48 kB could become 50 MB."""
    head = b"POST /body HTTP/1.1\r\n%bContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\n" % HOST

    assert (await talk(listener, head + b"\x1f\x8b\x08\x00")).endswith(b"\r\n\r\n\x1f\x8b\x08\x00")


async def test_a_slow_head_is_cut_off(service: Service) -> None:
    """A connection that has not brought a whole head in time is closed."""
    listener = await open_listener(ANY_PORT, service.handle, grace=0, head_timeout=0.1)

    assert b"" == await talk(listener, b"GET / HTTP/1.1\r\nHost:")
    await listener.close()


async def test_a_slow_answer_is_not_a_slow_head(service: Service) -> None:
    """The time for the head does not count against the handler."""
    listener = await open_listener(ANY_PORT, service.handle, grace=0, head_timeout=0.05)
    asyncio.get_running_loop().call_later(0.2, service.go_on.set)

    assert (await talk(listener, get(b"/slow"))).endswith(b"here")
    await listener.close()


async def test_more_connections_than_allowed_are_told_to_wait_and_closed() -> None:
    """One connection over the limit gets 503 `overloaded`; room is made when another one ends."""
    crowd = Crowd(limit=1)
    listener = await open_listener(Tcp("127.0.0.1", 0), _hello, grace=1.0, crowd=crowd)
    assert isinstance(listener.bound, Tcp)
    try:
        _, first = await asyncio.open_connection("127.0.0.1", listener.bound.port)
        reader, second = await asyncio.open_connection("127.0.0.1", listener.bound.port)
        answer = await reader.read()
        second.close()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b'"code": 50304' in answer
        first.close()
        async for _ in eventually(5):
            if crowd.inside == 0:
                break
        assert 0 == crowd.inside
        reader, third = await asyncio.open_connection("127.0.0.1", listener.bound.port)
        third.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        third.close()
    finally:
        await listener.close()


async def _hello(_listener: Listener, _request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


# -- beside the express lane: the lanes' answers are compared in `tests/lanes/` --------------------------------------


async def test_who_takes_one_answer_in_time_has_all_of_the_time_for_the_next() -> None:
    """The time for an answer of the express lane that was taken does not run on against a later one."""
    body = b"x" * 22_000  # more than the system takes here, and less than what pauses
    async with running(engine="express", take_timeout=0.5) as lab:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", lab.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
        wire, line = Wire(reader, writer), cast("asyncio.Transport", writer.transport)
        await wire.send(lab.request("GET", "/lab/v1/accounts"))
        assert 200 == (await wire.reply()).status
        server = cast("web.Server", lab.listener.server)
        ours = cast("asyncio.Transport", server.connections[0].transport)
        ours.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        lab.broker.script = [partial(Visit.write, data=answer(200, body))] * 2

        line.pause_reading()
        await wire.send(lab.request("GET", "/lab/v1/accounts"))
        await asyncio.sleep(0.1)
        assert 0 < ours.get_write_buffer_size() < flow.WAITING
        line.resume_reading()
        assert body == (await wire.reply()).body
        await asyncio.sleep(0.3)
        line.pause_reading()
        await wire.send(lab.request("GET", "/lab/v1/accounts"))
        await asyncio.sleep(0.3)
        line.resume_reading()

        assert body == (await wire.reply()).body
        assert 3 == lab.lane.taken + 1
        wire.close()


async def test_the_beginning_of_a_head_ends_no_long_answer() -> None:
    """What is sent ahead has its time from the end of the answer under way, in whichever lane that began."""

    async def long(visit: Visit) -> None:
        await asyncio.sleep(0.05)
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
        await asyncio.sleep(0.6)
        await visit.write(b"x" * 100_000)

    async with running(engine="express", head_timeout=0.3) as lab, lab.connect() as wire:
        read = lab.request("GET", "/lab/v1/accounts")
        await wire.send(read)
        assert 200 == (await wire.reply()).status
        lab.broker.script = [long]

        await wire.send(read)
        await asyncio.sleep(0.02)
        await wire.send(read[:20])
        assert 200_000 == len((await wire.reply()).body)
        await wire.send(read[20:])

        assert 200 == (await wire.reply()).status
        assert 1 == lab.lane.taken
