"""Three days of calls, minute by minute: none fails while a credential is valid, and a person is warned in time."""

import asyncio
import itertools

import pytest

from proxy.errors import Refusal
from proxy.tokens.grant import State
from tests.tokens.support import CLIENT, DAY, HOUR, MINUTE, TRADIER, Home, settle, warnings

TRADIER_LIFE, ALPACA_LIFE = 86399.0, 899.0


class Caller:
    """Calls once a minute. A call fails if it is refused, or served with a token that its broker would not take."""

    def __init__(self, home: Home, life: float) -> None:
        self.home = home
        self.life = life
        self.calls = 0
        self.failures: list[str] = []

    async def call(self) -> None:
        self.calls += 1
        try:
            token = await self.home.call()
        except Refusal as refusal:
            self.failures.append(refusal.kind.name)
            return
        issued = [time for time, posted in self.home.endpoint.posts if posted != "failed"]
        age = asyncio.get_running_loop().time() - issued[int(token.removeprefix("A")) - 1]
        if age >= self.life:
            self.failures.append(f"{token} is {age} s old")


async def test_three_days_of_tradier_without_a_refresh_token(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody logs in after each second warning: no call of 4,320 fails. Then nobody does, and calls say so."""
    home = await Home.of(TRADIER, life=TRADIER_LIFE)
    await home.keeper.login(home.wish(), "login-0")
    caller, logins, seen = Caller(home, TRADIER_LIFE), [0.0], 0
    while asyncio.get_running_loop().time() < 3 * DAY:
        await asyncio.sleep(MINUTE)
        await caller.call()
        if len(warnings(caplog)) - seen == 2:
            seen = len(warnings(caplog))
            logins.append(asyncio.get_running_loop().time())
            await home.keeper.login(home.wish(), f"login-{len(logins)}")

    assert (4320, []) == (caller.calls, caller.failures)
    assert [7200, 1800] * 3 == [pytest.approx(left, abs=1) for left in warnings(caplog)]
    gaps = [later - former for former, later in itertools.pairwise(logins)]
    assert [TRADIER_LIFE - 1800] * 3 == [pytest.approx(gap, abs=MINUTE) for gap in gaps]
    assert len(logins) == len(home.endpoint.posts)

    last = logins[-1] + TRADIER_LIFE
    while asyncio.get_running_loop().time() < last + HOUR:
        await asyncio.sleep(MINUTE)
        valid = asyncio.get_running_loop().time() < last
        before = len(caller.failures)
        await caller.call()
        assert valid == (len(caller.failures) == before)
    assert [7200, 1800, 300] == [pytest.approx(left, abs=1) for left in warnings(caplog)[-3:]]
    refusal = await home.refused()
    assert (503, "login-needed", "bearerd login tradier") == (
        refusal.kind.status,
        refusal.kind.name,
        refusal.fix,
    )
    await home.close()


async def test_three_days_of_alpaca_by_client_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody logs in, every twelfth request to the token endpoint fails: 4,320 calls, none fails."""
    home = await Home.of(CLIENT, life=ALPACA_LIFE, title="Alpaca")
    await settle()
    caller, failed = Caller(home, ALPACA_LIFE), 0
    while asyncio.get_running_loop().time() < 3 * DAY:
        if len(home.endpoint.posts) % 12 == 11 and not home.endpoint.script:
            home.endpoint.script.append(("not-sent", "lost-before")[failed % 2])
            failed += 1
        await asyncio.sleep(MINUTE)
        posts = home.endpoint.posts
        bad = {index for index, outcome in enumerate(home.observed) if outcome != "renewed"}
        home.endpoint.posts[:] = [(at, "failed" if n in bad else what) for n, (at, what) in enumerate(posts)]
        await caller.call()

    assert (4320, []) == (caller.calls, caller.failures)
    assert (State.FRESH, []) == (home.state, warnings(caplog))
    mints = home.observed.count("renewed")
    assert 3 * DAY / (0.8 * ALPACA_LIFE) == pytest.approx(mints, rel=0.03)
    assert 25 <= failed <= mints / 8
    await home.close()


async def test_a_day_of_minted_tokens_that_live_for_five_minutes() -> None:
    """More of them than a day may see rotations: those spend something, and minting does not."""
    home = await Home.of(CLIENT, life=300.0)
    await settle()
    caller = Caller(home, 300.0)
    for _ in range(24 * 60):
        await asyncio.sleep(MINUTE)
        await caller.call()

    assert [] == caller.failures
    assert len(home.endpoint.posts) > home.environment.max_rotations_per_day
    await home.close()
