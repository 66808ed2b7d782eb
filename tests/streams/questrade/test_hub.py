"""One socket at the broker and its clients: who gets what, and what they are told when the socket changes."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from proxy.streams.questrade.hub import Timing
from tests.lab import access_token
from tests.streams.portlab import NOTIFICATIONS, SUCCESS, PortLab, Reader, port_lab, quotes, unused_range
from tests.wire import Visit, answer

ORDER = '{{"orders":[{{"id":{0}}}],"accountNumber":26598145}}'


async def say(raw: bytes, visit: Visit) -> None:
    """A step of the broker's: these very bytes."""
    await visit.write(raw)


def symbols(message: dict[str, Any]) -> list[int]:
    return [quote["symbolId"] for quote in message["quotes"]]


async def gather(reader: Reader, last: str) -> list[dict[str, Any]]:
    """All messages up to the quote of this price."""
    found: list[dict[str, Any]] = []
    while not found or last not in json.dumps(found[-1]):
        found.append(await reader.next())
    return found


async def test_each_client_gets_its_own_symbols_and_no_others() -> None:
    """One socket has the symbols of all; numbers stay as they are written."""
    async with port_lab() as lab:
        one, two = await lab.open(quotes(1, 2)), await lab.open(quotes(2, 3), "eve")
        three = await lab.open(quotes(1, 2, 3))
        await lab.broker.quote(1, 2, 3, price="10.50")
        quote = '{{"symbolId":{0},"bidPrice":10.50}}'.format
        assert f'{{"quotes":[{quote(1)},{quote(2)}]}}' == await one.text()
        assert f'{{"quotes":[{quote(2)},{quote(3)}]}}' == await two.text()
        assert f'{{"quotes":[{quote(1)},{quote(2)},{quote(3)}]}}' == await three.text()
        await lab.broker.quote(3)
        assert [[3], [3]] == [symbols(await reader.next()) for reader in (two, three)]
        assert await one.silent()

        assert 2 == len(lab.broker.sessions)  # the third found all of its symbols there
        assert [frozenset({1, 2, 3})] == [session.ids for session in lab.broker.live()]
        assert "/v1/markets/quotes?ids=1,2,3&stream=true&mode=WebSocket" in lab.broker.calls


async def test_who_comes_back_moves_nobody() -> None:
    """Symbols of clients that have left stay, also when the socket is replaced."""
    async with port_lab() as lab:
        gone, stays = await lab.open(quotes(1)), await lab.open(quotes(2))
        await gone.ws.close()
        await lab.open(quotes(3))
        await lab.open(quotes(1))
        assert [{1}, {1, 2}, {1, 2, 3}] == [set(session.ids) for session in lab.broker.sessions]
        await lab.broker.quote(2)
        assert [2] == symbols(await stays.next())


async def test_a_late_comer_begins_with_what_is_known() -> None:
    """The newest quote of each of its symbols, in one message, as the broker begins a stream."""
    async with port_lab() as lab:
        one = await lab.open(quotes(1, 2, 3))
        for number, price in ((1, "1.0"), (2, "2.0"), (1, "1.10")):
            await lab.broker.quote(number, price=price)
            await one.next()
        late = await lab.open(quotes(1, 2), "eve")

        expected = '{"quotes":[{"symbolId":1,"bidPrice":1.10},{"symbolId":2,"bidPrice":2.0}]}'
        assert expected == await late.text()

        await lab.broker.drop()  # what was known before a gap may be old
        assert "message" in await one.next()
        later = await lab.open(quotes(1))
        assert await later.silent(0.05)


@pytest.mark.parametrize("order", ["greets-first", "ends-first", "feeds-both"])
async def test_nothing_is_lost_or_moved_unsaid_when_a_client_brings_symbols(order: str) -> None:
    """Quotes flow while the socket is replaced by one with more symbols; each comes once and in order, or it is said.

    Where the broker ends the old socket before it greets the new one there was a time without any.
    """
    async with port_lab(order=order) as lab:
        one = await lab.open(quotes(1))
        done = asyncio.Event()

        async def trade() -> int:
            number = 0
            while not done.is_set():
                number += 1
                await lab.broker.quote(1, price=str(number))
                await asyncio.sleep(0.002)
            return number

        async with asyncio.TaskGroup() as group:
            trading = group.create_task(trade())
            two = await lab.open(quotes(2), "eve")
            await asyncio.sleep(0.05)
            done.set()
        assert frozenset({1, 2}) == lab.broker.live()[-1].ids
        await lab.broker.quote(1, 2, price="999999")

        found = await gather(one, "999999")
        prices = [message["quotes"][0]["bidPrice"] for message in found if "quotes" in message]
        said = [message["message"] for message in found if "success" in message]
        if order == "greets-first":
            assert ([*range(1, trading.result() + 1), 999999], []) == (prices, said)
        else:
            expected = "messages may have been missed for 0.1 s" if order == "ends-first" else "messages may come twice"
            assert ([f"bearerd: {expected} (the broker's socket was reopened)"], 1) == (said, len(set(said)))
        assert [2] == symbols(await two.next())


