"""Lanes: how many token requests are out at a time, and who is next."""

import asyncio
import random
from collections.abc import Callable

import pytest

from proxy.tokens.lanes import OPEN_LANE, Lane


class Traffic:
    """Requests through a lane: which have begun, and how many were out at once at most."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.begun: list[str] = []
        self.out = self.most = 0
        self.gates: dict[str, asyncio.Event] = {}

    async def request(self, name: str, *, urgent: bool = False) -> None:
        """One request, out until `end(name)`."""
        gate = self.gates.setdefault(name, asyncio.Event())
        async with self.lane.turn(urgent=urgent):
            self.begun.append(name)
            self.out += 1
            self.most = max(self.most, self.out)
            try:
                await gate.wait()
            finally:
                self.out -= 1

    async def end(self, name: str) -> None:
        """Answer a request, and let follow what follows from that."""
        self.gates[name].set()
        await settle()

    def end_some(self, chance: random.Random) -> None:
        """Answer about a third of them."""
        for gate in self.gates.values():
            if chance.random() < 0.3:
                gate.set()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_the_limit_are_out_and_all_get_their_turn() -> None:
    """Ten requests in a lane of three are out three at a time, in the order in which they came."""
    traffic = Traffic(Lane(3))
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            _ = group.create_task(traffic.request(str(number)))
        await settle()
        assert ["0", "1", "2"] == traffic.begun
        for number in range(10):
            await traffic.end(str(number))
    assert [str(number) for number in range(10)] == traffic.begun
    assert (3, 0, 0) == (traffic.most, traffic.lane.taken, traffic.lane.waiting)


async def test_whoever_a_client_waits_for_goes_first() -> None:
    """Urgent requests overtake those in the background, and keep their order among themselves."""
    traffic = Traffic(Lane(1))
    async with asyncio.TaskGroup() as group:
        for name in ("first", "slow-1", "slow-2"):
            _ = group.create_task(traffic.request(name))
        await settle()
        for name in ("quick-1", "quick-2"):
            _ = group.create_task(traffic.request(name, urgent=True))
        await settle()
        for name in ("first", "quick-1", "quick-2", "slow-1", "slow-2"):
            await traffic.end(name)
    assert ["first", "quick-1", "quick-2", "slow-1", "slow-2"] == traffic.begun


async def test_a_request_that_is_given_up_while_it_waits_leaves_no_gap() -> None:
    """One that is cancelled in the queue is passed over."""
    traffic = Traffic(Lane(1))
    async with asyncio.TaskGroup() as group:
        _ = group.create_task(traffic.request("first"))
        await settle()
        given_up = group.create_task(traffic.request("given-up"))
        _ = group.create_task(traffic.request("last"))
        await settle()
        given_up.cancel()
        await settle()
        assert 1 == traffic.lane.waiting
        await traffic.end("first")
        assert ["first", "last"] == traffic.begun
        await traffic.end("last")
    assert 0 == traffic.lane.taken


async def test_a_request_that_is_given_up_in_the_moment_of_its_turn_passes_it_on() -> None:
    """Between the call and the first step of the one called there may be a cancellation: the turn is not lost."""
    lane = Lane(1)
    traffic = Traffic(lane)
    async with asyncio.TaskGroup() as group:
        async with lane.turn(urgent=False):
            called = group.create_task(traffic.request("called"))
            _ = group.create_task(traffic.request("last"))
            await settle()
        called.cancel()  # the turn is its own, and it has not run yet
        await settle()
        assert ["last"] == traffic.begun
        await traffic.end("last")
    assert 0 == lane.taken


async def test_a_request_that_fails_gives_its_turn_back() -> None:
    """An error inside is passed on, and the turn is free again."""
    lane = Lane(1)
    with pytest.raises(ValueError, match="broken"):
        async with lane.turn(urgent=True):
            raise ValueError("broken")
    async with lane.turn(urgent=False):
        assert 1 == lane.taken


async def test_a_limit_that_is_raised_or_lowered_counts_from_the_next_turn_on() -> None:
    """A reload may change it: what waits comes in with the next change, what is out stays out."""
    traffic = Traffic(Lane(1))
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            _ = group.create_task(traffic.request(name))
        await settle()
        traffic.lane.limit = 3
        _ = group.create_task(traffic.request("d"))
        await settle()
        assert ["a", "b", "c"] == traffic.begun
        traffic.lane.limit = 1
        await traffic.end("a")
        await traffic.end("b")
        assert ["a", "b", "c"] == traffic.begun
        await traffic.end("c")
        assert ["a", "b", "c", "d"] == traffic.begun
        await traffic.end("d")


async def test_the_open_lane_has_no_bound() -> None:
    """Where nobody says how many, all are let through at once."""
    traffic = Traffic(OPEN_LANE)
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            _ = group.create_task(traffic.request(str(number)))
        await settle()
        assert 100 == traffic.most
        for number in range(100):
            await traffic.end(str(number))
    assert (0, 0) == (OPEN_LANE.taken, OPEN_LANE.waiting)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_cancelled_the_lane_ends_up_empty(seed: int) -> None:
    """Requests that come, end and are cancelled in any order: the limit holds, and no turn is lost or doubled."""
    chance = random.Random(seed)  # noqa: S311
    limit = chance.randint(1, 4)
    traffic = Traffic(Lane(limit))
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    acts: list[Callable[[], object]] = [
        lambda: tasks.append(loop.create_task(traffic.request(str(len(tasks)), urgent=chance.random() < 0.5))),
        lambda: traffic.end_some(chance),
        lambda: [task.cancel() for task in tasks if chance.random() < 0.2],
    ]
    for _ in range(200):
        chance.choice(acts)()
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        assert traffic.out <= limit
    while pending := [task for task in tasks if not task.done()]:
        for gate in traffic.gates.values():
            gate.set()
        await asyncio.wait(pending, timeout=0.01)
    assert (0, 0, 0) == (traffic.out, traffic.lane.taken, traffic.lane.waiting)
