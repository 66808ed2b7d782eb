"""The library's parser of requests: which one we serve with, and how far ahead it reads."""

from collections import deque
from typing import Any

import aiohttp
from aiohttp import http_parser, web_protocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

OLDEST_AIOHTTP = (3, 14, 5)
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
    """The requests of a connection that wait for their turn. `body` is that of the last whose head was complete.

    aiohttp puts them here in two places: as they come, and those behind an upgrade once that has been declined.
    """

    body: StreamReader = EMPTY_PAYLOAD

    def append(self, request: tuple[Any, StreamReader], /) -> None:
        self.body = request[1]
        super().append(request)
