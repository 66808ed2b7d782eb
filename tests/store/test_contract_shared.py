"""What a store does that several processes share, run against each of them: leases, and marks of those who spend."""

import asyncio

import pytest

from proxy.store import Held, Lease, Row, Store


async def leased(store: Store, holder: str, ttl: float = 60.0) -> Lease:
    """The lease of `grant/a`, which must be free."""
    lease = await store.lease("grant/a", holder, ttl)
    assert isinstance(lease, Lease)
    return lease


async def spender(store: Store) -> str:
    """Who is spending `grant/a`; empty if nobody is."""
    row = await store.read("grant/a")
    return row.spending.holder if row is not None and row.spending is not None else ""


async def test_a_lease_keeps_others_out_until_it_is_released(shared: tuple[Store, Store]) -> None:
    """The other process learns who has it and for how long; the name of the row is all that counts."""
    ours, theirs = shared
    lease = await leased(ours, "me")

    held = await theirs.lease("grant/a", "you", 60)
    assert isinstance(held, Held)
    assert ("grant/a", "me") == (held.name, held.holder)
    assert 0 < held.left <= 60
    assert isinstance(await theirs.lease("grant/b", "you", 60), Lease)
    await theirs.release(Lease("grant/a", "you"))
    assert isinstance(await theirs.lease("grant/a", "you", 60), Held)
    await ours.release(lease)
    assert Lease("grant/a", "you") == await theirs.lease("grant/a", "you", 60)
    await ours.release(lease)
    assert isinstance(await ours.lease("grant/a", "me", 60), Held)


async def test_a_holder_gives_back_all_that_it_has(shared: tuple[Store, Store]) -> None:
    """Every lease of that name, and nobody else's."""
    ours, theirs = shared
    for name in ("grant/a", "grant/b"):
        assert isinstance(await ours.lease(name, "me", 60), Lease)
    assert isinstance(await ours.lease("grant/c", "somebody", 60), Lease)

    await theirs.release_all("me")

    assert isinstance(await theirs.lease("grant/a", "you", 60), Lease)
    assert isinstance(await theirs.lease("grant/b", "you", 60), Lease)
    assert isinstance(await theirs.lease("grant/c", "you", 60), Held)


async def test_a_lease_that_ran_out_is_anybodys(shared: tuple[Store, Store]) -> None:
    """Its first holder may no longer mark with it, and does not take it from the second by giving it back."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    late = await leased(ours, "me", ttl=0.01)
    await asyncio.sleep(0.05)

    assert not await ours.mark(late, expected=1, seconds=30)
    await leased(theirs, "you")
    assert not await ours.mark(late, expected=1, seconds=30)
    await ours.release(late)
    assert isinstance(await ours.lease("grant/a", "me", 60), Held)


async def test_a_lease_is_renewed_by_its_holder(shared: tuple[Store, Store]) -> None:
    """From the moment of the renewal, also one that had run out and that nobody took."""
    ours, theirs = shared
    await leased(ours, "me", ttl=0.01)
    await leased(ours, "me", ttl=60)
    await asyncio.sleep(0.05)

    held = await theirs.lease("grant/a", "you", 60)
    assert isinstance(held, Held)
    assert 50 < held.left <= 60


async def test_of_many_that_ask_at_once_one_gets_the_lease(shared: tuple[Store, Store]) -> None:
    """Twenty holders over two processes, and a name that was never leased."""
    calls = [shared[turn % 2].lease("grant/a", f"holder {turn}", 60) for turn in range(20)]
    answers = await asyncio.gather(*calls)

    winners = [answer.holder for answer in answers if isinstance(answer, Lease)]
    assert 1 == len(winners)
    assert set(winners) == {answer.holder for answer in answers if isinstance(answer, Held)}


async def test_a_mark_is_seen_by_everybody(shared: tuple[Store, Store]) -> None:
    """Whoever reads the row, in whichever way, sees who spends its token and how long that may take."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    lease = await leased(ours, "me")
    assert await ours.mark(lease, expected=1, seconds=30)

    rows = [await theirs.read("grant/a"), *await theirs.read_all("grant/"), *(await theirs.changed(0)).rows]
    for row in rows:
        assert row is not None
        assert row.spending is not None
        assert "me" == row.spending.holder
        assert 0 < row.spending.left <= 30
    assert 3 == len(rows)


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_mark_of_a_moved_row_is_refused(shared: tuple[Store, Store], expected: int) -> None:
    """Nothing is noted: what its holder would spend is not what the row holds."""
    ours, _ = shared
    lease = await leased(ours, "me")
    assert not await ours.mark(lease, expected=expected, seconds=30)
    await ours.swap("grant/a", expected=0, sealed=b"one")

    assert not await ours.mark(lease, expected=expected, seconds=30)
    assert "" == await spender(ours)


