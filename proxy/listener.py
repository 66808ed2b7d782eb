"""The doors: aiohttp's low-level server, made quiet and strict.

aiohttp quotes the offending bytes of a bad request in its error log and in its 400, a client key included, and logs the
text of exceptions. Neither may happen here, so what it would say is said by us, in fixed words.
"""

import asyncio
import errno
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import HttpVersion10, http_parser, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy import logs
from proxy.config import Address, Tcp, Unix
from proxy.errors import Refusal, Rendered, render

HEAD_TIMEOUT = 10.0  # seconds for the first head of a connection
KEEP_ALIVE = 75.0  # seconds that an idle connection stays open
LONGEST_LINE = 8190
MOST_HEADERS = 64
LARGEST_HEAD = 16 * 1024  # bytes of method, target, and the names and values of headers
LINGER = 1.0  # seconds to read on after a refusal, so that the client sees the answer before the close
OLDEST_AIOHTTP = (3, 14, 5)

log = logs.get("listener")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class UnsafeParser(Exception):
    """aiohttp is too old, or runs without its C parser: it would take requests that we must refuse."""


def check_parser(version: str = aiohttp.__version__) -> None:
    """Raise `UnsafeParser` rather than serve with a parser whose framing was not examined."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < OLDEST_AIOHTTP:
        raise UnsafeParser(f"aiohttp {version} is too old; install {'.'.join(map(str, OLDEST_AIOHTTP))} or newer")
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise UnsafeParser("aiohttp runs without its C parser; install a wheel, and unset AIOHTTP_NO_EXTENSIONS")


@dataclass(slots=True)
class Crowd:
    """Counts the connections of all doors that share it."""

    limit: int
    inside: int = 0


class QuietHandler(RequestHandler):
    """One connection. Errors of the parser and of handlers are answered in fixed words and logged by their type."""

    __slots__ = ("_crowd", "_head_timeout", "_head_timer")

    def __init__(self, server: web.Server, *, head_timeout: float, crowd: Crowd, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._head_timeout = head_timeout
        self._crowd = crowd

    def connection_made(self, transport: Any) -> None:
        self._crowd.inside += 1
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._head_timeout, self._too_slow)
        if self._crowd.inside > self._crowd.limit:
            transport.write(_TOO_MANY)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.inside -= 1
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _too_slow(self) -> None:
        if self._request_count == 0 and self.transport is not None:
            self.force_close()

    def log_exception(self, *_args: Any, **kwargs: Any) -> None:
        error = kwargs.get("exc_info")
        found = error if isinstance(error, BaseException) else sys.exc_info()[1]
        log.error("a request failed", error=type(found).__name__, at=_place(found))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's own words, with bytes of the request in them
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client has gone, or an answer had already begun")
        if status < 500:  # noqa: PLR2004
            refusal = _unreadable(exc)
        else:
            self.log_exception(exc_info=exc)
            refusal = Refusal("internal", "bearerd failed; its log says where.", close=True)
        return _answer(refusal)


def _answer(refusal: Refusal) -> web.Response:
    rendered = render(refusal, request_id="-")
    response = web.Response(status=rendered.status, body=rendered.body, headers=rendered.headers)
    response.force_close()
    return response


def _place(error: BaseException | None) -> str:
    """The innermost frames, `gateway.py:120 → headers.py:31`: the text of an exception may quote the request."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return " → ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]) or "?"


def _unreadable(error: BaseException | None) -> Refusal:
    if isinstance(error, LineTooLong):
        return Refusal("head-too-large", "The request line or a header is too long.", close=True)
    if isinstance(error, HttpProcessingError) and error.message == "Too many headers received":
        return Refusal("head-too-large", f"More than {MOST_HEADERS} headers.", close=True)
    return Refusal("bad-request", "The request is no valid HTTP/1.1.", close=True)


