"""Who goes on when there is too much to do: the arithmetic alone, and real waiting on a real loop."""

import asyncio
from itertools import pairwise

import pytest

from proxy.errors import Refusal
from proxy.gate.orderrule import OrderRule
from proxy.gate.rows import Row
from proxy.gate.turns import LOWER, ORDER, READ
from proxy.pressure import AT_ONCE, COUNTED, LEAST, LONG, MEMORY, TOO_MUCH, Pressure, kind_of

BEAT = 0.025
QUOTE = Row("quote", "GET", "/quotes", "read")
NOTE = Row("note", "POST", "/notes", "write", mutating=True)
ORDER_ROW = Row("order", "POST", "/orders", "trade", mutating=True, order=OrderRule("place"))
CANCEL = Row("cancel", "DELETE", "/orders/{id}", "trade", mutating=True, order=OrderRule("lower"))


def beats(pressure: Pressure, late: float, seconds: float, since: float = 0.0) -> float:
    """A loop whose turns are that long, for so long. When it ends."""
    now = since
    while now < since + seconds:
        now += BEAT + late
        pressure.noticed(late, now)
    return now


def strained(part: float = 1.0) -> Pressure:
    """One that has seen long turns for long enough, and lets so much of the reads go on at most."""
    pressure, now = Pressure(), 0.0
    while pressure.calm or pressure.part > part:
        now = beats(pressure, 2 * LONG, BEAT, now)
    return pressure


def admitted(pressure: Pressure, calls: int = 1000) -> int:
    return sum(not pressure.sheds() for _ in range(calls))


def test_orders_go_before_reads_and_cancels_before_orders() -> None:
    """Whatever changes something is no read."""
    assert [LOWER, ORDER, ORDER, READ] == [kind_of(row) for row in (CANCEL, ORDER_ROW, NOTE, QUOTE)]


@pytest.mark.parametrize(
    ("late", "seconds"),
    [(0.0, 60.0), (LONG * 0.9, 60.0), (2 * LONG, 0.4), (1.5, 1.0), (COUNTED, 2 * COUNTED)],
    ids=["idle", "busy", "for a moment", "one long turn", "two"],
)
def test_a_busy_loop_is_calm(late: float, seconds: float) -> None:
    """Nothing is refused: neither short turns for a minute nor one long one are overload."""
    pressure = Pressure()
    now = beats(pressure, late, seconds)
    pressure.noticed(0.0, now)

    assert (True, 1000, 0) == (pressure.calm, admitted(pressure), pressure.shed)


def test_long_turns_that_last_are_overload() -> None:
    """Fewer and fewer reads go on, and a few always do."""
    pressure = strained()
    parts = []
    for moment in range(40):
        parts.append(admitted(pressure))
        beats(pressure, 2 * LONG, BEAT, 10.0 + moment)

    assert all(after <= before for before, after in pairwise(parts))
    assert 1000 * LEAST == parts[-1]
    assert pressure.shed == sum(1000 - part for part in parts)


def test_it_is_over_when_turns_are_short_again() -> None:
    """Not at once, or it would come back at once; within two seconds."""
    pressure = strained(part=LEAST)
    now = beats(pressure, 0.0, 0.5, 100.0)
    assert not pressure.calm
    assert 0 < admitted(pressure) < 1000
    beats(pressure, 0.0, 1.5, now)
    assert pressure.calm


def test_a_long_turn_each_second_counts_for_nothing() -> None:
    """However often it comes."""
    pressure, now = Pressure(), 0.0
    for _ in range(100):
        now = beats(pressure, 3 * LONG, BEAT, now)
        now = beats(pressure, 0.0, MEMORY, now)
    assert pressure.calm


def test_long_turns_with_short_ones_between_are_overload() -> None:
    """The loop's turns take turns: one with all that has come, one with what follows from it."""
    pressure, now = Pressure(), 0.0
    while pressure.calm and now < 2.0:
        now = beats(pressure, 2 * LONG, BEAT, now)
        now = beats(pressure, 0.0, BEAT, now)
    assert not pressure.calm
    assert TOO_MUCH < now


async def test_while_it_is_calm_nobody_waits() -> None:
    """A call's place costs no turn of the loop."""
    pressure = Pressure()
    with pytest.raises(StopIteration):
        pressure.place(QUOTE, "bot").send(None)


async def test_few_set_off_in_a_turn_cancels_before_orders_before_reads() -> None:
    """Each client in its turn; and whoever comes while nobody waits goes at once."""
    pressure = Pressure()
    gone: list[str] = []

    async def call(row: Row, client: str) -> None:
        await pressure.place(row, client)
        gone.append(f"{row.id} {client}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(call(QUOTE, "first"))
        for row, client in ((QUOTE, "a"), (ORDER_ROW, "a"), (ORDER_ROW, "a"), (ORDER_ROW, "b"), (CANCEL, "a")):
            group.create_task(call(row, client))
        for _ in range(AT_ONCE):
            group.create_task(call(QUOTE, "last"))
        seen, turns = 0, 0
        while len(gone) < 2 * AT_ONCE + 5:
            await asyncio.sleep(0)
            turns += 1
            assert len(gone) - seen <= AT_ONCE
            seen = len(gone)

    assert ["quote first"] * AT_ONCE == gone[:AT_ONCE]
    assert ["cancel a", "order a", "order b", "order a", "quote a", "quote last"] == gone[AT_ONCE : AT_ONCE + 6]
    assert turns <= 8


async def test_a_read_is_refused_before_it_waits() -> None:
    """With what a client needs to try again."""
    pressure = strained(part=0.5)
    said = []
    for _ in range(4):
        try:
            await pressure.place(QUOTE, "bot")
        except Refusal as refusal:
            said.append((refusal.kind.status, refusal.kind.name, refusal.retry_after))

    assert [(503, "overloaded", 1.0)] * len(said) == said
    assert 2 <= len(said) < 4


async def test_who_leaves_is_not_waited_for() -> None:
    """A client that goes takes nobody's turn, and leaves nothing behind."""
    pressure = Pressure()
    calls = [asyncio.ensure_future(pressure.place(ORDER_ROW, "a")) for _ in range(AT_ONCE + 2)]
    await asyncio.sleep(0)
    assert 2 == pressure.waiting
    calls[-2].cancel()
    await asyncio.wait(calls, timeout=1)

    assert (True, False, 0) == (calls[-2].cancelled(), calls[-1].cancelled(), pressure.waiting)
