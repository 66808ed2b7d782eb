"""A store that may be a copy or an older state of itself: nothing is redeemed from it before a person says so.

F21 is custody's name for that; `bearerd adopt` is what a person says, and allows one try.
"""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.oauth import Plain, RawAnswer
from proxy.tokens.quarantine import Quarantine
from tests.tokens.peers import processes
from tests.tokens.support import BAD_REQUEST, CLIENT, DAY, HOUR, KEYS, LIFE, MINUTE, Act, Home, settle

ADVISORY = LIFE * 0.66
COPY = "it is a copy"


class Doubtful(Home):
    """A home whose keepers know of a finding."""

    quarantine: Quarantine

    async def take_up(self, *, start: bool = True) -> None:
        await super().take_up(start=False)
        self.keeper._held.quarantine = self.quarantine
        if start:
            await self.keeper.start(self.journal.found())

    def find(self, reason: str = COPY) -> None:
        """The store is found to be doubtful, now."""
        self.quarantine.epoch += 1
        self.quarantine.reason = reason
        self.keeper.recheck()


@pytest.fixture(name="doubtful")
async def _doubtful() -> AsyncIterator[Doubtful]:
    """A grant that was logged in and is fresh."""
    home = Doubtful()
    home.quarantine = Quarantine()
    await home.open()
    await home.log_in()
    yield home
    await home.close()


async def older(home: Home) -> None:
    """The store is set back by one rotation below a running server, which has seen it."""
    rows = dict(home.store._rows)
    await asyncio.sleep(ADVISORY + 3)
    assert "A2" == await home.call()
    home.store._rows = rows
    home.endpoint.posts.clear()
    await home.keeper.look_again()


async def test_f21_a_quarantined_grant_is_served_and_never_redeemed_on_its_own(doubtful: Doubtful) -> None:
    """Neither by timers, nor for 401s, nor after a restart; then a call is told both ways out."""
    doubtful.find()
    assert (State.QUARANTINED, COPY, "A1") == (doubtful.state, doubtful.reason, await doubtful.call())
    await doubtful.keep_calling(LIFE / 2)
    assert "A1" == await doubtful.call()
    with pytest.raises(Refusal, match=COPY):
        await doubtful.keeper.renew(1)
    await doubtful.restart(off=HOUR)
    await doubtful.keeper.warm(5)
    await doubtful.keep_calling(3 * DAY)
    refusal = await doubtful.refused()

    assert [] == doubtful.endpoint.posts
    assert ("login-needed", f"grant questrade: {COPY}") == (refusal.kind.name, refusal.detail)
    assert ["bearerd adopt questrade", "bearerd login questrade"] == [
        command for command in ("bearerd adopt questrade", "bearerd login questrade") if command in (refusal.fix or "")
    ]
    assert (State.QUARANTINED, None) == (doubtful.state, doubtful.keeper.standing().next_renewal)


@pytest.mark.parametrize("act", ["lost-before", RawAnswer(401, "", b'{"error": "invalid_client"}'), "not-sent"])
async def test_f21_whatever_else_a_grant_waits_for_it_is_quarantined(doubtful: Doubtful, act: Act) -> None:
    """Uncertain, stopped, backing off: no last try, no hourly one, no next one."""
    doubtful.endpoint.always = act
    await asyncio.sleep(ADVISORY + 1)
    assert doubtful.state in (State.UNCERTAIN, State.STOPPED, State.DUE)
    doubtful.find()
    doubtful.endpoint.posts.clear()
    await asyncio.sleep(DAY)

    assert ([], State.QUARANTINED) == (doubtful.endpoint.posts, doubtful.state)


async def test_f21_a_doubt_in_the_journal_is_kept_over_a_quarantined_start(doubtful: Doubtful) -> None:
    """The intent stays, its last try is not made; once it is adopted, that settles it."""
    doubtful.endpoint.script.append("lost-before")
    await asyncio.sleep(ADVISORY + 1)
    doubtful.quarantine.epoch, doubtful.quarantine.reason = 1, COPY
    doubtful.endpoint.posts.clear()
    await doubtful.restart(off=LIFE)
    await doubtful.keep_calling(DAY)
    assert (State.QUARANTINED, [], 1) == (doubtful.state, doubtful.endpoint.posts, doubtful.journal.slots_in_use)

    standing = await doubtful.keeper.adopt()

    assert (State.FRESH, 2, 0) == (standing.state, standing.generation, doubtful.journal.slots_in_use)


