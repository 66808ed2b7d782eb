"""F5 to F7: a disk that is full or fails, a store that is down before the spend or after it."""

import asyncio
import errno

import pytest

from proxy.store import StoreError
from proxy.tokens.grant import State
from tests.tokens.support import LIFE, MINUTE, Home

SOON = LIFE * 0.66 + 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_f05_without_room_for_the_answer_nothing_is_spent(home: Home, number: int) -> None:
    """The old pair serves to its end; then a call learns which file and why. With room, all is well by itself."""
    home.disk.fail("pwrite", number, times=100_000)
    await asyncio.sleep(SOON)
    assert ([], "A1", State.DUE) == (home.endpoint.posts, await home.call(), home.state)
    await asyncio.sleep(LIFE)

    refusal = await home.refused()
    assert ([], "token-unavailable") == (home.endpoint.posts, refusal.kind.name)
    assert "/state/journal: cannot write the intent: " in refusal.detail
    home.disk.heal()
    await asyncio.sleep(5 * MINUTE)
    assert ("A2", ["R1"]) == (await home.call(), [token for _, token in home.endpoint.posts])


async def test_f05_a_sync_that_fails_after_the_answer_came_takes_another_place(home: Home) -> None:
    """A second sync that succeeds would prove nothing: the answer is written anew, and survives a kill."""

    async def fails() -> None:
        home.disk.fail("datasync", errno.EIO)
        await home.store_fails()

    home.endpoint.script.append(fails)
    await asyncio.sleep(SOON)
    assert "A2" == await home.call()
    home.store.failure = None
    home.endpoint.posts.clear()
    await home.restart()

    assert ("R2", []) == (await home.stored_token(), home.endpoint.posts)


async def test_f06_a_store_that_is_down_before_the_spend_costs_nothing_until_the_last_moment(home: Home) -> None:
    """Of one process: the journal can hold the answer, so that it goes on at the mandatory point, and only then."""
    home.store.failure = StoreError("the disk is full")
    await asyncio.sleep(SOON)
    assert ([], State.DUE) == (home.endpoint.posts, home.state)
    assert "the disk is full" in home.reason

    await asyncio.sleep(LIFE - SOON)

    assert (["R1"], State.ANSWERED, "A2") == (
        [token for _, token in home.endpoint.posts],
        home.state,
        await home.call(),
    )


async def test_f07_a_store_that_is_down_after_the_spend_is_told_and_served_around(home: Home) -> None:
    """The new pair serves at once; within a second of its return the store has it."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    assert (State.ANSWERED, "A2") == (home.state, await home.call())
    assert "the new token is not in the store yet: the disk is full" == home.reason

    home.store.failure = None
    await asyncio.sleep(1.1)

    assert ("R2", State.FRESH, "", 0) == (
        await home.stored_token(),
        home.state,
        home.reason,
        home.journal.slots_in_use,
    )
