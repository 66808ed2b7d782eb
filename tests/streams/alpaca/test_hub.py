"""One socket at the broker and many clients: each its own, in order, and no gap without a word."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.callers import eventually
from tests.streams.databroker import (
    QUICK,
    House,
    Message,
    Session,
    dropped,
    good,
    house,
    says,
    silent,
    token,
    trade,
)

GAP = re.compile(r"bearerd: messages may have been missed for [0-9]+\.[0-9] s \(the broker's socket was reopened\)")


async def reopened(at: House, count: int = 2) -> Session:
    """The broker's newest socket, once there have been so many and somebody has subscribed on it."""
    async for _ in eventually(5):
        if len(at.broker.sessions) >= count and at.broker.last.asked:
            break
    assert count == len(at.broker.sessions)
    return at.broker.last


def is_gap(message: Message) -> bool:
    return message["T"] == "error" and message["code"] == 500 and GAP.fullmatch(message["msg"]) is not None


async def test_each_client_gets_its_own_in_its_codec_and_order() -> None:
    """MessagePack as it came, JSON with the same values, whatever else the socket carries."""
    async with house() as at:
        first = await at.enter(trades=["AAPL"], quotes=["*"])
        second = await at.enter(binary=False, trades=["AAPL", "MSFT"])
        sent = [trade(number=1), trade("MSFT", 2), {"T": "q", "S": "X", "bp": 2.0}, trade(number=3), trade("TSLA", 4)]
        await at.broker.last.send(*sent[:3])
        await at.broker.last.send(*sent[3:])
        async for _ in eventually(5):
            with suppress(TimeoutError):
                await asyncio.gather(*(reader.frame(0.05) for reader in (first, second)))
            if len(first.data) == len(second.data) == 3:
                break

        assert [sent[0], sent[2], sent[3]] == first.data
        assert [sent[0], sent[1], sent[3]] == second.data


async def test_what_arrives_together_goes_on_together() -> None:
    """A burst of frames is a few frames for each client: that is what keeps the cost of a message low."""
    async with house() as at:
        reader = await at.enter(trades=["*"])
        frames = reader.frames
        for number in range(500):
            await at.broker.last.send(trade(number=number))
        while len(reader.data) < 500:
            await reader.frame()

        assert list(range(500)) == [message["i"] for message in reader.data]
        assert reader.frames - frames < 250


async def test_a_socket_that_is_lost_when_nobody_listens_is_not_opened_again() -> None:
    """It would hold the place for nobody."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        await reader.ws.close()
        async for _ in eventually(5):
            if not any(hub._guests for hub in at.hubs._hubs.values()):
                break
        at.broker.last.drop()
        async for _ in eventually(5):
            if not at.hubs._hubs:
                break
        assert ({}, 1) == (at.hubs._hubs, len(at.broker.sessions))


# -- what is lost ------------------------------------------------------------------------------------------------------


async def lose(session: Session, how: str) -> None:
    """End a socket of the broker's, or make it worthless."""
    match how:
        case "reset":
            session.drop()
        case "close":
            await session.ws.close(code=1001)
        case "garbage":
            await session.ws.send_bytes(b"\xc1\xff")
        case "text":
            await session.ws.send_str('[{"T":"t","S":"AAPL","i":2}]')
        case "no array":
            await session.ws.send_bytes(b"\x81\xa1T\xa1t")
        case code:
            await session.error(int(code))