@pytest.mark.parametrize("order", ["greets-first", "ends-first", "feeds-both"])
async def test_notifications_outlive_a_rotation_or_end_with_1012(order: str) -> None:
    """With the new token a new socket is opened before the old one ends. If there was a gap, clients must look."""
    async with port_lab(order=order) as lab:
        reader = await lab.open(NOTIFICATIONS)
        await lab.rotate()
        await lab.until(lambda: len(lab.broker.sessions) == 2)
        assert [access_token(1), access_token(2)] == lab.broker.tokens
        for number in range(3):
            await lab.broker.tell(ORDER.format(number))
        await asyncio.sleep(0.01)
        if order == "ends-first":
            assert (1012, True) == ((ended := await reader.ended())[0], "look at your orders" in ended[1])
        else:
            assert [ORDER.format(number) for number in range(3)] == [await reader.text() for _ in range(3)]
            await lab.until(lambda: len(lab.broker.live()) == 1)
            await lab.broker.tell(ORDER.format(9))
            assert ORDER.format(9) == await reader.text()
        assert 2 == len(lab.broker.asked("/v1/notifications"))  # the client's, and ours with the new token


async def test_the_brokers_goodbye_reaches_who_waits_for_orders() -> None:
    """Its own code passes; the next client opens a new socket."""
    async with port_lab() as lab:
        for number, code in enumerate((1000, 4000, 1012), 1):
            reader = await lab.open(NOTIFICATIONS)
            assert number == len(lab.broker.sessions)
            await lab.broker.drop(code=code)
            assert code == (await reader.ended())[0]


async def test_quotes_go_on_when_the_broker_drops_them() -> None:
    """The socket is opened again by itself, and what may have been missed is said in the one way that readers know."""
    async with port_lab() as lab:
        one, two = await lab.open(quotes(1)), await lab.open(quotes(1), "eve")
        await lab.broker.drop(code=1001)
        for reader in (one, two):
            said = await reader.next()
            assert (True, "success", "message") == (said["success"], *said)
            assert said["message"].startswith("bearerd: messages may have been missed for ")
        await lab.broker.quote(1)
        assert [[1], [1]] == [symbols(await reader.next()) for reader in (one, two)]


async def test_a_token_that_ends_in_the_middle_is_not_the_clients() -> None:
    """1017 on an open socket: a newer token, a new socket, and the gap is said; the client's key is as good as ever."""
    async with port_lab() as lab:
        reader = await lab.open(quotes(1))
        await lab.broker.tell('{"code":1017,"message":"Access token is invalid"}', "quotes")
        assert "messages may have been missed" in (await reader.next())["message"]
        await lab.broker.quote(1)
        assert [1] == symbols(await reader.next())


async def test_a_refused_token_is_renewed_once() -> None:
    """The first frame is answered 1017: one refresh, one more try; the client knows nothing of it."""
    async with port_lab(refuses=[{"code": 1017, "message": "Access token is invalid"}]) as lab:
        reader = await lab.open(NOTIFICATIONS)
        assert ([access_token(1), access_token(2)], 1) == (lab.broker.tokens, lab.lab.desk.refreshes)
        await lab.broker.tell("{}")
        assert "{}" == await reader.text()


async def test_what_the_broker_says_at_last_reaches_the_client() -> None:
    """Its own words, and then the socket closes; a token is renewed no more than once."""
    async with port_lab() as lab:
        for code, renewals in ((1016, 0), (1017, 1)):
            words: dict[str, object] = {"code": code, "message": "no"}
            lab.broker.refuses = [words] * (renewals + 1)
            reader = await lab.dial(await lab.port(NOTIFICATIONS))
            await reader.ws.send(lab.keys["bot"])
            assert (words, 4502) == (await reader.next(), (await reader.ended())[0])
            assert (renewals, []) == (lab.lab.desk.refreshes, lab.broker.refuses)


async def test_a_port_that_is_gone_is_asked_for_anew() -> None:
    """What the client's own call was told leads nowhere any more: one more call, and the stream is there."""
    async with port_lab(dead_port=unused_range(1).first) as lab:
        port = await lab.port(NOTIFICATIONS)
        lab.broker.dead_port = None
        reader = await lab.dial(port)
        await reader.ws.send(lab.keys["bot"])
        assert SUCCESS == await reader.next()
        assert 2 == len(lab.broker.calls)


async def test_a_stream_that_cannot_be_opened_ends_with_4502() -> None:
    """The call for the port is refused, or makes no sense: the broker's words if there are any, and the code."""
    limit = b'{"code":1006,"message":"limit"}'
    async with port_lab(dead_port=unused_range(1).first) as lab:
        for status, body in ((400, limit), (200, b"maintenance"), (200, b'{"streamPort":1}')):
            port = await lab.port(NOTIFICATIONS)
            lab.lab.broker.script = [partial(say, answer(status, body))]
            reader = await lab.dial(port)
            await reader.ws.send(lab.keys["bot"])
            if body == limit:
                assert json.loads(limit) == await reader.next()
            assert 4502 == (await reader.ended())[0]


