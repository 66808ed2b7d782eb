"""Answers on their way to the client: whole, in parts, and broken off."""

import pytest

from proxy.relay.delivery import PART
from tests.lab import running
from tests.wire import Step, Visit, answer


def raw(data: bytes) -> Step:
    """A broker that says this, and hangs up."""

    async def step(visit: Visit) -> None:
        await visit.write(data)
        visit.writer.close()

    return step


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 10 * PART], ids=str)
async def test_a_body_comes_as_the_broker_sent_it(size: int) -> None:
    """Of whatever length, and with that length told."""
    body = bytes(range(256)) * (size // 256 + 1)
    async with running() as lab:
        lab.broker.script = [raw(answer(200, body[:size]))]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (200, body[:size], str(size)) == (reply.status, reply.body, reply.one("Content-Length"))


@pytest.mark.parametrize("large", [False, True], ids=["chunked", "with a length"])
async def test_an_answer_that_breaks_off_is_never_a_well_formed_short_one(large: bool) -> None:
    """The head has gone to the client: its connection is cut in the middle of the body."""
    body = b"x" * 100_000
    cut = (
        answer(200, body, length=200_000)
        if large
        else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    )
    async with running() as lab:
        lab.broker.script = [raw(cut)]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (200, False) == (reply.status, reply.complete)
        assert 0 == lab.lent
