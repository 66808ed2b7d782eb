"""Sockets that flood, stall and never end, while honest ones talk: those lose nothing, and nothing stays behind.

The product, the broker and the attackers are processes of their own; what the product costs is seen from outside.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.relay.frames import SocketLimits
from proxy.streams import codes
from tests.callers import eventually
from tests.product import Program
from tests.streams.echo import EchoBroker, desk, until
from tests.streams.frames_by_hand import BINARY, TEXT, Line, frame
from tests.streams.scene import PYTHON, Scene, staged

MEGABYTE = 1 << 20
# How each act has to end, as often as it ends before the time is up. A reset may overtake the last word.
ENDS = {
    "giant": {"1009"}, "bomb": {"1009"}, "pings": {"1008"}, "bombed": {"1012"}, "stranger": {"503", "1008"},
    "hoarder": {"1009", "503"}, "half": {"cut"}, "deaf": {"cut"}, "talker": {"cut", "1012"},
    "crumbs": set(), "empties": set(), "tiny": set(), "nothings": set(),
}  # fmt: skip
ACTS = "giant*2,bomb*2,bombed,pings*2,crumbs,empties,tiny,nothings,half*20,deaf*5,hoarder*8,stranger*76"
Figure = Callable[[object], None]


@dataclass
class Honest:
    """Clients that talk with the broker, each on a socket of its own; every message must come back."""

    at: Scene
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    count: int = 0

    async def talk(self, name: int) -> None:
        head = {"Authorization": f"Bearer {self.at.key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.at.url}/lab/v1/echo", headers=head) as socket,
        ):
            while True:
                self.count += 1
                text, began = f"{name}: {self.count}", time.perf_counter()
                await socket.send_str(text)
                answer = await socket.receive()
                self.seconds.append(time.perf_counter() - began)
                if answer.data != text:
                    self.faults.append(f"{answer.type.name} {answer.data}, not {text}")
                    return
                await asyncio.sleep(0.02)

    async def during(self, seconds: float) -> tuple[float, float]:
        """p99 and the slowest of what is said from now on, in seconds."""
        self.seconds.clear()
        await asyncio.sleep(seconds)
        found = sorted(self.seconds)
        return found[int(len(found) * 0.99)], found[-1]


@asynccontextmanager
async def talking(scene: Scene, count: int) -> AsyncIterator[Honest]:
    """So many of them, within the block."""
    honest = Honest(scene)
    talks = [asyncio.ensure_future(honest.talk(number)) for number in range(count)]
    try:
        yield honest
    finally:
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@dataclass(frozen=True)
class Figures:
    """What a flood did. Seconds and bytes; `left`: until the last of its connections was gone."""

    calm: float
    p99: float
    slowest: float
    grown: int
    left: float
    faults: list[str]
    messages: int
    told: dict[str, Any]

    @property
    def bearable(self) -> bool:
        """What honest clients notice: half a second, or a few times what a busy machine takes anyway."""
        return self.p99 <= max(0.5, 6 * self.calm)

    @property
    def wrong(self) -> list[str]:
        """Acts that ended in another way than they should."""
        ends: dict[str, dict[str, int]] = self.told["ends"]
        return [
            f"{act}: {count} x {how}"
            for act, counts in ends.items()
            for how, count in counts.items()
            if how not in ENDS[act] | {"open"} and (how not in LOST or count > 2 + sum(counts.values()) // 4)
        ]

    def __str__(self) -> str:
        ends = "; ".join(f"{act} {counts}" for act, counts in self.told["ends"].items())
        return (
            f"{self.messages} honest messages, p99 {self.p99 * 1000:.0f} ms (calm: {self.calm * 1000:.0f}), "
            f"slowest {self.slowest * 1000:.0f} ms; +{self.grown / MEGABYTE:.0f} MB; all gone after {self.left:.1f} s; "
            f"{ends}".replace("'", "")
        )


LOST = ("cut", "ConnectionResetError", "IncompleteReadError")
AHEAD = 2  # connections that are kept ready for reads: one, and for a moment the one that takes its place


async def flooded(scene: Scene, home: Path, acts: str, seconds: float, patience: float = 10.0) -> Figures:
    """Honest clients during a flood, and what stays of it."""
    async with talking(scene, 4) as honest:
        async for _ in eventually(20):
            if len(honest.seconds) >= 20:
                break
        calm, _ = await honest.during(0.7)
        memory = most = scene.memory
        arguments = ("-m", "tests.streams.floods", scene.url, scene.key, str(seconds), acts)
        flood = await asyncio.to_thread(Program, home, *arguments, command=PYTHON)
        try:
            await asyncio.to_thread(flood.until, "begun")
            watched = asyncio.ensure_future(honest.during(seconds))
            while not watched.done():
                await asyncio.sleep(0.1)
                most = max(most, scene.memory)
            p99, slowest = await watched
            await asyncio.to_thread(flood.until, "ends")
        finally:
            flood.kill()
        told = json.loads(flood.out.splitlines()[-1])
        left = patience
        async for so_far in eventually(patience, pause=0.1):
            inside, outside = scene.connections
            if inside <= 4 and outside <= 4 + AHEAD:
                left = so_far
                break
        return Figures(calm, p99, slowest, most - memory, left, honest.faults, honest.count, told)


@pytest.mark.timing
@pytest.mark.timeout(120)
def test_honest_sockets_notice_little_of_floods(state_dir: Path, figure: Figure) -> None:
    """Frames of 64 MiB, bombs, 100,000 fragments, pings, crumbs, deaf ends on both sides, strangers: all at once."""
    with staged(state_dir, compression="on", sockets_per_client=500) as scene:
        found = asyncio.run(flooded(scene, state_dir, ACTS, 2.5))
    figure(found)
    assert [] == found.faults
    assert [] == found.wrong
    assert {"giant", "bomb", "bombed", "pings", "stranger"} <= set(found.told["ends"])
    assert found.bearable
    assert found.grown <= 64 * MEGABYTE
    assert found.left <= 5


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "acts",
    [ACTS, "talker*10,deaf*20,half*100,stranger*100", "giant*10,bomb*10,tiny*5,pings*5"],
    ids=["all", "stalling", "pouring"],
)
def test_honest_sockets_notice_little_of_long_floods(state_dir: Path, figure: Figure, acts: str) -> None:
    """Half a minute of it: whoever takes nothing for 20 s, or never says who it is, is gone by then."""
    with staged(state_dir, compression="on", sockets_per_client=500) as scene:
        found = asyncio.run(flooded(scene, state_dir, acts, 30.0, patience=60.0))
    figure(found)
    assert [] == found.faults
    assert [] == found.wrong
    assert found.bearable
    assert found.grown <= 64 * MEGABYTE
    assert found.left <= 45  # a client that left while its broker took nothing is noticed when that is given up


# -- with limits that a test need not wait for ------------------------------------------------------------------------


async def talk(broker: EchoBroker, socket: web.WebSocketResponse) -> None:
    """Say more than anybody takes, and note how much went."""
    while not socket.closed:
        await socket.send_bytes(bytes(65_536))
        broker.frames.append(b"")


async def ignore(broker: EchoBroker, _socket: web.WebSocketResponse) -> None:
    """Read nothing, ever."""
    transport = broker.requests[-1].transport
    assert transport is not None
    transport.pause_reading()
    await asyncio.sleep(60)


async def test_a_client_that_takes_nothing_is_ended_and_little_waits_for_it() -> None:
    """The broker is slowed down meanwhile: a few megabytes are under way, in the kernel's own buffers."""
    async with desk(talk) as found:
        found.lab.change(sockets=SocketLimits(patience=0.4))
        line = await Line.open(found.url(), f"Authorization: Bearer {found.lab.key}", limit=4096)
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: found.broker.open == 1)
        await until(lambda: not found.lab.gateway.streams.all(), 6.0)
        assert len(found.broker.frames) * 65_536 <= 32 * MEGABYTE
        line.leave()


