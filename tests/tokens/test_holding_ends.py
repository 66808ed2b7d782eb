"""Logins that only a person can repeat: warned of in time, served to their end, and never given up for a 401.

Tradier's token lives for a day; a broker of Schwab's kind ends a login after seven, whatever is rotated meanwhile.
"""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from proxy.errors import Refusal
from proxy.store import Row
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.holding import Holding
from proxy.tokens.stored import take_over
from tests.tokens.support import BAD_REQUEST, CONNECT, DAY, HOUR, MINUTE, SCHWAB, TRADIER, Home, settle, warnings

LIFE = 86399.0
WEEK = 7 * DAY


@pytest.fixture
async def day() -> AsyncIterator[Home]:
    """A grant whose token lives for a day and cannot be renewed."""
    home = await Home.of(TRADIER, life=LIFE, scope="read market")
    await home.log_in()
    yield home
    await home.close()


@pytest.fixture
async def week() -> AsyncIterator[Home]:
    """A grant that rotates, of a broker that ends each login after seven days."""
    home = await Home.of(SCHWAB, title="Schwab", refreshes=True)
    await home.log_in()
    yield home
    await home.close()


async def test_a_token_that_cannot_be_renewed_is_served_to_its_end_and_no_further(day: Home) -> None:
    """To the second; then a call gets the command, and nothing was ever posted."""
    await asyncio.sleep(LIFE - 1)
    assert ("A1", State.FRESH) == (await day.call(), day.state)
    await asyncio.sleep(1)

    assert State.NEEDS_LOGIN is day.state
    refusal = await day.refused()
    assert ("login-needed", "bearerd login tradier") == (refusal.kind.name, refusal.fix)
    assert "grant tradier: the access token ended at 2026-03-04 16:59 UTC, and nothing here can renew it" == (
        refusal.detail
    )
    await day.keep_calling(DAY)
    assert [] == day.endpoint.posts


async def test_nothing_is_wanted_of_a_token_endpoint_that_could_give_nothing(day: Home) -> None:
    """Whoever asks, and whatever state the grant is in."""
    held = Holding(
        "tradier",
        broker=day.broker,
        environment=day.environment,
        login=day.login,
        clock=day.clock,
        jitter=lambda: 0.5,
    )
    await take_over(held, day.book, await day.stored())

    assert (State.FRESH, False, math.inf) == (held.state, held.wants(day.clock.now()), held.due_in(day.clock.now()))
    with pytest.raises(LookupError, match="grant tradier holds no refresh token"):
        _ = held.renewal


