"""What makes the connections of a listener. What these do: `test_connection.py`."""

from aiohttp import web

from proxy.parser import REQUESTS_AHEAD
from proxy.quietserver import QuietServer


async def test_few_requests_are_read_ahead() -> None:
    """What is given to the parser at once comes out in parts."""
    handler = QuietServer(_hello)()
    handler.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

    assert 8 == REQUESTS_AHEAD == len(handler._messages)


async def _hello(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")
