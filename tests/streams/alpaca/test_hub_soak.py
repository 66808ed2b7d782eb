"""The figure of the hub: a thousand clients, ten messages a second, the broker's socket lost again and again.

Nothing is lost without a word before the next message, nothing comes to the wrong client, nothing out of order.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.streams.bench import RATE
from tests.streams.crowd import crowd
from tests.streams.crowdstage import Crowd, staged
from tests.streams.databroker import QUICK, DataBroker, house, says

BEAT = 0.02  # seconds between two messages about a symbol, in the short form
KB = 1000


@asynccontextmanager
async def beating(broker: DataBroker) -> AsyncIterator[None]:
    """Every open socket gets one message for each symbol that it has, with a number that grows by one."""
    number = 0

    async def beat() -> None:
        nonlocal number
        while True:
            number += 1
            for session in broker.open:
                messages = [{"T": "t", "S": symbol, "i": number} for symbol in session.subscribed["trades"]]
                if messages:
                    with suppress(ConnectionError):
                        await session.send(*messages)
            await asyncio.sleep(BEAT)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(beat())
        yield
        task.cancel()


async def test_what_a_lost_socket_costs_is_said_to_every_client() -> None:
    """The short form: twenty clients in two codecs, and the socket lost in four ways."""
    async with house(pace=replace(QUICK, steady=0.0)) as at, beating(at.broker):
        at.lab.gateway.streams.per_client = 100
        url = f"http://{at.lab.host}/lab/v2/iex"
        seen, clients = await crowd(url, at.lab.key, 20, own="both", text=0.25, rate=1 / BEAT)
        for client in clients:
            client.counting = True
        for way in ("drop", "expire", "close", "refuse"):
            await asyncio.sleep(0.15)
            session = at.broker.last
            if way == "expire":
                await session.error(402)
            elif way == "close":
                await session.ws.close()
            else:
                at.broker.openings += [says(406)] if way == "refuse" else []
                session.drop()
        await asyncio.sleep(0.3)
        for client in clients:
            client.leave()

    assert (0, 0, 0, 0) == (seen.lost, seen.foreign, seen.disorder, seen.errors)
    assert 20 * 4 == seen.gaps
    assert seen.missed > 0
    assert seen.messages > 20 * 2 * 10
    assert 2 == at.lab.desk.refreshes + 1


@pytest.mark.soak
async def test_a_thousand_clients_and_a_rotation_every_five_seconds(tmp_path: Path) -> None:
    """Sixty seconds through the running product: 0 lost unannounced, 0 foreign, 0 out of order; 25 kB a client."""
    seconds, count = 60.0, 1000

    def play() -> None:
        with staged(tmp_path) as stage:
            stage.turn(connections=1, symbols=0, rate=0.0, stale="close")
            first = Crowd(stage.hub, 1, "--own", "shared")
            before = stage.hub.memory
            people = Crowd(stage.hub, count, "--own", "both", "--text", "0.1", "--rate", str(RATE / 2))
            stage.turn(rate=RATE / 2)
            time.sleep(1.0)
            memory = (stage.hub.memory - before) / count
            people.count()
            began, cpu, losses = time.monotonic(), stage.hub.spent, 0
            ways = (stage.expire, lambda: stage.fault("stream-drop"), lambda: stage.fault("stream-close"))
            while time.monotonic() - began < seconds:
                time.sleep(5.0)
                ways[losses % len(ways)]()
                losses += 1
            time.sleep(3.0)
            spent = (stage.hub.spent - cpu) / (time.monotonic() - began)
            seen = people.seen()
            first.leave()
            print(f"{losses} losses, {memory / KB:.1f} kB a client, {spent:.0%} of a core: {seen}")

            assert [0, 0, 0, 0] == [seen[what] for what in ("lost", "foreign", "disorder", "errors")]
            assert {} == seen["closed"]
            assert losses * count == seen["gaps"]
            assert seen["messages"] > 0.8 * count * RATE * seconds
            assert memory <= 25 * KB

    await asyncio.to_thread(play)
