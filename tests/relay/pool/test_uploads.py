"""Bodies that come in pieces: framed, whole or not at all, and beside their answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.upstream import Upload
from tests.calling import ANYWHERE, call, fetch, scene
from tests.wire import Visit, accept, answer


async def pieces(of: Iterable[bytes], *, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for piece in of:
        yield piece
        await asyncio.sleep(0)
    if then is not None:
        raise then


@pytest.mark.parametrize(
    ("length", "framing"), [(9, [("Content-Length", "9")]), (None, [("Transfer-Encoding", "chunked")])]
)
async def test_an_upload_arrives_whole(length: int | None, framing: list[tuple[str, str]]) -> None:
    """With its length if that is known, in chunks if not; the connection serves the next call."""
    async with scene() as (upstream, broker):
        for _ in range(2):
            upload = Upload(pieces([b"abc", b"", b"def", b"ghi"]), length)
            await fetch(upstream, call(broker, method="POST", body=upload))
        visit = broker.visits[1]
        assert (b"abcdefghi", framing) == (visit.body, [pair for pair in visit.headers if "-" in pair[0]][-1:])
        assert 1 == broker.connections


@pytest.mark.parametrize("length", [100, None], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "then", [Refusal("slow-request", "slow"), ConnectionResetError(), None], ids=["slow", "gone", "short"]
)
async def test_an_upload_that_ends_early_is_no_upload(length: int | None, then: Exception | None) -> None:
    """The connection is cut, so that the broker cannot take what it has got for the whole."""
    if length is None and then is None:
        return  # what is all, nobody but the client knows
    async with scene() as (upstream, broker):
        whole: list[bytes] = []

        async def read(visit: Visit) -> None:
            whole.append(await visit.read())

        broker.script = [read]
        upload = Upload(pieces([b"some"], then=then), length)
        with pytest.raises(Lost):
            await upstream.send(call(broker, method="POST", body=upload), ANYWHERE)
        assert (then if isinstance(then, Refusal) else None) is upload.fault
        await asyncio.sleep(0.02)
        assert [] == whole


async def test_an_upload_that_is_longer_than_it_said_is_cut() -> None:
    """The rest would be the next call."""
    async with scene() as (upstream, broker):
        upload = Upload(pieces([b"abc", b"GET / HTTP/1.1\r\n\r\n"]), 3)
        with pytest.raises(Lost):
            await fetch(upstream, call(broker, method="POST", body=upload))
        await asyncio.sleep(0.02)
        assert 1 == len(broker.visits)


async def test_an_early_answer_ends_the_upload() -> None:
    """Its caller has it at once; the source is not asked for more, and the connection serves nobody else."""

    async def early(visit: Visit) -> None:
        await visit.write(answer(413, b"no"))
        await visit.wait_gone()

    asked = 0
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        try:
            while True:
                asked += 1
                yield b"u" * 10_000
                await asyncio.sleep(0.001)
        finally:
            stopped.set()

    async with scene() as (upstream, broker):
        broker.script = [early, accept]
        body = await fetch(upstream, call(broker, method="POST", body=Upload(endless(), None)))
        assert b"no" == body
        async with asyncio.timeout(5):
            await stopped.wait()
        before = asked
        await fetch(upstream, call(broker))
        assert (before, 2) == (asked, broker.connections)


async def test_whoever_leaves_during_an_upload_takes_it_along() -> None:
    """A cancelled call leaves no task behind, and the broker's connection is cut."""
    going = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            going.set()
            yield b"u" * 10_000
            await asyncio.sleep(0.001)

    async with scene() as (upstream, broker):

        async def read(visit: Visit) -> None:
            await visit.wait_gone()

        broker.script = [read]
        before = asyncio.all_tasks()
        wanted = call(broker, method="POST", body=Upload(endless(), None))
        task = asyncio.ensure_future(upstream.send(wanted, ANYWHERE))
        await going.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)
        left = {each for each in asyncio.all_tasks() - before if "uploads" in repr(each)}
        assert not left
