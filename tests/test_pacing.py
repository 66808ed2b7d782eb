"""Calls wait for their turn, and no longer than they may. Real timers, windows of a fraction of a second."""

import asyncio
import time
from collections.abc import Iterable
from time import process_time

import pytest

from proxy.clock import SystemClock
from proxy.errors import Refusal
from proxy.gate.budget import Spec
from proxy.gate.orderrule import OrderRule
from proxy.gate.ratehead import wanted
from proxy.gate.rows import Row
from proxy.pacing import Outcome, Pacing, Turn

QUOTE = Row("quote", "GET", "/q", "read", rate="calls")
ORDER = Row("order", "POST", "/o", "trade", mutating=True, rate="calls", order=OrderRule("place"))
CANCEL = Row("cancel", "DELETE", "/o", "trade", mutating=True, rate="calls", order=OrderRule("lower"))
OTHER = Row("other", "GET", "/x", "read")
LENGTH = 0.2  # seconds of a window
ONE_LEFT = [(b"Left", b"1")]


class Desk:
    """A pacing with one grant, and what it has told of calls that waited."""

    def __init__(self, calls: int = 3, patience: float = 1.0, **more: object) -> None:
        self.told: list[tuple[str, Outcome]] = []
        self.seconds: list[float] = []
        self.pacing = Pacing(SystemClock(), self._observe)
        spec = Spec(limits=((LENGTH, calls),), patience=patience, **more)  # type: ignore[arg-type]
        self.pacing.define({"desk": {None: Spec(patience=patience), "calls": spec}})

    @classmethod
    def told_by_the_broker(cls, patience: float) -> "Desk":
        """One whose limit is known to nobody but the broker."""
        desk = cls(patience=patience)
        spec = Spec(told=60.0, names=wanted({"remaining": "left"}), patience=patience)
        desk.pacing.define({"desk": {"calls": spec}})
        return desk

    def _observe(self, grant: str, outcome: Outcome, seconds: float) -> None:
        self.told.append((grant, outcome))
        self.seconds.append(seconds)

    async def turn(self, row: Row = QUOTE, client: str = "bot", grant: str = "desk") -> Turn:
        return await self.pacing.turn(client, row, grant)

    async def call(self, row: Row = QUOTE, client: str = "bot", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        with await self.turn(row, client) as turn:
            turn.answered(200, headers)

    async def fill(self, count: int = 3) -> None:
        for _ in range(count):
            await self.call()

    async def waiting(self, count: int) -> None:
        """Until so many wait, each of which has had a chance to queue up."""
        for _ in range(count):
            await asyncio.sleep(0)
        assert count == sum(waiting for *_, waiting in self.pacing.standings())


async def _refusal(desk: Desk, row: Row = QUOTE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await desk.turn(row)
    assert "paced" == caught.value.kind.name
    return caught.value


async def test_a_call_for_which_there_is_room_goes_at_once() -> None:
    """And nobody is told of it."""
    desk = Desk()
    await desk.fill()
    await desk.call(OTHER)
    assert [] == desk.told


async def test_a_call_waits_for_the_next_window() -> None:
    """No longer than it takes, and its wait is told."""
    desk = Desk()
    await desk.fill()
    began = time.monotonic()
    await desk.fill()
    took = time.monotonic() - began
    assert LENGTH * 0.9 <= took
    assert ("desk", "waited") == desk.told[0]
    assert took * 0.5 <= desk.seconds[0] <= took


async def test_orders_overtake_quotes_and_cancels_overtake_orders() -> None:
    """The first that came is the last that goes."""
    desk = Desk(calls=1)
    await desk.fill(1)
    gone: list[str] = []

    async def call(row: Row) -> None:
        await desk.call(row)
        gone.append(row.id)

    async with asyncio.TaskGroup() as group:
        for number, row in enumerate((QUOTE, ORDER, CANCEL), 1):
            group.create_task(call(row))
            await desk.waiting(number)
    assert ["cancel", "order", "quote"] == gone


async def test_a_greedy_client_waits_for_itself() -> None:
    """Twenty calls of one, then two of two others: those go in the next window."""
    desk = Desk(calls=4, patience=5.0)
    await desk.fill(4)
    gone: list[str] = []

    async def call(client: str) -> None:
        await desk.call(client=client)
        gone.append(client)

    async with asyncio.TaskGroup() as group:
        for client in ("greedy",) * 9 + ("b", "c"):
            group.create_task(call(client))
        await desk.waiting(11)
    assert {"b", "c"} <= set(gone[:4])


async def test_a_call_is_refused_at_once_if_it_would_wait_too_long() -> None:
    """With the time after which there is room, and nothing was waited for."""
    desk = Desk(patience=LENGTH / 4)
    await desk.fill()
    began = asyncio.get_running_loop().time()
    refusal = await _refusal(desk)
    assert asyncio.get_running_loop().time() - began < LENGTH / 4
    assert refusal.retry_after is not None
    assert LENGTH / 4 < refusal.retry_after <= LENGTH
    assert [("desk", "refused")] == desk.told
    await asyncio.sleep(refusal.retry_after)
    await desk.call()


async def test_a_call_is_refused_when_its_time_is_over() -> None:
    """What it waited for, the answer to another, did not come."""
    desk = Desk.told_by_the_broker(patience=0.05)
    await desk.call(headers=ONE_LEFT)
    with await desk.turn():
        refusal = await _refusal(desk)
    assert refusal.retry_after is not None
    assert [("desk", "refused")] == desk.told
    assert 0.04 <= desk.seconds[0] < 1


async def test_a_cancel_goes_when_answers_that_it_waited_for_do_not_come() -> None:
    """A slow broker has every call that is left on its way: one goes all the same, one in a second."""
    desk = Desk.told_by_the_broker(patience=0.05)
    await desk.call(headers=ONE_LEFT)
    with await desk.turn():
        with await desk.turn(CANCEL) as turn:
            assert ("desk", "waited") == desk.told[-1]
            await _refusal(desk, CANCEL)
            turn.answered(200, [])
        await _refusal(desk, ORDER)


async def test_a_client_that_leaves_is_passed_over() -> None:
    """Whoever came after it has the turn."""
    desk = Desk(calls=1, patience=5.0)
    await desk.fill(1)
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(desk.call())
        await desk.waiting(1)
        group.create_task(desk.call(client="other"))
        await desk.waiting(2)
        leaving.cancel()
    assert leaving.cancelled()
    assert [("desk", "left"), ("desk", "waited")] == desk.told


async def test_a_client_that_leaves_in_its_turn_gives_it_back() -> None:
    """Its turn has come, it has not run since, and never will."""
    desk = Desk.told_by_the_broker(patience=5.0)
    await desk.call(headers=ONE_LEFT)
    async with asyncio.TaskGroup() as group:
        with await desk.turn() as turn:
            leaving = group.create_task(desk.call())
            await desk.waiting(1)
            turn.answered(200, ONE_LEFT)
            await desk.waiting(0)
            leaving.cancel()
    assert leaving.cancelled()
    await desk.call(headers=ONE_LEFT)


@pytest.mark.parametrize(
    ("name", "status", "counted"),
    [
        ("token-unavailable", 503, False), ("broker-unreachable", 503, False), ("halted", 403, False),
        ("broker-unreachable", 502, True), ("broker-timeout", 504, True), ("outcome-unknown", 500, True),
    ],
    ids=["no token", "not reached", "halted", "lost", "late", "unknown"],
)  # fmt: skip
async def test_only_what_was_not_sent_gives_its_place_back(name: str, status: int, counted: bool) -> None:
    """The broker may have counted everything else."""
    desk = Desk(calls=1, patience=0.0)
    with pytest.raises(Refusal, match=name), await desk.turn():
        raise Refusal(name, "x", status=status)
    if counted:
        await _refusal(desk)
    else:
        await desk.call()


async def test_a_429_of_the_broker_closes_the_budget_for_a_while() -> None:
    """Of this grant and category alone; one call that lowers risk goes all the same."""
    desk = Desk(patience=0.0)
    with await desk.turn() as turn:
        turn.answered(429, [(b"Retry-After", b"7")])
    assert 6.9 < ((await _refusal(desk)).retry_after or 0) <= 7
    assert 6.9 < ((await _refusal(desk, ORDER)).retry_after or 0) <= 7
    await desk.call(CANCEL)
    assert 0.9 < ((await _refusal(desk, CANCEL)).retry_after or 0) <= 1
    await desk.call(OTHER)
    with await desk.turn(grant="desk/ann") as turn:
        turn.answered(200, [])


async def test_a_429_without_a_category_closes_what_has_none() -> None:
    """Questrade documents none for orders."""
    desk = Desk(patience=0.0)
    with await desk.turn(OTHER) as turn:
        turn.answered(429, [])
    assert 0.9 < ((await _refusal(desk, OTHER)).retry_after or 0) <= 1
    await desk.call(QUOTE)


async def test_a_reload_keeps_what_was_learnt() -> None:
    """And what waits goes by the new limits at once."""
    desk = Desk(calls=1, patience=5.0)
    spec = Spec(limits=((60.0, 1),), patience=5.0)
    desk.pacing.define({"desk": {"calls": spec}})
    await desk.fill(1)
    refusal = await _refusal(desk)
    assert 59 < (refusal.retry_after or 0) <= 60
    desk.pacing.define({"desk": {"calls": Spec(limits=((60.0, 2),), patience=5.0)}})
    await desk.call()
    await _refusal(desk)
    desk.pacing.define({})
    await desk.call()


async def test_budgets_that_say_nothing_any_more_are_forgotten() -> None:
    """Thousands of members come and go."""
    desk = Desk()
    await desk.fill(1)
    for number in range(1000):
        with await desk.turn(grant=f"desk/p{number}"):
            pass
        if number == 500:
            await asyncio.sleep(LENGTH * 1.1)
    assert ("desk", "calls") not in desk.pacing._lines or len(desk.pacing._lines) <= 512


async def test_people_are_shown_how_it_stands() -> None:
    """Of configured grants and named categories; members are nobody's business here."""
    desk = Desk(patience=0.0)
    await desk.fill(2)
    await desk.call(OTHER)
    with await desk.turn(grant="desk/ann"):
        assert [("desk", "calls", 1, 0)] == list(desk.pacing.left())
    assert [
        {"category": "calls", "limit": 3, "remaining": 1, "seconds": None, "closed": 0.0, "waiting": 0}
    ] == desk.pacing.told("desk")
    assert [] == desk.pacing.told("desk/ann")


@pytest.mark.timing
async def test_a_call_that_need_not_wait_costs_little() -> None:
    """2 µs of processor time for its turn; up to 4 are let pass."""
    limits = ((1.0, 10**9), (3600.0, 10**9))
    pacing = Pacing(SystemClock())
    pacing.define({"desk": {"calls": Spec(limits=limits, told=3600.0, clients=frozenset("abc"))}})

    async def once() -> float:
        began = process_time()
        for _ in range(2_000):
            await pacing.turn("bot", CANCEL, "desk")
        return (process_time() - began) / 2_000

    assert min([await once() for _ in range(10)]) < 4e-6


@pytest.mark.parametrize("row", [QUOTE, ORDER, CANCEL, OTHER], ids=["read", "order", "cancel", "unlimited"])
async def test_a_turn_that_is_free_can_be_had_at_once(row: Row) -> None:
    """The same as by waiting: it takes the same place, and nobody is told of a wait."""
    desk = Desk(calls=10)
    turn = desk.pacing.turn_now("bot", row, "desk")
    assert turn is not None
    before = dict(_left(desk))
    with await desk.turn(row) as other:
        assert {name: count if count is None else count - 1 for name, count in before.items()} == dict(_left(desk))
        other.answered(200, ())
    turn.answered(200, ())
    turn.answered(429, ())  # only the first counts
    assert [] == desk.told


def _left(desk: Desk) -> list[tuple[str, int | None]]:
    return [(category, left) for _, category, left, _ in desk.pacing.left()]


async def test_where_a_call_would_wait_there_is_no_turn_at_once() -> None:
    """None, as often as it is asked for, and no place is taken by it; the one that waits has its turn all the same."""
    desk = Desk()
    await desk.fill()
    assert [("calls", 0)] == _left(desk)
    assert [None] * 5 == [desk.pacing.turn_now("bot", row, "desk") for row in (QUOTE, QUOTE, ORDER, QUOTE, QUOTE)]
    assert ([("calls", 0)], []) == (_left(desk), desk.told)
    await desk.call()
    assert [("desk", "waited")] == desk.told


async def test_nobody_overtakes_those_that_wait_by_asking_for_a_turn_at_once() -> None:
    """There may be room for a moment, and it is theirs."""
    desk = Desk(calls=1)
    async with asyncio.TaskGroup() as group:
        with await desk.turn() as turn:
            group.create_task(desk.call())
            await desk.waiting(1)
            turn.answered(200, ())
        await asyncio.sleep(LENGTH * 0.9)
        assert desk.pacing.turn_now("bot", QUOTE, "desk") is None


async def test_even_an_order_asks_behind_those_that_wait() -> None:
    """Who goes first is decided in one place; there it goes before them."""
    desk = Desk.told_by_the_broker(patience=2.0)
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        with await desk.turn() as turn:
            group.create_task(desk.call())
            await desk.waiting(1)
            assert desk.pacing.turn_now("bot", ORDER, "desk") is None
            await desk.call(ORDER)
            turn.answered(200, [(b"Left", b"5")])


async def test_a_turn_that_was_not_used_is_given_back() -> None:
    """As if it had never been; a second time does nothing."""
    desk = Desk(calls=2)
    for _ in range(20):
        turn = desk.pacing.turn_now("bot", QUOTE, "desk")
        assert turn is not None
        turn.give_back()
        turn.give_back()
    assert [("calls", 2)] == _left(desk)


async def test_a_turn_that_is_given_back_lets_the_next_one_go() -> None:
    """Whoever waits is not left to a timer."""
    desk = Desk(calls=1, patience=5.0)
    desk.pacing.define({"desk": {"calls": Spec(limits=((60.0, 1),), patience=70.0)}})
    turn = desk.pacing.turn_now("bot", QUOTE, "desk")
    assert turn is not None
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        group.create_task(desk.call())
        await desk.waiting(1)
        turn.give_back()


async def test_what_is_left_is_told_of_configured_grants() -> None:
    """Of those that were used; of members, who may be thousands, nothing."""
    pacing = Pacing(SystemClock())
    pacing.define({"desk": {"calls": Spec(limits=((60.0, 10),))}})
    row = Row("quote", "GET", "/q", "read", rate="calls")
    for grant in ("desk", "desk/ada"):
        (await pacing.turn("bot", row, grant)).answered(200, [])
    assert pacing.spare() == [("desk", "calls", [(60.0, 9)], 0.0)]
    pacing.leave("desk", "calls", {60.0: 4}, 0.0)
    assert pacing.spare() == [("desk", "calls", [(60.0, 4)], 0.0)]
