"""Logging in, giving up and serving: what an operator does to a grant, beside whatever else is going on."""

import asyncio
import errno

import pytest

from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer, Refresh
from tests.tokens.support import BAD_REQUEST, DAY, LIFE, MINUTE, Act, Home, settle


async def test_a_first_login_makes_the_grant_serve(empty: Home) -> None:
    """The pasted token is spent, and its successor stored."""
    standing = await empty.keeper.login(Refresh(Secret("R0")), "login-1")

    assert (State.FRESH, 1, True) == (standing.state, standing.generation, standing.usable)
    assert ("A1", "R1") == (await empty.call(), await empty.stored_token())
    assert 0 == empty.journal.slots_in_use


async def test_a_pasted_token_that_its_answer_does_not_replace_is_kept(empty: Home) -> None:
    """A broker that does not rotate: what was pasted is what is posted the next time."""
    empty.endpoint.steady = "R-steady"
    empty.endpoint.answer = {"refresh_token": None}
    await empty.keeper.login(Refresh(Secret("R-steady")), "login-1")
    await asyncio.sleep(LIFE)

    assert ("R-steady", ["R-steady"] * 2) == (await empty.stored_token(), [token for _, token in empty.endpoint.posts])


async def test_a_login_replaces_the_lineage_and_the_generation_counts_on(home: Home) -> None:
    """Nothing of the old login is left."""
    await home.keeper.login(Refresh(Secret("R1")), "login-2")
    grant = await home.stored()

    assert ("login-2", 2, "A2") == (grant.lineage, grant.generation, await home.call())


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (BAD_REQUEST, "Questrade refused this token. Each token works once and dies within days: make a new one at"),
        ("lost-after", "the token may be spent. Make a new one at https://"),
        ("not-sent", "The token was probably not spent: try it again in a minute"),
        (RawAnswer(503, "", b""), "the token endpoint answered 503. The token was probably not spent"),
        (RuntimeError("R9"), "bearerd failed while a token request was out (RuntimeError)"),
    ],
)
async def test_a_login_that_fails_leaves_the_old_grant_serving(home: Home, act: Act, text: str) -> None:
    """And says what to do, without the token."""
    home.endpoint.script.append(act)
    with pytest.raises(LoginFailed) as caught:
        await home.keeper.login(Refresh(Secret("R9")), "login-2")

    assert text in str(caught.value)
    assert "R9" not in str(caught.value)
    assert ("A1", State.FRESH, 0) == (await home.call(), home.state, home.journal.slots_in_use)
    home.endpoint.issued = 1
    await asyncio.sleep(LIFE)
    assert "A2" == await home.call()


async def test_a_login_without_a_journal_sends_nothing(home: Home) -> None:
    """The pasted token is still good."""
    home.disk.fail("datasync", errno.EIO)
    with pytest.raises(LoginFailed, match="nothing was sent, because the answer could not be saved"):
        await home.keeper.login(Refresh(Secret("R1")), "login-2")

    assert [] == home.endpoint.posts


async def test_a_login_ends_every_dead_end(home: Home) -> None:
    """Needs-login, stopped and uncertain are left for fresh."""
    for act in (BAD_REQUEST, RawAnswer(401, "", b'{"error": "invalid_client"}'), "lost-before"):
        home.endpoint.script.append(act)
        await home.call()
        await asyncio.sleep(LIFE * 0.66 + 1)
        assert home.state in (State.NEEDS_LOGIN, State.STOPPED, State.UNCERTAIN)

        await home.log_in("again")

        assert (State.FRESH, 0) == (home.state, home.journal.slots_in_use)


async def test_a_login_waits_for_the_flight_that_is_out(home: Home) -> None:
    """At most one token request at a time; the login comes after it and wins."""
    home.endpoint.delay = 5.0
    await asyncio.sleep(LIFE * 0.66 + 1)
    await home.keeper.login(Refresh(Secret("R2")), "login-2")

    gap = home.endpoint.times[1] - home.endpoint.times[0]
    assert (2, True, "login-2") == (len(home.endpoint.posts), gap >= 5, (await home.stored()).lineage)