async def test_little_waits_for_a_broker_that_takes_nothing() -> None:
    """The client is held back: what it may send before that is bounded."""
    async with desk(ignore) as found:
        line = await Line.open(found.url(), f"Authorization: Bearer {found.lab.key}")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 256 * MEGABYTE:
                line.writer.write(frame(BINARY, bytes(65_536)))
                await asyncio.wait_for(line.writer.drain(), 0.5)
                sent += 65_536
        assert sent <= 32 * MEGABYTE
        (stream,) = found.lab.gateway.streams.all()
        assert stream.traffic is not None
        assert stream.traffic.up_bytes <= 16 * MEGABYTE
        line.writer.transport.abort()


async def test_a_stranger_may_not_send_much() -> None:
    """A large message ends the socket before it is there, whatever known clients may send."""
    async with desk() as found:
        found.lab.change(sockets=SocketLimits(message_bytes=64 * MEGABYTE))
        line = await Line.open(found.url("/stream"))
        line.writer.write(frame(TEXT, size=256 * 1024 + 1))
        async with asyncio.timeout(5):
            assert codes.TOO_LARGE == (await line.outcome(polite=True)).code
        line.leave()
        known = await Line.open(found.url(), f"Authorization: Bearer {found.lab.key}")
        known.writer.write(frame(TEXT, b"*" * 2 * MEGABYTE))
        async with asyncio.timeout(5):
            assert 2 * MEGABYTE == len((await known.read()).payload)
        known.leave()


async def burst(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
    """Say two thousand words at once; whatever comes is read."""
    await socket.receive()
    for _ in range(2000):
        await socket.send_bytes(b"*")
    async for _ in socket:
        pass


async def test_a_burst_of_messages_gives_way_to_others() -> None:
    """Both ways: between two turns of everybody else only a few messages of one socket pass."""
    async with desk(burst) as found:
        line = await Line.open(found.url(), f"Authorization: Bearer {found.lab.key}")
        await until(lambda: bool(found.lab.gateway.streams.all()))
        (stream,) = found.lab.gateway.streams.all()
        traffic = stream.traffic
        assert traffic is not None
        line.writer.write(frame(BINARY, b"*") * 2000)
        before, most = (0, 0), [0, 0]
        async with asyncio.timeout(10):
            while traffic.up < 2000 or traffic.down < 2000:
                await asyncio.sleep(0)
                now = (traffic.up, traffic.down)
                most = [max(most[way], now[way] - before[way]) for way in range(2)]
                before = now
        assert max(most) <= 64
        line.leave()