async def test_a_lost_socket_is_opened_again_and_the_gap_is_said() -> None:
    """A fresh socket, the union, and then a word to everybody who listens, before the first new message."""
    async with house(pace=replace(QUICK, steady=0.0)) as at:
        first, second = await at.enter(trades=["AAPL"]), await at.enter(binary=False, trades=["AAPL"], bars=["*"])
        idle = await at.enter()

        async def eager(session: Session, asked: Message) -> None:
            await session.change(asked)
            await session.send(trade(number=3))

        at.broker.answer = eager
        for number, how in enumerate(("reset", "close", "garbage", "text", "no array", "407", "406"), start=2):
            await at.broker.last.send(trade(number=1))
            assert [[trade(number=1)]] * 2 == [await first.frame(), await second.frame()]
            await lose(at.broker.last, how)
            await reopened(at, number)

            for reader in (first, second):
                assert is_gap(await reader.one()), how
                assert [trade(number=3)] == await reader.frame()
            assert {"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]} == at.broker.last.asked[0]
        with pytest.raises(TimeoutError):  # it can't have missed anything
            await idle.frame(0.05)


async def test_a_second_loss_before_the_subscriptions_stand_is_one_gap() -> None:
    """Clients hear of it once, with the whole time."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        at.broker.openings += [dropped, says(500), 503]
        at.broker.last.drop()
        await reopened(at, 4)

        assert is_gap(await reader.one())
        await at.broker.last.send(trade())
        assert [trade()] == await reader.frame()
        assert 1 == len(reader.errors)


async def test_a_token_that_the_broker_refuses_in_a_frame_is_renewed_once() -> None:
    """The next socket has the next generation's token, and the gap is said."""
    async with house(pace=replace(QUICK, steady=0.0)) as at:
        reader = await at.enter(trades=["AAPL"])
        for number, code in ((2, 401), (3, 402)):
            await at.broker.last.error(code)
            await reopened(at, number)
            assert is_gap(await reader.one())

        assert [token(1), token(2), token(3)] == [session.bearer for session in at.broker.sessions]
        assert 2 == at.lab.desk.refreshes
        assert 0 == at.lab.lent


async def test_a_token_that_is_refused_at_the_opening_is_renewed_once() -> None:
    """In a frame or as the answer to the handshake; nobody hears of it."""
    async with house(says(402), good, 401) as at:
        await at.enter(trades=["AAPL"])
        assert token(2) == at.broker.last.bearer
        await at.enter(feed="sip", trades=["AAPL"])
        assert token(3) == at.broker.last.bearer
        assert (2, 0) == (at.lab.desk.refreshes, at.lab.lent)


async def test_a_token_that_is_refused_twice_is_the_clients_to_know() -> None:
    """The broker's own words, and close 4503."""
    async with house(says(402), says(402)) as at:
        reader = await at.connect()
        assert 4503 == await reader.closed()
        assert [{"T": "error", "code": 402, "msg": "said 402"}] == reader.errors


async def test_a_change_under_way_is_asked_again_on_the_next_socket() -> None:
    """And the gap is said after its answer: SDKs take any error for the answer that they wait for."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])

        async def drop(session: Session, _asked: Message) -> None:
            at.broker.answer = Session.change
            session.drop()

        at.broker.answer = drop
        assert ["AAPL", "MSFT"] == (await reader.subscribe(trades=["MSFT"]))["trades"]
        assert is_gap(await reader.one())
        assert [{"trades": ["AAPL"]}, {"trades": ["MSFT"]}] == [
            {channel: symbols for channel, symbols in asked.items() if channel != "action"}
            for asked in at.broker.last.asked
        ]


async def test_a_change_that_the_broker_never_answers_is_given_up() -> None:
    """After three sockets the asker hears of an error, and the feed goes on for all."""
    async with house(pace=replace(QUICK, answer=0.2, steady=0.05)) as at:

        async def ignores(session: Session, asked: Message) -> None:
            if "POISON" not in asked.get("trades", ()):
                await session.change(asked)

        at.broker.answer = ignores
        reader = await at.enter(trades=["AAPL"])
        assert 500 == (await reader.subscribe(trades=["POISON"]))["code"]
        assert [True] * 3 == [is_gap(await reader.one()) for _ in range(3)]  # of each socket that was lost
        assert ["AAPL", "MSFT"] == (await reader.subscribe(trades=["MSFT"]))["trades"]
        assert 4 == len(at.broker.sessions)


async def test_what_can_not_be_opened_again_ends_with_a_word() -> None:
    """An error frame, then close 4502, once the time for it is over; no client stays behind."""
    async with house(pace=replace(QUICK, again=0.3)) as at:
        readers = [await at.enter(trades=["AAPL"]), await at.enter(binary=False)]
        at.broker.openings += [503] * 1000
        at.broker.last.drop()

        assert [4502, 4502] == await asyncio.gather(*(reader.closed() for reader in readers))
        for reader in readers:
            [error] = reader.errors
            assert 500 == error["code"]
            assert "503" in error["msg"]
        assert at.broker.refused >= 1


async def test_a_place_that_is_taken_is_waited_for() -> None:
    """406 at the opening, or 429: a dead socket may still hold the place. Later the broker's words, and close 4502."""
    async with house(says(406), 429, good, *[says(406)] * 100, pace=replace(QUICK, first=0.0, slot=1.0)) as at:
        await at.enter(trades=["AAPL"])
        assert 2 == len(at.broker.sessions)
        [hub] = at.hubs._hubs.values()
        hub.pace = replace(hub.pace, slot=0.1, again=0.0)
        at.broker.last.drop()
        reader = await at.connect()
        assert 4502 == await reader.closed()
        assert {"T": "error", "code": 406, "msg": "said 406"} == reader.errors[-1]
        assert len(at.broker.sessions) > 2


async def test_a_broker_that_says_nothing_is_not_waited_for_without_end() -> None:
    """Neither at the opening nor for a confirmation."""
    async with house(silent, pace=replace(QUICK, opening=0.2)) as at:
        await at.enter(trades=["AAPL"])
        assert 2 == len(at.broker.sessions)


async def test_who_comes_while_the_socket_is_lost_waits_for_the_next() -> None:
    """And has missed nothing; what it asks meanwhile is answered then."""
    async with house() as at:
        old = await at.enter(trades=["AAPL"])
        gate = asyncio.Event()

        async def later(session: Session) -> None:
            await gate.wait()
            await good(session)

        at.broker.openings.append(later)
        at.broker.last.drop()
        async for _ in eventually(5):
            if len(at.broker.sessions) == 2:
                break
        new = await at.connect()
        assert "connected" == (await new.one())["msg"]
        await new.say({"action": "subscribe", "trades": ["AAPL"]})
        gate.set()
        assert "authenticated" == (await new.one())["msg"]
        assert ["AAPL"] == (await new.one())["trades"]
        assert is_gap(await old.one())
        assert [] == new.errors


async def test_a_change_asked_for_while_the_socket_is_lost_is_answered_by_the_next() -> None:
    """In the order in which it was asked."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        at.broker.last.drop()
        await reader.say({"action": "subscribe", "trades": ["MSFT"]})
        await reader.say({"action": "unsubscribe", "trades": ["AAPL"]})
        assert ["AAPL", "MSFT"] == (await reader.until("subscription"))["trades"]
        assert ["MSFT"] == (await reader.until("subscription"))["trades"]


async def test_a_broker_that_takes_the_subscriptions_no_more_ends_the_clients() -> None:
    """Its words, and close 1012: to go on with less would be a silent gap."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])

        async def refuse(session: Session, _asked: Message) -> None:
            await session.error(405)

        at.broker.answer = refuse
        at.broker.last.drop()
        assert 1012 == await reader.closed()
        assert [405] == [error["code"] for error in reader.errors]


async def test_a_frame_with_the_token_goes_nowhere() -> None:
    """Close 1011 for all; not a byte of the frame."""
    async with house() as at:
        readers = [await at.enter(trades=["AAPL"]), await at.enter(binary=False, trades=["AAPL"])]
        await at.broker.last.send({**trade(), "x": at.broker.last.bearer})

        assert [1011, 1011] == await asyncio.gather(*(reader.closed() for reader in readers))
        assert [] == [reader.data for reader in readers if reader.data]
        assert [500, 500] == [reader.errors[0]["code"] for reader in readers]


async def test_an_error_that_answers_nothing_is_for_everybody() -> None:
    """The broker's 500 passes; the socket stays."""
    async with house() as at:
        readers = [await at.enter(trades=["AAPL"]), await at.enter(binary=False)]
        await at.broker.last.error(500)
        for reader in readers:
            assert {"T": "error", "code": 500, "msg": "said 500"} == await reader.one()
        await at.broker.last.send({"T": "success", "msg": "whatever"}, trade())
        assert [trade()] == await readers[0].frame()
        assert 1 == len(at.broker.sessions)


async def test_a_confirmation_that_nobody_asked_for_changes_nothing() -> None:
    """It is not passed on either: it is about all, and each client knows its own set."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        await at.broker.last.confirm()
        await at.broker.last.send(trade())
        assert [trade()] == await reader.frame()


async def test_the_brokers_pings_are_answered() -> None:
    """With their own data, whoever else is busy."""
    async with house() as at:
        await at.enter()
        session = at.broker.last
        await session.ws.ping(b"are you there")
        pongs: list[Any] = []
        async for _ in eventually(5):
            pongs = [message for message in at.broker.pongs if message == b"are you there"]
            if pongs:
                break
        assert [b"are you there"] == pongs


async def test_a_client_that_does_not_read_is_told_so_and_the_others_never_wait() -> None:
    """`slow client` and close 1008, as the broker does; everybody else gets every message meanwhile."""
    async with house() as at:
        slow, quick = await at.enter(trades=["*"]), await at.enter(binary=False, trades=["*"])
        transport = slow.ws._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.pause_reading()
        [hub] = at.hubs._hubs.values()
        number = 0
        while not any(guest.over for guest in hub._guests) and len(hub._guests) == 2 and number < 2000:
            await at.broker.last.send(trade(number=number) | {"c": "x" * 16_000})
            number += 1
            while len(quick.data) < number:
                await quick.frame()
        transport.resume_reading()

        assert 1008 == await slow.closed()
        assert {"T": "error", "code": 407, "msg": "slow client"} == slow.errors[-1]
        await at.broker.last.send(trade(number=number))
        await quick.frame()
        assert list(range(number + 1)) == [message["i"] for message in quick.data]
        assert slow.data == quick.data[: len(slow.data)]
        assert len(slow.data) < number


async def test_a_hub_in_which_something_breaks_lets_nobody_wait() -> None:
    """A fault of ours is said: 500 and close 1011."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        [hub] = at.hubs._hubs.values()
        hub.line = replace(hub.line, handshake=None)  # type: ignore[arg-type]
        at.broker.last.drop()
        assert 1011 == await reader.closed()
        assert [500] == [error["code"] for error in reader.errors]


async def test_messages_that_can_not_be_delivered_are_a_gap() -> None:
    """Whatever breaks on the way to the clients, they hear that something may be missing."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        [hub] = at.hubs._hubs.values()
        hub._pieces.append(None)  # type: ignore[arg-type]
        await at.broker.last.send(trade())
        await reopened(at)
        assert is_gap(await reader.one())
        await at.broker.last.send(trade(number=2))
        assert [trade(number=2)] == await reader.frame()
