"""A rotation under faults of ours: what is durable when, and what is posted while store or journal fail.

The names I1 to I9 are the invariants of custody.
"""

import asyncio
import errno
from dataclasses import replace

import pytest

from proxy.secret import Secret
from proxy.store import Damaged, Row, StoreError
from proxy.store.disk import MemoryDisk
from proxy.tokens.grant import State
from proxy.tokens.oauth import Exchange
from tests.tokens.support import CONNECT, HOUR, LIFE, MINUTE, QUESTRADE, Home, Noting, broker_with

SOON = LIFE * 0.66 + 3  # the advisory point has passed, and a redeem has had its time


class NotingDisk(MemoryDisk):
    """Notes what becomes durable."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self.notes.append("write")
        return super().pwrite(descriptor, data, offset)

    def datasync(self, descriptor: int) -> None:
        super().datasync(descriptor)
        self.notes.append("sync")


async def test_i1_i2_the_intent_is_durable_before_the_post_and_the_answer_before_it_is_read() -> None:
    """The order of one rotation, as disk, broker and reader see it."""
    notes: list[str] = []
    home = Home(replace(QUESTRADE, dead_token=(Noting(notes=notes),)))
    home.disk = NotingDisk(notes)
    await home.open()
    await home.log_in()
    notes.clear()

    async def posted() -> None:
        notes.append("post")

    home.endpoint.script.append(posted)
    await asyncio.sleep(SOON)

    assert ["write", "sync", "post", "write", "sync", "read", "write"] == notes
    await home.close()


async def test_i1_i2_hold_for_a_code_as_for_a_token() -> None:
    """It works once as well, and a person has come for it."""
    notes: list[str] = []
    home = Home(replace(broker_with(CONNECT), dead_token=(Noting(notes=notes),)))
    home.disk = NotingDisk(notes)
    await home.open()
    notes.clear()

    async def posted() -> None:
        notes.append("post")

    home.endpoint.script.append(posted)
    await home.keeper.login(Exchange(Secret("C0")), "login-1")

    assert ["write", "sync", "post", "write", "sync", "read", "write"] == notes
    await home.close()


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
async def test_i1_nothing_is_posted_without_a_durable_intent(home: Home, call: str) -> None:
    """A full disk costs renewals, not the token; it is tried again, and works once there is room."""
    home.disk.fail(call, errno.ENOSPC, times=1000)
    await asyncio.sleep(SOON)
    assert ([], State.DUE) == (home.endpoint.posts, home.state)
    assert "nothing is redeemed while its answer can't be saved" in home.reason
    assert "A1" == await home.call()

    home.disk.heal()
    await asyncio.sleep(MINUTE)

    assert "A2" == await home.call()


async def test_i1_nothing_is_posted_when_no_slot_is_free(home: Home) -> None:
    """Room for the answer is reserved first."""
    home.journal._free.clear()
    home.disk.fail("pwrite", errno.ENOSPC, times=1000)
    await asyncio.sleep(SOON)

    assert [] == home.endpoint.posts
    assert "slots are in use" in home.reason


async def test_a_journal_that_fails_after_the_answer_costs_nothing(home: Home) -> None:
    """The pair is served and committed all the same."""

    async def break_disk() -> None:
        home.disk.fail("pwrite", errno.EIO, times=2)

    home.endpoint.script.append(break_disk)
    await asyncio.sleep(SOON)

    assert "A2" == await home.call()
    assert ("R2", State.FRESH) == (await home.stored_token(), home.state)


async def test_an_answer_that_only_memory_has_goes_to_journal_or_store_whichever_is_back_first(home: Home) -> None:
    """Both failed when it came. The journal heals first: a kill then loses nothing any more."""

    async def break_both() -> None:
        home.disk.fail("pwrite", errno.EIO, times=1000)
        await home.store_fails()

    home.endpoint.script.append(break_both)
    await asyncio.sleep(SOON)
    assert ("A2", 0) == (await home.call(), home.journal.answered)

    home.disk.heal()
    await asyncio.sleep(2)
    assert 1 == home.journal.answered
    await home.restart()

    assert ("A2", "R2") == (await home.call(), await home.stored_token())


async def test_a_store_that_fails_after_the_spend_gets_the_pair_when_it_is_back(home: Home) -> None:
    """Meanwhile the new pair is served from the journal, and the commit follows within a second."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    assert ("A2", State.ANSWERED, 1) == (await home.call(), home.state, home.journal.answered)
    assert "not in the store yet: the disk is full" in home.reason
    await asyncio.sleep(5 * MINUTE)

    home.store.failure = None
    await asyncio.sleep(1.1)

    assert ("R2", State.FRESH, "", 0) == (
        await home.stored_token(),
        home.state,
        home.reason,
        home.journal.slots_in_use,
    )


