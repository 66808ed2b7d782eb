"""Budgets over several processes: never more than there is, whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from proxy.clock import SystemClock
from proxy.errors import Refusal
from proxy.gate.budget import Spec
from proxy.gate.ratehead import wanted
from proxy.gate.rows import Row
from proxy.pacing import Pacing, Turn
from proxy.workers.hand import Hand
from proxy.workers.line import Line
from proxy.workers.link import Link, Message, pair
from proxy.workers.permits import Permits
from tests.workers.house import until

QUOTE = Row("quote", "GET", "/q", "read", rate="calls")
FREE = Row("free", "GET", "/f", "read", rate="free")
SPECS: Mapping[str, Mapping[str | None, Spec]] = {
    "desk": {"calls": Spec(limits=((60.0, 10),), patience=0.0), "free": Spec()}
}


class Branches:
    """Workers with permits of their own, and the one pacing that custody has."""

    def __init__(self, count: int) -> None:
        self.pacing = Pacing(SystemClock())
        self.pacing.define(SPECS)
        self.work: set[asyncio.Task[None]] = set()
        self.hands: list[Hand] = []
        self.permits: list[Permits] = []
        self.links: list[Link] = []
        self.told = 0  # messages about what is left
        for number in range(count):
            ours, theirs = pair()
            line = Line()
            link = Link(theirs, self._heard_by(number))
            link.open()
            self.hands.append(Hand(number, 1, 0, 0.0, link, self._no_keeper))
            near = Link(ours, self._told_to(number, line))
            near.open()
            line.joined(near)
            self.links += [link, near]
            permits = Permits(SystemClock(), line, lambda _grant, _outcome, _seconds: None)
            permits.share(SPECS, count)
            self.permits.append(permits)

    def close(self) -> None:
        for link in self.links:
            link.close()

    async def _no_keeper(self, grant: str) -> Any:
        raise LookupError(grant)

    def _told_to(self, number: int, line: Line) -> Any:
        def heard(message: Message) -> None:
            if message.kind == "reply":
                line.replied(message.data)
            else:
                self.told += 1
                self.permits[number].hear_spare(message.data)

        return heard

    def _heard_by(self, number: int) -> Any:
        def heard(message: Message) -> None:
            task = asyncio.get_running_loop().create_task(self.hands[number].answer(message.data, self.pacing))
            self.work.add(task)

        return heard

    def report(self) -> None:
        for permits, hand in zip(self.permits, self.hands, strict=True):
            for told in permits.report():
                hand.settle(told)

    def left(self) -> int:
        ((_, _, left, _),) = [each for each in self.pacing.left() if each[1] == "calls"]
        assert left is not None
        return left


@pytest.fixture
async def branches_of() -> AsyncIterator[Callable[[int], Branches]]:
    """Makes branches, so many."""
    made: list[Branches] = []

    def make(count: int) -> Branches:
        made.append(Branches(count))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def spent(permits: Permits, calls: int) -> list[Turn]:
    """The turns that so many calls get; the others are refused."""
    found = await asyncio.gather(*(permits.turn("bot", QUOTE, "desk") for _ in range(calls)), return_exceptions=True)
    return [each for each in found if isinstance(each, Turn)]


async def test_all_together_send_no_more_than_the_budget_has(branches_of: Callable[[int], Branches]) -> None:
    """Ten calls a minute: three processes that try ten each get ten, and the others hear that from custody."""
    branches = branches_of(3)
    turns = [turn for found in await asyncio.gather(*(spent(each, 10) for each in branches.permits)) for turn in found]
    assert len(turns) <= 10
    for turn in turns:
        turn.answered(200, [])
    for _ in range(3):  # what somebody keeps unused comes back
        branches.report()
    more = [turn for each in branches.permits for turn in await spent(each, 10)]
    assert len(turns) + len(more) == 10
    with pytest.raises(Refusal, match="paced"):
        await branches.permits[0].turn("bot", QUOTE, "desk")


async def test_what_was_not_sent_is_not_counted(branches_of: Callable[[int], Branches]) -> None:
    """Given back, refused before it was sent, or left over: the budget is whole again. Lost ones count."""
    branches = branches_of(1)
    (permits,) = branches.permits
    (turn,) = await spent(permits, 1)
    turn.give_back()
    with pytest.raises(Refusal, match="broker-unreachable"), (await spent(permits, 1))[0]:
        raise Refusal("broker-unreachable", "", status=503)
    for _ in range(3):
        branches.report()
    assert branches.left() == 10
    (await spent(permits, 1))[0].__exit__(None, None, None)
    for _ in range(3):
        branches.report()
    assert branches.left() == 9


async def test_a_worker_that_dies_has_spent_what_it_held(branches_of: Callable[[int], Branches]) -> None:
    """Nobody knows what it sent."""
    branches = branches_of(1)
    assert len(await spent(branches.permits[0], 4)) == 4
    held = 10 - branches.left()
    branches.hands[0].lost()
    assert branches.left() == 10 - held
    assert held >= 4


async def test_a_429_closes_the_budget_for_all(branches_of: Callable[[int], Branches]) -> None:
    """What the broker says of it in its headers reaches custody."""
    branches = branches_of(2)
    (turn,) = await spent(branches.permits[0], 1)
    turn.answered(429, [(b"Retry-After", b"30"), (b"Set-Cookie", b"no")])
    branches.report()
    assert not await spent(branches.permits[1], 1)


async def test_without_custody_each_begins_with_its_part_of_what_was_left(
    branches_of: Callable[[int], Branches],
) -> None:
    """Of the half of it, two workers have a half each; of what custody has not told of, nothing. No limit: as ever."""
    branches = branches_of(2)
    (permits, other) = branches.permits
    assert permits.turn_now("bot", FREE, "desk") is not None
    permits.hear_spare([["desk", "calls", [[60.0, 9]], 0.0]])
    for each in branches.permits:
        each._custody.lost()
        each.lost()
    assert sum(permits.turn_now("bot", QUOTE, "desk") is not None for _ in range(10)) == 2
    assert sum(other.turn_now("bot", QUOTE, "desk") is not None for _ in range(10)) == 0
    assert permits.turn_now("bot", FREE, "desk") is not None
    assert not permits.report()
    permits.lost()  # the next one went too, and what it said was no more
    assert permits.turn_now("bot", QUOTE, "desk") is None


async def test_without_custody_all_together_send_less_than_was_left(branches_of: Callable[[int], Branches]) -> None:
    """As custody tells it, after calls of each; and nothing while the broker refuses all."""
    branches = branches_of(3)
    for permits in branches.permits:
        (turn,) = await spent(permits, 1)
        turn.answered(200, [])
    for _ in range(3):
        branches.report()
    assert branches.left() == 7
    found = [list(each) for each in branches.pacing.spare()]
    for hand, permits in zip(branches.hands, branches.permits, strict=True):
        hand.synced = 1
        hand.tell_spare(found)
        hand.tell_spare(found)  # which it knows
        await until(lambda permits=permits: permits._left)  # type: ignore[misc]
        permits._custody.lost()
        permits.lost()
    assert sum(each.turn_now("bot", QUOTE, "desk") is not None for each in branches.permits for _ in range(9)) == 3
    assert branches.told == 3
    now = SystemClock().now().boot
    for permits in branches.permits:
        permits.hear_spare([["desk", "calls", [[60.0, 9]], now + 30.0]])
        permits.lost()
        assert permits.turn_now("bot", QUOTE, "desk") is None


async def test_a_slow_call_gives_its_place_back_whenever_it_ends(branches_of: Callable[[int], Branches]) -> None:
    """After any number of reports; but not to a custody that never lent it."""
    branches = branches_of(1)
    (permits,) = branches.permits
    slow, slower = await spent(permits, 2)
    for _ in range(3):
        branches.report()
    assert branches.left() == 8
    slow.answered(200, [])
    branches.report()
    permits.lost()
    slower.answered(200, [])
    assert not permits.report()


async def test_of_what_answers_say_custody_hears_the_lowest_number_of_each_window(
    branches_of: Callable[[int], Branches],
) -> None:
    """Every call is counted, but not each is told by itself; a date alone says nothing."""
    branches = branches_of(1)
    specs: Mapping[str, Mapping[str | None, Spec]] = {
        "desk": {"calls": Spec(limits=((60.0, 100),), told=60.0, names=wanted({"remaining": "X-Left"}))}
    }
    branches.pacing.define(specs)
    (permits,) = branches.permits
    permits.share(specs, 1)
    (first,) = await spent(permits, 1)
    first.answered(200, [(b"X-Left", b"50")])
    branches.report()
    turns = await spent(permits, 5)
    for turn, left in zip(turns, (b"49", b"45", b"47", b"46"), strict=False):
        turn.answered(200, [(b"X-Left", left), (b"Date", b"Thu, 01 Jan 2026 00:00:00 GMT")])
    turns[-1].answered(200, [(b"Date", b"Thu, 01 Jan 2026 00:00:00 GMT")])
    told = permits.report()
    assert [each[3:5] for each in told if each[3] != "unused"] == [["done", 4], ["answered", 200]]
    for each in told:
        branches.hands[0].settle(each)
    for _ in range(3):
        branches.report()
    assert branches.left() == 45
