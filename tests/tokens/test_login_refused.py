"""Logins over a broker's page: answers that are refused, and what is left after them."""

import asyncio
import random
import string
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from proxy.tokens.login import ERRORS, LoginRefused, Taken, Wanted
from tests.tokens.logindesk import ADA, BACK, BOB, ENDPOINTS, Desk, answer, asked


@pytest.fixture(name="desk")
def _desk() -> Desk:
    return Desk()


HOSTILE = {
    "no code": ({"code": ""}, "no usable `code`"),
    "an endless code": ({"code": "x" * 3000}, "no usable `code`"),
    "a code that is no text": ({"code": "a\nb"}, "no usable `code`"),
    "a code of foreign letters": ({"code": "ä"}, "no usable `code`"),
    "another issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "an error with a code": ({"error": "access_denied"}, "declined"),
    "an unknown error": ({"error": "canary_error", "error_description": "canary"}, "no standard name"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_bad_answer_with_the_right_state_ends_its_login(desk: Desk, case: str) -> None:
    """It says why, and the same state with a good code comes too late."""
    changes, words = HOSTILE[case]
    begun = await desk.begin()
    error = await desk.refused(answer(begun, **changes))

    assert words in str(error)
    assert ("ada", begun.id) == (error.grant, error.id)
    assert not await desk.waits()
    assert "used already" in str(await desk.refused(answer(begun)))


async def test_a_login_that_was_ended_cannot_be_completed(desk: Desk) -> None:
    """Of this grant only; ended twice, or without any under way, is as good."""
    mine, other = await desk.begin(), await desk.begin(BOB)
    for _ in range(2):
        await desk.logins().end("ada")
    await desk.logins().end("nobody")

    assert "used already" in str(await desk.refused(answer(mine)))
    assert "bob" == (await desk.take(answer(other))).grant
    again = await desk.begin()
    assert "ada" == (await desk.take(answer(again))).grant


@pytest.mark.parametrize("error", sorted(ERRORS))
async def test_standard_errors_are_said_in_words(desk: Desk, error: str) -> None:
    """Each word of RFC 6749 has its sentence."""
    found = await desk.refused(f"{BACK}?{urlencode({'error': error, 'state': asked(await desk.begin())['state']})}")

    assert ERRORS[error] == str(found)


@pytest.mark.parametrize("twice", ["code", "iss", "error"])
async def test_a_doubled_parameter_ends_its_login(desk: Desk, twice: str) -> None:
    """Neither value counts."""
    begun = await desk.begin()
    error = await desk.refused(f"{answer(begun)}&{twice}=a&{twice}=b")

    assert f"`{twice}` more than once" in str(error)
    assert not await desk.waits()


@pytest.mark.parametrize(
    "more",
    [
        "", "&state=", "&state=canary-state", "&state={short}", "&state={state}x", "&state={other}",
        "&state={state}&state={state}", "&state={state}&state=canary", "#state={state}", "&State={state}",
        "&error=access_denied",
    ],
)  # fmt: skip
async def test_without_the_right_state_nothing_happens(desk: Desk, more: str) -> None:
    """Missing, empty, invented, shortened, doubled, in the fragment: the login waits on for its own answer."""
    begun = await desk.begin()
    state = asked(begun)["state"]
    error = await desk.refused(
        f"{BACK}?code=canary{more.format(state=state, short=state[:-1], other=state.swapcase())}"
    )

    assert (None, None) == (error.grant, error.id)
    assert "ada" == (await desk.take(answer(begun))).grant


@pytest.mark.parametrize("seed", range(4))
async def test_no_invented_state_is_taken(desk: Desk, seed: int) -> None:
    """However close it comes: one character is another."""
    begun = await desk.begin()
    state, letters = asked(begun)["state"], random.Random(seed)  # noqa: S311
    for _ in range(50):
        place = letters.randrange(len(state))
        other = letters.choice(string.ascii_letters.replace(state[place], ""))
        await desk.refused(answer(begun, state=state[:place] + other + state[place + 1 :]))

    assert await desk.waits()


async def test_an_answer_is_taken_once(desk: Desk) -> None:
    """Also by another process, and after a newer login has been begun."""
    begun = await desk.begin()
    await desk.take(answer(begun))

    assert "used already" in str(await desk.refused(answer(begun)))
    newer = await desk.begin()
    assert "no login waits" in str(await desk.refused(answer(begun)))
    assert "ada" == (await desk.take(answer(newer))).grant


async def test_of_answers_at_the_same_time_one_is_taken(desk: Desk) -> None:
    """The others hear that it was used."""
    begun = await desk.begin()
    found = await asyncio.gather(*(desk.take(answer(begun)) for _ in range(8)), return_exceptions=True)

    assert 1 == sum(isinstance(each, Taken) for each in found)
    assert 7 == sum(isinstance(each, LoginRefused) for each in found)


async def test_a_newer_login_takes_the_place_of_an_older_one(desk: Desk) -> None:
    """One waits for each grant."""
    older, newer = await desk.begin(), await desk.begin()

    assert None is (await desk.refused(answer(older))).grant
    assert newer.id == (await desk.take(answer(newer))).id


async def test_states_that_were_swapped_complete_no_login_of_the_other_name(desk: Desk) -> None:
    """A code that was given as bob's with ada's state: ada's login ends, and bob's waits on."""
    ada, bob = await desk.begin(ADA), await desk.begin(BOB)
    error = await desk.refused(answer(bob, state=asked(ada)["state"]), "bob")

    assert "belongs to the login of ada, not of bob" in str(error)
    assert (False, True) == (await desk.waits("ada"), await desk.waits("bob"))


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:8081/callback", "http://localhost:8081/callback", "http://127.0.0.1:8082/callback",
        "http://127.0.0.1:8081/callback/", "http://127.0.0.1:8081/", "http://evil.example:8081/callback",
    ],
)  # fmt: skip
async def test_an_answer_that_came_to_another_address_is_refused(desk: Desk, address: str) -> None:
    """Scheme, host, port and path are those that the broker was told."""
    begun = await desk.begin()
    error = await desk.refused(answer(begun).replace(BACK, address))

    assert "another address" in str(error)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda desk: desk.clock.pass_by(599), True),
        (lambda desk: desk.clock.pass_by(600), False),
        (lambda desk: setattr(desk.clock, "boot", desk.clock.boot + 600), False),  # the wall clock was set back
        (lambda desk: setattr(desk.clock, "wall", desk.clock.wall + 600), False),
        (lambda desk: setattr(desk.clock, "wall", desk.clock.wall - 600), True),  # and the boot clock knows better
    ],
    ids=["in time", "late", "wall clock stood still", "boot clock stood still", "wall clock set back"],
)
async def test_a_late_answer_is_refused(desk: Desk, change: Callable[..., object], expected: bool) -> None:
    """A login may take ten minutes, by the earlier of two clocks."""
    begun = await desk.begin()
    change(desk)
    if expected:
        assert "ada" == (await desk.take(answer(begun))).grant
    else:
        assert "late" in str(await desk.refused(answer(begun)))


