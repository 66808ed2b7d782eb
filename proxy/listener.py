"""The doors: aiohttp's low-level server, made quiet and strict.

aiohttp quotes the offending bytes of a bad request in its error log and in its 400, a client key included, and logs the
text of exceptions. Neither may happen here, so what it would say is said by us, in fixed words.
"""

import asyncio
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy import flow, logs
from proxy.certificates import Certificates
from proxy.config import Address, Tcp, Unix
from proxy.errors import Refusal, render
from proxy.parser import ReadAhead, read_few_ahead
from proxy.sockets import bind_shared, bind_tcp, cut_off, untaken
from proxy.vestibule import Crowd, OpenSite, Peers, Tls, Vestibule, VestibuleSite

HEAD_TIMEOUT = 10.0  # seconds for a head: from the connection, or from its first byte, to its end
TAKE_TIMEOUT = 20.0  # seconds in which a client has to take what is waiting for it, or at least
TAKEN = 16 * 1024  # bytes of it
BACKLOG = 1024  # connections that the system keeps until we accept them
ACCEPTED = 16  # connections at a time: a flood of a thousand would keep everybody inside waiting for it
HTTP, HTTPS = 80, 443  # ports that no client names
KEEP_ALIVE = 75.0  # seconds that an idle connection stays open
LONGEST_LINE = 8190
MOST_HEADERS = 64
LARGEST_HEAD = 16 * 1024  # bytes of method, target, and the names and values of headers
UNFINISHED = LARGEST_HEAD + 4 * 1024  # bytes of a head that has not come to its end: with all that separates those
LINGER = 1.0  # seconds to read on after a refusal, so that the client sees the answer before the close

