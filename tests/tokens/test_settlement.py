"""What becomes of an answer: served at once, stored when the store takes it, and given up for nothing less."""

import asyncio

import pytest

from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer, Refresh
from tests.tokens.peers import processes
from tests.tokens.support import CLIENT, HOUR, LIFE, MINUTE, Home, settle

ADVISORY = LIFE * 0.66


async def minted() -> Home:
    """A grant by client credentials, its first token asked for."""
    home = await Home.of(CLIENT, life=900)
    await home.call()
    await settle()
    return home


async def test_minting_needs_no_store_for_hours_and_refuses_no_call() -> None:
    """Each token is asked for in its time; the newest is stored a second after the store's return."""
    home = await minted()
    await home.store_fails()
    while asyncio.get_running_loop().time() < 2 * HOUR:
        await asyncio.sleep(30)
        assert (await home.call()).startswith("A")
    minted_so_far = len(home.endpoint.posts)
    assert 8 <= minted_so_far <= 12
    assert (State.FRESH, True) == (home.state, "the new token is not in the store yet: the disk is full" in home.reason)
    assert not home.keeper.idle

    home.store.failure = None
    await asyncio.sleep(1.1)

    stored = await home.stored()
    assert (f"A{minted_so_far}", "", True) == (
        stored.access_token.reveal() if stored.access_token else "",
        home.reason,
        home.keeper.idle,
    )
    assert home.keeper.grant.generation == stored.generation
    await home.close()


async def test_a_first_token_is_minted_and_served_without_the_store() -> None:
    """A login by client credentials waits for no commit."""
    home = await Home.of(CLIENT, life=900)
    await asyncio.sleep(1)
    await home.store_fails()
    await asyncio.sleep(800)
    standing = await home.keeper.login(home.wish(), "login-1")

    assert (State.FRESH, True) == (standing.state, standing.usable)
    await home.close()


async def test_a_minted_token_is_stored_over_a_row_that_went_back() -> None:
    """It spends nothing: there is nothing to be afraid of, and no generation is given twice."""
    home = await minted()
    rows = dict(home.store._rows)
    await asyncio.sleep(800)
    generation = home.keeper.grant.generation
    home.store._rows = rows
    await home.keeper.look_again()
    assert State.FRESH is home.state
    await asyncio.sleep(800)

    assert (generation + 1, State.FRESH) == ((await home.stored()).generation, home.state)
    await home.close()


async def test_of_two_minted_at_once_the_one_that_is_stored_is_served_by_both() -> None:
    """Nothing is lost by it, so it is no alarm."""
    async with processes(2, (await Home.of(CLIENT)).broker, CLIENT, log_in=False) as (a, b):
        a.endpoint.life = b.endpoint.life = 900
        a.endpoint.answer = {"api_server": None, "refresh_token": None}
        await asyncio.gather(a.call(), b.call())
        await settle()
        await a.keep_calling(HOUR)
        await b.keeper.look_again()

        assert (await a.call(), State.FRESH) == (await b.call(), b.state)


async def test_a_store_that_is_back_gets_the_pair_within_a_second_however_long_it_was_away(home: Home) -> None:
    """A quarter of an hour does not slow it down."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(ADVISORY + LIFE / 2)
    assert State.ANSWERED is home.state
    home.store.failure = None
    await asyncio.sleep(1)

    assert (2, 0) == ((await home.stored()).generation, home.journal.slots_in_use)


async def test_what_only_failed_here_is_tried_again_within_seconds(home: Home) -> None:
    """A store that was away for hours, and a disk: no pause of minutes afterwards. The broker was never asked."""
    await home.store_fails()
    home.disk.fail("pwrite", 28, times=10**6)
    await asyncio.sleep(LIFE + HOUR)
    assert [] == home.endpoint.posts
    home.store.failure = None
    home.disk.heal()
    await asyncio.sleep(5)

    assert ("A2", State.FRESH) == (await home.call(), home.state)


async def test_a_keeper_is_idle_once_nothing_is_out_lent_or_in_doubt(home: Home) -> None:
    """Then another one that reads the store knows as much."""
    assert home.keeper.idle
    await home.keeper.take()
    assert not home.keeper.idle
    home.keeper.give_back()

    home.endpoint.delay, home.endpoint.always = 3.0, "lost-before"
    await asyncio.sleep(ADVISORY + 1)
    assert (State.REDEEMING, False) == (home.state, home.keeper.idle)
    await asyncio.sleep(5)
    assert (State.UNCERTAIN, False) == (home.state, home.keeper.idle)
    home.endpoint.always = RawAnswer(503, "", b"")
    await asyncio.sleep(LIFE)
    assert (State.DUE, False) == (home.state, home.keeper.idle)
    home.endpoint.always = "ok"
    await asyncio.sleep(5 * MINUTE)
    assert (State.FRESH, True) == (home.state, home.keeper.idle)


async def test_the_broker_is_told_of_what_is_given_up_before_it_is_forgotten(home: Home) -> None:
    """While it is told nothing can renew the token; a store that fails then leaves the grant as it was."""
    told: list[tuple[str, State]] = []

    async def tell(token: Secret) -> None:
        told.append((token.reveal(), home.state))
        await asyncio.sleep(LIFE)

    await home.store_fails()
    with pytest.raises(StoreError):
        await home.keeper.forget(tell)
    home.store.failure = None
    await home.keeper.forget(tell)

    assert ([("A1", State.FRESH)] * 2, State.NONE, []) == (told, home.state, home.endpoint.posts)


async def test_a_grant_that_a_peer_has_renewed_is_given_up_with_its_newest_token() -> None:
    """The broker hears of the one that lives."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await a.keeper.renew(1)
        await settle()
        last = await b.keeper.forget()
        await a.keeper.look_again()

        assert ("A2", State.NONE, None) == (last.reveal() if last else "", a.state, (await a.stored()).refresh_token)


async def test_a_login_while_a_peer_logs_in_too_comes_second() -> None:
    """One after the other; both tokens are spent once, and the later one counts."""
    async with processes() as (a, b):
        a.endpoint.delay = 1.0
        first = asyncio.ensure_future(a.keeper.login(Refresh(Secret("R1")), "login-2"))
        await asyncio.sleep(0.5)
        second = await b.keeper.login(Refresh(Secret("R2")), "login-3")
        await first

        assert (3, "login-3", 1) == (second.generation, (await a.stored()).lineage, a.endpoint.most)
