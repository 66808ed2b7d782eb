"""TLS with clients: Python's own protocol for it, on the plain connections of whatever loop runs.

uvloop has one too, which is a little faster. It reads 256 KiB ahead of whoever does not take them, keeps as much for
each connection, and does not say what waits below it for a slow client: floods would cost eight times the memory, and
slow clients would be taken for dead ones. Doing without it costs 4 µs a call of a client with TLS. Connections to
brokers, which are few and fast, have it.
"""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable

from proxy import flow


async def receive(
    connection: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    *,
    patience: float,
    farewell: float,
) -> None:
    """Serve an accepted connection by `factory`'s protocol, after a handshake of `patience` seconds at most.

    `farewell`: seconds for the other end to agree that it is over. `OSError` if the handshake fails; then it is closed.
    """
    flow.read_in_pieces()
    loop = asyncio.get_running_loop()
    made: asyncio.Future[None] = loop.create_future()
    protocol = sslproto.SSLProtocol(
        loop,
        factory(),
        context,
        made,
        server_side=True,
        ssl_handshake_timeout=patience,  # type: ignore[arg-type]  # any number does
        ssl_shutdown_timeout=farewell,
    )
    line, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
    try:
        await made
    except BaseException:
        line.close()
        raise
