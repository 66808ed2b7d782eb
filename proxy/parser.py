"""The library's parser of requests: which one we serve with, and how far ahead it reads."""

from collections import deque
from typing import Any

import aiohttp
from aiohttp import http_parser, web_protocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

OLDEST_AIOHTTP = (3, 14, 5)
_END = b"\r\n\r\n"
REQUESTS_AHEAD = 8  # of one connection, while one is answered


class UnsafeParser(Exception):
    """aiohttp is too old, or runs without its C parser: it would take requests that we must refuse."""


def check_parser(version: str = aiohttp.__version__) -> None:
    """Raise `UnsafeParser` rather than serve with a parser whose framing was not examined."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < OLDEST_AIOHTTP:
        raise UnsafeParser(f"aiohttp {version} is too old; install {'.'.join(map(str, OLDEST_AIOHTTP))} or newer")
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise UnsafeParser("aiohttp runs without its C parser; install a wheel, and unset AIOHTTP_NO_EXTENSIONS")


def read_few_ahead() -> None:
    """For connections that are made later. Of one whose answers are not taken, 32 heads of 16 KiB would wait."""
    web_protocol.MAX_MSG_QUEUE_SIZE = min(web_protocol.MAX_MSG_QUEUE_SIZE, REQUESTS_AHEAD)


class ReadAhead(deque[tuple[Any, StreamReader]]):
    """The requests of a connection that wait for their turn. `head` and `body` are those of the last that was complete.

    aiohttp puts them here in two places: as they come, and those behind an upgrade once that has been declined.
    """

    head: Any = None
    body: StreamReader = EMPTY_PAYLOAD

    def append(self, request: tuple[Any, StreamReader], /) -> None:
        self.head, self.body = request
        super().append(request)


class Boundary:
    """Whether what a connection's parser was fed ends exactly with a request: `between`.

    The parser does not tell. So it is reckoned from what was fed, as long as that is simple: a head in one piece with
    what follows it, and a body of a length that its head gives. Once it was not, nobody knows any more.
    """

    __slots__ = ("_lost", "_owed", "between")

    def __init__(self) -> None:
        self.between = True
        self._owed = 0  # bytes of a body that are still to come
        self._lost = False

    def fed(self, data: bytes, heads: int, head: Any) -> None:
        """`data` was fed, with which so many heads were complete; `head` is aiohttp's message of the last one."""
        if self._lost or not data:
            return
        if self.between and heads == 1:
            end = data.find(_END)
            length = _length(head)
            self._owed = -1 if end < 0 or length is None else length - (len(data) - end - len(_END))
        elif not self.between and not heads:
            self._owed -= len(data)
        else:
            self._owed = -1
        self._lost, self.between = self._owed < 0, not self._owed


def _length(head: Any) -> int | None:
    """How many bytes of a body a head announces; None where that is not a plain number, or something else follows."""
    headers = getattr(head, "headers", None)
    if headers is None or head.chunked or head.upgrade or head.should_close:
        return None
    lengths = headers.getall("Content-Length", ["0"])
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].isdecimal() and lengths[0].isascii() else None
