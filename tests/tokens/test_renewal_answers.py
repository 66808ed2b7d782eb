"""What each answer of the token endpoint leads to, how often it is asked, and that calls are served meanwhile.

The names F8, F9, I9 are those of the failures and invariants of custody.
"""

import asyncio
from dataclasses import replace

import pytest

from proxy.errors import Refusal
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer
from tests.tokens.support import BAD_REQUEST, DAY, HOUR, LIFE, MINUTE, Act, Home, settle

SOON = LIFE * 0.66 + 3  # the advisory point has passed, and a redeem has had its time


async def test_a_lost_answer_is_uncertain_then_tried_once_then_dead(home: Home) -> None:
    """F8: the old pair is served while it lives, the old token posted once more, and the reason tells the story."""
    home.endpoint.script.append("lost-after")
    await asyncio.sleep(SOON)
    assert (State.UNCERTAIN, "A1") == (home.state, await home.call())
    await asyncio.sleep(LIFE - SOON - MINUTE - 1)
    assert 1 == len(home.endpoint.posts)

    await asyncio.sleep(2 * MINUTE)

    assert ["R1", "R1"] == [token for _, token in home.endpoint.posts]
    refusal = await home.refused()
    assert "login-needed" == refusal.kind.name
    assert "grant questrade: the answer to a token request was lost, and now the broker refused" in refusal.detail
    await home.keep_calling(DAY)
    assert 2 == len(home.endpoint.posts)
    assert 0 == home.journal.slots_in_use


async def test_a_refused_old_token_settles_the_doubt_at_once(home: Home) -> None:
    """A 401 on the old pair: no need to wait for its end."""
    home.endpoint.script.append("lost-after")
    await asyncio.sleep(SOON + 10)

    with pytest.raises(Refusal) as caught:
        await home.keeper.renew(1)

    assert "login-needed" == caught.value.kind.name
    assert 2 == len(home.endpoint.posts)


async def test_an_old_token_that_still_works_after_a_minute_proves_that_nothing_was_spent(home: Home) -> None:
    """The broker kills old tokens at a redeem, so this one did not happen; within the minute it proves nothing."""
    home.endpoint.script.append("lost-before")
    await asyncio.sleep(SOON)
    await asyncio.sleep(50)
    home.keeper.accepted(1)
    assert State.UNCERTAIN is home.state
    await asyncio.sleep(20)
    home.keeper.accepted(0)
    assert State.UNCERTAIN is home.state
    home.keeper.accepted(1)
    await asyncio.sleep(1)

    assert ("A2", 0) == (await home.call(), home.journal.slots_in_use)


async def test_a_doubt_outlives_an_outage(home: Home) -> None:
    """After a lost answer the endpoint is down for a while; when the token is dead, the reason is still known."""
    home.endpoint.script.extend(["lost-after", RawAnswer(503, "", b""), "not-sent"])
    await asyncio.sleep(LIFE + HOUR)
    await home.keep_calling(MINUTE, 10)

    assert (4, State.NEEDS_LOGIN) == (len(home.endpoint.posts), home.state)
    assert home.reason.startswith("the answer to a token request was lost")


async def test_i9_a_dead_token_is_never_posted_again_also_after_a_restart(home: Home) -> None:
    """One post, then a person must log in: over a day of calls and over a restart."""
    home.endpoint.always = BAD_REQUEST
    await asyncio.sleep(SOON)
    assert (State.NEEDS_LOGIN, "A1") == (home.state, await home.call())
    await home.keep_calling(DAY)
    reason = home.reason

    await home.restart()
    await home.keep_calling(DAY)

    assert (1, State.NEEDS_LOGIN, reason) == (len(home.endpoint.posts), home.state, home.reason)
    assert "the broker refused the refresh token (400)" == reason
    assert None is home.keeper.standing().next_renewal


async def test_i9_a_verdict_that_the_store_could_not_take_is_in_the_journal(home: Home) -> None:
    """The store fails just then, and the process is killed: the token is still not posted again."""

    async def refuse() -> None:
        await home.store_fails()
        home.endpoint.issued += 1

    home.endpoint.script.append(refuse)
    await asyncio.sleep(SOON)
    await home.restart()
    await home.keep_calling(DAY)

    assert (1, State.NEEDS_LOGIN, 0) == (len(home.endpoint.posts), home.state, home.journal.slots_in_use)


