"""The order of a token request's steps, and that calls are held back for it no longer than they need be.

That intent and answer are durable in time is in `test_renewal.py`; with peers, `test_renewal_shared.py`.
"""

import asyncio

import pytest

from proxy.store import Lease
from proxy.tokens.grant import State
from tests.tokens.peers import processes
from tests.tokens.support import LIFE, Home

ADVISORY = LIFE * 0.66


async def test_calls_are_held_back_no_longer_than_the_broker_takes_to_answer(home: Home) -> None:
    """A token request that hangs for half a minute: the old pair is lent again after five seconds."""
    await asyncio.sleep(ADVISORY - 1)
    home.endpoint.delay = 30.0
    await asyncio.sleep(2)
    start = asyncio.get_running_loop().time()
    assert ("A1", State.REDEEMING) == (await home.call(), home.state)
    waited = asyncio.get_running_loop().time() - start
    assert 3 <= waited <= 5
    call = asyncio.ensure_future(home.keeper.renew(1))  # the broker does not take it any more
    await asyncio.sleep(8)
    assert not call.done()
    call.cancel()
    await asyncio.sleep(20)

    assert ("A2", 1) == (await home.call(), len(home.endpoint.posts))


async def test_a_pairs_life_counts_from_its_request(home: Home) -> None:
    """The broker may have begun to count when it got it."""
    await asyncio.sleep(ADVISORY - 1)
    home.endpoint.delay = 20.0
    await asyncio.sleep(30)
    standing = home.keeper.standing()

    assert standing.access_expires is not None
    assert home.clock.now().wall - 29 + LIFE == pytest.approx(standing.access_expires, abs=1)


async def test_the_intent_is_durable_before_peers_are_told_and_they_are_told_before_the_post() -> None:
    """Whoever sees the note may rely on the journal of its holder; whoever posts has told everybody."""
    async with processes(1) as (home,):
        seen: list[tuple[str, int, int]] = []
        mark = home.store.mark

        async def noting(lease: Lease, *, expected: int, seconds: float) -> bool:
            seen.append(("mark", home.journal.slots_in_use, len(home.endpoint.posts)))
            return await mark(lease, expected=expected, seconds=seconds)

        async def posted() -> None:
            row = await home.contents.read("grant/questrade")
            seen.append(("post", home.journal.slots_in_use, int(row is not None and row.spending is not None)))

        home.store.mark = noting  # type: ignore[method-assign]
        home.endpoint.script.append(posted)
        await asyncio.sleep(ADVISORY + 1)

        assert [("mark", 1, 0), ("post", 1, 1)] == seen


async def test_a_note_that_is_refused_gives_its_slot_back() -> None:
    """The row has moved between the look at it and the note: begun anew, with what it holds now."""
    async with processes() as (a, b):
        mark = a.store.mark

        async def late(lease: Lease, *, expected: int, seconds: float) -> bool:
            a.store.mark = mark  # type: ignore[method-assign]
            await a.contents.release(lease)
            await b.keeper.renew(1)
            b.keeper.give_back()
            return await mark(lease, expected=expected, seconds=seconds)

        a.store.mark = late  # type: ignore[method-assign]
        await asyncio.sleep(300)
        pair = await a.keeper.renew(1)
        a.keeper.give_back()

        assert pair is not None
        assert (2, 1, 0) == (pair.generation, len(a.endpoint.posts), a.journal.slots_in_use)
