"""When a grant is renewed, how often at most, and what its standing says. Days pass in virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.brokers import HostPattern
from proxy.secret import Secret
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer
from tests.tokens.support import (
    BAD_REQUEST,
    DAY,
    HOUR,
    LIFE,
    LIVE,
    MINUTE,
    WALL,
    Act,
    Home,
    VirtualLoop,
    settle,
)

FOREIGN = "https://api01.iq.questrade.com.evil.example/"


async def homely(jitter: float = 0.5, **changes: object) -> Home:
    home = Home(environment=replace(LIVE, **changes), jitter=jitter)  # type: ignore[arg-type]
    await home.open()
    await home.log_in()
    return home


@pytest.mark.parametrize("jitter", [0.0, 0.25, 0.5, 0.75, 1.0])
async def test_a_pair_is_renewed_at_two_thirds_of_its_life_give_or_take_a_tenth(jitter: float) -> None:
    """In the background, without a call."""
    home = await homely(jitter)
    await asyncio.sleep(LIFE)

    assert LIFE * 0.66 * (0.9 + 0.2 * jitter) == pytest.approx(home.endpoint.times[0], abs=0.1)
    await home.close()


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
async def test_an_unused_grant_is_renewed_every_twelve_hours(jitter: float) -> None:
    """Give or take a tenth, and never later than a day: so the refresh token never dies of age."""
    home = await homely(jitter)
    await asyncio.sleep(10 * DAY)
    gaps = [later - former for former, later in zip(home.endpoint.times, home.endpoint.times[1:], strict=False)]

    assert {round(12 * (0.9 + 0.2 * jitter), 1)} == {round(gap / HOUR, 1) for gap in gaps[1:]}
    await home.close()


async def test_a_grant_that_is_used_is_renewed_before_its_end_for_ever(home: Home) -> None:
    """A call every ten minutes for two days: each finds a live pair."""
    for _ in range(2 * 144):
        await asyncio.sleep(10 * MINUTE)
        await home.call()

    assert len(home.endpoint.posts) == pytest.approx(2 * DAY / (LIFE * 0.66), abs=2)


async def test_an_open_exchange_is_use(home: Home) -> None:
    """A stream that lasts for hours keeps its grant fresh without a call."""
    await home.keeper.take()
    await asyncio.sleep(4 * HOUR)

    assert 10 < len(home.endpoint.posts)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("answer", ["not-sent", RawAnswer(503, "", b"<html>"), RawAnswer(403, "", b"")])
async def test_an_outage_costs_six_posts_in_the_first_minute(answer: Act, jitter: float) -> None:
    """Whatever the jitter, and however many callers insist."""
    home = await homely(jitter)
    home.endpoint.always = answer
    await asyncio.sleep(LIFE)
    home.endpoint.posts.clear()
    await home.restart()
    start = asyncio.get_running_loop().time()
    await home.keep_calling(5 * MINUTE, 0.2)

    first = [time for time in home.endpoint.times if time - start <= MINUTE]
    assert 4 <= len(first) <= 6
    assert len(home.endpoint.posts) <= 6 + 9
    await home.close()


@pytest.mark.parametrize(("asked", "waited"), [(600.0, 600.0), (7200.0, 3600.0), (0.0, 0.0)])
async def test_retry_after_is_honoured_up_to_an_hour(home: Home, asked: float, waited: float) -> None:
    """However many calls come in between."""
    home.endpoint.script.append(RawAnswer(429, "", b"", asked))
    await home.keep_calling(3 * HOUR, 10)

    gap = home.endpoint.times[1] - home.endpoint.times[0]
    assert waited <= gap <= waited + 12


async def test_a_refusal_that_waits_says_when_to_come_back(home: Home) -> None:
    """Retry-After is the time of the next try."""
    home.endpoint.always = RawAnswer(429, "", b"", 1800.0)
    await asyncio.sleep(LIFE + 1)

    refusal = await home.refused()

    assert 1800 - LIFE * 0.34 - 2 == pytest.approx(refusal.retry_after, abs=5)


async def test_a_foreign_api_server_is_sent_nothing_and_stops_the_grant_after_three_more_tries(home: Home) -> None:
    """Both tokens are kept, tries are a minute apart, and the message names the key to extend."""
    home.endpoint.always = {"api_server": FOREIGN}
    await asyncio.sleep(LIFE * 0.66 + 10)
    grant = await home.stored()
    assert (Secret("A2"), Secret("R2"), None) == (grant.access_token, grant.refresh_token, grant.origin)
    await home.keep_calling(50 * MINUTE, 5)

    assert [60, 60, 60] == [
        pytest.approx(b - a, abs=1) for a, b in zip(home.endpoint.times, home.endpoint.times[1:], strict=False)
    ]
    assert State.STOPPED is home.state
    refusal = await home.refused()
    assert "token-unavailable" == refusal.kind.name
    assert "brokers.questrade.environments.live.api_hosts" in refusal.detail
    assert "evil.example" in refusal.detail


@pytest.mark.parametrize(
    ("seconds", "state"), [(LIFE * 0.66 + 10, State.FRESH), (LIFE + HOUR / 2, State.STOPPED)], ids=["fresh", "stopped"]
)
async def test_a_host_that_was_added_to_the_configuration_is_used_after_a_reload(
    home: Home, seconds: float, state: State
) -> None:
    """At once, whether bearerd was still trying or had stopped."""
    home.endpoint.always = {"api_server": "https://api.new.example"}
    await home.keep_calling(seconds, 5)
    assert state is home.state

    home.redefine(api_hosts=(*LIVE.api_hosts, HostPattern.parse("api.new.example")))
    await settle()

    assert "api.new.example" == str((await home.keeper.take()).origin)


async def test_a_host_that_was_taken_out_of_the_configuration_is_not_used_any_more(home: Home) -> None:
    """The pair in hand was for that host: the next call gets one for another."""
    home.endpoint.always = {"api_server": "https://api02.example"}
    home.redefine(api_hosts=(HostPattern.parse("api##.example"),))

    assert "api02.example" == str((await home.keeper.take()).origin)


@pytest.mark.parametrize("changes", [{"access_token": None}, {"access_token": "a b"}, {"api_server": "nonsense"}])
async def test_an_answer_that_brings_no_usable_pair_does_not_start_a_race(changes: dict[str, object]) -> None:
    """Its refresh token is kept, and callers don't redeem one after the other."""
    home = await homely()
    home.endpoint.always = changes
    await home.keep_calling(LIFE * 0.66 + 2 * MINUTE, 0.5)

    assert 3 >= len(home.endpoint.posts)
    assert f"R{home.endpoint.issued}" == await home.stored_token()
    await home.close()