async def test_warnings_come_two_hours_half_an_hour_and_five_minutes_before_the_end(
    day: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, by themselves, on time; readiness and status can say the same from the first one on."""
    await asyncio.sleep(LIFE - 7201)
    assert ([], None) == (warnings(caplog), day.keeper.standing().warning)
    await asyncio.sleep(2)
    text = "the login ends in 2 h, at 2026-03-04 16:59 UTC; before that: bearerd login tradier"
    assert text == day.keeper.standing().warning
    await asyncio.sleep(7197)

    assert [7200, 1800, 300] == [pytest.approx(left, abs=1) for left in warnings(caplog)]
    await asyncio.sleep(DAY)
    assert (3, None) == (len(warnings(caplog)), day.keeper.standing().warning)


@pytest.mark.parametrize("late", [-MINUTE, HOUR])
async def test_a_login_before_or_after_the_end_makes_all_well(
    day: Home, caplog: pytest.LogCaptureFixture, late: float
) -> None:
    """Served again, and warned of anew a day later."""
    await asyncio.sleep(LIFE + late)
    await day.log_in("login-2")
    caplog.clear()
    standing = day.keeper.standing()
    assert (State.FRESH, "", None, True) == (standing.state, standing.reason, standing.warning, standing.usable)
    assert "A2" == await day.call()

    await asyncio.sleep(LIFE - 1)
    assert "A2" == await day.call()
    assert [7200, 1800, 300] == [pytest.approx(left, abs=1) for left in warnings(caplog)]


async def test_the_standing_of_a_login_that_ends_says_when_and_what_was_granted(day: Home) -> None:
    """There is nothing that renews it."""
    standing = day.keeper.standing()

    assert standing.refreshed is not None
    assert standing.refreshed + LIFE == standing.ends == standing.access_expires
    assert (None, None) == (standing.next_renewal, standing.dies)
    assert ("connect", "code", ("read", "market")) == (standing.login, standing.login_kind, standing.granted)


@pytest.mark.parametrize("off", [0.0, HOUR])
async def test_a_restart_keeps_the_plan(day: Home, caplog: pytest.LogCaptureFixture, off: float) -> None:
    """The end counts from the login; what was warned of is not warned of twice, unless bearerd slept through it."""
    end = day.keeper.standing().ends
    await asyncio.sleep(LIFE / 2)
    await day.restart(off=off)
    assert (end, "A1") == (day.keeper.standing().ends, await day.call())
    await asyncio.sleep(LIFE / 2 - off - MINUTE)
    assert [7200, 1800, 300] == [pytest.approx(left, abs=1) for left in warnings(caplog)]

    await asyncio.sleep(MINUTE)
    assert State.NEEDS_LOGIN is day.state


async def test_a_restart_after_a_warning_repeats_the_last_one_only(day: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log of the new process must learn of it."""
    await asyncio.sleep(LIFE - 1000)
    caplog.clear()
    await day.restart()
    await settle()

    assert [1000] == [pytest.approx(left, abs=1) for left in warnings(caplog)]


async def test_a_token_that_ended_while_bearerd_was_off_needs_a_login_at_once(day: Home) -> None:
    """Before any call, with the reason."""
    await day.restart(off=DAY)

    assert (State.NEEDS_LOGIN, False) == (day.state, day.keeper.standing().usable)
    assert "nothing here can renew it" in (await day.refused()).detail


@pytest.mark.parametrize("step", [-DAY, 6 * HOUR])
async def test_a_step_of_the_wall_clock_does_not_prolong_a_token(day: Home, step: float) -> None:
    """Forwards it ends early, backwards no later."""
    await asyncio.sleep(HOUR)
    day.clock.step = step
    await asyncio.sleep(LIFE - HOUR - max(0, step) - 1)
    assert "A1" == await day.call()
    await asyncio.sleep(1)

    assert "login-needed" == (await day.refused()).kind.name


async def test_a_login_that_a_wrong_wall_clock_has_ended_goes_on_once_that_is_right(week: Home) -> None:
    """Eight days too fast for ten minutes: neither a person nor a restart is needed."""
    week.clock.step = 8 * DAY
    await asyncio.sleep(10 * MINUTE)
    assert State.NEEDS_LOGIN is week.state

    week.clock.step = 0.0
    await asyncio.sleep(HOUR)

    assert (State.FRESH, None, "") == (week.state, week.keeper.standing().fix, week.reason)
    assert "A1" != await week.call()


async def test_a_wall_clock_that_is_set_back_revives_no_token_that_was_refused(week: Home) -> None:
    """Time is not what ended that login."""
    week.endpoint.always = BAD_REQUEST
    await asyncio.sleep(HOUR)
    assert (State.NEEDS_LOGIN, 1) == (week.state, len(week.endpoint.posts))

    week.clock.step = -DAY
    await asyncio.sleep(HOUR)

    assert (State.NEEDS_LOGIN, 1) == (week.state, len(week.endpoint.posts))


async def test_a_401_where_nothing_can_be_renewed_passes_and_costs_nothing(
    day: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """It may mean anything: the token is served on, the state stays, and a person learns what to do if it goes on."""
    pair = await day.keeper.take()
    day.keeper.give_back()
    assert [None] * 50 == [await day.keeper.renew(pair.generation) for _ in range(50)]
    standing = day.keeper.standing()

    assert (State.FRESH, True, True, "A1") == (standing.state, standing.usable, standing.doubted, await day.call())
    text = "the broker refused the token (401) at 2026-03-03 17:00 UTC; if that goes on: bearerd login tradier"
    assert text == standing.reason
    assert (1, []) == (
        sum("nothing can renew" in str(record.msg) for record in caplog.records),
        day.endpoint.posts,
    )


async def test_a_call_that_is_accepted_ends_the_doubt(day: Home) -> None:
    """Of that very token; an answer to an older one proves nothing."""
    await day.keeper.renew(1)
    day.keeper.accepted(0)
    assert day.keeper.standing().doubted
    day.keeper.accepted(1)

    assert ("", False, State.FRESH) == (day.reason, day.keeper.standing().doubted, day.state)
    await day.keeper.renew(1)
    assert day.keeper.standing().doubted


async def test_a_doubt_ends_with_a_login_and_with_a_restart(day: Home) -> None:
    """The next refusal would bring it back."""
    await day.keeper.renew(1)
    await day.log_in("login-2")
    assert ("", False) == (day.reason, day.keeper.standing().doubted)
    await day.keeper.renew(2)
    await day.restart()

    assert ("", False, "A2") == (day.reason, day.keeper.standing().doubted, await day.call())


async def test_a_doubt_does_not_outlive_the_token(day: Home) -> None:
    """The end has a reason of its own, which an old answer does not wipe out."""
    await day.keeper.renew(1)
    await asyncio.sleep(LIFE)
    day.keeper.accepted(1)

    assert (State.NEEDS_LOGIN, True) == (day.state, day.reason.startswith("the access token ended"))


async def test_a_token_without_an_end_has_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """In a month of calls."""
    home = await Home.of(CONNECT, life=None)
    await home.log_in()
    await home.keep_calling(30 * DAY, DAY)

    assert ([], State.FRESH, "A1") == (warnings(caplog), home.state, await home.call())
    await home.close()


async def test_a_login_that_ends_after_a_week_rotates_until_then(week: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Warned of at a twelfth and so on of the week; no call fails, and at its end a person is asked for, by name."""
    for _ in range(int(WEEK / MINUTE) - 1):
        await asyncio.sleep(MINUTE)
        await week.call()
    assert State.FRESH is week.state
    assert WEEK / (1800 * 0.66) == pytest.approx(len(week.endpoint.posts), rel=0.02)
    assert [WEEK / 12, WEEK / 48, WEEK / 288] == [pytest.approx(left, abs=2) for left in warnings(caplog)]
    await asyncio.sleep(MINUTE)

    standing = week.keeper.standing()
    text = "Schwab ends a login after 7 days, however often it is renewed; this one at 2026-03-10 17:00 UTC"
    assert (State.NEEDS_LOGIN, text, "bearerd login schwab") == (standing.state, standing.reason, standing.fix)
    posts = len(week.endpoint.posts)
    await week.keep_calling(DAY)
    assert posts == len(week.endpoint.posts)


async def test_the_last_token_of_a_login_is_served_to_its_own_end(week: Home) -> None:
    """It was issued shortly before the login ended."""
    await week.keep_calling(WEEK + 1, MINUTE)
    assert State.NEEDS_LOGIN is week.state
    assert week.keeper.standing().usable
    await asyncio.sleep(1800)

    assert "login-needed" == (await week.refused()).kind.name


async def test_a_restart_does_not_lengthen_a_login(week: Home) -> None:
    """Nor does a rotation: both know when the person logged in."""
    end = week.keeper.standing().ends
    await week.keep_calling(3 * DAY, 10 * MINUTE)
    await week.restart(off=HOUR)
    await week.call()
    standing = week.keeper.standing()
    assert (end, end) == (standing.ends, standing.dies)

    await week.restart(off=WEEK)
    posts = len(week.endpoint.posts)
    await week.keep_calling(HOUR)
    assert (State.NEEDS_LOGIN, posts) == (week.state, len(week.endpoint.posts))


async def test_a_refresh_token_that_is_not_rotated_is_kept(week: Home) -> None:
    """Its answers name none; the stored one is posted each time."""
    week.endpoint.steady = "R1"
    week.endpoint.answer = {"api_server": None, "refresh_token": None}
    await week.keep_calling(DAY, 10 * MINUTE)

    assert {"R1"} == {posted for _, posted in week.endpoint.posts}
    assert ("R1", State.FRESH) == (await week.stored_token(), week.state)


async def test_a_login_that_ends_while_a_redeem_is_out_lands_first(week: Home) -> None:
    """Its answer is kept and served; then the end is seen without delay."""
    week.redefine(renew_cooldown=0.0)
    await week.keep_calling(WEEK - MINUTE, MINUTE)
    await asyncio.sleep(WEEK - 5 - asyncio.get_running_loop().time())
    week.endpoint.delay = 8.0
    issued = week.endpoint.issued
    caller = asyncio.ensure_future(week.keeper.renew(week.keeper.standing().generation))
    await asyncio.sleep(6)
    assert (State.REDEEMING, False) == (week.state, caller.done())
    await asyncio.sleep(3)

    pair = await caller
    assert pair is not None
    assert f"A{issued + 1}" == pair.access_token.reveal()
    assert (State.NEEDS_LOGIN, True) == (week.state, week.keeper.standing().usable)


async def test_a_login_that_ends_before_the_intent_is_on_disk_disturbs_no_redeem(week: Home) -> None:
    """The store is slow just then, and somebody looks at the standing: what was begun is ended in order."""
    week.redefine(renew_cooldown=0.0)
    await week.keep_calling(WEEK - MINUTE, MINUTE)
    read = week.store.read

    async def slow(name: str) -> Row | None:
        await asyncio.sleep(4)
        return await read(name)

    week.store.read = slow  # type: ignore[method-assign]
    await asyncio.sleep(WEEK - 2 - asyncio.get_running_loop().time())
    issued = week.endpoint.issued
    caller = asyncio.ensure_future(week.keeper.renew(week.keeper.standing().generation))
    await asyncio.sleep(3)
    assert State.DUE is week.state
    await asyncio.sleep(10)

    assert (State.NEEDS_LOGIN, issued + 1, 0) == (week.state, week.endpoint.issued, week.journal.slots_in_use)
    assert week.reason.startswith("Schwab ends a login after 7 days")
    pair = await caller
    assert pair is not None


@pytest.mark.parametrize(("act", "expected"), [("not-sent", "login-needed"), ("ok", "A2")])
async def test_a_call_during_a_login_waits_for_it_though_the_old_token_ends(day: Home, act: str, expected: str) -> None:
    """It gets the new token, or the word that a person must log in, once that is known."""
    await asyncio.sleep(LIFE - 1)
    day.endpoint.delay = 3.0
    day.endpoint.script.append(act)
    login = asyncio.gather(day.log_in("login-2"), return_exceptions=True)
    await asyncio.sleep(2)
    try:
        got = await day.call()
    except Refusal as refusal:
        got = refusal.kind.name

    (failure,) = await login
    assert (expected, act == "not-sent") == (got, isinstance(failure, LoginFailed))


@pytest.mark.parametrize("act", ["lost-after", "not-sent"])
async def test_a_login_ends_in_whatever_state_it_finds_the_grant(week: Home, act: str) -> None:
    """Uncertain or backing off: nothing is posted after the end, and a login ends all doubt."""
    await week.keep_calling(WEEK - 10 * MINUTE, MINUTE)
    week.endpoint.always = act
    await week.keeper.renew(week.keeper.standing().generation - 1)
    await week.keep_calling(11 * MINUTE, MINUTE)
    assert (State.NEEDS_LOGIN, True) == (week.state, week.reason.startswith("Schwab ends a login"))
    posts = len(week.endpoint.posts)
    await week.keep_calling(DAY, MINUTE)
    assert posts == len(week.endpoint.posts)

    week.endpoint.always = "ok"
    await week.log_in("login-2")
    assert (State.FRESH, 0) == (week.state, week.journal.slots_in_use)
