"""How bearerd connects outwards: TLS, name resolution and the settings of every client session.

aiohttp's defaults follow redirects, keep cookies, unpack bodies and send a request again without a word when its
connection dies. None of that may happen to a token or an order, so sessions are made here and nowhere else.
"""

import asyncio
import contextlib
import inspect
import socket
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import aiohttp
import aiohttp.connector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from proxy import flow
from proxy.filestamp import Stamp, stamp
from proxy.resolver import PublicResolver

CONNECT_TIMEOUT = 5.0
CALL_TIMEOUT = 300.0  # for calls that bring no time-out of their own
KEEP_ALIVE = (30, 10, 3)  # a silent peer is asked after so many seconds, each so many, and given up after so many times
MOST_INTERIM = 8  # answers of the 1xx kind before the real one
MOST_HEADERS = 128
LONGEST_LINE = 8190  # bytes of a status line's reason
LONGEST_FIELD = 16384  # bytes of a header's name and value
READ_AHEAD = 16 * 1024  # bytes of an answer, twice: then the connection is not read until somebody takes them
_NO_CAUSE = inspect.signature(ResponseHandler.set_exception).parameters["exc_cause"].default
NO_HTTP = "the answer is no valid HTTP"
NO_ANSWER = "the connection was lost before an answer came"
BROKEN_OFF = "the connection was lost before the answer was complete"
NO_TIME = "no complete answer in time"


class NotSent(Exception):
    """The connection could not be made: not a byte of the request has left. The text is safe to show."""


class Spoilt(NotSent):
    """The connection that was at hand held an answer to nothing. Another one may do."""


class Lost(Exception):
    """The request may have been processed, and there is no complete answer. The text is safe to show.

    `kind` says how: the connection was `reset`, the time was up (`timeout`), or what came was no HTTP (`malformed`).
    `reused`: the connection had served an earlier request, so the broker may just have been closing it. `begun`: it had
    begun to answer.
    """

    def __init__(self, reason: str, kind: Literal["reset", "timeout", "malformed"] = "reset") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reused = False
        self.begun = False


class NotSwitched(Exception):
    """The answer to a handshake was no 101: nobody follows where it leads. Its body is still to be read."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        super().__init__("the handshake was not taken")
        self.answer = answer


async def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, always verified. `ca_file` adds trust; nothing takes a check away.

    All that trust the same share one: to read the certificates of a system takes 20 ms, and a megabyte.
    """
    return await asyncio.to_thread(_shared_context, ca_file)  # reads files


def _shared_context(ca_file: str | None) -> ssl.SSLContext:
    own = Path(ca_file).expanduser() if ca_file is not None else None
    system = ssl.get_default_verify_paths()
    read = tuple(stamp(Path(file)) for file in (system.cafile, system.capath, own) if file is not None)
    with _contexts_lock:
        if (found := _contexts.get(read)) is not None:
            return found
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if own is not None:
            context.load_verify_locations(cafile=own)
        while len(_contexts) >= _MOST_CONTEXTS:
            _contexts.pop(next(iter(_contexts)))
        _contexts[read] = context
        return context


_MOST_CONTEXTS = 32
_contexts: dict[tuple[Stamp, ...], ssl.SSLContext] = {}
_contexts_lock = threading.Lock()


