"""Streams of Tradier's: HTTP, and sockets of the market and of the account."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from proxy.simulator.tradier.streaming import QUIET
from tests.simulator.support import HandClock
from tests.simulator.tradier.support import ACCOUNT, App

NO_SESSION = {"error": "Session not found"}


async def session(app: App, kind: str = "markets") -> str:
    """A new session, made as a client makes one."""
    found: str = (await app.call("POST", f"/v1/{kind}/events/session", {})).document["stream"]["sessionid"]
    return found


def address(app: App, host: int, kind: str = "markets") -> str:
    return f"{app.tradier.links().api_servers[host]}v1/{kind}/events"


class Talk:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **fields: object) -> None:
        await self.socket.send_json(fields)

    async def hear(self) -> Any:
        found = await self.socket.receive(5)
        return found.data if found.type is aiohttp.WSMsgType.CLOSE else json.loads(found.data)


@asynccontextmanager
async def talking(app: App, kind: str = "markets") -> AsyncIterator[Talk]:
    async with app.session.ws_connect(address(app, 2, kind)) as socket:
        yield Talk(socket)


@pytest.mark.parametrize("form", [False, True], ids=["query", "form"])
async def test_the_http_stream(app: App, form: bool) -> None:
    """One object a line, without a gap; a token may come along, and counts as one."""
    app.tradier.streams.turn({"rate": 100})
    fields = {"sessionid": await session(app), "symbols": "SPY,1234", "filter": "trade", "linebreak": "true"}
    how: dict[str, Any] = {"data": fields} if form else {"params": fields}
    headers = {"Authorization": f"Bearer {app.access}"} if form else {}
    async with app.session.request("POST" if form else "GET", address(app, 1), headers=headers, **how) as answer:
        assert {"error": "1234 is not a valid symbol"} == json.loads(await answer.content.readline())
        found = [json.loads(await answer.content.readline()) for _ in range(5)]
    assert [int(found[0]["cvol"]) + number for number in range(5)] == [int(each["cvol"]) for each in found]
    assert 2 == (await app.state())["authorizations"]["current"]


@pytest.mark.parametrize(("headers", "name"), [({}, "x"), ({}, ""), ({"Authorization": "Bearer nothing"}, "good")])
async def test_a_stream_needs_a_session(app: App, headers: dict[str, str], name: str) -> None:
    """And no token that is bad."""
    fields = {"sessionid": await session(app) if name == "good" else name, "symbols": "SPY"}
    async with app.session.get(address(app, 1), params=fields, headers=headers) as answer:
        assert 401 == answer.status
    kind = "none" if not name else "foreign"
    assert 1 == (await app.state())["authorizations"][kind]


async def test_a_newer_session_ends_what_streams_by_the_older(app: App) -> None:
    """The HTTP stream by its end, the socket by a close."""
    app.tradier.streams.turn({"rate": 50})
    async with app.session.get(address(app, 1), params={"sessionid": await session(app), "symbols": "SPY"}) as answer:
        assert await answer.content.readany()
        async with talking(app) as talk:
            await talk.say(sessionid=await session(app), symbols=["SPY"], filter=["trade"])
            assert "trade" == (await talk.hear())["type"]
            await answer.content.read()
            await session(app)
            while not isinstance(found := await talk.hear(), int):
                pass
            assert 1000 == found


async def test_a_market_stream_ends_after_fifteen_quiet_minutes(app: App) -> None:
    """One of an account goes on."""
    app.tradier.streams.turn({"rate": 0, "heartbeat": 0.05})
    clock = app.options.now
    assert isinstance(clock, HandClock)
    params = {"sessionid": await session(app), "symbols": "SPY"}
    async with app.session.get(address(app, 1), params=params) as answer, talking(app, "accounts") as talk:
        await talk.say(sessionid=await session(app, "accounts"), events=["order"])
        assert "heartbeat" == (await talk.hear())["event"]
        clock.time += QUIET
        assert b"" == await asyncio.wait_for(answer.content.read(), 5)
        assert "active" == (await talk.hear())["status"]


async def test_the_sockets_subscription_is_replaced(app: App) -> None:
    """By a later frame of the same form, with the same session; symbols that are none are said."""
    app.tradier.streams.turn({"rate": 0})
    name = await session(app)
    async with talking(app) as talk:
        await talk.say(sessionid=name, symbols=["SPY", "1234"], filter=["quote"])
        assert {"error": "1234 is not a valid symbol"} == await talk.hear()
        await talk.say(sessionid="another", symbols=["F"])
        assert NO_SESSION == await talk.hear()
        await talk.say(sessionid=name, symbols=["F"], filter=["timesale"])
        app.tradier.streams.turn({"rate": 100})
        found = [await talk.hear() for _ in range(3)]
    assert [("F", found[0]["seq"] + number) for number in range(3)] == [(each["symbol"], each["seq"]) for each in found]


async def test_an_accounts_socket_hears_of_orders(app: App) -> None:
    """Of each change; a market order is there before it is filled."""
    app.tradier.streams.turn({"heartbeat": 60})
    async with talking(app, "accounts") as talk:
        await talk.say(events=["order"], sessionid=await session(app, "accounts"), excludeAccounts=[])
        await asyncio.sleep(0.05)
        number = (await app.place()).document["order"]["id"]
        await app.call("DELETE", f"{ACCOUNT}/orders/{number}")
        await app.place(type="market")
        found = [await talk.hear() for _ in range(4)]
    assert [("order", status) for status in ("open", "canceled", "open", "filled")] == [
        (each["event"], each["status"]) for each in found
    ]
    assert ("VA000001", number) == (found[0]["account"], found[1]["id"])


@pytest.mark.parametrize("frame", ["{", "[]", '{"symbols":["SPY"]}', '{"sessionid":"x"}', '{"sessionid":7}'])
async def test_a_socket_needs_a_session(app: App, frame: str) -> None:
    """In its first frame; else it is told, and closed."""
    async with talking(app) as talk:
        await talk.socket.send_str(frame)
        assert (NO_SESSION, 1000) == (await talk.hear(), await talk.hear())
    counted = (await app.state())["authorizations"]
    assert 1 == counted["none"] + counted["foreign"]


async def test_a_socket_that_says_nothing_is_closed(app: App) -> None:
    """As the knob has it."""
    app.tradier.streams.turn({"patience": 0.05})
    async with talking(app) as talk:
        assert 1000 == await talk.hear()


async def test_faults(app: App) -> None:
    """At both hosts, by their names."""
    params = {"sessionid": await session(app), "symbols": "SPY"}
    for fault, status in (("stream-403", 403), ("api-500", 500), ("stream-auth-refused", 401)):
        await app.fault(fault)
        async with app.session.get(address(app, 1), params=params) as answer:
            assert status == answer.status
    await app.fault("stream-500")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="500"):
        await app.session.ws_connect(address(app, 2))


@pytest.mark.parametrize(("host", "kind"), [(1, "accounts"), (1, "x"), (2, "x")])
async def test_other_paths_are_not_there(app: App, host: int, kind: str) -> None:
    """The HTTP host has no stream of accounts."""
    async with app.session.get(address(app, host, kind), params={"sessionid": await session(app)}) as answer:
        assert 404 == answer.status
