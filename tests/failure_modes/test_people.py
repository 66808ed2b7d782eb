"""F18, F24 and F26: clients that leave, logins and revocations in the midst of a redeem, pasted tokens."""

import asyncio
from dataclasses import replace

import pytest

from proxy.secret import Secret
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.oauth import Refresh
from tests.tokens.support import BAD_REQUEST, HOUR, LIFE, QUESTRADE, Home, Noting

SOON = LIFE * 0.66 + 3


async def test_f18_a_client_that_leaves_takes_no_redeem_along(home: Home) -> None:
    """All who waited are gone; the flight lands, and its pair is stored."""
    await asyncio.sleep(11 * HOUR)
    home.endpoint.delay = 4.0
    home.endpoint.posts.clear()
    calls = [asyncio.ensure_future(home.call()) for _ in range(5)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await asyncio.sleep(4)

    assert (1, f"R{home.endpoint.issued}") == (len(home.endpoint.posts), await home.stored_token())


async def test_f24_a_login_during_a_redeem_comes_after_it_and_counts(home: Home) -> None:
    """Neither answer is lost, and the old lineage is never taken up again."""
    home.endpoint.delay = 5.0
    await asyncio.sleep(SOON - 2)
    assert State.REDEEMING is home.state
    login = asyncio.ensure_future(home.keeper.login(Refresh(Secret("R2")), "login-2"))
    await asyncio.wait((login,))
    assert ("login-2", "A3", 3) == (
        (await home.stored()).lineage,
        await home.call(),
        home.keeper.standing().generation,
    )
    await home.restart()

    assert ("A3", "login-2", 0) == (await home.call(), (await home.stored()).lineage, home.journal.slots_in_use)


async def test_f24_an_answer_whose_grant_was_changed_meanwhile_is_kept_and_not_adopted(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """The store has another lineage by the time it comes: that one counts, and somebody is told."""

    async def somebody_logs_in() -> None:
        stored = await home.stored()
        await home.book.write(replace(stored, generation=2, lineage="login-2", refresh_token=Secret("other")))

    home.endpoint.script.append(somebody_logs_in)
    await asyncio.sleep(SOON)

    assert ("login-2", "other") == ((await home.stored()).lineage, await home.stored_token())
    assert "somebody else has renewed this grant meanwhile" in caplog.text
    assert 1 == home.journal.answered


async def test_f24_a_revocation_during_a_redeem_comes_after_it(home: Home) -> None:
    """Nothing of what the redeem brought is left."""
    home.endpoint.delay = 5.0
    await asyncio.sleep(SOON - 2)
    await home.keeper.forget()
    await home.restart()

    assert (State.NONE, "revoked", "") == (home.state, home.reason, await home.stored_token())
    assert "login-needed" == (await home.refused()).kind.name


async def test_f26_a_pasted_token_goes_through_the_same_steps_and_its_redeem_is_the_check() -> None:
    """Its answer is on disk before it is read, and the token that was pasted is not what is kept."""
    notes: list[str] = []
    home = Home(replace(QUESTRADE, dead_token=(Noting(notes=notes),)))
    await home.open()

    async def posted() -> None:
        notes.append(f"post with {home.journal.slots_in_use} slot taken")

    home.endpoint.script.append(posted)
    await home.keeper.login(Refresh(Secret("R0")), "login-1")

    assert ["post with 1 slot taken", "read"] == notes
    assert ("R1", "A1") == (await home.stored_token(), await home.call())
    await home.close()


async def test_f26_a_pasted_token_that_does_not_work_is_told_with_where_to_make_another(empty: Home) -> None:
    """And the grant is as it was."""
    empty.endpoint.script.append(BAD_REQUEST)
    with pytest.raises(LoginFailed) as failure:
        await empty.keeper.login(Refresh(Secret("worn")), "login-1")

    assert "Questrade refused this token. Each token works once and dies within days: make a new one" in str(
        failure.value
    )
    assert "worn" not in str(failure.value)
    assert State.NONE is empty.state