async def test_adopting_spends_the_newest_token_once_and_ends_the_quarantine(doubtful: Doubtful) -> None:
    """For good: the new generation belongs to the present epoch, over a restart too."""
    doubtful.find()
    standing = await doubtful.keeper.adopt()
    assert (State.FRESH, ["R1"], 1) == (
        standing.state,
        [token for _, token in doubtful.endpoint.posts],
        (await doubtful.stored()).epoch,
    )
    await doubtful.restart()
    await asyncio.sleep(LIFE)
    assert ("A3", 1) == (await doubtful.call(), (await doubtful.stored()).epoch)

    doubtful.find("again")
    assert State.QUARANTINED is doubtful.state


async def test_a_login_ends_the_quarantine(doubtful: Doubtful) -> None:
    """Its tokens were issued after the finding."""
    doubtful.find()
    await doubtful.log_in("login-2")
    await doubtful.restart()

    assert (State.FRESH, 1) == (doubtful.state, (await doubtful.stored()).epoch)


@pytest.mark.parametrize(
    ("act", "state"),
    [
        ("not-sent", State.QUARANTINED), ("lost-before", State.QUARANTINED),
        (RawAnswer(503, "", b""), State.QUARANTINED), (BAD_REQUEST, State.NEEDS_LOGIN),
    ],
    ids=["not sent", "lost", "later", "dead"],
)  # fmt: skip
async def test_adopting_is_one_try(doubtful: Doubtful, act: Act, state: State) -> None:
    """Whatever comes of it, no second one follows by itself; the old pair is served on."""
    doubtful.find()
    doubtful.endpoint.always = act
    standing = await doubtful.keeper.adopt()
    assert (state, "A1") == (standing.state, await doubtful.call())
    await doubtful.keep_calling(2 * DAY)
    assert (1, state) == (len(doubtful.endpoint.posts), doubtful.state)

    doubtful.endpoint.always = "ok"
    assert State.FRESH is (await doubtful.keeper.adopt()).state


@pytest.mark.parametrize("act", [BAD_REQUEST, "lost-before", "not-sent", RawAnswer(503, "", b"")])
async def test_a_buried_token_gets_exactly_one_more_post(home: Home, act: Act) -> None:
    """The refusal may have meant something else. It is dead again unless that try brings a pair."""
    home.endpoint.script.append(BAD_REQUEST)
    await asyncio.sleep(ADVISORY + 1)
    assert State.NEEDS_LOGIN is home.state
    home.endpoint.posts.clear()
    home.endpoint.script.append(act)
    assert State.NEEDS_LOGIN is (await home.keeper.adopt()).state
    await home.keep_calling(2 * DAY)
    await home.restart()
    await home.keep_calling(DAY)
    assert (1, 0) == (len(home.endpoint.posts), home.journal.slots_in_use)

    assert State.FRESH is (await home.keeper.adopt()).state
    assert "A2" == await home.call()


async def test_a_stopped_grant_is_tried_at_once(home: Home) -> None:
    """The operator has seen to the cause."""
    home.endpoint.script.append(RawAnswer(401, "", b'{"error": "invalid_client"}'))
    await asyncio.sleep(ADVISORY + 1)
    assert State.STOPPED is home.state

    assert State.FRESH is (await home.keeper.adopt()).state


async def test_there_is_nothing_to_adopt_where_nothing_is_wrong_or_nothing_held(home: Home, empty: Home) -> None:
    """It says so, and posts nothing."""
    with pytest.raises(LoginFailed, match="grant questrade is fresh: there is nothing to adopt"):
        await home.keeper.adopt()
    with pytest.raises(LoginFailed, match="grant questrade is not logged in; bearerd login questrade"):
        await empty.keeper.adopt()

    assert [] == home.endpoint.posts + empty.endpoint.posts


async def test_what_ended_and_cannot_be_renewed_cannot_be_adopted() -> None:
    """A plain access token has nothing to post."""
    home = await Home.of(replace(KEYS, expires_in=100.0))
    await home.keeper.login(Plain(Secret("plain")), "login-1")
    await home.book.write(replace(await home.stored(), generation=2, expires=0.0, life=100.0))
    await home.keeper.look_again()
    assert State.NEEDS_LOGIN is home.state
    with pytest.raises(LoginFailed, match="holds nothing that could be tried"):
        await home.keeper.adopt()
    await home.close()