log = logs.get("listener")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class QuietHandler(RequestHandler):
    """One connection. Errors of the parser and of handlers are answered in fixed words and logged by their type.

    It is given up if a head takes too long to come, or an answer to be taken: the library looks after neither.
    """

    __slots__ = (
        "_crowd", "_ends", "_head", "_head_timeout", "_head_timer", "_line", "_take_timeout", "_take_timer",
    )  # fmt: skip

    def __init__(
        self, server: web.Server, *, head_timeout: float, take_timeout: float, crowd: Crowd, **settings: Any
    ) -> None:
        super().__init__(server, **settings)
        self._head_timeout = head_timeout
        self._take_timeout = take_timeout
        self._crowd = crowd
        self._head_timer: asyncio.TimerHandle | None = None
        self._take_timer: asyncio.TimerHandle | None = None
        self._ends = False
        self._messages: ReadAhead = ReadAhead()
        self._head = 0  # bytes since the last head was complete, but for its body's
        self._line: asyncio.Transport | None = None  # still there when aiohttp has let go of its own

    def connection_made(self, transport: Any) -> None:
        self._crowd.inside += 1
        self._line = transport
        flow.keep_little(transport)
        super().connection_made(transport)
        self._await_head()
        if self._crowd.inside > self._crowd.limit:
            transport.write(_TOO_MANY)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.inside -= 1
        self._line = None
        self._stop_waiting()
        self._taken()
        super().connection_lost(exc)

    # -- heads --------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._ends or self._head > UNFINISHED:
            return  # the last answer has been given or is due: what else comes is not worth a look
        heads, of_body = self._request_count, self._upgraded or not self._messages.body.is_eof()
        super().data_received(data)
        if self._request_count != heads:
            self._stop_waiting()
            self._head = 0
            return
        self._head += 0 if of_body else len(data)
        if self._head > UNFINISHED:  # the parser keeps half a megabyte before it gives up: what no head may hold
            super().data_received(b"\0")  # makes it do so now
        elif data and self._waiter is not None and self._head_timer is None:  # idle: the beginning of a head
            self._await_head()

    def _await_head(self) -> None:
        self._crowd.heads += 1
        self._head_timer = self._loop.call_later(self._head_timeout, self.force_close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._crowd.heads -= 1
            self._head_timer.cancel()
            self._head_timer = None

    # -- answers ------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def force_close(self) -> None:
        super().force_close()
        self._await_taking()  # a transport that closes waits for ever to get rid of what it holds

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._await_taking()

    async def finish_response(self, *arguments: Any) -> tuple[web.StreamResponse, bool]:
        done = await super().finish_response(*arguments)
        self._ends = not done[0].keep_alive
        self._await_taking()
        if self._ends and self._head > UNFINISHED:
            await asyncio.sleep(LINGER)  # the client may still be writing
        elif self._line is not None:
            self.data_received(b"")  # what was sent ahead may wait in the parser, and aiohttp would leave it there
        return done

    def _await_taking(self) -> None:
        if self._line is not None and self._take_timer is None and self._line.get_write_buffer_size():
            now = (self._request_count, untaken(self._line))
            self._take_timer = self._loop.call_later(self._take_timeout, self._give_up, *now)

    def _taken(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None

    def _give_up(self, heads: int, before: int) -> None:
        """The time is over: end what has made no progress in it."""
        self._take_timer = None
        if self._line is None or not self._line.get_write_buffer_size():
            return
        waits = self.writing_paused or self._force_close
        waits = waits or (heads == self._request_count and not self._request_in_progress)
        if waits and before - untaken(self._line) < TAKEN:
            cut_off(self._line)
        elif waits or not self._request_in_progress:
            self._await_taking()  # a slow client; or what waits now is another answer than then

    # -- words --------------------------------------------------------------------------------------------------------

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
            refusal = _TOO_LARGE if self._head > UNFINISHED else _unreadable(exc)
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


# As bytes, for connections that get no handler.
_TOO_LARGE = Refusal("head-too-large", f"Target and headers are over {LARGEST_HEAD} bytes.", close=True)
_TOO_MANY = render(
    Refusal("overloaded", "Too many connections are open.", retry_after=1, close=True), request_id="-"
).spelled()
_NOT_YOURS = render(
    Refusal("peer-denied", "Only certain users of this machine may call here.", close=True), request_id="-"
).spelled()


class QuietServer(web.Server):
    """Makes `QuietHandler`s. `auto_decompress` is off: a gzip body of 48 kB can hold 50 MB."""

    def __init__(
        self,
        handler: Handler,
        *,
        head_timeout: float = HEAD_TIMEOUT,
        take_timeout: float = TAKE_TIMEOUT,
        crowd: Crowd | None = None,
    ) -> None:
        read_few_ahead()
        super().__init__(partial(_examined, handler), handler_cancellation=True)
        self._head_timeout = head_timeout
        self._take_timeout = take_timeout
        self._crowd = crowd or Crowd(sys.maxsize)

    def __call__(self) -> RequestHandler:
        return QuietHandler(
            self,
            loop=self._loop,
            head_timeout=self._head_timeout,
            take_timeout=self._take_timeout,
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
    size = len(request.method) + len(request.raw_path)
    if size + sum(len(name) + len(value) for name, value in request.raw_headers) > LARGEST_HEAD:
        return _answer(_TOO_LARGE)
    return await handler(request)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listener asks of a connection before it is let in.

    `certificates`: TLS with what they have in force; None: plain HTTP. `plain_too`: both, as the client begins.
    `failed` is told of each handshake that fails, and why. `pages`: it is for people's browsers, which are not asked
    for a certificate. `mode`, `group` (a number) and `peers` are for Unix sockets only.
    """

    certificates: Certificates | None = None
    failed: Callable[[str], None] = lambda _reason: None
    pages: bool = False
    plain_too: bool = False
    mode: int = 0o600
    group: int | None = None
    peers: Peers = field(default_factory=Peers)


OPEN = Entry()


class Listener:
    """One address, open. `address` is what was asked for, `bound` what it became (port 0 picks a free one)."""

    def __init__(
        self, address: Address, bound: Address, certificates: Certificates | None = None, *, plain_too: bool = False
    ) -> None:
        self.address = address
        self.bound = bound
        self._certificates = certificates
        self._plain = plain_too or certificates is None
        self._runner: web.ServerRunner | None = None

    def attach(self, runner: web.ServerRunner) -> None:
        """The server behind the door, before it opens."""
        self._runner = runner

    @property
    def url(self) -> str:
        """Where clients call; without TLS, if that is possible."""
        if not isinstance(self.bound, Tcp):
            return str(self.bound)
        return f"http://{self.bound}" if self._plain else self.secure_url or ""

    @property
    def secure_url(self) -> str | None:
        """Where clients call with TLS, under a name that its certificate is for, if there is one."""
        if self._certificates is None or not isinstance(self.bound, Tcp):
            return None
        return f"https://{self._certificates.place(self.bound)}"

    @property
    def names(self) -> tuple[str, ...]:
        """The `Host` values that lead here without being configured."""
        if not isinstance(self.bound, Tcp):
            return ()
        names = {str(self.bound)}
        if self.bound.loopback or self.bound.everywhere:
            names |= {f"{host}:{self.bound.port}" for host in ("127.0.0.1", "localhost", "[::1]")}
        if self._certificates is not None:
            names.update(self._certificates.names(self.bound.port))
        if (self.bound.port == HTTP and self._plain) or (self.bound.port == HTTPS and self._certificates is not None):
            names |= {name.removesuffix(f":{self.bound.port}") for name in names}  # clients leave out that port
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
    take_timeout: float = TAKE_TIMEOUT,
    crowd: Crowd | None = None,
    entry: Entry = OPEN,
) -> Listener:
    """Bind and serve. `greet` learns of the listener before its door opens. `OSError` names the address."""
    crowd = crowd or Crowd(sys.maxsize)
    if isinstance(address, Tcp):
        bound_socket = bind_tcp(address)
        bound: Address = Tcp(address.host, bound_socket.getsockname()[1])
        listener = Listener(address, bound, entry.certificates, plain_too=entry.plain_too)
    else:
        bound_socket = await asyncio.to_thread(bind_shared, address.path, mode=entry.mode, group=entry.group)
        listener = Listener(address, address)
    server = QuietServer(partial(handler, listener), head_timeout=head_timeout, take_timeout=take_timeout, crowd=crowd)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=grace)
    await runner.setup()
    listener.attach(runner)
    greet(listener)
    await _site(runner, server, bound_socket, crowd, entry).start()
    bound_socket.listen(BACKLOG)
    return listener


def _site(
    runner: web.ServerRunner, server: QuietServer, bound: socket.socket, crowd: Crowd, entry: Entry
) -> web.BaseSite:
    unix, certificates = bound.family == socket.AF_UNIX, entry.certificates
    if not unix and certificates is None:
        return OpenSite(runner, bound, backlog=ACCEPTED)  # the loop accepts as many as that in one turn
    vestibule = Vestibule(
        bound,
        server,
        crowd=crowd,
        tls=None
        if unix or certificates is None
        else Tls(lambda: certificates.context(pages=entry.pages), entry.failed, optional=entry.plain_too),
        peers=entry.peers if unix else None,
        stranger=_NOT_YOURS,
    )
    return VestibuleSite(runner, vestibule, backlog=BACKLOG)
