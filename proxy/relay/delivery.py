"""An answer of the broker's on its way to the client, piece by piece, and no piece with a credential of ours in it."""

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_writer import StreamWriter

from proxy import logs
from proxy.outbound import Lost
from proxy.relay import headers as header_rules
from proxy.relay.answerhead import as_text
from proxy.relay.echo import Echoed
from proxy.relay.http import Exchange

PART = 32 * 1024  # bytes that are written to a client at a time

log = logs.get("relay")


async def deliver(
    request: web.BaseRequest, exchange: Exchange, headers: header_rules.Raw, *, last: bool = False
) -> web.StreamResponse:
    """Pass status, headers and body on to the client as they come. The framing is ours. `last`: so is the end.

    Raises `ConnectionError` if client or broker leaves in the middle: the connection is cut then.
    """
    answer = exchange.answer
    if exchange.whole:
        response: web.StreamResponse = web.Response(status=answer.status, body=exchange.start)
    else:
        response = web.StreamResponse(status=answer.status)
    _set_headers(response, headers)
    if last:
        response.force_close()
    length = header_rules.content_length(answer.headers)
    if request.method == "HEAD" and length is not None:
        response.headers["Content-Length"] = str(length)
    elif not exchange.whole:
        if length is not None:
            response.content_length = length
        else:
            response.enable_chunked_encoding()
    writer = await response.prepare(request)
    if exchange.streaming and isinstance(writer, StreamWriter):
        writer.send_headers()  # the library would keep the head until there is some of the body
    if not exchange.whole:
        await _pump(request, exchange, response)
    await response.write_eof()
    return response


def _set_headers(response: web.StreamResponse, headers: header_rules.Raw) -> None:
    response.headers.clear()
    for name, value in as_text(headers):
        response.headers.add(name, value)


async def _pump(request: web.BaseRequest, exchange: Exchange, response: web.StreamResponse) -> None:
    try:
        async for piece in _sifted(exchange):
            # In parts: what a slow client has not taken yet stays in memory, and there may be hundreds of them.
            exchange.passed += len(piece)
            for at in range(0, len(piece), PART):
                await response.write(piece[at : at + PART])
                await request.writer.drain()  # writing alone waits only after each 64 KiB
    except (Lost, Echoed) as error:
        if isinstance(error, Echoed):
            log.error("an answer held a credential and was cut off", grant=exchange.keeper.name)
        # The head has gone: a cut connection is the only honest way to say that the body is not complete.
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("the broker's answer broke off") from None


async def _sifted(exchange: Exchange) -> AsyncIterator[bytes]:
    """The whole body, piece by piece. Raises `Echoed` before the end of a secret goes on."""
    sieve = exchange.sieve
    if sieve is None:
        raise AssertionError("an answer was about to go on unsearched")
    yield sieve.pass_on(exchange.start)
    async for chunk in exchange.answer.chunks():
        yield sieve.pass_on(chunk)
    yield sieve.rest()
