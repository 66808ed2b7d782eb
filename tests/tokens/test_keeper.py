"""What callers get: one pair for all, one redeem for all, and no redeem that a caller could break."""

import asyncio

import pytest

from proxy.errors import Refusal
from proxy.tokens.grant import State
from proxy.tokens.keeper import Keeper
from tests.tokens.support import DAY, HOUR, LIFE, MINUTE, Home, settle


async def take(keeper: Keeper) -> str:
    return (await keeper.take()).access_token.reveal()


async def test_a_fresh_pair_is_served_without_a_post(home: Home) -> None:
    """Any number of calls share one generation."""
    assert ["A1"] * 100 == await home.calls(100)
    assert [] == home.endpoint.posts


async def test_a_fresh_pair_can_be_had_at_once(home: Home) -> None:
    """The one that a wait would bring; it is lent, and a redeem waits for it to be given back."""
    pair = home.keeper.take_now()
    assert pair is await home.keeper.take()
    home.keeper.give_back()
    assert not home.keeper.idle
    await asyncio.sleep(LIFE - 1)
    home.keeper.give_back()
    await asyncio.sleep(2)
    assert "A2" == await take(home.keeper)


async def test_there_is_none_at_once_where_a_call_would_wait(home: Home) -> None:
    """While a redeem runs, once the pair has died, where the broker has refused it: nothing is lent then."""
    home.endpoint.delay = 3.0
    await asyncio.sleep(5 * MINUTE)
    async with asyncio.TaskGroup() as group:
        group.create_task(home.keeper.renew(1))
        await asyncio.sleep(1)
        assert home.keeper.take_now() is None
    home.keeper.give_back()
    pair = home.keeper.take_now()
    assert pair is not None
    assert pair is await home.keeper.take()
    assert 2 == pair.generation
    for _ in range(2):
        home.keeper.give_back()
    home.endpoint.always = "not-sent"
    await asyncio.sleep(LIFE)
    assert home.keeper.take_now() is None
    home.clock.step = -HOUR  # the wall clock prolongs nothing
    assert home.keeper.take_now() is None


async def test_a_pair_that_the_broker_has_refused_is_not_lent_at_once(home: Home) -> None:
    """Though it would live on by the clock, and no redeem is out at the moment."""
    home.endpoint.always = "not-sent"
    await asyncio.sleep(5 * MINUTE)
    with pytest.raises(Refusal):
        await home.keeper.renew(1)
    assert home.keeper.take_now() is None


async def test_before_a_login_there_is_none_at_once(empty: Home) -> None:
    """And nothing is raised: who asks by waiting is told what to do."""
    assert empty.keeper.take_now() is None
    with pytest.raises(Refusal, match="never logged in"):
        await empty.keeper.take()
    assert empty.keeper.idle


async def test_calls_that_are_served_at_once_keep_a_grant_awake(home: Home) -> None:
    """A grant that nobody uses is renewed for its refresh token's sake only; this one is used."""
    for _ in range(60):
        await asyncio.sleep(MINUTE)
        if home.keeper.take_now() is None:
            await home.keeper.take()
        home.keeper.give_back()
    assert 2 <= len(home.endpoint.posts) <= 4


async def test_whoever_is_served_at_once_still_sees_the_clock(home: Home) -> None:
    """A wall clock that was set is noticed by calls that wait for nothing, within a second or so."""
    assert home.keeper.take_now() is not None
    planned = home.keeper.due_in(home.clock.now())
    home.clock.step = LIFE / 2
    await asyncio.sleep(1.5)
    assert home.keeper.take_now() is not None
    assert home.keeper.due_in(home.clock.now()) < planned - 2
    assert home.keeper.take_now(home.clock.now()) is not None
    for _ in range(3):
        home.keeper.give_back()


async def test_a_hundred_callers_on_an_expired_token_cause_one_post(home: Home) -> None:
    """And all of them are served with the new pair."""
    await asyncio.sleep(HOUR)
    home.endpoint.posts.clear()
    await asyncio.sleep(12 * HOUR - 2 * LIFE)
    home.endpoint.delay = 3.0

    tokens = await home.calls(100)

    assert [f"A{home.endpoint.issued}"] * 100 == tokens
    assert 1 == len(home.endpoint.posts)