def _spell(rendered: Rendered) -> bytes:
    """A refusal as the bytes of an answer, for a connection that gets no handler."""
    lines = [f"HTTP/1.1 {rendered.status} {HTTPStatus(rendered.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in (*rendered.headers, ("Content-Length", str(len(rendered.body))))]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + rendered.body


_TOO_MANY = _spell(
    render(Refusal("overloaded", "Too many connections are open.", retry_after=1, close=True), request_id="-")
)


class QuietServer(web.Server):
    """Makes `QuietHandler`s. `auto_decompress` is off: a gzip body of 48 kB can hold 50 MB."""

    def __init__(self, handler: Handler, *, head_timeout: float = HEAD_TIMEOUT, crowd: Crowd | None = None) -> None:
        super().__init__(partial(_examined, handler), handler_cancellation=True)
        self._head_timeout = head_timeout
        self._crowd = crowd or Crowd(sys.maxsize)

    def __call__(self) -> RequestHandler:
        return QuietHandler(
            self,
            loop=self._loop,
            head_timeout=self._head_timeout,
            crowd=self._crowd,
            access_log=None,  # aiohttp's own way to have none; it would print queries
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
        )


async def _examined(handler: Handler, request: web.BaseRequest) -> web.StreamResponse:
    """What the parser lets pass and no handler should see."""
    if request.version < HttpVersion10:
        # Without headers nothing could be checked: no handler and no answer, the connection just ends.
        raise ConnectionAbortedError("HTTP/0.9")
    size = (
        len(request.method) + len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)
    )
    if size > LARGEST_HEAD:
        return _answer(Refusal("head-too-large", f"Target and headers are over {LARGEST_HEAD} bytes.", close=True))
    return await handler(request)


class Listener:
    """One address, open. `address` is what was asked for, `bound` what it became (port 0 picks a free one)."""

    def __init__(self, address: Address, bound: Address) -> None:
        self.address = address
        self.bound = bound
        self._runner: web.ServerRunner | None = None

    def attach(self, runner: web.ServerRunner) -> None:
        """The server behind the door, before it opens."""
        self._runner = runner

    @property
    def url(self) -> str:
        return f"http://{self.bound}" if isinstance(self.bound, Tcp) else str(self.bound)

    @property
    def names(self) -> tuple[str, ...]:
        """The `Host` values that lead here without being configured."""
        if not isinstance(self.bound, Tcp):
            return ()
        names = {str(self.bound)}
        if self.bound.loopback or self.bound.everywhere:
            names |= {f"{host}:{self.bound.port}" for host in ("127.0.0.1", "localhost", "[::1]")}
        return tuple(sorted(names))

    async def stop_accepting(self) -> None:
        """Close the door; requests inside go on."""
        sites = list(self._runner.sites) if self._runner else []
        if sites and isinstance(self.bound, Unix):
            # While we still listen, nobody takes the name for a stale one: it is certainly ours to remove.
            await asyncio.to_thread(self.bound.path.unlink, missing_ok=True)
        for site in sites:
            await site.stop()

    async def close(self, *, grace: float = 0.0) -> None:
        """Close the door, give requests inside their grace (the listener's or this longer one), end what is left."""
        await self.stop_accepting()
        if self._runner is None:
            return
        server = self._runner.server
        if grace and server is not None:
            server.pre_shutdown()
            await server.shutdown(grace)
        await self._runner.cleanup()


async def open_listener(
    address: Address,
    handler: Callable[["Listener", web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    grace: float,
    greet: Callable[["Listener"], None] = lambda _: None,
    head_timeout: float = HEAD_TIMEOUT,
    crowd: Crowd | None = None,
) -> Listener:
    """Bind and serve. `greet` learns of the listener before its door opens. `OSError` names the address."""
    if isinstance(address, Tcp):
        bound_socket = _bind(address)
        bound: Address = Tcp(address.host, bound_socket.getsockname()[1])
    else:
        bound_socket, bound = await asyncio.to_thread(bind_unix, address.path), address
    listener = Listener(address, bound)
    server = QuietServer(partial(handler, listener), head_timeout=head_timeout, crowd=crowd)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=grace)
    await runner.setup()
    listener.attach(runner)
    greet(listener)
    await web.SockSite(runner, bound_socket, backlog=1024).start()
    return listener


def _bind(address: Tcp) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        found.bind((address.host, address.port))
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    found.settimeout(0)
    return found


def bind_unix(path: Path) -> socket.socket:
    """A Unix socket of mode 0600, bound to `path`, in the place of a stale one if need be. Blocks. `OSError`."""
    _remove_stale(path)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(str(path))
        # Nobody can connect before somebody listens, so there is no moment with a looser mode.
        path.chmod(0o600)
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    found.settimeout(0)
    return found


def _remove_stale(path: Path) -> None:
    """A socket left by a killed server is in the way of the next one; anything else there is not ours to remove."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        # Only a refusal says that nobody listens; a server may also be too busy to answer.
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, f"another program listens on {path}")
    path.unlink(missing_ok=True)
