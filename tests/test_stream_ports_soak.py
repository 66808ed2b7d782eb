"""Many readers of Questrade's quotes on one socket while tokens are renewed: nothing lost unsaid, foreign or moved."""

import asyncio
import json
import resource
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from proxy.simulator.questrade import market
from tests.house import House, house
from tests.streams.portlab import unused_range

CLIENTS, PORTS, SECONDS, ROTATE_EVERY, RATE = 150, 30, 60.0, 5.0, 10.0
SYMBOLS = sorted(market.QUOTABLE)


@dataclass
class Watcher:
    """One client: what it asked for, and what was wrong with what it got."""

    ids: frozenset[int]
    last: dict[int, int] = field(default_factory=dict)
    told: bool = False  # a gap was said since the last quote of a symbol
    unsure: set[int] = field(default_factory=set)
    got: int = 0
    said: int = 0
    faults: list[str] = field(default_factory=list)

    def hear(self, message: dict[str, object]) -> None:
        if "success" in message:
            self.said += 1
            self.unsure = set(self.ids)
            return
        quotes = message["quotes"]
        assert isinstance(quotes, list)
        for quote in quotes:
            symbol, number = quote["symbolId"], quote["volume"]
            self.got += 1
            if symbol not in self.ids:
                self.faults.append(f"foreign: {symbol}")
            elif symbol in self.last and number <= self.last[symbol]:
                self.faults.append(f"again or late: {symbol} {self.last[symbol]} → {number}")
            elif symbol in self.last and number > self.last[symbol] + 1 and symbol not in self.unsure:
                self.faults.append(f"lost unsaid: {symbol} {self.last[symbol]} → {number}")
            self.last[symbol] = number
            self.unsure.discard(symbol)


async def watch(socket: ClientConnection, watcher: Watcher, until: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        watcher.hear(json.loads(await asyncio.wait_for(socket.recv(), 10)))


async def rotate(home: House, until: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() + ROTATE_EVERY < until:
        await asyncio.sleep(ROTATE_EVERY)
        home.simulator.expire()
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("stale", ["keep", "close", "drop"])
async def test_a_crowd_reads_quotes_across_renewals(
    state_dir: Path, stale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """150 clients on 30 ports, 10 messages a second, a renewal each 5 s for a minute, whatever old sockets do."""
    mount = "{broker: questrade, environment"
    ports = mount.replace("environment", f"stream_ports: {unused_range(PORTS)}, environment")
    more = ("version: 1", f"version: 1\nlimits: {{sockets_per_client: {CLIENTS + 10}}}")
    async with house(state_dir, (mount, ports), more) as home, AsyncExitStack() as stack:
        home.simulator.streams.turn({"rate": RATE, "stale": stale})
        watchers, sockets = [], []
        for number in range(CLIENTS):
            start = number % PORTS
            ids = [SYMBOLS[(start + step) % len(SYMBOLS)] for step in range(1 + start % 5)]
            target = f"/questrade/v1/markets/quotes?ids={','.join(map(str, ids))}&stream=true&mode=WebSocket"
            port = (await home.call("GET", target)).document["streamPort"]
            socket = await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None))
            await socket.send(home.key)
            assert {"success": True} == json.loads(await socket.recv())
            watchers.append(Watcher(frozenset(ids)))
            sockets.append(socket)
        until = asyncio.get_running_loop().time() + SECONDS
        async with asyncio.TaskGroup() as group:
            group.create_task(rotate(home, until))
            for socket, watcher in zip(sockets, watchers, strict=True):
                group.create_task(watch(socket, watcher, until))
    got, said = sum(watcher.got for watcher in watchers), sum(watcher.said for watcher in watchers)
    with capsys.disabled():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"\n{stale}: {got} quotes, {said} gaps said, {home.seen('rotations')} renewals, {peak} MB at most")
    assert [] == [fault for watcher in watchers for fault in watcher.faults]
    assert got > CLIENTS * SECONDS * RATE / 2
