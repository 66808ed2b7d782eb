"""The doors: real sockets, raw bytes in, and what may come back, be logged, or reach a handler."""

import asyncio
import os
import re
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.config import Address, Tcp, Unix
from proxy.listener import (
    LARGEST_HEAD,
    LONGEST_LINE,
    MOST_HEADERS,
    UNFINISHED,
    Listener,
    open_listener,
)
from proxy.parser import REQUESTS_AHEAD
from proxy.vestibule import Crowd
from tests.callers import eventually

CANARY = "c4n4ryK3y"
ANY_PORT = Tcp("127.0.0.1", 0)
HOST = b"Host: x\r\n"
HEAD = len("GET/HostxConnectioncloseXXX")  # bytes that count in `get(b"/")` with three headers X


class Service:
    """A handler that remembers the targets it saw and does what the target says."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, _listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.raw_path)
        match request.raw_path:
            case "/slow":
                self.begun.set()
                await self.go_on.wait()
            case "/bug":
                raise ValueError(CANARY)
            case "/socket":
                web_socket = web.WebSocketResponse()
                await web_socket.prepare(request)
                await web_socket.send_str(str([len(await web_socket.receive_bytes()) for _ in range(3)]))
                return web_socket
            case "/late-bug":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"half an ")
                raise ValueError(CANARY)
            case "/body":
                return web.Response(body=await request.read())
            case _:
                pass
        return web.Response(text="here")


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


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    match listener.bound:
        case Tcp(host, port):
            return await asyncio.open_connection(host, port)
        case Unix(path):
            return await asyncio.open_unix_connection(path)


async def talk(listener: Listener, sent: bytes) -> bytes:
    """Everything that comes back until the server closes the connection, within five seconds."""
    reader, writer = await connect(listener)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def get(target: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%bConnection: close\r\n%b\r\n" % (target, HOST, b"".join(headers))


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
    assert re.search(r"'at': '.*→ test_listener\.py:\d+'", lines.text)


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


async def test_port_0_becomes_a_free_port(listener: Listener) -> None:
    """`bound` and `url` hold the port that was found, `address` what was asked for."""
    assert ANY_PORT == listener.address
    assert isinstance(listener.bound, Tcp)
    assert 0 < listener.bound.port
    assert f"http://127.0.0.1:{listener.bound.port}" == listener.url


async def test_a_taken_port_is_named(listener: Listener, service: Service) -> None:
    """Whoever cannot listen is told where."""
    assert isinstance(listener.bound, Tcp)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{listener.bound.port}: "):
        await open_listener(listener.bound, service.handle, grace=0)


@pytest.mark.parametrize(
    ("bound", "names"),
    [
        (Tcp("127.0.0.1", 81), ("127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("::1", 81), ("127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("0.0.0.0", 81), ("0.0.0.0:81", "127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("10.1.2.3", 443), ("10.1.2.3:443",)),
        (Tcp("10.1.2.3", 80), ("10.1.2.3", "10.1.2.3:80")),
        (Unix(Path("/run/x.sock")), ()),
    ],
)
def test_the_names_of_an_address(bound: Address, names: tuple[str, ...]) -> None:
    """A loopback address answers to the usual three names, another to itself alone; HTTP's own port is left out."""
    assert names == Listener(bound, bound).names


async def test_greet_comes_before_the_first_request(service: Service) -> None:
    """Whoever opens a listener knows it before anybody calls, bound port included."""
    greeted: list[Listener] = []
    listener = await open_listener(ANY_PORT, service.handle, grace=0, greet=greeted.append)

    assert [listener] == greeted
    await listener.close()


async def test_stop_accepting_lets_requests_finish(listener: Listener, service: Service) -> None:
    """The door is closed to new connections, while a request inside gets its answer."""
    async with asyncio.TaskGroup() as group:
        inside = group.create_task(talk(listener, get(b"/slow")))
        await service.begun.wait()
        await listener.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await connect(listener)
        service.go_on.set()

    assert inside.result().endswith(b"here")


async def test_whoever_has_knocked_is_let_in_before_the_door_closes(listener: Listener) -> None:
    """The system has made their connections already: they are answered, and not cut off."""
    assert isinstance(listener.bound, Tcp)
    waiting = [socket.create_connection(("127.0.0.1", listener.bound.port)) for _ in range(50)]
    await listener.stop_accepting()

    answers = []
    for each in waiting:
        each.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=each)
        writer.write(get(b"/"))
        answers.append(await reader.readuntil(b"here"))
        writer.close()
    assert {b"HTTP/1.1 200 OK"} == {answer.partition(b"\r\n")[0] for answer in answers}


async def test_close_ends_what_hangs(listener: Listener, service: Service) -> None:
    """After its grace a request is cut off."""
    async with asyncio.TaskGroup() as group:
        inside = group.create_task(talk(listener, get(b"/slow")))
        await service.begun.wait()
        await listener.close()

    assert b"" == inside.result()


async def test_a_unix_socket_is_private_and_leaves_nothing_behind(state_dir: Path, service: Service) -> None:
    """The socket is 0600 whatever the umask, answers, and is gone after `close`."""
    path = state_dir / "b.sock"
    before = os.umask(0)
    try:
        listener = await open_listener(Unix(path), service.handle, grace=0)
    finally:
        os.umask(before)

    assert 0o600 == mode(path)
    assert f"unix:{path}" == listener.url
    assert (await talk(listener, get(b"/"))).endswith(b"here")
    await listener.close()
    assert [] == names(state_dir)


async def test_a_stale_unix_socket_is_replaced(state_dir: Path, service: Service) -> None:
    """The socket of a killed server is no obstacle."""
    path = state_dir / "b.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    listener = await open_listener(Unix(path), service.handle, grace=0)

    assert (await talk(listener, get(b"/"))).endswith(b"here")
    await listener.close()


async def test_a_living_unix_socket_is_left_alone(state_dir: Path, service: Service) -> None:
    """A second server cannot take the place of the first."""
    address = Unix(state_dir / "b.sock")
    first = await open_listener(address, service.handle, grace=0)
    with pytest.raises(OSError, match="another program listens on"):
        await open_listener(address, service.handle, grace=0)

    assert (await talk(first, get(b"/"))).endswith(b"here")
    await first.close()


async def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(state_dir: Path, service: Service) -> None:
    """What is no socket is not ours to remove."""
    path = state_dir / "notes"
    path.write_text("mine")
    with pytest.raises(OSError, match="cannot listen on"):
        await open_listener(Unix(path), service.handle, grace=0)

    assert "mine" == path.read_text()


async def test_a_successors_socket_survives_the_late_close(state_dir: Path, service: Service) -> None:
    """Closing a door that no longer accepts does not remove the socket of the next server."""
    address = Unix(state_dir / "b.sock")
    first = await open_listener(address, service.handle, grace=0)
    await first.stop_accepting()
    second = await open_listener(address, service.handle, grace=0)
    await first.close()

    assert (await talk(second, get(b"/"))).endswith(b"here")
    await second.close()


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> list[str]:
    """What lies in a directory."""
    return [each.name for each in path.iterdir()]


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
