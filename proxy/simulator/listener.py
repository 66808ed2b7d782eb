"""One HTTP listener of a simulator, and the ways in which a broker's connection can break."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

HOST = "127.0.0.1"
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, before anything is on the wire."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        headers = {"Content-Type": self.content_type, **self.headers}
        return web.Response(status=self.status, body=self.body, headers=headers)


class Listener:
    """A port of 127.0.0.1 that answers with `handler`. No access log: requests hold tokens in their query."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Scheme, host and port; no slash at the end."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    async def start(self, port: int) -> None:
        """Listen on `port`, 0 for any free one. OSError if it is taken."""
        await self._start(lambda runner: web.TCPSite(runner, HOST, port, ssl_context=self._tls, backlog=1024))

    async def start_on(self, bound: socket.socket) -> None:
        """Listen on a socket that has its port already."""
        await self._start(lambda runner: web.SockSite(runner, bound, ssl_context=self._tls, backlog=1024))

    async def _start(self, site: Callable[[web.ServerRunner], web.BaseSite]) -> None:
        # A client that gives up on a hanging endpoint must not leave its handler behind.
        server = web.Server(self._handler, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await site(runner).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection. Harmless twice."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()


async def hang() -> None:
    """Never answer. Ends when the client goes away or the listener stops, by cancellation."""
    await asyncio.get_running_loop().create_future()


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection with a TCP reset; nothing of an answer is sent."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        # Zero linger: close() sends RST at once, where a plain close would be an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()  # aiohttp wants one; the connection is gone


def close(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection in an orderly way; nothing of an answer is sent."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def head_only(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send the head of the answer, which promises a body, and close."""
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    if request.transport is not None:
        # By hand: the library keeps a head back until there is some of the body.
        request.transport.write("\r\n".join([*lines, "", ""]).encode())
    return close(request)


async def drip(request: web.BaseRequest, answer: Answer, pieces: int, seconds: float) -> web.StreamResponse:
    """The whole answer, its body in so many pieces, with a pause of so many seconds before each."""
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    length = -(-len(answer.body) // pieces) or 1
    for start in range(0, len(answer.body), length):
        await asyncio.sleep(seconds)
        await response.write(answer.body[start : start + length])
    await response.write_eof()
    return response


async def truncate(request: web.BaseRequest, answer: Answer, keep: int) -> web.StreamResponse:
    """Promise the whole body, send its first `keep` bytes, close."""
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await response.write(answer.body[:keep])
    if request.transport is not None:
        request.transport.close()
    return response
