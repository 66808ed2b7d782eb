"""F1 to F4, F8, F11 and F12: kills and torn writes around the answer to a redeem, and answers that never come."""

import asyncio

from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer
from proxy.tokens.regions import INTENT
from tests.tokens.support import HOUR, JOURNAL, LIFE, MINUTE, Home, settle

SOON = LIFE * 0.66 + 3
LOST = "the answer to a token request was lost, and now the broker refused the refresh token (400)"
KILLED = "bearerd was killed while a token request was out"


async def killed_with_a_post_out(home: Home, *, spent: bool) -> None:
    """The intent is durable, the request has left; the broker has worked it off, or has not."""
    home.endpoint.delay = 5.0
    await asyncio.sleep(SOON)
    home.endpoint.delay = 0.0
    if spent:
        home.endpoint.spend("R1")
    home.endpoint.posts.clear()
    await home.restart()


async def test_f01_a_kill_before_the_broker_has_heard_is_settled_by_the_one_try_of_the_old_token(home: Home) -> None:
    """It looks like a lost answer, is called one, and ends by itself."""
    await killed_with_a_post_out(home, spent=False)
    assert (State.UNCERTAIN, KILLED, "A1") == (home.state, home.reason, await home.call())

    await asyncio.sleep(LIFE - SOON)

    assert (["R1"], "A2") == ([token for _, token in home.endpoint.posts], await home.call())


async def test_f01_a_kill_before_the_intent_is_durable_leaves_no_doubt(home: Home) -> None:
    """Nothing was spent and nothing is on the disk."""
    home.disk.fail("datasync", 5, times=1000)
    await asyncio.sleep(SOON)
    await home.restart()
    await asyncio.sleep(MINUTE)

    assert (["R1"], "A2") == ([token for _, token in home.endpoint.posts], await home.call())


async def test_f02_an_answer_that_a_kill_took_is_told_as_lost_and_never_guessed(home: Home) -> None:
    """The one window: uncertain, one try, then a person is told what happened and what to type."""
    await killed_with_a_post_out(home, spent=True)
    assert (State.UNCERTAIN, KILLED) == (home.state, home.reason)
    await asyncio.sleep(LIFE)
    await home.keep_calling(HOUR)

    refusal = await home.refused()
    assert ("login-needed", "bearerd login questrade") == (refusal.kind.name, refusal.fix)
    assert f"grant questrade: {LOST}" == refusal.detail
    assert ["R1"] == [token for _, token in home.endpoint.posts]


async def test_f03_an_answer_in_the_journal_is_taken_up_at_the_start_without_a_post(home: Home) -> None:
    """Killed before the store's commit: nobody is asked, nothing is posted."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    home.store.failure = None
    home.endpoint.posts.clear()
    await home.restart()

    assert ("A2", "R2", []) == (await home.call(), await home.stored_token(), home.endpoint.posts)
    assert (State.FRESH, "") == (home.state, home.reason)


async def test_f04_a_torn_answer_leaves_its_intent_and_is_never_read(home: Home) -> None:
    """A bad tag is no answer: the grant is in doubt, not broken, and no part of the text comes out."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    home.store.failure = None
    home.disk.damage(JOURNAL, 16384 + INTENT + 600, b"torn")
    home.endpoint.posts.clear()
    await home.restart()

    assert (State.UNCERTAIN, KILLED, "A1") == (home.state, home.reason, await home.call())


async def test_f08_an_answer_that_is_lost_on_the_way_is_no_reason_to_post_again_at_once(home: Home) -> None:
    """The old pair serves on, and is the evidence: as long as it works, nothing was spent."""
    home.endpoint.script.append("lost-before")
    await asyncio.sleep(SOON)
    assert (State.UNCERTAIN, "the connection was lost before an answer came") == (home.state, home.reason)
    await asyncio.sleep(5 * MINUTE)
    assert (1, "A1") == (len(home.endpoint.posts), await home.call())

    home.keeper.accepted(1)
    await asyncio.sleep(MINUTE)

    assert (["R1", "R1"], "A2") == ([token for _, token in home.endpoint.posts], await home.call())


async def test_f08_a_request_that_never_left_leaves_no_doubt(home: Home) -> None:
    """A refused connection spends nothing: the intent is taken back, and the next try comes soon."""
    home.endpoint.script.append("not-sent")
    await asyncio.sleep(SOON - 2)
    assert (State.DUE, 0) == (home.state, home.journal.slots_in_use)
    assert "the connection was refused or could not be made" == home.reason

    await asyncio.sleep(5)

    assert (State.FRESH, "A2") == (home.state, await home.call())


async def test_f11_a_refresh_token_in_a_broken_off_answer_is_salvaged(home: Home) -> None:
    """What has come is kept; what it names completely is used."""
    cut = b'{"access_token": "A2", "refresh_token": "R2", "expires_in": 18'
    home.endpoint.spend("R1")
    home.endpoint.script.append(RawAnswer(200, "application/json", cut))
    await asyncio.sleep(SOON)

    assert ("A2", "R2") == (await home.call(), await home.stored_token())


async def test_f11_an_answer_without_a_refresh_token_is_uncertain(home: Home) -> None:
    """Empty, or broken off too early."""
    home.endpoint.script.append(RawAnswer(200, "application/json", b'{"access_token": "A2", "refr'))
    await asyncio.sleep(SOON)

    assert (State.UNCERTAIN, "the token endpoint's answer held no token") == (home.state, home.reason)
    assert ("A1", "R1") == (await home.call(), await home.stored_token())


async def test_f12_callers_of_an_endpoint_that_hangs_are_told_after_ten_seconds_and_the_flight_goes_on(
    home: Home,
) -> None:
    """The reason names the endpoint; the answer serves whoever comes later."""
    await asyncio.sleep(LIFE / 2)
    home.endpoint.delay = 25.0
    call = asyncio.ensure_future(home.keeper.renew(1))
    await settle()
    began = asyncio.get_running_loop().time()
    refusal = await home.refused()
    assert 10 == round(asyncio.get_running_loop().time() - began)
    assert ("token-unavailable", 5) == (refusal.kind.name, refusal.retry_after)
    assert "grant questrade: no token within 10 s: the token endpoint is slow" == refusal.detail
    await asyncio.wait((call,))
    assert call.exception() is not None
    await asyncio.sleep(16)

    assert ("A2", 1) == (await home.call(), len(home.endpoint.posts))