async def test_adopting_without_a_journal_or_a_store_tries_nothing(doubtful: Doubtful) -> None:
    """And leaves the grant as it was."""
    doubtful.find()
    doubtful.disk.fail("datasync", errno.EIO)
    with pytest.raises(LoginFailed, match="nothing was tried: /state/journal"):
        await doubtful.keeper.adopt()
    assert State.QUARANTINED is doubtful.state
    doubtful.disk.heal()
    doubtful.store.failure = StoreError("gone")
    with pytest.raises(LoginFailed, match="nothing was tried: gone"):
        await doubtful.keeper.adopt()

    assert ([], State.QUARANTINED) == (doubtful.endpoint.posts, doubtful.state)


async def test_what_is_found_while_a_redeem_drains_keeps_it_from_being_posted(doubtful: Doubtful) -> None:
    """The last look is the one before the post."""
    await doubtful.keeper.take()
    await asyncio.sleep(ADVISORY + 1)
    doubtful.find()
    assert State.REDEEMING is doubtful.state
    doubtful.keeper.give_back()
    await asyncio.sleep(5)

    assert ([], State.QUARANTINED, COPY, 0) == (
        doubtful.endpoint.posts,
        doubtful.state,
        doubtful.reason,
        doubtful.journal.slots_in_use,
    )


async def test_what_is_found_while_a_post_is_out_counts_once_its_answer_is_stored(doubtful: Doubtful) -> None:
    """The pair is kept and served; it descends from before the finding."""
    doubtful.endpoint.delay = 5.0
    await asyncio.sleep(ADVISORY + 1)
    doubtful.find()
    await asyncio.sleep(10)

    assert (State.QUARANTINED, "A2", "R2", 0) == (
        doubtful.state,
        await doubtful.call(),
        await doubtful.stored_token(),
        (await doubtful.stored()).epoch,
    )


async def test_an_answer_from_the_journal_keeps_the_epoch_of_what_was_spent_for_it(doubtful: Doubtful) -> None:
    """Of a rotation that was before the finding; of an operator's try, or a login, the present one."""
    doubtful.endpoint.script.append(doubtful.store_fails)
    await asyncio.sleep(ADVISORY + 1)
    doubtful.quarantine.epoch, doubtful.quarantine.reason = 1, COPY
    await doubtful.restart()
    assert (State.QUARANTINED, "R2") == (doubtful.state, await doubtful.stored_token())

    doubtful.endpoint.script.append(doubtful.store_fails)
    adopting = asyncio.ensure_future(doubtful.keeper.adopt())
    await asyncio.sleep(1)
    await doubtful.restart()
    adopting.cancel()
    assert (State.FRESH, "R3", 1) == (doubtful.state, await doubtful.stored_token(), (await doubtful.stored()).epoch)


async def test_what_spends_nothing_is_not_quarantined() -> None:
    """Minted tokens are minted on, and carry the present epoch; a plain secret is served."""
    home = Doubtful(broker=(await Home.of(CLIENT)).broker)
    home.quarantine = Quarantine()
    home.endpoint.answer = {"api_server": None, "refresh_token": None}
    await home.open()
    await home.call()
    home.find()
    assert State.FRESH is home.state
    await home.keep_calling(LIFE)

    assert (State.FRESH, 1) == (home.state, (await home.stored()).epoch)
    await home.close()


# -- a row that went back ---------------------------------------------------------------------------------------------


async def test_a_row_that_went_back_is_restored_by_adopting_and_ends_above_both(home: Home) -> None:
    """The newest token is the one in memory; no generation is given twice."""
    await older(home)
    assert (State.QUARANTINED, "A2", 1) == (home.state, await home.call(), (await home.stored()).generation)
    standing = await home.keeper.adopt()

    assert (State.FRESH, 3, ["R2"]) == (
        standing.state,
        standing.generation,
        [token for _, token in home.endpoint.posts],
    )
    assert (3, "R3") == ((await home.stored()).generation, await home.stored_token())
    await home.restart()
    assert "A3" == await home.call()


