"""The client's end of a socket by itself: a server that is nothing but a `ClientSocket`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from proxy.audit.record import Record
from proxy.relay.frames import SocketLimits, closing
from proxy.streams import codes
from proxy.streams.client import BUFFER, ClientSocket, SlowClient, SocketEnded
from tests.callers import eventually
from tests.streams.echo import Socket

Serve = Callable[[ClientSocket], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve, limits: SocketLimits | None = None) -> AsyncIterator[tuple[Socket, list[BaseException]]]:
    """A client that is connected to it; what `serve` raised stands in the list."""
    raised: list[BaseException] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        record = Record("id", "GET")
        socket = await ClientSocket.accept(request, limits=limits or SocketLimits(), record=record)
        assert record.traffic is socket.traffic
        try:
            with socket.served():
                await serve(socket)
        except BaseException as error:
            raised.append(error)
            raise
        return socket.response

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    async with aiohttp.ClientSession() as session:
        socket: Socket = await session.ws_connect(
            f"http://127.0.0.1:{port}/",
            autoclose=False,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.2),
        )
        try:
            yield socket, raised
        finally:
            await socket.close()
            await runner.cleanup()


async def test_what_is_pushed_was_encoded_once() -> None:
    """For as many as there are; traffic is counted."""
    seen: list[tuple[int, int]] = []

    async def push(socket: ClientSocket) -> None:
        frame = ClientSocket.encoded("quote")
        assert all(socket.push(frame) for _ in range(3))
        seen.append((socket.traffic.down, socket.traffic.down_bytes))
        await socket.close()
        assert not socket.push(frame)

    async with served(push) as (socket, _):
        assert ["quote"] * 3 == [await socket.receive_str() for _ in range(3)]
        assert (aiohttp.WSMsgType.CLOSE, 1000) == tuple(await socket.receive())[:2]
    assert [(3, 3 * len(ClientSocket.encoded("quote")))] == seen


async def test_a_full_buffer_takes_no_push() -> None:
    """256 KiB wait, and one frame more; whoever pushes is never kept."""
    done = asyncio.Event()
    pushed = 0

    async def push(socket: ClientSocket) -> None:
        nonlocal pushed
        frame = ClientSocket.encoded(bytes(64 * 1024))
        while socket.push(frame):
            pushed += 1
            await asyncio.sleep(0)
        assert BUFFER < socket._line.get_write_buffer_size() <= BUFFER + len(frame)
        done.set()

    async with served(push) as (socket, _):
        socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        async with asyncio.timeout(5):
            await done.wait()
        assert pushed >= 4


async def test_who_sends_to_a_slow_client_hears_of_it() -> None:
    """`SlowClient`, or the end of its task with the connection; a last word waits for the client."""

    async def pour(socket: ClientSocket) -> None:
        while True:
            await socket.send(bytes(1 << 20))

    async with served(pour, SocketLimits(patience=0.1)) as (socket, raised):
        socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        async with asyncio.timeout(5):
            while not raised:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert isinstance(raised[0], SlowClient | asyncio.CancelledError)


async def test_a_fault_of_ours_is_said_by_a_code() -> None:
    """Whoever serves it: a client must not take it for a connection that broke."""

    async def serve(_socket: ClientSocket) -> None:
        raise RuntimeError("a fault")

    async with served(serve) as (socket, raised):
        found = await socket.receive(5)
        assert (aiohttp.WSMsgType.CLOSE, codes.FAULT) == (found.type, found.data)
    assert ["RuntimeError"] == [type(each).__name__ for each in raised]


async def test_an_end_from_outside_reaches_who_receives() -> None:
    """At once for the client; then for the task that waits for it."""

    async def wait(socket: ClientSocket) -> None:
        asyncio.get_running_loop().call_later(0.05, socket.end, codes.HALTED, "x" * 300)
        await socket.receive()

    async with served(wait) as (socket, raised):
        message = await socket.receive(timeout=5)
        assert (aiohttp.WSMsgType.CLOSE, codes.HALTED, 123) == (message.type, message.data, len(message.extra or ""))
        await socket.close()
        async for _ in eventually(5):
            if raised:
                break
        (error,) = raised
        assert isinstance(error, SocketEnded)
        assert (codes.HALTED, True) == (error.code, error.ours)


async def test_a_client_that_never_says_goodbye_is_cut_off() -> None:
    """A second after us."""

    async def leave(socket: ClientSocket) -> None:
        await socket.close(codes.STOPPING, "bye")

    async with served(leave) as (socket, _):
        assert (aiohttp.WSMsgType.CLOSE, codes.STOPPING) == tuple(await socket.receive())[:2]
        socket._closed = True  # it says nothing
        line = socket._response.connection.transport  # type: ignore[union-attr]
        async with asyncio.timeout(3):
            while not line.is_closing():  # type: ignore[union-attr]  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        socket._closed = False


@pytest.mark.parametrize(
    "sent", [b"\xff\x00", b"\x81\x02\xff\xff", b"\x82\x7f" + b"\xff" * 8], ids=["opcode", "unmasked", "huge"]
)
async def test_a_frame_that_breaks_the_protocol_ends_the_socket(sent: bytes) -> None:
    """With the library's own code: it reads, nobody else does."""

    async def wait(socket: ClientSocket) -> None:
        await socket.receive()

    async with served(wait) as (socket, raised):
        socket._response.connection.transport.write(sent)  # type: ignore[union-attr]
        message = await socket.receive(timeout=2)
        assert aiohttp.WSMsgType.CLOSE is message.type
        assert message.data in (1002, 1007, 1009)
        await socket.close()
        await asyncio.sleep(0.05)
        assert [True] == [isinstance(error, SocketEnded) for error in raised]


async def test_a_client_that_is_behind_and_goes_on_taking_is_there() -> None:
    """A ping would come after all that waits: who works through it need not answer yet."""

    async def pour(socket: ClientSocket) -> None:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(socket.receive())
            for _ in range(4000):
                await socket.send(bytes(65_536))
            listening.cancel()

    async with served(pour, SocketLimits(beat=0.1)) as (socket, raised):
        async with asyncio.timeout(5):
            for _ in range(60):  # 2 s, twenty beats
                for _ in range(8):
                    assert aiohttp.WSMsgType.CLOSED is not (await socket.receive()).type
                await asyncio.sleep(0.03)
        assert [] == raised


async def test_who_leaves_without_taking_what_waits_is_cut_off() -> None:
    """It has said goodbye, and is forgotten: nothing else would end its connection."""
    lines: list[asyncio.Transport] = []

    async def pour(socket: ClientSocket) -> None:
        lines.append(socket._line)
        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(_pour(socket))
            with suppress(SocketEnded):
                await socket.receive()
            pouring.cancel()
        await socket.close()

    async with served(pour) as (socket, _):
        line = socket._response.connection.transport  # type: ignore[union-attr]
        line.pause_reading()  # type: ignore[union-attr]
        await asyncio.sleep(0.3)
        line.write(closing(1000, mask=b"mask"))  # type: ignore[union-attr]
        async with asyncio.timeout(2.5):
            while not lines[0].is_closing() or lines[0].get_write_buffer_size():  # noqa: ASYNC110  a timer does it
                await asyncio.sleep(0.05)


async def _pour(socket: ClientSocket) -> None:
    with suppress(SocketEnded):
        while True:
            await socket.send(bytes(65_536))
