"""One socket to a data feed: how it is opened, understood and changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest

from proxy.outbound import Lost
from proxy.relay.dialling import Handshake, HandshakeRefused
from proxy.streams.alpaca.feed import Feed, Rejected
from proxy.streams.alpaca.messages import Change, Form, Piece
from tests.streams.databroker import House, Session, dropped, good, house, says, silent

HANDSHAKE = Handshake(b"/v2/iex", [("Content-Type", "application/msgpack")])


async def opened(at: House, *, opening: float = 1.0, answer: float = 0.2) -> Feed:
    return await Feed.open(at.lab.mount.relay, HANDSHAKE, "lab", Form(), opening=opening, answer=answer)


@asynccontextmanager
async def reading(feed: Feed) -> AsyncIterator[list[Piece]]:
    """Somebody reads, as a hub does: confirmations and refusals are heeded, messages collected."""
    found: list[Piece] = []

    async def read() -> None:
        while True:
            for message in await feed.receive():
                if isinstance(message, Piece):
                    found.append(message)
                elif message["T"] == "subscription":
                    feed.confirm(message)
                else:
                    feed.refuse(message)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read())
        try:
            yield found
        finally:
            task.cancel()
            feed.socket.drop()


async def early(session: Session) -> None:
    """Says more than it must before it lets one in."""
    await session.send({"T": "success", "msg": "connected"}, {"T": "t", "S": "AAPL"})
    await session.ws.ping(b"x")
    await session.send({"T": "success", "msg": "hello"})
    await session.error(403)
    await session.serve()


async def test_it_is_open_when_the_broker_says_authenticated() -> None:
    """Or that it is so already; what comes before that is passed over."""
    async with house(good, early) as at:
        for _ in range(2):
            feed = await opened(at)
            assert ({}, {}) == (feed.asked, feed.confirmed)
            feed.socket.drop()


async def test_an_opening_that_fails_says_how() -> None:
    """The broker's own error, its silence, a socket that ends, another answer; and nothing stays open."""
    async with house(says(409), silent, dropped, 404) as at:
        with pytest.raises(Rejected, match="the broker said 409") as rejected:
            await opened(at)
        assert 409 == rejected.value.code
        with pytest.raises(Lost, match="did not authenticate in time"):
            await opened(at, opening=0.1)
        with pytest.raises(Lost):
            await opened(at)
        with pytest.raises(HandshakeRefused):
            await opened(at)
        await asyncio.sleep(0.05)
        assert [] == at.broker.open
        assert 0 == at.lab.lent


async def test_what_is_asked_is_known() -> None:
    """What it lacks of a wish, and what it has beyond one, follow from what the broker has confirmed."""
    async with house() as at:
        feed, done = await opened(at), list[str]()
        async with reading(feed):
            wanted = {"trades": ["AAPL", "MSFT"], "bars": ["*"]}
            assert None is await feed.change(Change(True, wanted), lambda: done.append("subscribed"))
            assert None is await feed.change(Change(False, {"trades": ["MSFT"]}), lambda: done.append("less"))

            assert ["subscribed", "less"] == done
            assert {"trades": ["MSFT"], "quotes": ["X"]} == feed.lacks({**wanted, "quotes": ["X"], "news": []})
            assert {"bars": ["*"]} == feed.surplus({"trades": ["AAPL"]})
            assert (frozenset({"AAPL"}), frozenset({"*"})) == (feed.confirmed["trades"], feed.confirmed["bars"])


async def test_a_refusal_is_the_answer_and_changes_nothing() -> None:
    """And a late one answers nothing."""
    async with house() as at:
        feed, done = await opened(at), list[str]()

        async def refuse(session: Session, _asked: object) -> None:
            await session.error(410)

        at.broker.answer = refuse
        async with reading(feed):
            refused = await feed.change(Change(True, {"trades": ["AAPL"]}), lambda: done.append("never"))
            assert refused is not None
            assert 410 == refused["code"]
            assert ([], {}) == (done, feed.asked)
            assert not feed.refuse({"T": "error", "code": 500})
            feed.confirm({"T": "subscription", "trades": ["AAPL"]})
            assert [] == done


async def test_a_broker_that_does_not_answer_is_lost() -> None:
    """Nobody can tell what it has taken."""
    async with house() as at:
        feed = await opened(at, answer=0.05)

        async def never(_session: Session, _asked: object) -> None:
            """No answer."""

        at.broker.answer = never
        async with reading(feed):
            with pytest.raises(Lost, match="did not answer a subscription"):
                await feed.change(Change(True, {"trades": ["AAPL"]}), lambda: None)


async def test_a_last_word_is_no_sign_that_nothing_is_missing() -> None:
    """Data and pings are; an error and a close may come long after the last message that should have come."""
    async with house() as at:
        feed, session = await opened(at), at.broker.last
        times = [feed.heard]
        await asyncio.sleep(0.005)  # uvloop's clock goes by milliseconds
        await session.send({"T": "t", "S": "A"})
        assert 1 == len(await feed.receive())
        times.append(feed.heard)
        await asyncio.sleep(0.005)
        await session.ws.ping(b"x")
        await session.error(402)
        assert 1 == len(await feed.receive())
        times.append(feed.heard)
        await session.error(402)
        assert 1 == len(await feed.receive())
        await session.ws.close()
        with pytest.raises(Lost):
            await feed.receive()

        assert times[0] < times[1] < times[2] == feed.heard
        feed.socket.drop()


async def test_the_end_of_the_socket_is_a_loss_with_a_reason() -> None:
    """A close, a text, garbage: whatever it is, the next one has to be asked for."""
    ends: list[tuple[Callable[[Session], Awaitable[object]], str]] = [
        (lambda session: session.ws.close(code=1012), "closed its socket \\(1012\\)"),
        (lambda session: session.ws.send_str("[]"), "is text"),
        (lambda session: session.ws.send_bytes(b"\x00"), "no array of messages"),
    ]
    async with house() as at:
        for end, reason in ends:
            feed = await opened(at)
            await at.broker.last.ws.send_bytes(msgpack.packb([{"T": "t", "S": "A"}]))
            [piece] = await feed.receive()
            assert isinstance(piece, Piece)
            await end(at.broker.last)
            with pytest.raises(Lost, match=reason):
                await feed.receive()
            feed.socket.drop()
