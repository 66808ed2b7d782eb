"""The store's grant against the one in hand: adopted, left alone, or a reason to post nothing."""

import asyncio
from dataclasses import replace

import pytest

from proxy.secret import Secret
from proxy.store import Damaged, StoreError
from proxy.tokens.grant import Event, Grant, State
from proxy.tokens.holding import Holding
from proxy.tokens.stored import OLDER_STORE, row_is_ours, take_over
from tests.tokens.support import CLIENT, LIFE, LIVE, PASTED, QUESTRADE, TRADIER, WALL, Home, LoopClock, broker_with


def holding(home: Home) -> Holding:
    """What a new process holds before it has read anything."""
    return Holding(
        home.name,
        broker=home.broker,
        environment=home.environment,
        login=home.login,
        clock=LoopClock(),
        jitter=lambda: 0.5,
    )


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, State.FRESH, ""),
        ({"access_token": None}, State.FRESH, ""),
        ({"access_token": None, "refresh_token": None}, State.NONE, "revoked"),
        ({"issuer": ""}, State.FRESH, ""),
        ({"login": ""}, State.FRESH, ""),
        (
            {"issuer": "questrade/practice"},
            State.NONE,
            "the login was for questrade/practice, and the configuration says questrade/live",
        ),
        (
            {"login": "code"},
            State.NONE,
            "the login was by 'code', and the configuration says 'refresh-token'",
        ),
        ({"refresh_token": None}, State.FRESH, ""),
        ({"refresh_token": None, "expires": WALL - 1}, State.NEEDS_LOGIN, None),
        ({"expires": WALL - 1}, State.FRESH, ""),
    ],
    ids=[
        "whole", "refresh token only", "revoked", "old issuer", "old record", "other environment", "other login",
        "ending", "ended", "dead access token",
    ],
)  # fmt: skip
async def test_a_stored_grant_tells_where_it_stands(
    home: Home, changes: dict[str, object], state: State, reason: str | None
) -> None:
    """A stranger's tokens are not even held."""
    held = holding(home)
    stored = replace(await home.stored(), **changes)  # type: ignore[arg-type]
    await take_over(held, home.book, stored)

    assert (state, stored.generation) == (held.state, held.grant.generation)
    assert reason in (None, held.reason)
    assert (state is State.NONE) == (held.grant.refresh_token is None and held.grant.access_token is None)


async def test_nothing_stored_is_no_login_unless_the_client_can_go_by_itself() -> None:
    """Client credentials need nobody."""
    for login, state in ((TRADIER, State.NONE), (CLIENT, State.DUE)):
        home = Home(broker_with(login))
        held = holding(home)
        await take_over(held, home.book, None)
        assert state is held.state


async def test_a_verdict_on_the_stored_token_is_remembered(home: Home) -> None:
    """On another token it says nothing."""
    grant = await home.stored()
    for token_hash, state in (("ab" * 32, State.FRESH), (grant.token_hash, State.NEEDS_LOGIN)):
        held = holding(home)
        await home.book.bury(token_hash, "refused", WALL)
        await take_over(held, home.book, grant)
        assert state is held.state


async def test_a_record_of_old_gets_the_configured_login(home: Home) -> None:
    """With the next commit it is stored."""
    await home.book.write(replace(await home.stored(), generation=2, login=""))
    await home.restart()
    await asyncio.sleep(LIFE * 0.7)

    assert (3, "refresh-token") == ((await home.stored()).generation, (await home.stored()).login)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (StoreError("gone"), "nothing is redeemed while the store can't be read: gone"),
        (Damaged("altered"), "nothing is redeemed while a person must look at the store: altered"),
    ],
    ids=["down", "damaged"],
)
async def test_a_row_that_cannot_be_read_puts_a_redeem_off(home: Home, fault: StoreError, words: str) -> None:
    """As long as the pair in hand has time left."""
    held = await due(home)
    home.store.failure = fault

    assert not await row_is_ours(held, home.book)
    assert words == held.reason


async def due(home: Home) -> Holding:
    """The stored grant, held and due."""
    held = holding(home)
    await take_over(held, home.book, await home.stored())
    held.see(Event.RENEWAL_WANTED)
    return held


async def test_a_row_that_is_ours_may_be_posted_and_a_newer_one_is_adopted(home: Home) -> None:
    """An older one puts the grant into quarantine."""
    held = await due(home)
    assert await row_is_ours(held, home.book)

    await home.book.write(replace(held.grant, generation=2, refresh_token=Secret("R-newer")))
    assert not await row_is_ours(held, home.book)
    assert (2, State.FRESH) == (held.grant.generation, held.state)

    held.hold(replace(held.grant, generation=9))
    assert not await row_is_ours(held, home.book)
    assert (State.QUARANTINED, OLDER_STORE) == (held.state, held.reason)


async def test_a_store_that_was_emptied_is_older_than_what_is_held() -> None:
    """Nothing is posted over it."""
    home = Home(QUESTRADE, LIVE, login=PASTED)
    held = holding(home)
    held.hold(Grant("questrade", 3, refresh_token=Secret("R")))
    held.enter(State.DUE, "")

    assert not await row_is_ours(held, home.book)
    assert OLDER_STORE == held.reason
