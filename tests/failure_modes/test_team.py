"""F15 to F17 and F21: replicas on one store, and stores that are copies or older states of themselves."""

import asyncio

from proxy.store import StoreError
from proxy.tokens.grant import State
from proxy.tokens.quarantine import Quarantine
from tests.tokens.peers import processes
from tests.tokens.support import DAY, HOUR, LIFE, MINUTE, Home

ADVISORY = LIFE * 0.66


async def test_f15_a_slow_token_request_of_one_replica_is_the_only_one() -> None:
    """Its lease is renewed while it is out; the other waits for the new pair, and posts nothing."""
    async with processes() as (one, other):
        await asyncio.sleep(13 * HOUR)
        one.endpoint.posts.clear()
        one.endpoint.delay = 9.0
        calls = await asyncio.gather(one.calls(10), other.calls(10))

        assert 1 == len({token for call in calls for token in call})
        assert (1, 1) == (len(one.endpoint.posts), one.endpoint.most)


async def test_f06_a_replica_without_the_store_spends_nothing_and_serves_to_the_end() -> None:
    """No lease, no spend; the reason names the store."""
    async with processes() as (one, _):
        one.store.failure = StoreError("the database is gone")
        await asyncio.sleep(LIFE - 1)
        assert "A1" == await one.call()
        assert "nothing is redeemed while the store fails: the database is gone" == one.reason
        posts = [home for home in one.endpoint.posts if home[0] < ADVISORY * 0.9]
        assert [] == posts


async def test_f16_a_replica_that_dies_inside_the_spend_leaves_a_doubt_and_its_journal_heals_it() -> None:
    """The next one posts the old token once, and learns that it was spent; the dead one's answer mends even that."""
    async with processes() as (one, other):
        await asyncio.sleep(5 * MINUTE)
        one.endpoint.script.append(one.store_fails)
        assert await one.keeper.renew(1) is not None
        await one.kill()
        await other.keep_calling(HOUR)
        lost = "the answer to a token request was lost, and now the broker refused the refresh token (400)"
        assert (State.NEEDS_LOGIN, f"grant questrade: {lost}") == (other.state, (await other.refused()).detail)
        assert ["R1", "R1"] == [token for _, token in one.endpoint.posts]

        await one.revive()
        await other.keeper.look_again()
        await other.keep_calling(5 * MINUTE)

        assert (State.FRESH, f"R{one.endpoint.issued}") == (other.state, await other.stored_token())


async def test_f17_a_late_arriver_holds_a_generation_and_never_a_token() -> None:
    """However old what it holds is, it gets the current pair, without a post."""
    async with processes() as (one, other):
        await asyncio.sleep(5 * MINUTE)
        await one.keeper.renew(1)
        pair = await other.keeper.renew(1)
        assert pair is not None
        assert ("A2", ["R1"]) == (pair.access_token.reveal(), [token for _, token in one.endpoint.posts])


async def test_f21_a_doubtful_store_leads_to_no_post_until_a_person_says_so(home: Home) -> None:
    """The token in hand serves to its end. Then the refusal says what was found, and the two ways out."""
    quarantine = home.keeper._held.quarantine
    quarantine.epoch, quarantine.reason = 1, "the store is an older state of itself"
    home.keeper.recheck()
    assert (State.QUARANTINED, "A1") == (home.state, await home.call())
    await home.keep_calling(2 * DAY)

    refusal = await home.refused()
    assert ([], "login-needed") == (home.endpoint.posts, refusal.kind.name)
    assert "grant questrade: the store is an older state of itself" == refusal.detail
    assert refusal.fix is not None
    assert refusal.fix.startswith("bearerd adopt questrade")
    assert refusal.fix.endswith("bearerd login questrade")
    await home.keeper.adopt()
    assert (["R1"], "A2", 1) == (
        [token for _, token in home.endpoint.posts],
        await home.call(),
        (await home.stored()).epoch,
    )


async def test_f21_a_login_ends_the_quarantine(home: Home) -> None:
    """What a person brings anew is not in doubt."""
    home.keeper._held.quarantine = Quarantine(1, "the store was copied from elsewhere", 0.0)
    home.keeper.recheck()
    await home.log_in("login-2")

    assert (State.FRESH, None) == (home.state, home.keeper.standing().fix)
