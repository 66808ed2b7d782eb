"""Bodies both ways: as they come, in our framing, and never longer than the gate allows."""

import asyncio
import gzip
from itertools import pairwise

import pytest

from tests.lab import running
from tests.wire import Step, Visit, answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def sends(data: bytes, *, close: bool = False) -> Step:
    async def step(visit: Visit) -> None:
        await visit.read()
        await visit.write(data)
        if close:
            visit.writer.close()

    return step


async def test_a_chunked_answer_is_passed_on_as_it_comes() -> None:
    """The first chunk is with the client before the broker sends the last."""
    seen = asyncio.Event()

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED + b"5\r\nfirst\r\n")
        await asyncio.wait_for(seen.wait(), 5)
        await visit.write(b"4\r\nlast\r\n0\r\n\r\n")

    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [step]
        await wire.send(lab.request("GET", "/lab/v1/accounts"))
        status, headers = await wire.head()
        assert (200, "chunked") == (status, dict(headers)["Transfer-Encoding"])
        assert b"first" == await wire.chunk()
        seen.set()
        assert [b"last", b""] == [await wire.chunk(), await wire.chunk()]


async def test_a_stream_has_no_time_limit_but_for_silence() -> None:
    """A streaming row outlives the total time of other calls; so long as something comes, it goes on."""

    async def drip(visit: Visit) -> None:
        await visit.write(CHUNKED)
        for _ in range(16):
            await visit.write(b"1\r\n.\r\n")
            await asyncio.sleep(0.05)
        await visit.write(b"0\r\n\r\n")

    async with running(total=0.4, idle=0.5) as lab:
        lab.broker.script = [drip, drip]
        assert (b"." * 16, True) == ((reply := await lab.call("GET", "/lab/v1/feed")).body, reply.complete)
        assert not (await lab.call("GET", "/lab/v1/accounts")).complete
        assert 0 == lab.lent


async def test_a_silent_stream_is_cut() -> None:
    """Nothing for the idle time: the client sees a broken connection, not the end of the stream."""

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED + b"1\r\n.\r\n")
        await visit.wait_gone()

    async with running(idle=0.2) as lab:
        lab.broker.script = [step]
        reply = await lab.call("GET", "/lab/v1/feed")

        assert (b".", False) == (reply.body, reply.complete)
        assert 0 == lab.lent


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000])
async def test_a_known_length_is_kept(size: int) -> None:
    """Read ahead or streamed: Content-Length is the broker's, and the connection serves the next call."""
    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [sends(answer(200, b"x" * size))]
        await wire.send(lab.request("GET", "/lab/v1/accounts") * 2)
        reply = await wire.reply()

        assert (str(size), size) == (reply.one("Content-Length"), len(reply.body))
        assert {"ok": True} == (await wire.reply()).document


async def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client() -> None:
    """Without a length there is no other honest framing."""
    async with running() as lab:
        lab.broker.script = [sends(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\na,b", close=True)]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (b"a,b", "chunked", "text/csv") == (
            reply.body,
            reply.one("Transfer-Encoding"),
            reply.one("Content-Type"),
        )


async def test_a_compressed_answer_stays_compressed() -> None:
    """The client asked for it and gets the broker's very bytes."""
    body = gzip.compress(b"{}" * 1000)
    async with running() as lab:
        lab.broker.script = [sends(answer(200, body, "Content-Encoding: gzip"))]
        reply = await lab.call("GET", "/lab/v1/accounts", "Accept-Encoding: gzip")

        assert (body, "gzip") == (reply.body, reply.one("Content-Encoding"))


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: x\r\n\r\n", "1234"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nETag: x\r\n\r\n", None),
    ],
)
async def test_head_has_the_length_and_no_body(head: bytes, length: str | None) -> None:
    """The length is the broker's or none at all; the connection goes on."""
    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [sends(head)]
        await wire.send(lab.request("HEAD", "/lab/v1/accounts") + lab.request("GET", "/lab/v1/accounts"))
        reply = await wire.reply(method="HEAD")

        assert (200, length, "x") == (reply.status, reply.one("Content-Length"), reply.one("ETag"))
        assert {"ok": True} == (await wire.reply()).document


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_framing(status: int) -> None:
    """204 and 304 carry neither body nor chunks; the connection goes on."""
    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [sends(b"HTTP/1.1 %d X\r\nETag: x\r\n\r\n" % status)]
        await wire.send(lab.request("GET", "/lab/v1/accounts") * 2)
        reply = await wire.reply()

        assert (status, None, None) == (reply.status, reply.one("Content-Length"), reply.one("Transfer-Encoding"))
        assert {"ok": True} == (await wire.reply()).document