async def test_i8_what_the_store_has_lost_is_in_the_journal(home: Home) -> None:
    """The newest token is never in memory alone; a kill and a start bring the store up to it, without a post."""
    await older(home)
    assert 1 == home.journal.answered
    await home.keeper.look_again()
    expires = home.keeper.standing().access_expires
    assert 1 == home.journal.answered
    await home.restart(off=MINUTE)

    assert ("A2", "R2", 2, 0) == (
        await home.call(),
        await home.stored_token(),
        (await home.stored()).generation,
        home.journal.slots_in_use,
    )
    assert ([], expires) == (home.endpoint.posts, home.keeper.standing().access_expires)


async def test_what_the_store_has_lost_is_kept_in_memory_if_the_disk_fails_too(home: Home) -> None:
    """It is served, and adopting still brings it back."""
    rows = dict(home.store._rows)
    await asyncio.sleep(ADVISORY + 3)
    home.store._rows = rows
    home.disk.fail("pwrite", errno.EIO, times=10**6)
    await home.keeper.look_again()
    assert (State.QUARANTINED, 0) == (home.state, home.journal.answered)
    home.disk.heal()

    assert State.FRESH is (await home.keeper.adopt()).state
    assert 0 == home.journal.slots_in_use


async def test_an_adoption_that_brings_nothing_has_brought_the_store_up_to_memory(home: Home) -> None:
    """Before anything was posted: a kill afterwards finds the newest token."""
    await older(home)
    home.endpoint.script.append("not-sent")
    await home.keeper.adopt()
    await home.restart()

    assert (2, "R2") == ((await home.stored()).generation, await home.stored_token())


async def test_a_row_that_is_itself_again_ends_the_quarantine_of_it_alone(home: Home) -> None:
    """A database that was failed over and back."""
    await older(home)
    newest = home.keeper.grant
    await home.book.write(newest)
    await home.keeper.look_again()

    assert ("", State.FRESH) == (home.reason, home.state)
    await asyncio.sleep(1.1)
    assert (0, True) == (home.journal.slots_in_use, home.keeper.idle)


async def test_a_login_over_a_row_that_went_back_ends_above_both(home: Home) -> None:
    """Its token is committed although the row is not where we left it."""
    await older(home)
    await home.log_in("login-2")

    assert (3, "login-2", State.FRESH, 0) == (
        (await home.stored()).generation,
        (await home.stored()).lineage,
        home.state,
        home.journal.slots_in_use,
    )


async def set_back_under_a_post(home: Home) -> None:
    """The row is that of generation 1 again when the answer comes that brings generation 3."""
    rows = dict(home.store._rows)
    await asyncio.sleep(ADVISORY + 3)

    async def back() -> None:
        home.store._rows = dict(rows)

    await home.call()
    home.endpoint.script.append(back)
    await asyncio.sleep(ADVISORY + 3)


async def test_a_row_that_goes_back_under_a_post_leaves_the_answer_in_the_journal(home: Home) -> None:
    """It is served, nothing is written over the older row, and adopting takes it from there; so would a restart."""
    await set_back_under_a_post(home)
    assert (State.QUARANTINED, "A3", 1, 1) == (
        home.state,
        await home.call(),
        home.journal.answered,
        (await home.stored()).generation,
    )
    await asyncio.sleep(2 * LIFE)
    assert (2, "login-needed") == (len(home.endpoint.posts), (await home.refused()).kind.name)

    standing = await home.keeper.adopt()
    assert (State.FRESH, 4, "R4", 0) == (
        standing.state,
        (await home.stored()).generation,
        await home.stored_token(),
        home.journal.slots_in_use,
    )


async def test_a_login_supersedes_an_answer_that_no_row_would_take(home: Home) -> None:
    """Both slots are given back."""
    await set_back_under_a_post(home)
    await home.log_in("login-2")

    assert (4, "login-2", 0) == (
        (await home.stored()).generation,
        (await home.stored()).lineage,
        home.journal.slots_in_use,
    )


async def test_a_row_far_back_is_climbed_past_durably_step_by_step(home: Home) -> None:
    """A day of rotations: the generation is above all that was ever served."""
    rows = dict(home.store._rows)
    await home.keep_calling(DAY)
    newest = home.keeper.grant.generation
    assert newest > 60
    home.store._rows = rows
    await home.keeper.look_again()
    await home.keeper.adopt()

    assert newest + 1 == (await home.stored()).generation