@pytest.mark.parametrize(("wall", "expected"), [(60, True), (600, False), (-60, False)])
async def test_over_a_restart_of_the_machine_the_wall_clock_decides(desk: Desk, wall: float, expected: bool) -> None:
    """One that was set back meanwhile tells nothing, so that the answer is late."""
    begun = await desk.begin()
    desk.boot, desk.clock.boot = "boot-2", 3.0
    desk.clock.wall += wall
    if expected:
        assert "ada" == (await desk.take(answer(begun))).grant
    else:
        assert "late" in str(await desk.refused(answer(begun)))


@pytest.mark.parametrize(
    "now",
    [
        replace(ADA, client_id="other"),
        replace(ADA, endpoints=replace(ENDPOINTS, authorize_url="https://practice.example/authorize")),
    ],
    ids=["client", "environment"],
)
async def test_a_code_goes_only_to_whom_it_was_asked_of(desk: Desk, now: Wanted) -> None:
    """The grant may have been configured anew since."""
    begun = await desk.begin()
    desk.known["ada"] = now

    assert "configuration has changed" in str(await desk.refused(answer(begun)))


async def test_a_grant_that_is_gone_has_no_login(desk: Desk) -> None:
    """Its answer belongs to nobody."""
    begun = await desk.begin()
    del desk.known["ada"]

    assert None is (await desk.refused(answer(begun))).grant