async def test_a_hundred_callers_whose_token_is_refused_cause_one_post(home: Home) -> None:
    """All name the same stale generation; each gets the next one."""
    await asyncio.sleep(5 * MINUTE)

    pairs = await asyncio.gather(*(home.keeper.renew(1) for _ in range(100)))

    assert {("A2", 2)} == {(pair.access_token.reveal(), pair.generation) for pair in pairs if pair}
    assert (100, 1) == (len(pairs), len(home.endpoint.posts))


async def test_a_late_401_of_an_older_generation_adds_no_post(home: Home) -> None:
    """The newer pair is already there."""
    await asyncio.sleep(5 * MINUTE)
    await home.keeper.renew(1)
    for stale in (1, 0, -1):
        pair = await home.keeper.renew(stale)
        assert pair is not None
        assert 2 == pair.generation

    assert 1 == len(home.endpoint.posts)


async def test_after_a_renewal_the_brokers_401_passes_until_the_cool_down_is_over(home: Home) -> None:
    """A storm of 401s costs one redeem in two minutes; the wall clock has no say in it."""
    await asyncio.sleep(5 * MINUTE)
    await home.keeper.renew(1)
    home.clock.step = -HOUR
    assert [None] * 50 == [await home.keeper.renew(2) for _ in range(50)]
    await asyncio.sleep(119)
    assert None is await home.keeper.renew(2)
    assert 1 == len(home.endpoint.posts)

    await asyncio.sleep(1)
    pair = await home.keeper.renew(2)

    assert pair is not None
    assert (3, 2) == (pair.generation, len(home.endpoint.posts))


async def test_a_401_in_the_cool_down_passes_while_the_store_is_down(home: Home) -> None:
    """The new pair is not committed yet; the call neither waits nor is it refused by us."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.script.append(home.store_fails)
    await home.keeper.renew(1)
    assert State.ANSWERED is home.state

    assert None is await home.keeper.renew(2)


async def test_a_redeem_waits_for_lent_pairs_and_holds_new_calls_back(home: Home) -> None:
    """The broker kills the old token: calls in flight end first, later ones queue for the new one."""
    old = await home.keeper.take()
    await asyncio.sleep(LIFE * 0.66)
    await settle()
    later = asyncio.ensure_future(take(home.keeper))
    await asyncio.sleep(1)
    assert ([], False, "A1") == (home.endpoint.posts, later.done(), old.access_token.reveal())

    home.keeper.give_back()

    assert "A2" == await later
    assert 1 == len(home.endpoint.posts)


async def test_a_lent_pair_holds_a_redeem_up_for_two_seconds_at_most(home: Home) -> None:
    """A call that hangs is not waited for any longer."""
    await home.keeper.take()
    await asyncio.sleep(LIFE * 0.66)
    start = asyncio.get_running_loop().time()
    await settle()

    assert "A2" == await home.call()

    assert 2.0 == pytest.approx(home.endpoint.times[0] - start, abs=0.1)


async def test_a_caller_that_leaves_does_not_cancel_the_flight(home: Home) -> None:
    """Nor do those that wait beside it notice."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.delay = 5.0
    callers = [asyncio.ensure_future(home.keeper.renew(1)) for _ in range(10)]
    await asyncio.sleep(1)
    for caller in callers[:9]:
        caller.cancel()

    pair = await callers[9]

    assert pair is not None
    assert (2, 1) == (pair.generation, len(home.endpoint.posts))


