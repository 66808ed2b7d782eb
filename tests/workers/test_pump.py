"""A connection that is led on: both ways, whole, no faster than it is taken, and to the end."""

import asyncio
import socket

from proxy.workers.pump import Pump
from tests.workers.house import until

BOTH_LOOPS = True

MEGABYTE = 1 << 20


class Waiting(asyncio.Protocol):
    """A client's protocol, until a pump takes its place."""

    def __init__(self) -> None:
        self.there: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.there.set_result(transport)  # type: ignore[arg-type]


async def led() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket, list[Pump]]:
    """A client's two streams, the socket that its connection leads to, and the pumps that have ended."""
    client, ours = socket.socketpair()
    waiting = Waiting()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: waiting, ours)
    near, far = socket.socketpair()
    ended: list[Pump] = []
    transport = await waiting.there
    pump = Pump(transport, near, ended.append)
    transport.set_protocol(pump)
    pump.open()
    return *await asyncio.open_unix_connection(sock=client), far, ended


async def test_bytes_go_both_ways_and_wait_for_who_is_slow() -> None:
    """Four megabytes each way; of those that nobody takes only some leave their source."""
    reader, writer, far, ended = await led()
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    writer.write(b"x" * (4 * MEGABYTE))
    await asyncio.sleep(0.05)
    assert writer.transport.get_write_buffer_size() > MEGABYTE
    got = 0
    while got < 4 * MEGABYTE:
        got += len(await loop.sock_recv(far, 65536))
    sending = asyncio.gather(loop.sock_sendall(far, b"y" * (4 * MEGABYTE)))
    assert len(await reader.readexactly(4 * MEGABYTE)) == 4 * MEGABYTE
    await sending
    far.close()
    assert not await reader.read()
    writer.close()
    await until(lambda: ended)


async def test_it_ends_with_the_client() -> None:
    """Who serves it sees the end."""
    _, writer, far, ended = await led()
    far.setblocking(False)
    writer.close()
    async with asyncio.timeout(5):
        assert not await asyncio.get_running_loop().sock_recv(far, 10)
    await until(lambda: ended)
    far.close()
