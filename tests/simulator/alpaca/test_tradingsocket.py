"""The trading socket: who listens, and what is heard."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgpack  # type: ignore[import-untyped]
import pytest

from proxy.simulator.alpaca.credentials import Host
from tests.simulator.alpaca.support import LIMIT, LIVE, MARKET, PAPER, Client

GOOD, BAD = (
    {"stream": "authorization", "data": {"status": status, "action": "authenticate"}}
    for status in ("authorized", "unauthorized")
)
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


class Talk:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self) -> Any:
        found = await self.socket.receive(5)
        return found.data if found.type is aiohttp.WSMsgType.CLOSE else json.loads(found.data)

    async def ask(self, document: object) -> Any:
        await self.socket.send_json(document)
        return await self.hear()


@asynccontextmanager
async def talking(client: Client, host: Host = PAPER, path: str = "/stream") -> AsyncIterator[Talk]:
    async with client.session.ws_connect(client.alpaca.url(host) + path) as socket:
        yield Talk(socket)


def login(client: Client, host: Host = PAPER) -> dict[str, Any]:
    keys = client.alpaca.credentials.keys[host]
    return {"action": "authenticate", "data": {"key_id": keys.id, "secret_key": keys.secret}}


@pytest.mark.parametrize("path", ["/stream", "/stream/"])
async def test_updates_of_real_orders_are_heard(client: Client, path: str) -> None:
    """From the listening on: each change of an order of that account, with the order as it was then."""
    async with talking(client, path=path) as talk:
        assert GOOD == await talk.ask(login(client))
        await client.place(MARKET)
        assert {"stream": "listening", "data": {"streams": ["trade_updates"]}} == await talk.ask(LISTEN)
        await client.place(MARKET)
        order = (await client.place(LIMIT)).document["id"]
        await client.call(PAPER, "DELETE", f"/v2/orders/{order}")
        found = [await talk.hear() for _ in range(4)]
    assert {"trade_updates"} == {update["stream"] for update in found}
    assert ["new", "fill", "new", "canceled"] == [update["data"]["event"] for update in found]
    assert ("canceled", order) == (found[3]["data"]["order"]["status"], found[3]["data"]["order"]["id"])


async def test_every_form_of_a_credential(client: Client) -> None:
    """A key pair in either way to write it, and a Connect token; not one of a machine, nor the other account's keys."""
    keys, live = (client.alpaca.credentials.keys[host] for host in (PAPER, LIVE))
    connect, machine = await client.connect(), await client.mint()
    forms = [
        ({"action": "auth", "key": keys.id, "secret": keys.secret}, GOOD),
        ({"action": "authenticate", "data": {"oauth_token": connect}}, GOOD),
        ({"action": "authenticate", "data": {"oauth_token": machine}}, BAD),
        ({"action": "authenticate", "data": {"key_id": live.id, "secret_key": live.secret}}, BAD),
        ({"action": "authenticate"}, BAD),
    ]
    for form, answer in forms:
        async with talking(client) as talk:
            assert answer == await talk.ask(form)


async def test_who_is_not_authorized_may_not_listen_and_may_try_again(client: Client) -> None:
    """The socket stays."""
    async with talking(client) as talk:
        refused = {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
        assert refused == await talk.ask(LISTEN)
        assert BAD == await talk.ask({"action": "auth", "key": "x", "secret": "y"})
        assert GOOD == await talk.ask(login(client))
        unknown = {"action": "listen", "data": {"streams": ["account_updates"]}}
        assert {"stream": "listening", "data": {"streams": []}} == await talk.ask(unknown)


async def test_paper_sends_binary_frames_and_live_text(client: Client) -> None:
    """Both hold JSON, and both are taken; with MessagePack's type both ways are packed."""
    for host, kind in ((PAPER, aiohttp.WSMsgType.BINARY), (LIVE, aiohttp.WSMsgType.TEXT)):
        async with talking(client, host) as talk:
            await talk.socket.send_bytes(json.dumps(login(client, host)).encode())
            found = await talk.socket.receive(5)
            assert (kind, GOOD) == (found.type, json.loads(found.data))
    headers = {"Content-Type": "application/msgpack"}
    async with client.session.ws_connect(client.alpaca.url(LIVE) + "/stream", headers=headers) as socket:
        await socket.send_bytes(msgpack.packb(login(client, LIVE)))
        assert GOOD == msgpack.unpackb((await socket.receive(5)).data)


async def test_who_says_nothing_is_sent_away(client: Client) -> None:
    """And counted as somebody without a credential."""
    client.alpaca.streams.turn({"patience": 0.05})
    async with talking(client) as talk:
        assert 1000 == await talk.hear()
    assert 1 == client.alpaca.state()["authorizations"]["none"]  # type: ignore[index]


async def test_faults(client: Client) -> None:
    """A good credential that is refused, a message that makes no sense, and the end of a token."""
    await client.fault("stream-auth-refused")
    async with talking(client) as talk:
        assert (BAD, GOOD) == (await talk.ask(login(client)), await talk.ask(login(client)))
        await client.fault("stream-wrong-frame")
        assert b'{"stream":"trade_upd' == (await talk.socket.receive(5)).data
        await client.fault("stream-token-expired")
        assert (BAD, 1001) == (await talk.hear(), await talk.hear())
