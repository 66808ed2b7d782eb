"""Every refusal is a JSON object, from the first byte that cannot be read to the last check before a broker."""

import pytest

from tests.lab import running

REFUSALS = {
    "no request": (b"GET\r\n\r\n", 400),
    "bad method": (b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad header": (b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "long line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
    "large head": (b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"A: " + b"b" * 6000 + b"\r\n") * 3 + b"\r\n", 431),
    "old version": (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505),
    "wrong host": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 421),
    "absolute form": (b"GET http://x/ HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 400),
    "preflight": (b"OPTIONS /lab/v1/accounts HTTP/1.1\r\nHost: {host}\r\nOrigin: http://x\r\n\r\n", 403),
    "no key": (b"GET /lab/v1/accounts HTTP/1.1\r\nHost: {host}\r\n\r\n", 401),
    "odd name": (b"GET / HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nA_b: c\r\n\r\n", 400),
    "no mount": (b"GET / HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 404),
    "no row": (b"PUT /lab/v1/accounts HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 403),
    "unknown method": (b"OPTIONS /lab/v1/accounts HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 403),
    "expectation": (b"GET /lab/v1/accounts HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nExpect: x\r\n\r\n", 417),
    "denied row": (b"GET /lab/v1/wallet HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 403),
    "websocket": (b"GET /lab/v1/events HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n", 426),
    "large body": (
        b"POST /lab/v1/document HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nContent-Length: 999999\r\n\r\n", 413,
    ),
    "guard": (
        b"POST /lab/v1/find HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nContent-Length: 2\r\n\r\n[]", 403,
    ),
    "bad chunk": (
        b"POST /lab/v1/orders HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        400,
    ),
    "slow body": (
        b"POST /lab/v1/orders HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nContent-Length: 9\r\n\r\n", 408,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSALS))
async def test_whatever_is_refused_gets_a_json_object(name: str) -> None:
    """Some SDKs repeat an order after a body of any other kind: also where a request could not even be read."""
    request, status = REFUSALS[name]
    async with running() as lab, lab.connect() as wire:
        lab.change(patience=0.2)
        await wire.send(request.replace(b"{host}", lab.host.encode()).replace(b"{key}", lab.key.encode()))
        reply = await wire.reply()

        assert status == reply.problem[0]
        assert {"code", "message", "detail", "title", "request_id"} <= reply.document.keys()
        assert lab.key.encode() not in reply.body
