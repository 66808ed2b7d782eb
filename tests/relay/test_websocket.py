"""A socket at a broker: what comes out of it, and how it is lost."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from proxy.outbound import Lost
from proxy.relay.websocket import Echoed
from tests.streams.dialled import dialled
from tests.streams.echo import EchoBroker


async def test_more_texts_can_be_withheld() -> None:
    """What was put into a frame must not come back either, in any spelling."""
    async with dialled() as (socket, _):
        socket.withhold("a-secret-of-ours")
        await socket.send("a harmless one")
        assert "a harmless one" == (await socket.receive()).data
        await socket.send(json.dumps("a-secret-of-ours").replace("a-s", "\\u0061-s"))
        await socket.receive()
        await socket.send(b"x a-secret-of-ours y")
        with pytest.raises(Echoed):
            await socket.receive()


async def test_a_broker_that_answered_pings_and_stops_is_given_up_soon() -> None:
    """After three beats, however long its row would wait for one that never answers any."""
    answers = 2

    async def tire(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        nonlocal answers
        async for message in socket:
            if message.type is aiohttp.WSMsgType.PING and answers:
                answers -= 1
                await socket.pong(message.data)

    async with dialled(tire, idle=60.0, beat=0.1) as (socket, _):
        with pytest.raises(Lost, match="silent"):
            await asyncio.wait_for(socket.receive(), 2)
        with pytest.raises(Lost):
            await socket.send("too late")


async def test_who_does_not_listen_misses_nothing() -> None:
    """Silence counts while somebody receives: a slow client is not the broker's fault."""
    async with dialled(idle=0.4, beat=10.0) as (socket, _):
        await asyncio.sleep(0.5)
        await socket.send("still there")
        assert "still there" == (await socket.receive()).data


async def test_a_socket_is_closed_once_and_quietly() -> None:
    """Whoever receives hears of it; the broker gets the code."""
    async with dialled() as (socket, found):
        receiving = asyncio.ensure_future(socket.receive())
        await asyncio.sleep(0.02)
        socket.drop(4000, "because")
        assert "close" == (await receiving).kind  # the broker says goodbye too
        with pytest.raises(Lost):
            await socket.receive()
        await socket.close()
        await socket.close()
        async with asyncio.timeout(2):
            await found.gone.wait()
        assert [4000] == found.closes
