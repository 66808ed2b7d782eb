"""An answer that is read to its end before it goes on: whole, searched, and within its limit."""

import asyncio

from proxy.relay.wholebody import LARGEST
from tests.lab import access_token
from tests.streams.portlab import NOTIFICATIONS, PortLab, port_lab
from tests.wire import Visit, answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def said(lab: PortLab, raw: bytes, *, ends: bool = True) -> tuple[int, str]:
    """What a client is told when the broker says this, and closes or stays."""

    async def say(visit: Visit) -> None:
        await visit.write(raw)
        if ends:
            visit.writer.close()
        else:
            await visit.wait_gone()

    lab.lab.broker.script = [say]
    reply = await asyncio.wait_for(lab.ask(NOTIFICATIONS), 10)
    return reply.problem if reply.status != 200 else (200, reply.body.decode())


async def test_what_can_be_read_goes_on_and_nothing_else_does() -> None:
    """Whole with a length, in chunks or up to the end; else a refusal that says what is wrong."""
    token, unusable = access_token(1).encode(), (502, "bad-answer")
    async with port_lab() as lab:
        for raw, expected in (
            (answer(200, b'{"code":1}'), (200, '{"code":1}')),
            (CHUNKED + chunk(b'{"co') + chunk(b'de":1}') + b"0\r\n\r\n", (200, '{"code":1}')),
            (b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"code":1}', (200, '{"code":1}')),
            (answer(200, b"packed", "Content-Encoding: deflate"), unusable),
            (CHUNKED + chunk(b"x" * LARGEST) + b"0\r\n\r\n", (200, "x" * LARGEST)),
            (CHUNKED + chunk(b"x" * (LARGEST + 1)) + b"0\r\n\r\n", unusable),
            (CHUNKED + chunk(b'{"token":"' + token[:9]) + chunk(token[9:] + b'"}') + b"0\r\n\r\n", unusable),
            (CHUNKED + chunk(b'{"code":1}'), unusable),
        ):
            assert (raw[:90], expected) == (raw[:90], await said(lab, raw))
        assert 0 == lab.lab.lent


async def test_a_broker_that_stops_in_the_middle_is_a_timeout() -> None:
    """Not an answer that is half read."""
    async with port_lab(idle=0.2) as lab:
        assert (504, "broker-timeout") == await said(lab, CHUNKED + chunk(b'{"code":1}'), ends=False)