async def test_two_logins_at_once_are_taken_one_after_the_other(home: Home) -> None:
    """The second spends what it was given, and is told if that is dead."""
    home.endpoint.delay = 1.0
    results = await asyncio.gather(
        *(home.keeper.login(Refresh(Secret("R1")), f"login-{n}") for n in (2, 3)), return_exceptions=True
    )

    assert [False, True] == [isinstance(result, LoginFailed) for result in results]
    assert "login-2" == (await home.stored()).lineage


async def test_a_person_who_leaves_does_not_cancel_the_login(home: Home) -> None:
    """The token is being spent: its answer must not be lost."""
    home.endpoint.delay = 5.0
    login = asyncio.ensure_future(home.keeper.login(Refresh(Secret("R1")), "login-2"))
    await asyncio.sleep(1)
    login.cancel()
    await asyncio.sleep(5)

    assert ("login-2", "A2") == ((await home.stored()).lineage, await home.call())


async def test_a_stopping_keeper_spends_no_pasted_token(home: Home) -> None:
    """It says so."""
    await home.keeper.close()
    with pytest.raises(LoginFailed, match="bearerd is shutting down"):
        await home.keeper.login(Refresh(Secret("R1")), "login-2")

    assert [] == home.endpoint.posts


async def test_a_grant_that_was_given_up_keeps_no_token(home: Home) -> None:
    """Here, in the store, and over a restart; the generation counts on to the next login."""
    await home.keeper.forget()
    assert (None, None) == (home.keeper.refresh_token, home.keeper.access_token)
    assert "grant questrade: revoked" == (await home.refused()).detail
    await home.restart()
    await home.keep_calling(DAY)
    assert ([], State.NONE, "revoked", 2) == (
        home.endpoint.posts,
        home.state,
        home.reason,
        (await home.stored()).generation,
    )

    await home.log_in("again")
    assert 3 == (await home.stored()).generation


async def test_giving_up_waits_for_the_flight_and_admits_none_beside_it(home: Home) -> None:
    """Callers that need a token meanwhile start no redeem that would outlive the grant."""
    await asyncio.sleep(12 * LIFE)
    home.endpoint.posts.clear()
    swap = home.store.swap

    async def slow(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await asyncio.sleep(2)
        return await swap(name, expected=expected, sealed=sealed)

    home.store.swap = slow  # type: ignore[method-assign]
    forgetting = asyncio.ensure_future(home.keeper.forget())
    await settle()
    refusal = await home.refused()
    await forgetting

    assert ("login-needed", []) == (refusal.kind.name, home.endpoint.posts)


async def test_a_grant_that_cannot_be_given_up_stands(home: Home) -> None:
    """The store fails: nothing has changed, and the error says why."""
    await home.store_fails()
    with pytest.raises(StoreError, match="the disk is full"):
        await home.keeper.forget()

    assert ("A1", State.FRESH) == (await home.call(), home.state)


async def test_giving_up_over_a_store_that_was_rolled_back_ends_what_it_holds_too(home: Home) -> None:
    """What the older row holds is spent, and must not come back into use; no generation is there twice."""
    backup = dict(home.store._rows)
    await asyncio.sleep(LIFE * 0.7)
    assert "A2" == await home.call()
    home.store._rows = backup
    await home.keeper.forget()

    stored = await home.stored()
    assert (State.NONE, 3, None) == (home.state, stored.generation, stored.refresh_token)


async def test_giving_up_ends_a_doubt(home: Home) -> None:
    """Its slot is free again."""
    home.endpoint.script.append("lost-after")
    await asyncio.sleep(LIFE * 0.66 + MINUTE)
    await home.keeper.forget()

    assert (State.NONE, 0) == (home.state, home.journal.slots_in_use)


async def test_a_keeper_knows_whom_it_serves(home: Home) -> None:
    """A token of one environment is worth nothing in another, and one login's nothing to another."""
    places = [("live", "refresh-token"), ("practice", "refresh-token"), ("live", "code")]
    assert [True, False, False] == [home.keeper.serves("questrade", *place) for place in places]