async def test_a_redirect_is_passed_and_never_followed() -> None:
    """The broker sees one request; the client sees a Location below the mount, or none."""
    async with running() as lab:
        own = f"Location: https://127.0.0.1:{lab.broker.port}/v1/elsewhere?a=%3A"
        foreign = "Location: https://evil.example/v1/accounts"
        lab.broker.script = [sends(answer(307, b"", own)), sends(answer(302, b"", foreign))]

        moved = await lab.call("GET", "/lab/v1/accounts")
        assert (307, f"http://{lab.host}/lab/v1/elsewhere?a=%3A") == (moved.status, moved.one("Location"))
        assert (302, None) == ((away := await lab.call("GET", "/lab/v1/accounts")).status, away.one("Location"))
        assert 2 == len(lab.broker.visits)


async def test_bytes_after_an_answer_reach_nobody() -> None:
    """A longer body than announced, or a second answer, is never taken for the next call's."""
    async with running() as lab:
        lab.broker.script = [sends(answer(200, b"{}") + answer(200, b'"smuggled"'))]
        assert {} == (await lab.call("GET", "/lab/v1/accounts")).document

        assert {"ok": True} == (await lab.call("GET", "/lab/v1/accounts")).document


async def test_a_client_that_leaves_cancels_the_call() -> None:
    """Before and in the middle of an answer, the broker's connection is closed and the pair given back."""
    waiting, streaming = asyncio.Event(), asyncio.Event()

    async def wait(visit: Visit) -> None:
        waiting.set()
        await visit.wait_gone()

    async def stream(visit: Visit) -> None:
        await visit.write(CHUNKED + b"1\r\n.\r\n")
        streaming.set()
        await visit.wait_gone()

    async with running() as lab:
        lab.broker.script = [wait, stream]
        for event in (waiting, streaming):
            async with lab.connect() as wire:
                await wire.send(lab.request("GET", "/lab/v1/feed"))
                await event.wait()
                assert 1 == lab.gateway.serving.in_flight
                wire.reset()
            await asyncio.wait_for(lab.broker.visits[-1].gone.wait(), 5)
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


async def test_an_upload_is_passed_on_as_it_comes() -> None:
    """The broker has the first piece before the client sends the last; the length is the client's."""
    arrived = asyncio.Event()

    async def step(visit: Visit) -> None:
        visit.body = await visit.reader.readexactly(10)
        arrived.set()
        await visit.read()
        await visit.json({})

    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [step]
        await wire.send(lab.request("POST", "/lab/v1/upload", "Content-Length: 100000") + b"x" * 10)
        await asyncio.wait_for(arrived.wait(), 5)
        await wire.send(b"y" * 99_990)
        assert 200 == (await wire.reply()).status

    (visit,) = lab.broker.visits
    assert (["100000"], [], 100_000) == (visit.all("Content-Length"), visit.all("Transfer-Encoding"), len(visit.body))


async def test_a_chunked_upload_stays_one() -> None:
    """Its length is known to nobody; its end is."""
    async with running() as lab, lab.connect() as wire:
        await wire.send(lab.request("POST", "/lab/v1/upload", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n")
        assert 200 == (await wire.reply()).status

    (visit,) = lab.broker.visits
    assert (["chunked"], [], b"abc") == (visit.all("Transfer-Encoding"), visit.all("Content-Length"), visit.body)


async def test_an_upload_that_grows_too_large_is_413() -> None:
    """Not a broker that has gone, and the broker never gets the end of it."""
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [lambda visit: visit.wait_gone()]
        await wire.send(lab.request("POST", "/lab/v1/upload", "Transfer-Encoding: chunked") + piece * 17)
        assert (413, "body-too-large") == (await wire.reply()).problem
        await asyncio.wait_for(lab.broker.visits[0].gone.wait(), 5)
    assert 0 == lab.lent


async def test_an_upload_that_stops_is_408() -> None:
    """The client was too slow, so the refusal says so, and not that an order may have been placed."""
    async with running() as lab, lab.connect() as wire:
        lab.change(patience=0.2)
        lab.broker.script = [lambda visit: visit.wait_gone()]
        await wire.send(lab.request("POST", "/lab/v1/upload", "Content-Length: 100000") + b"x" * 10)
        reply = await wire.reply()

        assert ((408, "slow-request"), "close") == (reply.problem, reply.one("Connection"))
    assert 0 == lab.lent


async def test_a_refused_upload_is_not_read() -> None:
    """401 comes while the body is still to be sent; then the connection ends."""
    async with running() as lab, lab.connect() as wire:
        await wire.send(lab.request("POST", "/lab/v1/upload", "Content-Length: 100000", key="") + b"x" * 10)
        reply = await wire.reply()

        assert ((401, "unknown-client"), "close") == (reply.problem, reply.one("Connection"))
        assert await wire.ended()
    assert [] == lab.broker.visits


async def test_pieces_come_in_order() -> None:
    """A large answer in many chunks arrives whole and in order."""

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED)
        for number in range(500):
            await visit.write(b"4\r\n%04d\r\n" % number)
        await visit.write(b"0\r\n\r\n")

    async with running() as lab:
        lab.broker.script = [step]
        body = (await lab.call("GET", "/lab/v1/accounts")).body
        numbers = [int(body[at : at + 4]) for at in range(0, len(body), 4)]
        assert (500, True) == (len(numbers), all(one + 1 == two for one, two in pairwise(numbers)))