async def never_send_again(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Client middleware: turn a lost connection into `Lost` before aiohttp can repeat the request on its own."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError as error:
        raise NotSent(_reason(error)) from None
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise Lost(NO_ANSWER) from None


async def only_switching(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Client middleware for handshakes: the library would follow a redirect, with every header but Authorization."""
    answer = await handler(request)
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise NotSwitched(answer)
    return answer


@dataclass(slots=True)
class Waiting:
    """How much longer `patient` waits, in seconds."""

    left: float


@contextlib.asynccontextmanager
async def patient(seconds: float) -> AsyncIterator[Waiting]:
    """End what takes longer: `TimeoutError`. Time in which we did not run does not count.

    A process that goes on after a pause (of a container, of a virtual machine) finds its timers over and its answers
    in the sockets. An ordinary time-out would drop what has come; here it is read first.
    """
    loop, pace = asyncio.get_running_loop(), seconds / 30
    waiting, timers = Waiting(seconds), deque[asyncio.TimerHandle](maxlen=1)
    async with asyncio.timeout(None) as limit:

        def tick(began: float) -> None:
            took = loop.time() - began
            waiting.left -= min(took, 2 * pace)
            if waiting.left <= 0 and took < 2 * pace:
                limit.reschedule(loop.time())
            else:
                timers.append(loop.call_later(pace, tick, loop.time()))

        timers.append(loop.call_later(pace, tick, loop.time()))
        try:
            yield waiting
        finally:
            timers[0].cancel()


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Map what aiohttp raises to `NotSent` and `Lost`. Its own exceptions hold URLs, headers and answer bytes."""
    try:
        yield
    except aiohttp.ClientHttpProxyError:
        raise NotSent("the egress proxy refused the connection") from None
    except aiohttp.ConnectionTimeoutError:
        raise NotSent(f"no connection within {CONNECT_TIMEOUT:.0f} s") from None
    except TimeoutError:
        raise Lost(NO_TIME, "timeout") from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
        raise Lost(BROKEN_OFF) from None
    except (aiohttp.ClientError, ValueError):
        raise Lost(NO_HTTP, "malformed") from None


def _reason(error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name could not be resolved, or leads to a private address that nothing declares"
        case aiohttp.ClientConnectorCertificateError():
            return "the TLS certificate is not trusted"
        case aiohttp.ClientSSLError():
            return "TLS could not be established"
        case _:
            return "the connection was refused or could not be made"


_last_look: ContextVar[Callable[[], None] | None] = ContextVar("last_look", default=None)


@contextlib.contextmanager
def last_look(look: Callable[[], None] | None) -> Iterator[None]:
    """Have `look` called for what is requested within the block: the connection is there, and not a byte is written.

    What it raises is what the request raises, and nothing was sent.
    """
    token = _last_look.set(look)
    try:
        yield
    finally:
        _last_look.reset(token)


class _Request(aiohttp.ClientRequest):
    """A request that is only sent where nobody has answered yet.

    The library reads on while a connection waits for its next request, and would take what came meanwhile for the
    answer to that request: everybody after it would get the answer of somebody else.
    """

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        if conn.protocol is not None and conn.protocol.should_close:
            raise Spoilt("the broker had sent what nobody asked for")
        if conn.transport is not None:
            flow.keep_little(conn.transport)
        if (look := _last_look.get()) is not None:
            look()
        if isinstance(conn.protocol, _Protocol):
            conn.protocol.begun = False
        return await super().send(conn)


class _Protocol(ResponseHandler):
    """A connection that tells whoever reads a body when the rest of it makes no sense, or will not come.

    The library's own tells nobody: of a body without a known end, its reader would wait for ever, and would take one
    that was reset for a whole one. `begun`: something has come since the last request.
    """

    _body: aiohttp.StreamReader | None = None
    begun = False

    def data_received(self, data: bytes) -> None:
        self.begun = True
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and self._body is not None and not self._body.is_eof():
            self._body.set_exception(aiohttp.ClientPayloadError())
        super().connection_lost(exc)

    def read_by(self, body: aiohttp.StreamReader) -> None:
        """The answer's head has been taken; this is its body."""
        self._body = body
        if isinstance(self.exception(), HttpProcessingError):
            self._spoil()

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _NO_CAUSE) -> None:
        super().set_exception(exc, exc_cause)
        if isinstance(exc, HttpProcessingError):
            self._spoil()

    def _spoil(self) -> None:
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(aiohttp.ClientError(NO_HTTP))
        if self.transport is not None:
            self.transport.abort()


class _Response(aiohttp.ClientResponse):
    """An answer after a few interim ones. The library would swallow them without end."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        for _ in range(MOST_INTERIM + 1):
            if protocol is None:
                break
            try:
                message = await protocol.read()
            except HttpProcessingError:
                raise Lost(NO_HTTP, "malformed") from None  # the library's own holds bytes of the answer
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                lost = Lost(NO_ANSWER)
                lost.begun = isinstance(protocol, _Protocol) and protocol.begun
                raise lost from None
            if not _interim(message[0].code):
                # Back to where it was, for the library to read.
                for each in (message, *[await protocol.read() for _ in range(len(protocol))]):
                    protocol.feed_data(each)
                started = await super().start(connection)
                if isinstance(protocol, _Protocol):
                    protocol.read_by(self.content)
                return started
        raise Lost(NO_HTTP, "malformed")


def kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that asks a silent peer whether it is there: on a stream we send nothing that could get lost."""
    family, kind, protocol, _, _ = address
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), KEEP_ALIVE, strict=True):
        if hasattr(socket, name):  # macOS has another name for the first, and its own two hours
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return found


def _interim(status: int) -> bool:
    return status // 100 == 1 and status != HTTPStatus.SWITCHING_PROTOCOLS


@dataclass(slots=True)
class Trace:
    """What became known of one request's connection; pass it as `trace_request_ctx`."""

    reused: bool = False


def _tracing() -> aiohttp.TraceConfig:
    async def reused(_session: object, context: SimpleNamespace, _params: object) -> None:
        if isinstance(context.trace_request_ctx, Trace):
            context.trace_request_ctx.reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    return config


def session(
    tls: ssl.SSLContext,
    *,
    keep_alive: float | None,
    private_hosts: AbstractSet[str] = frozenset(),
    egress: str | None = None,
    sockets: bool = False,
    unix_socket: str | None = None,
    names: object | None = None,
) -> aiohttp.ClientSession:
    """A session that sends each request once, to a verified peer, with nothing added.

    `sockets`: for WebSockets, which are open as long as they are: no time-out of its own but for connecting, and no
    answer is taken but a 101 (else `NotSwitched`).

    `keep_alive` is how many seconds an idle connection may be used again; None means never. `private_hosts` are names
    that may lead to private addresses (a lab, a simulator in the next container). `egress` is the URL of a proxy that
    is asked to connect: it resolves the broker's name, and ours to resolve is its own, which may well be private.
    `unix_socket` is connected to in place of any host. `names`: see `PublicResolver`.
    """
    flow.read_in_pieces()
    idle = {"force_close": True} if keep_alive is None else {"keepalive_timeout": keep_alive}
    connector: aiohttp.BaseConnector
    if unix_socket is not None:
        connector = aiohttp.UnixConnector(unix_socket, **idle)
    else:
        connector = aiohttp.TCPConnector(
            ssl=tls,
            resolver=None if egress else PublicResolver(private_hosts, names),
            limit=0,  # how many calls there are is limited before: here a slow client would stop all others
            ttl_dns_cache=30,
            socket_factory=kept_alive,
            **idle,
        )
    # There is no public way to say of what class connections are; a test notices if this one comes to nothing.
    connector._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001
    return aiohttp.ClientSession(
        connector=connector,
        proxy=egress,
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_Request,
        response_class=_Response,
        trust_env=False,
        auto_decompress=False,
        raise_for_status=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        middlewares=(only_switching, never_send_again) if sockets else (never_send_again,),
        # Other calls bring their own.
        timeout=aiohttp.ClientTimeout(total=None if sockets else CALL_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
        trace_configs=[_tracing()],
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_FIELD,
        max_headers=MOST_HEADERS,
        read_bufsize=READ_AHEAD,
    )
