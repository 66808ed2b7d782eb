"""Questrade's stream ports in the whole product: opened by the app, across rotations, reloads and a stop."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from proxy import localca
from proxy.clock import SystemClock
from tests.house import ACCOUNT, House, house
from tests.streams.portlab import unused_range

NOTIFICATIONS = "/questrade/v1/notifications?mode=WebSocket"
QUOTES = "/questrade/v1/markets/quotes?ids={0}&stream=true&mode=WebSocket"
NAMED = ("version: 1", 'version: 1\nallowed_hosts: ["bearerd.internal:8080"]')
MOUNT = "{broker: questrade, environment"


async def opened(home: House, target: str, key: str = "") -> tuple[int, ClientConnection]:
    """The port that a call was answered with, and a socket there that has been greeted."""
    port = (await home.call("GET", target, key=key or home.key)).document["streamPort"]
    socket = await connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None, close_timeout=0.2)
    await socket.send(key or home.key)
    assert {"success": True} == await heard(socket)
    return port, socket


async def heard(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


async def code(socket: ClientConnection) -> int | None:
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 5)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def _across_rotations(home: House, socket: ClientConnection) -> None:
    """Each message has the next number, or it is said that some may be missing."""
    said, last, announced = 0, None, False
    for round_number in range(4):
        for _ in range(15):
            message = await heard(socket)
            if "success" in message:
                said, announced = said + 1, True
                continue
            (quote,) = message["quotes"]
            assert (8049, True) == (quote["symbolId"], last is None or announced or quote["volume"] == last + 1)
            last, announced = quote["volume"], False
        if round_number % 2:
            home.simulator.move_api_server()
        home.simulator.expire()
        await home.call("GET", f"{ACCOUNT}/balances")  # somebody's call finds that out
    assert said <= 4


async def test_the_product_streams_across_rotations(state_dir: Path) -> None:
    """Orders are told to who listens; quotes go on with each new token, and with the API at another host."""
    async with house(state_dir) as home:
        _, orders = await opened(home, NOTIFICATIONS)
        assert 200 == (await home.order()).status
        assert 26598145 == (await heard(orders))["accountNumber"]
        home.simulator.streams.turn({"rate": 200.0, "stale": "close"})
        _, quotes = await opened(home, QUOTES.format(8049))
        await _across_rotations(home, quotes)
        assert 1012 == await code(orders)  # the token's end ended its socket before another could be opened
        port, orders = await opened(home, NOTIFICATIONS)
        assert (200, 26598145) == ((await home.order()).status, (await heard(orders))["accountNumber"])

        await home.app.operations.clients_remove("bot")
        assert [4401, 4401] == [await code(socket) for socket in (orders, quotes)]
        await home.app.stop()
        with pytest.raises(OSError, match=r"Connect call failed|Connection refused"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_each_person_has_streams_of_their_own(state_dir: Path) -> None:
    """Ports, sockets and messages of two people on one mount never meet; a halt closes both, and reading goes on."""
    async with house(state_dir) as home:
        await home.app.operations.login("questrade/anna", home.simulator.new_refresh_token())
        key = (await home.app.operations.clients_add("bot", ["questrade/anna"]))["key"]
        (own_port, own), (port, hers) = await opened(home, NOTIFICATIONS), await opened(home, NOTIFICATIONS, key)
        assert own_port != port
        assert 200 == (await home.order()).status
        assert 26598145 == (await heard(own))["accountNumber"]
        assert 2 == home.simulator.streams.state()["open"]  # neither ended the other: they are two people's
        meddler = await connect(f"ws://127.0.0.1:{own_port}/", proxy=None)
        await meddler.send(key)
        assert 4403 == await code(meddler)

        await home.app.operations.commands()["halt"]({"by": "ann", "mount": "questrade", "reason": "lunch"})
        assert [4423, 4423] == [await code(socket) for socket in (own, hers)]
        await opened(home, NOTIFICATIONS)


async def test_a_port_takes_tls_and_plain_text(state_dir: Path) -> None:
    """Questrade's clients write wss://host:port, and put the key into head and first frame (elislade's, in Swift)."""
    made = await asyncio.to_thread(localca.make, state_dir / "tls" / localca.FILE, [], SystemClock().now().wall)
    trust = ssl.create_default_context(cadata=made.pem.decode())
    both = ("listen: 127.0.0.1:0", 'listen: [127.0.0.1:0, "tls:127.0.0.1:0"]\ntls: {local_ca: true}')
    async with house(state_dir, both) as home:
        port, plain = await opened(home, NOTIFICATIONS)
        urls = (f"wss://127.0.0.1:{port}/v1/notifications?stream=true&mode=WebSocket", f"wss://localhost:{port}")
        swift = {"Authorization": f"Bearer {home.key}", "Accept-Language": "en-CA"}
        sockets = [await connect(url, ssl=trust, proxy=None, additional_headers=swift) for url in urls]
        for socket in sockets:
            await socket.send(home.key)
            assert {"success": True} == await heard(socket)
        await home.order()
        assert [26598145] * 3 == [(await heard(socket))["accountNumber"] for socket in (plain, *sockets)]
        with pytest.raises(ssl.SSLError):
            await connect(urls[0], ssl=ssl.create_default_context(), proxy=None)
        secure = await home.call("GET", NOTIFICATIONS)
        assert port == secure.document["streamPort"]


async def test_ports_follow_the_configuration(state_dir: Path) -> None:
    """A range is kept to; when a reload takes it away, the ports are closed and their clients told. A stop is 1001.

    A name that the operator has given the server holds at its stream ports.
    """
    pinned = unused_range(2)
    async with house(
        state_dir, (MOUNT, MOUNT.replace("environment", f"stream_ports: {pinned}, environment")), NAMED
    ) as home:
        first, one = await opened(home, NOTIFICATIONS)
        assert first in pinned
        await home.rewrite((f"stream_ports: {pinned}, ", ""))
        await home.app.reload()
        assert 1012 == await code(one)
        second, two = await opened(home, NOTIFICATIONS)
        assert second not in pinned
        named = await connect(f"ws://bearerd.internal:{second}/", host="127.0.0.1", port=second, proxy=None)
        await named.close()
        stopping = asyncio.gather(home.app.stop(), code(two))
        assert 1001 == (await stopping)[1]