async def test_a_mark_needs_the_lease(shared: tuple[Store, Store]) -> None:
    """One that was never granted, or was given back, is worth nothing."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    lease = await leased(ours, "me")

    assert not await theirs.mark(Lease("grant/a", "you"), expected=1, seconds=30)
    await ours.release(lease)
    assert not await ours.mark(lease, expected=1, seconds=30)
    assert "" == await spender(ours)


async def test_anothers_mark_stands_until_its_time_is_over(shared: tuple[Store, Store]) -> None:
    """Even if the lease is gone: it may be posting. Once it is over, it says so until somebody else marks."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    first = await leased(ours, "me")
    assert await ours.mark(first, expected=1, seconds=30)
    await ours.release(first)
    second = await leased(theirs, "you")

    assert not await theirs.mark(second, expected=1, seconds=30)
    assert "me" == await spender(theirs)
    await theirs.release(second)
    assert await ours.mark(await leased(ours, "me"), expected=1, seconds=0.01)
    await ours.release(first)
    second = await leased(theirs, "you")
    await asyncio.sleep(0.05)
    row = await theirs.read("grant/a")
    assert row is not None
    assert row.spending is not None
    assert row.spending.left <= 0
    assert await theirs.mark(second, expected=1, seconds=30)
    assert "you" == await spender(ours)


async def test_a_swap_ends_the_mark(shared: tuple[Store, Store]) -> None:
    """In the same commit, whoever wrote it; a swap that missed leaves it."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    assert await ours.mark(await leased(ours, "me"), expected=1, seconds=30)

    assert await ours.swap("grant/a", expected=0, sealed=b"two") is None
    assert "me" == await spender(theirs)
    assert 2 == await theirs.swap("grant/a", expected=1, sealed=b"two")
    assert Row("grant/a", 2, b"two") == await ours.read("grant/a")
    assert await ours.mark(await leased(ours, "me"), expected=2, seconds=30)
    await ours.swap("grant/a", expected=2, sealed=None)
    await ours.swap("grant/a", expected=0, sealed=b"new")
    assert "" == await spender(ours)


async def test_only_its_holder_takes_a_mark_back(shared: tuple[Store, Store]) -> None:
    """Also without the lease; twice does nothing more."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    lease = await leased(ours, "me")
    assert await ours.mark(lease, expected=1, seconds=30)

    await theirs.unmark(Lease("grant/a", "you"))
    assert "me" == await spender(theirs)
    await ours.release(lease)
    for _ in range(2):
        await ours.unmark(lease)
        assert "" == await spender(theirs)
    await ours.unmark(Lease("grant/none", "me"))


async def test_a_rewrite_leaves_leases_and_marks(shared: tuple[Store, Store]) -> None:
    """Sealing again with a new key ends nobody's spending."""
    ours, theirs = shared
    await ours.swap("grant/a", expected=0, sealed=b"one")
    assert await ours.mark(await leased(ours, "me"), expected=1, seconds=30)
    await theirs.rewrite(lambda row: row.sealed + b"!", "new")

    assert "me" == await spender(ours)
    assert isinstance(await theirs.lease("grant/a", "you", 60), Held)
