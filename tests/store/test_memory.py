"""The store in memory, where it differs from the others. What they share is in `test_contract.py`."""

import pytest

from proxy.store import Held, Lease, Row, StoreError
from proxy.store.memory import MemoryStore

LEASE = Lease("a", "me")


async def test_a_store_that_is_down_fails_every_call() -> None:
    """`failure` is raised until it is taken away, and nothing was written meanwhile."""
    store = MemoryStore(shared=True)
    store.failure = StoreError("down")

    for call in (
        store.read("a"),
        store.read_all(""),
        store.swap("a", expected=0, sealed=b"1"),
        store.rewrite(lambda row: row.sealed, "k"),
        store.adopt_key("k"),
        store.lease("a", "me", 1),
        store.release(LEASE),
        store.mark(LEASE, expected=1, seconds=1),
        store.unmark(LEASE),
        store.changes(),
        store.changed(0),
        store.about(),
        store.fill(store_id="s", key_id="k", commits=1, state="copying"),
        store.load([Row("a", 1, b"1")]),
        store.turn("", "copying"),
    ):
        with pytest.raises(StoreError, match="down"):
            await call
    store.failure = None
    assert (0, None, None) == (await store.changes(), await store.read("a"), store.key_id)


async def test_a_peer_fails_on_its_own() -> None:
    """A process that has lost the store sees nothing of it; the other one goes on."""
    store = MemoryStore(shared=True)
    peer = store.peer()
    peer.failure = StoreError("down")

    assert 1 == await store.swap("a", expected=0, sealed=b"1")
    with pytest.raises(StoreError, match="down"):
        await peer.read("a")
    peer.failure = None
    assert Row("a", 1, b"1") == await peer.read("a")


async def test_leases_and_marks_go_by_the_clock_that_was_given() -> None:
    """To the moment: at its end a lease is free, and a mark is over."""
    time = [100.0]
    store = MemoryStore(shared=True, now=lambda: time[0])
    peer = store.peer()
    await store.swap("a", expected=0, sealed=b"1")
    assert Lease("a", "me") == await store.lease("a", "me", 60)
    assert await store.mark(LEASE, expected=1, seconds=30)

    time[0] += 30
    row = await peer.read("a")
    assert row is not None
    assert row.spending is not None
    assert (0.0, Held("a", "me", 30.0)) == (row.spending.left, await peer.lease("a", "you", 60))
    time[0] += 30
    assert Lease("a", "you") == await peer.lease("a", "you", 60)
    assert not await store.mark(LEASE, expected=1, seconds=30)


async def test_a_reopened_store_is_cut_off_from_the_old_handle() -> None:
    """Everything is there, leases and marks too; what a task of the killed process still writes is not."""
    store = MemoryStore(shared=True)
    await store.adopt_key("k")
    await store.swap("a", expected=0, sealed=b"1")
    await store.lease("a", "me", 60)
    await store.mark(LEASE, expected=1, seconds=30)
    again = store.reopened()
    await store.swap("a", expected=1, sealed=b"late")
    await store.release(LEASE)

    row = await again.read("a")
    assert row is not None
    assert (1, True, "k", store.store_id) == (row.generation, row.spending is not None, again.key_id, again.store_id)
    assert isinstance(await again.lease("a", "you", 60), Held)
    assert (2, 3) == (await again.changes(), await store.changes())
