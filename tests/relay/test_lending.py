"""Whatever fails, and wherever: each lent pair comes back exactly once, and each answer of a broker is closed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import pytest

from proxy.errors import Refusal
from proxy.outbound import Lost, NotSent
from proxy.relay.headers import Raw
from proxy.relay.http import Outgoing, Relay
from proxy.relay.upstream import Answer, Call, Place
from proxy.tokens.grant import TokenPair
from proxy.tokens.oauth import RawAnswer, Wish
from tests.lab import REFUSED, Desk, Lab, running

Point = Literal[
    "fine", "refused", "refused without body", "not sent", "lost", "lost when reused", "broken", "hangs",
    "read lost", "read broken", "read hangs", "echo",
]  # fmt: skip
POINTS: tuple[Point, ...] = Point.__args__  # type: ignore[attr-defined]


@dataclass
class StagedAnswer:
    """A broker's answer that fails where it is told to."""

    point: Point
    stage: "Stage"
    open: bool = True

    @property
    def status(self) -> int:
        return 401 if self.point.startswith("refused") else 200

    @property
    def headers(self) -> Raw:
        return [(b"Content-Length", b"40")]

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    async def start(self, _most: int) -> tuple[bytes, bool]:
        match self.point:
            case "read lost":
                raise Lost("gone")
            case "read broken":
                raise ValueError
            case "read hangs":
                await self.stage.hang()
            case "refused":
                return json.dumps(REFUSED).encode(), True
            case "echo":
                return self.stage.bearer.encode(), True
            case _:
                pass
        return b"", True

    def close(self) -> None:
        self.stage.open -= self.open
        self.open = False


@dataclass
class Stage:
    """An `Upstream` that plays one point after the other. `open` counts answers that nobody has closed."""

    points: list[Point]
    open: int = 0
    bearer: str = ""
    hung: asyncio.Event = field(default_factory=asyncio.Event)

    async def hang(self) -> None:
        self.hung.set()
        await asyncio.get_running_loop().create_future()

    async def send(self, call: Call, _place: Place) -> Answer:
        point = self.points.pop(0) if self.points else "fine"
        self.bearer = call.pair.access_token.reveal()
        match point:
            case "not sent":
                raise NotSent("refused")
            case "lost" | "lost when reused":
                lost = Lost("gone")
                lost.reused = point == "lost when reused"
                raise lost
            case "broken":
                raise ValueError
            case "hangs":
                await self.hang()
            case _:
                pass
        self.open += 1
        return StagedAnswer(point, self)

    def at_hand(self, place: Place, pair: TokenPair) -> None:
        del place, pair

    async def run(self, destinations: object) -> None:
        del destinations

    async def close(self) -> None:
        pass


async def play(lab: Lab, method: str, points: list[Point]) -> None:
    """One exchange; if it hangs, the client goes away."""
    stage = Stage(points.copy())
    relay = Relay(broker=lab.mount.broker, place=lab.mount.relay._place, keeper=lab.keeper, upstream=stage)
    body = b"{}" if method == "POST" else None
    outgoing = Outgoing(method, b"/v1/x", [], body, mutating=method == "POST", streaming=False)

    async def exchange() -> None:
        found = await relay.fetch(outgoing)
        assert 1 == stage.open
        relay.finish(found)
        relay.finish(found)

    async with asyncio.TaskGroup() as group:
        call = group.create_task(_quietly(exchange()))
        hung = group.create_task(stage.hung.wait())
        await asyncio.wait((call, hung), return_when=asyncio.FIRST_COMPLETED)
        call.cancel()
        hung.cancel()
    assert (0, 0) == (lab.lent, stage.open)
    assert len(stage.points) < len(points), "nothing was sent"


async def _quietly(exchange: Awaitable[None]) -> None:
    with suppress(Refusal, ValueError):
        await exchange


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_one_sending_gives_back_what_it_was_lent(method: str) -> None:
    """At every point of the first sending, and of its silent second one."""
    async with running() as lab:
        for point in POINTS:
            await play(lab, method, [point])
            await play(lab, method, ["lost when reused", point])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_repeat_gives_back_both_pairs(method: str) -> None:
    """At every point of the sending that follows a renewal."""
    async with running() as lab:
        for point in POINTS:
            await play(lab, method, ["refused", point])


@pytest.mark.parametrize(
    "said",
    [RawAnswer(503, "", b""), RawAnswer(400, "", b"Bad Request"), RawAnswer(200, "", b"")],
    ids=lambda raw: raw.status,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_renewal_that_fails_leaves_nothing_lent(method: str, said: RawAnswer) -> None:
    """Whether the endpoint is down, refuses the token, or loses its answer."""
    async with running() as lab:
        lab.desk.answers = [said] * 9
        await play(lab, method, ["refused"])


async def test_a_client_that_leaves_during_a_renewal_leaves_nothing_lent() -> None:
    """The redeem goes on without it, and the next call has the new pair."""
    async with running() as lab:
        started, going = asyncio.Event(), asyncio.Event()
        prompt = lab.desk.ask

        class Slow(Desk):
            async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
                started.set()
                await going.wait()
                return await prompt(wish, arrived)

        broker = lab.mount.broker
        lab.keeper.redefine(broker, lab.environment, broker.login(), Slow(lab.desk.port))
        stage = Stage(["refused"])
        relay = Relay(broker=lab.mount.broker, place=lab.mount.relay._place, keeper=lab.keeper, upstream=stage)
        outgoing = Outgoing("GET", b"/v1/x", [], None, mutating=False, streaming=False)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(relay.fetch(outgoing))
            await started.wait()
            call.cancel()
        assert (0, 0) == (lab.lent, stage.open)

        going.set()
        exchange = await relay.fetch(outgoing)
        relay.finish(exchange)
        assert (2, 0) == (exchange.pair.generation, lab.lent)


async def test_a_stream_keeps_no_pair() -> None:
    """A redeem does not wait for a stream: its pair comes back with the answer's head."""
    async with running() as lab:
        relay = Relay(
            broker=lab.mount.broker, place=lab.mount.relay._place, keeper=lab.keeper, upstream=Stage(["fine"])
        )
        exchange = await relay.fetch(Outgoing("GET", b"/v1/x", [], None, mutating=False, streaming=True))
        assert 0 == lab.lent
        relay.finish(exchange)
        assert 0 == lab.lent
