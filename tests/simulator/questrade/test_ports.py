"""Stream ports: who may connect, and what is heard there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.simulator.support import ACCOUNT, Bot

QUOTES = "/v1/markets/quotes?ids=8049,27426&stream=true&mode=WebSocket"
NEWS = "/v1/notifications?mode=WebSocket"
GOOD, BAD = {"success": True}, {"code": 1017, "message": "Access token is invalid"}


class Talk:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self) -> Any:
        found = await self.socket.receive(5)
        return found.data if found.type is aiohttp.WSMsgType.CLOSE else json.loads(found.data)

    async def ask(self, text: str) -> Any:
        await self.socket.send_str(text)
        return await self.hear()


async def port_of(bot: Bot, target: str) -> int:
    reply = await bot.get(target)
    assert 200 == reply.status, reply.body
    return int(reply.document["streamPort"])


@asynccontextmanager
async def talking(bot: Bot, target: str, path: str = "/") -> AsyncIterator[Talk]:
    port = await port_of(bot, target)
    async with bot.session.ws_connect(f"https://127.0.0.1:{port}{path}") as socket:
        yield Talk(socket)


async def test_ports_are_stable_and_differ(bot: Bot) -> None:
    """The same address has the same port, another another; one for a raw socket is shut."""
    ports = [await port_of(bot, target) for target in (QUOTES, NEWS, QUOTES.replace("8049,", ""), QUOTES)]
    assert (3, ports[0]) == (len(set(ports)), ports[3])
    raw = await port_of(bot, "/v1/notifications?mode=RawSocket")
    with pytest.raises(aiohttp.ClientConnectorError):
        await bot.session.ws_connect(f"https://127.0.0.1:{raw}/")


async def test_options_have_a_port_by_their_body(bot: Bot) -> None:
    """Quotes of the options that it names."""
    bot.questrade.streams.turn({"rate": 50})
    body = {"optionIds": [24753669], "stream": True, "mode": "WebSocket"}
    reply = await bot.call("POST", "/v1/markets/quotes/options", body)
    async with bot.session.ws_connect(f"https://127.0.0.1:{reply.document['streamPort']}/") as socket:
        talk = Talk(socket)
        assert GOOD == await talk.ask(bot.access)
        assert [24753669] == [quote["symbolId"] for quote in (await talk.hear())["quotes"]]


async def test_quotes_come_at_the_rate(bot: Bot) -> None:
    """Of the symbols that were asked for, without their names, each beat once; the path is ignored."""
    bot.questrade.streams.turn({"rate": 100})
    async with talking(bot, QUOTES, "/v1/markets/quotes?x=y") as talk:
        assert GOOD == await talk.ask(bot.access)
        found = [quote for _ in range(3) for quote in (await talk.hear())["quotes"]]
    first = found[0]["volume"]
    wanted = [(number, first + beat) for beat in range(3) for number in (8049, 27426)]
    assert wanted == [(quote["symbolId"], quote["volume"]) for quote in found]
    assert "symbol" not in found[0]


async def test_notifications_tell_of_orders(bot: Bot) -> None:
    """Placed, replaced, cancelled, and filled with its execution."""
    async with talking(bot, NEWS) as talk:
        assert GOOD == await talk.ask(bot.access)
        order = (await bot.place()).document["orderId"]
        newer = (await bot.call("POST", f"{ACCOUNT}/orders/{order}", {"quantity": 5})).document["orderId"]
        await bot.call("DELETE", f"{ACCOUNT}/orders/{newer}")
        await bot.place(orderType="Market", timeInForce="Day", limitPrice=None)
        found = [await talk.hear() for _ in range(4)]
    states = [[each["state"] for each in news["orders"]] for news in found]
    assert [["Accepted"], ["Replaced", "Accepted"], ["Canceled"], ["Executed"]] == states
    assert ({26598145}, 1) == ({news["accountNumber"] for news in found}, len(found[3]["executions"]))


@pytest.mark.parametrize("form", ["Bearer {}", "{} ", "x{}", '"{}"'])
async def test_the_first_frame_is_the_bare_token(bot: Bot, form: str) -> None:
    """Nothing before or after it; else it is refused, and closed."""
    async with talking(bot, QUOTES) as talk:
        assert (BAD, 1000) == (await talk.ask(form.format(bot.access)), await talk.hear())
    assert 1 == (await bot.state())["authorizations"]["foreign"]


async def test_a_binary_frame_is_no_token(bot: Bot) -> None:
    """The documentation speaks of text."""
    async with talking(bot, QUOTES) as talk:
        await talk.socket.send_bytes(bot.access.encode())
        assert (BAD, 1000) == (await talk.hear(), await talk.hear())


async def test_who_says_nothing_is_sent_away(bot: Bot) -> None:
    """After five seconds, or as the knob has it; counted as nobody."""
    bot.questrade.streams.turn({"patience": 0.05})
    async with talking(bot, QUOTES) as talk:
        assert 1000 == await talk.hear()
    assert 1 == (await bot.state())["authorizations"]["none"]


async def test_a_second_connection_ends_the_first(bot: Bot) -> None:
    """Of the same kind, whatever its port; the other kind is left alone."""
    bot.questrade.streams.turn({"rate": 0})
    async with talking(bot, QUOTES) as first, talking(bot, NEWS) as news:
        assert (GOOD, GOOD) == (await first.ask(bot.access), await news.ask(bot.access))
        async with talking(bot, QUOTES.replace("8049,", "")) as second:
            assert (GOOD, 1000) == (await second.ask(bot.access), await first.hear())
            await bot.place()
            assert ["Accepted"] == [order["state"] for order in (await news.hear())["orders"]]


async def test_a_rotation_ends_a_socket(bot: Bot) -> None:
    """Its token is dead: it is said and closed, or broken off; or nothing happens, if the knob says so."""
    for stale, ends in (("close", [BAD, 1001]), ("drop", []), ("keep", [])):
        bot.questrade.streams.turn({"rate": 0, "stale": stale})
        async with talking(bot, QUOTES) as talk:
            assert GOOD == await talk.ask(bot.access)
            await bot.redeem()
            assert ends == [await talk.hear() for _ in ends]
            if not ends:
                kind = aiohttp.WSMsgType.CLOSED if stale == "drop" else aiohttp.WSMsgType.PONG
                await asyncio.sleep(0.1)
                if stale == "keep":
                    bot.questrade.streams.turn({"rate": 50})
                    kind = aiohttp.WSMsgType.TEXT
                assert kind is (await talk.socket.receive(5)).type


async def test_an_open_socket_does_not_keep_the_session_alive(bot: Bot) -> None:
    """Calls do: half an hour without one is its end."""
    bot.questrade.streams.turn({"rate": 0})
    bot.options.expires_in = 10_000
    await bot.redeem()
    async with talking(bot, QUOTES) as talk:
        assert GOOD == await talk.ask(bot.access)
        bot.clock.time += 1799
        assert 200 == (await bot.get("/v1/time")).status
        bot.clock.time += 1799
        await asyncio.sleep(0.05)
        assert 1 == bot.questrade.streams.state()["open"]
        bot.clock.time += 1
        assert (BAD, 1001) == (await talk.hear(), await talk.hear())


async def test_a_move_of_the_api_leaves_its_ports_behind(bot: Bot) -> None:
    """What was there is over, and nobody is let in any more."""
    bot.questrade.streams.turn({"rate": 0})
    port = await port_of(bot, QUOTES)
    async with talking(bot, QUOTES) as talk:
        assert GOOD == await talk.ask(bot.access)
        await bot.control("/move-api-server")
        assert (BAD, 1001) == (await talk.hear(), await talk.hear())
    async with bot.session.ws_connect(f"https://127.0.0.1:{port}/") as socket:
        assert BAD == await Talk(socket).ask(bot.access)


async def test_handshakes_are_counted_and_take_faults(bot: Bot) -> None:
    """By their path; a plain call there is a 404."""
    port = await port_of(bot, QUOTES)
    url = f"https://127.0.0.1:{port}/here"
    assert 404 == (await bot.send("GET", url)).status
    await bot.fault("stream-403")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await bot.session.ws_connect(url)
    await bot.fault("stream-auth-refused")
    async with bot.session.ws_connect(url) as socket:
        assert BAD == await Talk(socket).ask(bot.access)
    assert 3 == (await bot.state())["calls"]["GET /here"]
