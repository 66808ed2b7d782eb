"""The server behind a listener: it makes the protocols of connections, and looks at requests before handlers do."""

import sys
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import HttpVersion10, web
from aiohttp.web_protocol import RequestHandler

from proxy.connection import (
    HEAD_TIMEOUT,
    KEEP_ALIVE,
    LARGEST_HEAD,
    LINGER,
    LONGEST_LINE,
    MOST_HEADERS,
    TAKE_TIMEOUT,
    TOO_LARGE,
    ExpressHandler,
    QuietHandler,
    answer_of,
)
from proxy.parser import read_few_ahead
from proxy.vestibule import Crowd

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class QuietServer(web.Server):
    """Makes the protocols of connections, by `make`. `auto_decompress` is off: a gzip body of 48 kB can hold 50 MB."""

    def __init__(
        self,
        handler: Handler,
        *,
        head_timeout: float = HEAD_TIMEOUT,
        take_timeout: float = TAKE_TIMEOUT,
        crowd: Crowd | None = None,
        make: Callable[..., QuietHandler] = QuietHandler,
    ) -> None:
        read_few_ahead()
        super().__init__(partial(_examined, handler), handler_cancellation=True)
        self._head_timeout = head_timeout
        self._take_timeout = take_timeout
        self._crowd = crowd or Crowd(sys.maxsize)
        self._make = make

    def __call__(self) -> RequestHandler:
        return self._make(
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
    """What the parser lets pass and no handler should see; and what the express lane began."""
    if isinstance(request.protocol, ExpressHandler) and (call := request.protocol.handed()) is not None:
        return await call.go_on(request)
    if request.version < HttpVersion10:
        # Without headers nothing could be checked: no handler and no answer, the connection just ends.
        raise ConnectionAbortedError("HTTP/0.9")
    size = len(request.method) + len(request.raw_path)
    if size + sum(len(name) + len(value) for name, value in request.raw_headers) > LARGEST_HEAD:
        return answer_of(TOO_LARGE)
    return await handler(request)
