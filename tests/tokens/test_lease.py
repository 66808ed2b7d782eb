"""The right to spend: held by one, renewed in time, worth what our own clock says, and given back whatever happens."""

import asyncio
import math
from collections.abc import Callable

import pytest

from proxy.store import Held, Lease, StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant
from proxy.tokens.lease import TTL, Tenure, tenure
from tests.tokens.support import LoopClock

ROW = "grant/questrade"


def now() -> float:
    return asyncio.get_running_loop().time()


def book_of(store: MemoryStore, holder: str = "us") -> Book:
    return Book("questrade", Vault(store, Sealer(bytes(32), store.store_id)), holder)


def shared() -> MemoryStore:
    return MemoryStore(shared=True, now=now)


async def stranger(store: MemoryStore) -> Lease | Held:
    return await store.lease(ROW, "stranger", 0.0)


async def test_a_store_of_our_own_needs_no_lease() -> None:
    """It is held for ever, and noting a spend costs nothing: not even a row that could be read."""
    store = MemoryStore()
    store.failure = StoreError("gone")
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)
        assert (math.inf, True) == (right.left, await right.note_spending(7))


async def test_a_lease_is_renewed_every_third_of_its_time_and_given_back() -> None:
    """However long it takes; `left` counts from when it was asked for."""
    store = shared()
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)
        for _ in range(200):
            assert isinstance(await stranger(store), Held)
            assert right.left >= TTL * 2 / 3 - 1
            await asyncio.sleep(1)

    assert isinstance(await stranger(store), Lease)


async def test_who_has_it_is_told_with_the_time_left() -> None:
    """And nothing is given back that is not ours."""
    store = shared()
    await store.lease(ROW, "them", 40.0)
    async with tenure(book_of(store), LoopClock()) as right:
        assert Held(ROW, "them", 40.0) == right
    assert isinstance(await stranger(store), Held)


async def test_a_store_that_cannot_tell_who_has_it_is_neither_a_yes_nor_a_no() -> None:
    """`StoreError` passes."""
    store = shared()
    store.failure = StoreError("gone")
    with pytest.raises(StoreError, match="gone"):
        async with tenure(book_of(store), LoopClock()):
            pass


async def test_a_slow_answer_makes_the_lease_no_longer() -> None:
    """It may have been granted at any moment since it was asked for."""
    store = shared()
    lease = store.lease

    async def slow(name: str, holder: str, ttl: float) -> Lease | Held:
        granted = await lease(name, holder, ttl)
        await asyncio.sleep(15)
        return granted

    store.lease = slow  # type: ignore[method-assign]
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)
        assert TTL - 15 == right.left


async def test_a_lease_that_cannot_be_renewed_runs_out_and_is_renewed_once_the_store_is_back() -> None:
    """A failure is no loss: it is tried again, every five seconds."""
    store = shared()
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)
        store.failure = StoreError("gone")
        await asyncio.sleep(50)
        assert 10 == pytest.approx(right.left)
        store.failure = None
        await asyncio.sleep(5.1)
        assert right.left > 50


async def test_a_lease_that_somebody_has_taken_over_is_worth_nothing() -> None:
    """It ran out while the store was away."""
    store = shared()
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)
        store.failure = StoreError("gone")
        await asyncio.sleep(TTL + 0.5)
        store.failure = None
        await store.lease(ROW, "them", 100.0)
        await asyncio.sleep(6)
        assert right.left < 0
    assert isinstance(await stranger(store), Held)


async def test_what_fails_inside_comes_out_as_it_is_and_the_lease_is_given_back() -> None:
    """Not in a group of exceptions."""
    store = shared()
    with pytest.raises(KeyError):
        async with tenure(book_of(store), LoopClock()):
            raise KeyError

    assert isinstance(await stranger(store), Lease)


async def test_being_cancelled_gives_the_lease_back() -> None:
    """A stop that could not wait for the flight."""
    store = shared()

    async def flight() -> None:
        async with tenure(book_of(store), LoopClock()):
            await asyncio.sleep(1000)

    task = asyncio.ensure_future(flight())
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.wait((task,))

    assert (True, True) == (task.cancelled(), isinstance(await stranger(store), Lease))


async def test_a_store_that_fails_at_the_release_is_no_failure_of_ours() -> None:
    """The lease ends by itself."""
    store = shared()
    async with tenure(book_of(store), LoopClock()):
        store.failure = StoreError("gone")
    store.failure = None
    await asyncio.sleep(TTL)

    assert isinstance(await stranger(store), Lease)


async def test_a_fault_of_ours_in_the_renewal_cancels_nothing() -> None:
    """A token request may be out: the lease just runs out."""
    store = shared()
    async with tenure(book_of(store), LoopClock()) as right:
        assert isinstance(right, Tenure)

        async def broken(name: str, holder: str, ttl: float) -> Lease | Held:
            raise RuntimeError

        store.lease = broken  # type: ignore[method-assign]
        await asyncio.sleep(50)
        assert 10 == pytest.approx(right.left)


@pytest.mark.parametrize(
    ("spoil", "noted"),
    [
        (lambda _store: None, True),
        (lambda store: store.release(Lease(ROW, "us")), False),
        (lambda store: store.swap(ROW, expected=1, sealed=b"moved"), False),
    ],
    ids=["as it was", "lease lost", "row moved"],
)
async def test_a_spend_is_noted_in_the_row_while_lease_and_row_are_ours(
    spoil: Callable[[MemoryStore], object], *, noted: bool
) -> None:
    """The note is as good as the lease: what is left of it counts, too."""
    store = shared()
    book = book_of(store)
    await book.write(Grant("questrade", 1))
    async with tenure(book, LoopClock()) as right:
        assert isinstance(right, Tenure)
        spoilt = spoil(store)
        if asyncio.iscoroutine(spoilt):
            await spoilt
        assert noted is await right.note_spending(1)
        row = await store.read(ROW)
        assert row is not None
        assert noted is (row.spending is not None)
        await asyncio.sleep(45)
        assert 15 == pytest.approx(right.left)
