"""One thread, many who ask: order, batches, faults, cancellation."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from proxy.store.worker import Worker


class Gate:
    """Work that waits to be let go on, and a record of what ran."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.ran: list[object] = []
        self.batches = 0

    def wait(self) -> None:
        self.begun.set()
        assert self.go.wait(5)

    def note(self, what: object) -> Callable[[], object]:
        def work() -> object:
            self.ran.append(what)
            return what

        return work

    def after(self) -> None:
        self.batches += 1
        self.ran.append("after")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def worker(gate: Gate) -> AsyncIterator[Worker]:
    made = Worker("test", gate.after)
    yield made
    gate.go.set()
    await made.close()


async def busy(worker: Worker, gate: Gate) -> "asyncio.Future[None]":
    """Have the thread wait inside a piece of work."""
    held = worker.ask(gate.wait)
    assert await asyncio.to_thread(gate.begun.wait, 5)
    return held


async def test_each_gets_its_own_result(worker: Worker) -> None:
    """Whatever a piece of work returns goes to whoever asked for it."""
    results = await asyncio.gather(*(worker.ask(partial(pow, number, 2)) for number in range(50)))

    assert [number**2 for number in range(50)] == results


async def test_what_comes_meanwhile_is_one_batch_in_turn(worker: Worker, gate: Gate) -> None:
    """Twenty pieces that are asked for while one is being done run in order, and end together."""
    held = await busy(worker, gate)
    rest = [worker.ask(gate.note(number)) for number in range(20)]
    gate.go.set()
    await asyncio.gather(held, *rest)

    assert ["after", *range(20), "after"] == gate.ran
    assert 2 == gate.batches


async def test_what_is_asked_in_one_turn_of_the_loop_is_one_batch(worker: Worker, gate: Gate) -> None:
    """The thread is woken once for all of it, also if it was idle."""
    await asyncio.gather(*(worker.ask(gate.note(number)) for number in range(20)))

    assert [*range(20), "after"] == gate.ran


async def test_what_was_asked_for_in_the_last_moment_is_done(gate: Gate) -> None:
    """The end of the worker in the same turn of the loop takes nothing away from it."""
    worker = Worker("test", gate.after)
    last = worker.ask(gate.note("last"))
    await worker.close()

    assert "last" == await last


async def test_a_fault_is_its_own(worker: Worker) -> None:
    """What one piece of work raises hinders none of its batch, and nothing after it."""

    def fail() -> None:
        raise OSError(5, "Input/output error")

    before, failing, behind = worker.ask(lambda: 1), worker.ask(fail), worker.ask(lambda: 2)
    with pytest.raises(OSError, match="Input/output error"):
        await failing

    assert (1, 2, 3) == (await before, await behind, await worker.ask(lambda: 3))


async def test_no_batch_ends_well_whose_end_failed() -> None:
    """What runs after a batch may be a sync: if it raises, nobody is told that all is well."""

    def after() -> None:
        raise ValueError("the file is closed")

    worker = Worker("test", after)
    found = await asyncio.gather(worker.ask(lambda: 1), worker.ask(lambda: 2), return_exceptions=True)
    await worker.close()

    assert [ValueError, ValueError] == [type(each) for each in found]


async def test_whoever_leaves_before_its_turn_withdraws_its_work(worker: Worker, gate: Gate) -> None:
    """Work that nobody waits for any more is not begun; the others' is done."""
    held = await busy(worker, gate)
    given_up, kept = worker.ask(gate.note("given up")), worker.ask(gate.note("kept"))
    given_up.cancel()
    gate.go.set()
    await asyncio.gather(held, kept)

    assert ["after", "kept", "after"] == gate.ran


async def test_whoever_leaves_in_the_middle_breaks_nothing(worker: Worker, gate: Gate) -> None:
    """Work that has begun goes on to its end, and the thread takes the next."""
    held = await busy(worker, gate)
    held.cancel()
    gate.go.set()

    assert "next" == await worker.ask(gate.note("next"))


async def test_the_loop_goes_on_meanwhile(worker: Worker, gate: Gate) -> None:
    """Nothing on the event loop waits for the thread."""
    held = await busy(worker, gate)
    began = time.monotonic()
    await asyncio.sleep(0)

    assert time.monotonic() - began < 1
    assert not held.done()
    gate.go.set()
    await held


async def test_closing_waits_for_what_was_asked(gate: Gate) -> None:
    """What was asked for before the end is done."""
    worker = Worker("test", gate.after)
    held = await busy(worker, gate)
    closing = asyncio.gather(worker.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    gate.go.set()
    await closing

    assert held.done()


async def test_what_was_asked_for_is_done_before_the_end(gate: Gate, worker: Worker) -> None:
    """Also what waits behind something slow: each gets its result; whoever asks later gets an error, each time."""
    held = await busy(worker, gate)
    rest = [worker.ask(gate.note(number)) for number in range(3)]
    rest[1].cancel()
    asyncio.get_running_loop().call_later(0.01, gate.go.set)
    async with asyncio.timeout(5):
        await worker.close()
        assert [0, 2] == [await rest[0], await rest[2]]
        await held
        await worker.close()
    assert [0, 2] == [what for what in gate.ran if what != "after"]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            _ = worker.ask(gate.note("late"))
