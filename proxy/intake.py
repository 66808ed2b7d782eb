"""Taking a request's body in: how much, how fast, whole or as it comes."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from proxy.errors import Refusal
from proxy.gate.rows import Row
from proxy.relay.headers import content_length
from proxy.relay.upstream import Body, Upload

PATIENCE = 10.0  # seconds for each 64 KiB of a body, and no more between two pieces
SMALL = 64 * 1024  # bytes; bodies up to here are read whole, so that they can be sent again after a renewal
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def body_of(request: web.BaseRequest, row: Row, limit: int, *, patience: float = PATIENCE) -> Body:
    """What the call brings. Raises `Refusal` if that is too large, too slow, or has no place here.

    `limit` is the operator's, for rows that don't name their own. An `Upload` raises when it is read.
    """
    most = row.body_limit if row.max_body is not None else min(row.body_limit, limit)
    declared = content_length(request.raw_headers)
    if row.buffered or most <= SMALL or (declared is not None and declared <= SMALL):
        body = await read_whole(request, most, patience=patience)
        # Brokers and firewalls take offence at a GET with `Content-Length: 0`, and at a POST without.
        return body if body or request.method in ("POST", "PUT", "PATCH") else None
    _admit(request, most)
    return Upload(_pieces(request, most, patience), declared)


async def read_whole(request: web.BaseRequest, most: int, *, patience: float = PATIENCE) -> bytes:
    """The whole body, at most `most` bytes."""
    if not request.body_exists:
        return b""
    _admit(request, most)
    return b"".join([piece async for piece in _pieces(request, most, patience)])


def _admit(request: web.BaseRequest, most: int) -> None:
    declared = content_length(request.raw_headers)
    if declared is not None and declared > most:
        raise _too_large(most)
    _invite(request)


def _invite(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which aiohttp's plain server leaves to us: now the gate has let the call in."""
    if request.headers.get("Expect") and request.transport is not None:
        request.transport.write(_CONTINUE)


async def _pieces(request: web.BaseRequest, most: int, patience: float) -> AsyncIterator[bytes]:
    loop, got, waited = asyncio.get_running_loop(), 0, 0.0
    while True:
        # A piece now and then would hold a place here for hours. What a broker takes to read is not the client's.
        left = min(patience, patience * (1 + got // SMALL) - waited)
        began = loop.time()
        try:
            async with asyncio.timeout(left):
                piece = await request.content.readany()
        except TimeoutError:
            detail = f"The request body was too slow: {patience:g} s are for each {SMALL // 1024} KiB of it."
            raise Refusal("slow-request", detail, close=True) from None
        waited += loop.time() - began
        if not piece:
            return
        got += len(piece)
        if got > most:
            raise _too_large(most)
        yield piece


def _too_large(most: int) -> Refusal:
    detail = f"This call may bring a body of {most} bytes." if most else "This call takes no body."
    return Refusal("body-too-large", detail, close=True)