async def test_who_has_a_socket_keeps_it_when_another_cannot_be_opened() -> None:
    """A client that brings symbols is told that it can't have them; the others go on."""
    async with port_lab() as lab:
        one = await lab.open(quotes(1))
        port = await lab.port(quotes(2), "eve")
        lab.broker.refuses = [{"code": 1016, "message": "no"}] * 3
        two = await lab.dial(port)
        await two.ws.send(lab.keys["eve"])
        assert ({"code": 1016, "message": "no"}, 4502) == (await two.next(), (await two.ended())[0])
        await lab.broker.quote(1)
        assert [1] == symbols(await one.next())


async def test_clients_without_a_socket_are_told_in_the_end() -> None:
    """A lost socket that does not come back: not a silence without end."""
    async with port_lab(timing=Timing(tick=0.02, give_up=0.1)) as lab:
        reader = await lab.open(quotes(1))
        lab.broker.refuses = [{"code": 1016, "message": "no"}] * 99
        await lab.broker.drop()
        assert 4502 == (await reader.ended())[0]


async def test_a_broker_that_repeats_the_token_is_cut_off() -> None:
    """The frame goes nowhere, and nobody hears the token."""
    async with port_lab() as lab:
        one, two = await lab.open(NOTIFICATIONS), await lab.open(NOTIFICATIONS)
        await lab.broker.tell(f'{{"orders":[],"echo":"{access_token(1)}"}}')
        for reader in (one, two):
            with pytest.raises(Exception, match="1011"):
                await reader.text()
            assert 1011 == (await reader.ended())[0]


async def test_what_cannot_be_told_apart_goes_to_nobody() -> None:
    """A quote without a symbol could be anybody's; what speaks of no quotes is everybody's."""
    async with port_lab() as lab:
        one, two = await lab.open(quotes(1)), await lab.open(quotes(2), "eve")
        await lab.broker.tell('{"hello":1}', "quotes")
        assert [{"hello": 1}] * 2 == [await reader.next() for reader in (one, two)]
        await lab.broker.tell('{"quotes":[{"symbol":"AAPL"}]}', "quotes")
        assert [1011, 1011] == [(await reader.ended())[0] for reader in (one, two)]


async def _flood(lab: PortLab, honest: Reader) -> None:
    text = json.dumps({"quotes": [{"symbolId": 1, "text": "x" * 60_000}]})
    for _ in range(90):
        await lab.broker.tell(text, "quotes")
        assert [1] == symbols(await honest.next())


async def test_a_client_that_takes_nothing_delays_nobody() -> None:
    """It is closed when its buffer is full; the others get every message."""
    async with port_lab() as lab:
        honest, slow = await lab.open(quotes(1)), await lab.open(quotes(1), "eve")
        slow.ws.transport.pause_reading()
        await asyncio.wait_for(_flood(lab, honest), 10)
        await lab.until(lambda: len(lab.lab.gateway.streams.all()) == 1)


async def test_what_is_the_same_again_after_a_change_of_sockets_is_not_lost() -> None:
    """The broker ends the one before, so nothing comes on both: the same words mean that it happened again."""
    async with port_lab() as lab:
        for target, kind, text in (
            (NOTIFICATIONS, "notifications", ORDER.format(7)),
            (quotes(1), "quotes", '{"quotes":[{"symbolId":1,"volume":100}]}'),
        ):
            reader = await lab.open(target)
            [old] = lab.broker.live(kind)
            lab.broker.order = "feeds-both"
            await lab.rotate()
            await lab.until(lambda kind=kind: len(lab.broker.live(kind)) == 2)  # type: ignore[misc]
            new = lab.broker.live(kind)[1]
            await asyncio.sleep(0.05)
            await old.ws.send_str(text)
            await old.ws.close()
            await new.ws.send_str(text)
            assert [text, text] == [await reader.text(), await reader.text()]


async def test_an_old_socket_that_breaks_off_may_have_lost_something() -> None:
    """It was to be read to its end, and had none: that is said, as any other gap."""
    async with port_lab(order="feeds-both") as lab:
        readers = [await lab.open(NOTIFICATIONS), await lab.open(quotes(1))]
        await lab.rotate()
        await lab.until(lambda: len(lab.broker.live()) == 4)
        await asyncio.sleep(0.05)
        for session in lab.broker.live()[:]:
            if session.token == access_token(1):
                transport = session.ws._req.transport  # type: ignore[union-attr]
                transport.abort()  # type: ignore[union-attr]
        assert 1012 == (await readers[0].ended())[0]
        assert "may have been missed" in (await readers[1].next())["message"]
