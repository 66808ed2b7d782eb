"""F13: clocks that are stepped, clocks that differ, machines that sleep; and tokens that grow old unnoticed."""

import asyncio

import pytest

from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer
from proxy.tokens.skew import Skew
from tests.tokens.support import DAY, HOUR, LIFE, MINUTE, Home


async def test_f13_a_wall_clock_that_is_set_forward_hurries_the_renewal_and_costs_no_call(home: Home) -> None:
    """By the wall clock the token ends sooner, and it may be right: it is renewed before that, not after."""
    await home.call()
    await asyncio.sleep(5 * MINUTE)
    home.clock.step = LIFE - 5 * MINUTE - 2 * MINUTE
    home.keeper.recheck()  # as the server does as soon as it sees the step
    await asyncio.sleep(1)

    assert (["R1"], "A2") == ([token for _, token in home.endpoint.posts], await home.call())


async def test_f13_a_step_is_noticed_within_five_minutes_whoever_tells(home: Home) -> None:
    """A keeper looks that often by itself."""
    await home.call()
    home.clock.step = LIFE - 7 * MINUTE
    await asyncio.sleep(5 * MINUTE + 1)

    assert ["R1"] == [token for _, token in home.endpoint.posts]


@pytest.mark.parametrize("step", [-HOUR, -DAY, 30.0, -30.0])
async def test_f13_a_wall_clock_that_is_set_back_puts_nothing_off(home: Home, step: float) -> None:
    """The time since boot says how old the token is; a small step changes no plan."""
    await home.call()
    home.clock.step = step
    home.keeper.recheck()
    planned = 0.66 * LIFE
    await asyncio.sleep(planned - 1)
    assert [] == home.endpoint.posts
    await asyncio.sleep(2)

    assert ["R1"] == [token for _, token in home.endpoint.posts]


async def test_f13_the_first_call_after_a_sleep_looks_before_it_is_sent(home: Home) -> None:
    """The timers have stood still with the machine; the time since boot has not."""
    await home.call()
    home.clock.asleep = 3 * HOUR

    assert ("A2", ["R1"]) == (await home.call(), [token for _, token in home.endpoint.posts])


async def test_f13_a_sleep_is_no_step(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Both clocks count on."""
    skew = Skew(home.clock)
    home.clock.asleep = 3 * HOUR
    assert not skew.look()
    home.clock.step = 31
    assert [True, False] == [skew.look(), skew.look()]
    told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert ["the wall clock was set; renewals are planned anew"] == [line["event"] for line in told]


async def test_f13_a_broker_whose_clock_differs_is_named_with_both_times_and_the_cure(home: Home) -> None:
    """`bearerd status` shows it until the clocks agree."""
    skew, asked = Skew(home.clock), home.clock.now()
    skew.compare("login.questrade.com", asked.wall + 61, asked)

    (warning,) = skew.warnings
    assert "this machine's clock says 2026-03-03 17:00:" in warning
    assert "and login.questrade.com says 2026-03-03 17:01:" in warning
    assert "timedatectl set-ntp true" in warning


async def test_a_refresh_token_that_was_not_renewed_for_half_of_its_life_is_told_of(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever keeps it from being renewed: since when, until when, what to do. A renewal ends it."""
    home.endpoint.always = RawAnswer(503, "", b"")
    await home.keep_calling(1.4 * DAY, every=HOUR)
    assert home.keeper.standing().warning is None
    await home.keep_calling(0.2 * DAY, every=HOUR)
    warning = home.keeper.standing().warning
    assert warning is not None
    assert "was last renewed 39 h ago, at 2026-03-03 17:00 UTC, and dies in 33 h, at 2026-03-06 17:00 UTC" in warning
    assert warning.endswith("bearerd login questrade")
    assert 1 == caplog.text.count("a refresh token grows old")

    home.endpoint.always = "ok"
    await asyncio.sleep(HOUR)
    assert (State.FRESH, None) == (home.state, home.keeper.standing().warning)