async def test_a_dead_token_whose_row_has_moved_on_is_no_verdict(home: Home) -> None:
    """F9: the store holds a newer pair by now: it is adopted, and no login is needed."""
    newer = replace(await home.stored(), generation=2, refreshed=home.clock.now().wall + 900)

    async def write() -> None:
        await home.book.write(newer)
        home.endpoint.issued += 1

    home.endpoint.script.append(write)
    await asyncio.sleep(SOON)

    assert (State.FRESH, 2) == (home.state, home.keeper.standing().generation)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (RawAnswer(500, "text/html", b"<html>"), "try-later"),
        (RawAnswer(200, "text/html", b" <!DOCTYPE html><p>We're making some changes"), "try-later"),
        (RawAnswer(403, "text/html", b"<html>blocked"), "try-later"),
        (RawAnswer(400, "application/json", b'{"error": "unheard_of"}'), "try-later"),
        (RawAnswer(429, "", b""), "try-later"),
        (RawAnswer(200, "", b""), "uncertain"),
        (RawAnswer(200, "application/json", b'{"access_token": "A9", "refresh_tok'), "uncertain"),
        (RawAnswer(400, "application/json", b'{"error": "invalid_client"}'), "misconfigured"),
        (RawAnswer(400, "application/json", b'{"error": "invalid_grant"}'), "dead"),
        (BAD_REQUEST, "dead"),
        ("not-sent", "not-sent"),
        (RuntimeError("R1"), "uncertain"),
    ],
)
async def test_the_old_pair_is_served_whatever_the_endpoint_answers(home: Home, answer: Act, outcome: str) -> None:
    """0 failed calls while the access token lives, for each kind of fault."""
    home.endpoint.always = answer
    await asyncio.sleep(SOON)

    assert ([outcome], "A1") == (home.observed[:1], await home.call())
    assert "R1" not in home.reason


async def test_a_fault_of_ours_during_the_post_is_a_lost_answer(home: Home) -> None:
    """It says what kind of fault, never its text, and the token is treated as perhaps spent."""
    home.endpoint.script.append(RuntimeError("R1 is the token"))
    await asyncio.sleep(SOON)

    assert (State.UNCERTAIN, 1) == (home.state, home.journal.slots_in_use)
    assert "bearerd failed while a token request was out (RuntimeError)" == home.reason


async def test_twelve_refusals_in_a_row_stop_the_grant_and_then_it_tries_hourly(home: Home) -> None:
    """403 and unknown 4xx; `reload` tries at once."""
    home.endpoint.always = RawAnswer(403, "", b"")
    await asyncio.sleep(LIFE - 1)
    assert State.STOPPED is home.state
    assert "12 refusals in a row: the token endpoint answered 403" == home.reason
    assert (12, "A1") == (len(home.endpoint.posts), await home.call())

    await asyncio.sleep(5 * HOUR)
    assert 17 == pytest.approx(len(home.endpoint.posts), abs=1)
    refusal = await home.refused()
    assert ("token-unavailable", True) == (refusal.kind.name, "bearerd reload" in (refusal.fix or ""))

    home.endpoint.always = "ok"
    home.redefine()
    await settle()
    assert "A2" == await home.call()


async def test_outages_never_stop_the_grant(home: Home) -> None:
    """Three days of them only back off; the first success serves again."""
    home.endpoint.always = RawAnswer(503, "", b"")
    await home.keep_calling(3 * DAY)
    assert State.DUE is home.state

    home.endpoint.always = "ok"
    await home.keep_calling(5 * MINUTE)

    assert "A2" == await home.call()


async def test_a_refused_client_stops_the_grant_at_once(home: Home) -> None:
    """`invalid_client` will not get better by trying."""
    home.endpoint.always = RawAnswer(401, "application/json", b'{"error": "invalid_client"}')
    await asyncio.sleep(SOON)
    await home.keep_calling(50 * MINUTE)

    assert (State.STOPPED, 1) == (home.state, len(home.endpoint.posts))