async def test_an_answer_without_an_api_server_keeps_the_last_one(home: Home) -> None:
    """It may be left out."""
    home.endpoint.always = {"api_server": None}
    await asyncio.sleep(LIFE * 0.7)

    pair = await home.keeper.take()

    assert ("A2", "api01.iq.questrade.com") == (pair.access_token.reveal(), str(pair.origin))


async def test_more_rotations_a_day_than_allowed_stop_the_grant() -> None:
    """Something renews far too often; a day later it goes on by itself."""
    home = await homely(max_rotations_per_day=5, renew_cooldown=0.0)
    await home.keep_calling(4 * HOUR)
    assert (State.STOPPED, 4) == (home.state, len(home.endpoint.posts))
    assert "5 rotations within a day: something renews far too often" == home.reason

    await home.keep_calling(DAY)
    assert 5 <= len(home.endpoint.posts) <= 14
    await home.close()


async def test_a_login_lets_a_grant_that_stopped_start_anew() -> None:
    """A person has looked at it: what was counted before is forgotten, as after a reload."""
    home = await homely(max_rotations_per_day=5, renew_cooldown=0.0)
    await home.keep_calling(4 * HOUR)
    assert State.STOPPED is home.state
    await home.log_in("login-2")
    await home.keep_calling(HOUR)

    assert (State.FRESH, 3) == (home.state, len(home.endpoint.posts))
    await home.close()


async def test_no_limit_of_rotations_is_no_limit() -> None:
    """As the simulators have it: a token a second, for ten minutes."""
    home = await homely(max_rotations_per_day=0, min_life=1.0)
    home.endpoint.life = 1
    await home.restart()
    await asyncio.sleep(LIFE * 0.7)
    home.endpoint.posts.clear()
    for _ in range(600):
        await home.call()
        await asyncio.sleep(1)

    assert 600 <= len(home.endpoint.posts) <= 1000
    await home.close()


@pytest.mark.parametrize("step", [-DAY, -HOUR, HOUR, 30 * DAY])
async def test_a_step_of_the_wall_clock_costs_no_call(home: Home, step: float) -> None:
    """Backwards a token does not live longer, forwards it is renewed: never is a dead one served."""
    await asyncio.sleep(MINUTE)
    home.clock.step = step
    for _ in range(80):
        await asyncio.sleep(MINUTE)
        await home.call()
        age = asyncio.get_running_loop().time() - ([0.0, *home.endpoint.times][-1])
        assert age < LIFE

    assert 2 <= len(home.endpoint.posts) <= 8


@pytest.mark.parametrize(
    ("prepare", "state", "usable", "renews"),
    [
        (lambda _home: None, State.FRESH, True, True),
        (lambda home: home.endpoint.script.append("lost-after"), State.UNCERTAIN, True, True),
        (lambda home: setattr(home.endpoint, "always", BAD_REQUEST), State.NEEDS_LOGIN, True, False),
        (lambda home: setattr(home.endpoint, "always", "not-sent"), State.DUE, True, True),
        (lambda home: home.endpoint.script.append(home.store_fails), State.ANSWERED, True, True),
    ],
)
async def test_a_standing_tells_state_and_times(
    home: Home, prepare: Callable[[Home], None], state: State, *, usable: bool, renews: bool
) -> None:
    """And never a token."""
    prepare(home)
    await asyncio.sleep(LIFE * 0.7)
    standing = home.keeper.standing()

    assert (state, usable, renews) == (standing.state, standing.usable, standing.next_renewal is not None)
    assert ("questrade", "questrade", "live") == (standing.grant, standing.broker, standing.environment)
    assert standing.refreshed is not None
    assert standing.dies == standing.refreshed + 3 * DAY
    assert WALL <= standing.since
    assert "api01.iq.questrade.com" == standing.origin


async def test_a_grant_without_a_login_has_no_times(empty: Home) -> None:
    """Nothing to renew, nothing that ends."""
    standing = empty.keeper.standing()

    assert (State.NONE, False, 0) == (standing.state, standing.usable, standing.generation)
    assert (None,) * 5 == (
        standing.origin,
        standing.access_expires,
        standing.next_renewal,
        standing.refreshed,
        standing.dies,
    )


async def test_a_keeper_that_may_not_try_yet_does_not_spin(home: Home) -> None:
    """A timer that is due while patience says no would go round without a pause."""
    home.endpoint.life = 1
    home.endpoint.always = {"api_server": FOREIGN}
    await asyncio.sleep(LIFE * 0.7)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    before = loop.rounds
    await asyncio.sleep(50)

    assert loop.rounds - before < 20