async def test_a_commit_that_got_through_although_it_was_reported_as_failed_is_no_conflict(home: Home) -> None:
    """The second try finds the very same record."""
    swap = home.store.swap

    async def fail_late(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await swap(name, expected=expected, sealed=sealed)
        home.store.swap = swap  # type: ignore[method-assign]
        raise StoreError("timed out")

    home.store.swap = fail_late  # type: ignore[method-assign]
    await asyncio.sleep(SOON)

    assert (State.FRESH, 2, 0) == (home.state, (await home.stored()).generation, home.journal.slots_in_use)


async def test_a_store_that_is_down_before_the_spend_puts_it_off(home: Home) -> None:
    """As long as the pair in hand has time left."""
    await home.store_fails()
    await asyncio.sleep(SOON)
    assert ([], "A1") == (home.endpoint.posts, await home.call())
    assert "nothing is redeemed while the store can't be read" in home.reason

    home.store.failure = None
    await asyncio.sleep(MINUTE)

    assert "A2" == await home.call()


async def test_at_the_mandatory_point_the_journal_alone_is_enough(home: Home) -> None:
    """A store that stays down costs no call: the journal holds the answer until it is back."""
    await home.store_fails()
    while asyncio.get_running_loop().time() < LIFE + MINUTE:
        await asyncio.sleep(10)
        await home.call()

    assert (1, "A2", 1) == (len(home.endpoint.posts), await home.call(), home.journal.answered)
    home.store.failure = None
    await asyncio.sleep(2)
    assert "R2" == await home.stored_token()


async def test_a_damaged_row_is_never_redeemed_over(home: Home) -> None:
    """A person must look; nothing is posted, whatever the time."""
    home.store.failure = Damaged("memory: altered")
    await asyncio.sleep(LIFE + HOUR)

    assert [] == home.endpoint.posts
    assert "a person must look at the store: memory: altered" in (await home.refused()).detail


async def test_i8_a_row_that_went_back_in_time_is_not_redeemed_over(home: Home) -> None:
    """Somebody restored a backup below a running server: nothing is spent, and the pair in hand is served on."""
    rows = dict(home.store._rows)
    await asyncio.sleep(SOON)
    assert 2 == (await home.stored()).generation
    home.store._rows = rows
    home.endpoint.posts.clear()
    await home.keep_calling(LIFE * 0.8)

    assert ([], State.QUARANTINED, "A2") == (home.endpoint.posts, home.state, await home.call())
    assert "the store holds an older token than bearerd: was it replaced or restored?" == home.reason


async def test_a_newer_generation_in_the_store_is_adopted_without_a_post(home: Home) -> None:
    """It belongs to whoever wrote it; ours is old."""
    newer = replace(await home.stored(), generation=2, refreshed=home.clock.now().wall + 900)
    await home.book.write(newer)
    await asyncio.sleep(SOON)

    assert ([], 2, State.FRESH) == (home.endpoint.posts, home.keeper.standing().generation, home.state)


async def test_i8_a_newer_generation_that_cannot_be_taken_over_is_not_redeemed_past(home: Home) -> None:
    """The row was read and has moved; then the store failed. Not even at the last moment is the older token posted."""
    newer = replace(await home.stored(), generation=2, refresh_token=Secret("R-newer"))
    await home.book.write(newer)
    read = home.store.read

    async def fails(name: str) -> Row | None:
        if name.startswith("mark/"):
            raise StoreError("the disk is gone")
        return await read(name)

    home.store.read = fails  # type: ignore[method-assign]
    await asyncio.sleep(LIFE + MINUTE)
    refusal = await home.refused()
    assert ("the disk is gone" in refusal.detail, [], 0) == (True, home.endpoint.posts, home.journal.slots_in_use)

    home.store.read = read  # type: ignore[method-assign]
    await asyncio.sleep(HOUR)
    assert ["R-newer"] == [token for _, token in home.endpoint.posts]


async def test_a_commit_that_loses_adopts_the_winner_and_keeps_its_own_answer(home: Home) -> None:
    """Somebody else wrote the generation while the post was out."""
    newer = replace(await home.stored(), generation=2, refreshed=home.clock.now().wall + 900)

    async def write() -> None:
        await home.book.write(newer)

    home.endpoint.script.append(write)
    await asyncio.sleep(SOON)

    assert (State.FRESH, "A1", 1) == (home.state, await home.call(), home.journal.answered)
