"""TLS on an accepted connection, with real clients, on either loop."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from proxy import tlsline
from proxy.flow import PIECE
from proxy.simulator import ca
from tests.callers import eventually

BOTH_LOOPS = True


class Echo(asyncio.Protocol):
    """Says what it hears."""

    def __init__(self) -> None:
        self.line: asyncio.Transport | None = None
        self.ended: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line = transport  # type: ignore[assignment]  # those of TLS are none by their type

    def data_received(self, data: bytes) -> None:
        assert self.line is not None
        self.line.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.append(error)


@pytest.fixture
async def listening() -> AsyncIterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(0)
        yield found


async def received(listening: socket.socket, echo: Echo, context: ssl.SSLContext, patience: float = 5.0) -> None:
    accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
    await tlsline.receive(accepted, lambda: echo, context, patience=patience, farewell=1.0)


async def test_what_is_said_over_tls_is_heard(listening: socket.socket, authority: ca.Authority) -> None:
    """Both ways, in pieces; the connection tells of its TLS and its socket, and ends when the client does."""
    echo, much = Echo(), b"x" * (3 * PIECE)
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    async with asyncio.TaskGroup() as group:
        group.create_task(received(listening, echo, authority.tls))
        reader, writer = await asyncio.open_connection(*listening.getsockname(), ssl=trusting)
    writer.write(much)
    assert much == await reader.readexactly(len(much))
    assert echo.line is not None
    assert "TLSv1.3" == echo.line.get_extra_info("ssl_object").version()
    assert echo.line.get_extra_info("peername")[0] == "127.0.0.1"
    assert echo.line.get_extra_info("socket").fileno() > 0
    writer.close()
    await writer.wait_closed()
    async for _ in eventually(5):
        if echo.ended:
            break
    assert [None] == echo.ended


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", ssl.SSLError, "HTTP_REQUEST"),
        (b"", ConnectionAbortedError, "longer than"),
        (None, ConnectionResetError, None),
    ],
    ids=["HTTP", "nothing", "gone"],
)
async def test_who_does_not_shake_hands_is_let_go(
    listening: socket.socket, authority: ca.Authority, said: bytes | None, error: type[OSError], words: str | None
) -> None:
    """The error says why, the protocol never hears of it, and the client finds its connection closed."""
    echo = Echo()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    if said is None:
        writer.transport.abort()
    else:
        writer.write(said)

    with pytest.raises(error, match=words):
        await received(listening, echo, authority.tls, patience=0.2)

    if said is not None:
        async with asyncio.timeout(5):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()
    assert (None, []) == (echo.line, echo.ended)