async def test_callers_give_up_after_ten_seconds_and_the_flight_goes_on(home: Home) -> None:
    """They get 503 with a time to come back; the token is there for the next ones."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.delay = 25.0
    start = asyncio.get_running_loop().time()
    with pytest.raises(Refusal) as caught:
        await home.keeper.renew(1)

    assert 10.0 == pytest.approx(asyncio.get_running_loop().time() - start)
    assert ("token-unavailable", 5) == (caught.value.kind.name, caught.value.retry_after)
    await asyncio.sleep(20)
    assert "A2" == await home.call()
    assert 1 == len(home.endpoint.posts)


async def test_waiting_callers_get_the_error_of_the_one_try(home: Home) -> None:
    """No convoy: a hundred callers, one post, a hundred refusals that say when to come back."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.always = "not-sent"
    results = await asyncio.gather(*(home.keeper.renew(1) for _ in range(100)), return_exceptions=True)

    refusals = [result for result in results if isinstance(result, Refusal)]
    assert (100, 1) == (len(refusals), len(home.endpoint.posts))
    assert {"grant questrade: the connection was refused or could not be made"} == {one.detail for one in refusals}
    assert all(one.retry_after and 0 < one.retry_after <= 2 for one in refusals)


async def test_the_old_pair_is_served_while_redeems_fail(home: Home) -> None:
    """To the end of its life not one call fails."""
    home.endpoint.always = "not-sent"
    await asyncio.sleep(LIFE * 0.7)
    while asyncio.get_running_loop().time() < LIFE - 5:
        assert "A1" == await home.call()
        await asyncio.sleep(5)

    assert State.DUE is home.state
    assert 5 < len(home.endpoint.posts) < 20


async def test_close_waits_for_the_flight_and_its_answer_is_stored(home: Home) -> None:
    """A stop in the middle of a redeem loses nothing and starts nothing."""
    home.endpoint.delay = 20.0
    await asyncio.sleep(LIFE * 0.66 + 1)

    await home.keeper.close()

    assert 2 == (await home.stored()).generation
    await asyncio.sleep(2 * DAY)
    assert 1 == len(home.endpoint.posts)


async def test_close_gives_a_hanging_redeem_thirty_seconds(home: Home) -> None:
    """Then the stop goes on without it."""
    home.endpoint.delay = 300.0
    await asyncio.sleep(LIFE * 0.66 + 1)
    start = asyncio.get_running_loop().time()

    await home.keeper.close()

    assert 30.0 == pytest.approx(asyncio.get_running_loop().time() - start)


async def test_a_redeem_that_still_drains_when_the_server_stops_is_not_posted(home: Home) -> None:
    """After a stop signal nothing is spent any more."""
    await home.keeper.take()
    await asyncio.sleep(LIFE * 0.66 + 1)

    await home.keeper.close()

    assert ([], ["not-sent"], 0) == (home.endpoint.posts, home.observed, home.journal.slots_in_use)


async def test_a_closing_keeper_serves_what_it_has_and_renews_nothing(home: Home) -> None:
    """A call that would need a redeem is told that the server stops."""
    await home.keeper.close()
    assert "A1" == await home.call()
    await asyncio.sleep(LIFE)

    assert "draining" == (await home.refused()).kind.name
    assert [] == home.endpoint.posts


async def test_a_caller_that_waits_when_the_server_stops_is_served_by_the_flight(home: Home) -> None:
    """The redeem that is out has its time, and so have those who wait for it."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.delay = 5.0
    caller = asyncio.ensure_future(home.keeper.renew(1))
    await asyncio.sleep(1)

    await home.keeper.close()

    pair = await caller
    assert pair is not None
    assert 2 == pair.generation


async def test_nothing_secret_is_in_the_repr(home: Home) -> None:
    """Neither of the keeper nor of what it hands out."""
    text = repr((home.keeper, home.keeper.standing(), await home.keeper.take(), await home.stored()))

    assert ("A1" not in text, "R1" not in text) == (True, True)


async def test_a_grant_without_a_login_says_what_to_type(empty: Home) -> None:
    """503 with the command, at once and without a post."""
    refusal = await empty.refused()

    assert ("login-needed", "bearerd login questrade") == (refusal.kind.name, refusal.fix)
    assert "grant questrade: never logged in" == refusal.detail
    assert [] == empty.endpoint.posts
