"""F9, F10, F19, F20, F22 and F23: what a broker's token endpoint and its API may answer."""

import asyncio
import logging
from dataclasses import replace

import pytest

from proxy.secret import Secret
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer
from tests.tokens.support import BAD_REQUEST, DAY, HOUR, LIFE, LIVE, MINUTE, QUESTRADE, Act, Home

SOON = LIFE * 0.66 + 3


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


async def test_f09_a_refused_token_is_dead_and_a_person_is_told_once(home: Home) -> None:
    """No second post, ever, whoever calls; the old pair serves to its end."""
    home.endpoint.always = BAD_REQUEST
    await asyncio.sleep(SOON)
    assert (State.NEEDS_LOGIN, "A1") == (home.state, await home.call())
    assert "the broker refused the refresh token (400)" == home.reason
    await home.keep_calling(DAY)
    await home.restart()
    await home.keep_calling(DAY)

    refusal = await home.refused()
    assert (1, "login-needed", "bearerd login questrade") == (
        len(home.endpoint.posts),
        refusal.kind.name,
        refusal.fix,
    )


async def test_f09_a_verdict_is_about_the_bytes_that_were_posted(home: Home) -> None:
    """The row has moved on meanwhile: the newer pair is taken, and nobody is asked to log in."""

    async def somebody_else_was_faster() -> None:
        home.endpoint.spend("R1")
        now = home.clock.now().wall
        newer = replace(
            await home.stored(),
            generation=2,
            refresh_token=Secret("R2"),
            access_token=Secret("A2"),
            refreshed=now,
            expires=now + LIFE,
        )
        await home.book.write(newer)

    home.endpoint.script.append(somebody_else_was_faster)
    await asyncio.sleep(SOON)

    assert (State.FRESH, "A2", ["R1"]) == (home.state, await home.call(), [token for _, token in home.endpoint.posts])


@pytest.mark.parametrize(
    "answer",
    [
        RawAnswer(500, "", b""),
        RawAnswer(503, "", b"", 30.0),
        RawAnswer(429, "", b""),
        RawAnswer(403, "text/html", b"<html>"),
        RawAnswer(200, "text/html", b"<html>We're making some changes"),
        RawAnswer(400, "application/json", b'{"error": "temporarily_unavailable"}'),
    ],
    ids=["500", "503", "429", "403", "page", "400"],
)
async def test_f10_an_outage_leaves_the_token_alone_and_says_what_was_answered(home: Home, answer: RawAnswer) -> None:
    """At most six posts in the first minute; the same token is posted again, and works."""
    home.endpoint.always = answer
    await asyncio.sleep(SOON + MINUTE - 3)
    assert 1 <= len(home.endpoint.posts) <= 6
    assert home.reason.startswith("the token endpoint answered")
    assert "A1" == await home.call()

    home.endpoint.always = "ok"
    await asyncio.sleep(2 * MINUTE)

    assert ({"R1"}, "A2") == ({token for _, token in home.endpoint.posts}, await home.call())


async def test_f19_a_storm_of_401s_is_one_renewal_and_then_an_alarm(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Within the cool-down the broker's 401 passes through, and somebody is suspected."""
    await asyncio.sleep(5 * MINUTE)
    pairs = await asyncio.gather(*(home.keeper.renew(1) for _ in range(100)))
    assert {2} == {pair.generation for pair in pairs if pair}

    assert [None] * 100 == list(await asyncio.gather(*(home.keeper.renew(2) for _ in range(100))))
    assert (1, 1) == (len(home.endpoint.posts), events(caplog).count("another program seems to use this grant"))


@pytest.mark.parametrize(
    "field",
    [{"expires_in": "soon"}, {"expires_in": -1}, {"api_server": "https://evil.example/"}, {"token_type": 7}],
    ids=["junk life", "negative life", "foreign host", "odd type"],
)
async def test_f20_a_bad_field_beside_it_never_costs_the_refresh_token(home: Home, field: dict[str, object]) -> None:
    """It is salvaged first; what cannot be used is named."""
    home.endpoint.script.append(field)
    await asyncio.sleep(SOON)
    assert "R2" == await home.stored_token()
    if "api_server" in field:
        assert "nothing is sent there unless brokers.questrade.environments.live.api_hosts lists it" in home.reason
    else:
        assert "A2" == await home.call()


async def test_f22_a_new_api_server_counts_for_new_calls_only(home: Home) -> None:
    """A call that is out keeps its own pair, whole."""
    old = await home.keeper.take()
    home.endpoint.script.append({"api_server": "https://api07.iq.questrade.com/"})
    await asyncio.sleep(SOON)
    new = await home.keeper.take()

    assert (1, "A1", "api01.iq.questrade.com") == (old.generation, old.access_token.reveal(), old.origin.host)
    assert (2, "A2", "api07.iq.questrade.com") == (new.generation, new.access_token.reveal(), new.origin.host)
    home.keeper.give_back()
    home.keeper.give_back()


async def test_f23_twelve_refusals_in_a_row_stop_the_grant_and_an_hour_later_it_is_tried(home: Home) -> None:
    """The reason counts them; the fix says what to do. An outage does not stop anything."""
    home.endpoint.always = RawAnswer(403, "", b"")
    await asyncio.sleep(HOUR / 2 + SOON)
    standing = home.keeper.standing()
    assert (State.STOPPED, "12 refusals in a row: the token endpoint answered 403") == (standing.state, home.reason)
    assert standing.fix is not None
    assert standing.fix.startswith("correct the cause, then: bearerd reload")
    home.endpoint.always = "ok"
    await asyncio.sleep(HOUR)

    assert State.FRESH is home.state


async def test_f23_more_rotations_a_day_than_allowed_stop_the_grant() -> None:
    """Whatever renews far too often is stopped before the broker does it."""
    home = Home(QUESTRADE, replace(LIVE, max_rotations_per_day=3, renew_cooldown=0.0))
    await home.open()
    await home.log_in()
    for generation in range(1, 5):
        await asyncio.sleep(MINUTE)
        await _renewed(home, generation)

    assert State.STOPPED is home.state
    assert "3 rotations within a day: something renews far too often" == home.reason
    await home.close()


async def _renewed(home: Home, generation: int, act: Act = "ok") -> None:
    home.endpoint.script.append(act)
    try:
        pair = await home.keeper.renew(generation)
    except Exception as refusal:  # noqa: BLE001  the last one is refused
        logging.getLogger(__name__).debug("%r", refusal)
    else:
        if pair is not None:
            home.keeper.give_back()