# -- with peers -------------------------------------------------------------------------------------------------------


async def test_one_process_adopts_and_all_serve() -> None:
    """The peers are still quarantined; the new generation's epoch frees them."""
    async with processes() as (a, b):
        for home in (a, b):
            home.keeper._held.quarantine.epoch = 1
            home.keeper.recheck()
        assert [State.QUARANTINED] * 2 == [a.state, b.state]
        assert State.FRESH is (await a.keeper.adopt()).state
        await b.keeper.look_again()

        assert (State.FRESH, "A2") == (b.state, await b.call())


async def test_two_operators_at_once_cause_one_post() -> None:
    """The second finds what the first has brought."""
    async with processes() as (a, b):
        for home in (a, b):
            home.keeper._held.quarantine.epoch = 1
            home.keeper.recheck()
        a.endpoint.delay = 3.0
        standings = await asyncio.gather(a.keeper.adopt(), b.keeper.adopt())

        assert [(State.FRESH, 2)] * 2 == [(one.state, one.generation) for one in standings]
        assert 1 == len(a.endpoint.posts)


async def test_what_a_peer_has_given_up_is_not_adopted() -> None:
    """Nor is anything posted for it."""
    async with processes() as (a, b):
        a.endpoint.always = BAD_REQUEST
        await asyncio.sleep(5 * MINUTE)
        with pytest.raises(Refusal):
            await a.keeper.renew(1)
        await b.keeper.forget()
        a.endpoint.posts.clear()

        assert State.NONE is (await a.keeper.adopt()).state
        assert [] == a.endpoint.posts


async def test_adopting_waits_for_what_a_peer_is_spending() -> None:
    """At most one token request is out, whoever asked for it."""
    async with processes() as (a, b):
        a.keeper._held.quarantine.epoch = 1
        a.keeper.recheck()
        b.endpoint.delay = 5.0
        rotation = asyncio.ensure_future(b.keeper.renew(1))
        await asyncio.sleep(5 * MINUTE)
        b.keeper.give_back()
        rotation = asyncio.ensure_future(b.keeper.renew(b.keeper.grant.generation))
        await asyncio.sleep(1)
        standing = await a.keeper.adopt()
        await rotation

        assert (State.FRESH, 1) == (standing.state, a.endpoint.most)
        assert (standing.generation, standing.generation - 1) == ((await a.stored()).generation, a.endpoint.issued - 1)


async def test_a_store_that_was_set_back_goes_on_from_an_operators_decision() -> None:
    """A process that has started since knows nothing of the newer generations: its login counts for all of them."""
    async with processes() as (a, b):
        rows = dict(a.contents._rows)
        for generation in (1, 2, 3):
            await asyncio.sleep(5 * MINUTE)
            pair = await b.keeper.renew(generation)
            assert pair is not None
            b.keeper.give_back()
        await settle()
        a.contents._rows = rows
        await b.keeper.look_again()
        assert (State.QUARANTINED, 4) == (b.state, b.keeper.grant.generation)
        await a.kill()
        await a.revive()
        a.keeper._held.quarantine.epoch = 1
        a.keeper.recheck()
        await a.keeper.login(a.wish(), "login-2")
        await b.keeper.look_again()

        assert (0, True) == (b.journal.slots_in_use, b.keeper.idle)
        assert ("login-2", State.FRESH, await a.call()) == (b.keeper.grant.lineage, b.state, await b.call())


async def test_an_answer_that_no_row_would_take_gives_way_to_a_peers_login() -> None:
    """Its holder is quarantined, and sees what the other one brings; the answer stays in its slot."""
    async with processes() as (a, b):
        rows = dict(a.contents._rows)
        await asyncio.sleep(5 * MINUTE)
        pair = await b.keeper.renew(1)
        assert pair is not None
        b.keeper.give_back()
        await a.keeper.look_again()

        async def back() -> None:
            a.contents._rows = dict(rows)

        await asyncio.sleep(5 * MINUTE)
        b.endpoint.script.append(back)
        await b.keeper.renew(2)
        b.keeper.give_back()
        await settle()
        assert (State.QUARANTINED, 3) == (b.state, b.keeper.grant.generation)
        await a.keeper.login(a.wish(), "login-2")
        await b.keeper.look_again()

        assert (await a.call(), State.FRESH, 1) == (await b.call(), b.state, b.journal.answered)
