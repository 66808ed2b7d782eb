"""Another program redeems our refresh token while we serve: one attempt tells us, and there is no second one.

The access token is used to its end. At Questrade that is at once, since a redemption kills it; at Tradier it is not.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.simulator import Simulator
from tests.callers import Wire, eventually
from tests.everybroker import in_front_of
from tests.replicas import CALL, fleet

CALLERS = 8
LOGIN = "503 login-needed"


async def answers(app: App, call: str, seconds: float) -> list[str]:
    """What some programs get that call all the time, in the order in which they get it."""
    end = asyncio.get_running_loop().time() + seconds
    found: list[str] = []

    async def caller() -> None:
        wire = Wire(app.doors.url)
        while asyncio.get_running_loop().time() < end:
            reply = await wire.call("GET", f"/here{call}")
            found.append("cut off" if reply is None else f"{reply.status} {reply.ours or ''}".strip())
            await asyncio.sleep(0.02)
        await wire.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return found


def posts(simulator: Simulator) -> Any:
    return simulator.state()["token_posts"]


def standing(app: App) -> str:
    return app.keepers["ada"].standing().state.value


async def test_where_a_redemption_kills_the_access_token_a_login_is_needed_at_once(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """Questrade: the calls that find out wait for the one attempt, and all that come later are told at once."""
    async with in_front_of(state_dir, "questrade", "refresh-token", scopes=["read_acc"]) as (app, simulator):
        await app.operations.login("here", simulator.links().refresh_token)
        assert {"200"} == set(await answers(app, "/v1/accounts", 0.3))
        before = posts(simulator)
        simulator.steal()
        found = Counter(await answers(app, "/v1/accounts", 1))
        figure(f"{posts(simulator) - before} POST, then {dict(found)}")
        assert {LOGIN} == set(found), "the token was dead from the redemption on"
        assert ("needs-login", 1) == (standing(app), posts(simulator) - before)
        assert 1 == simulator.state()["reused_refresh_tokens"]


async def test_where_it_does_not_the_access_token_is_used_to_its_end(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """Tradier: the renewal before the end finds out, and calls are served on until the end."""
    knobs = {"expires_in": 3}
    async with in_front_of(state_dir, "tradier", "code", knobs=knobs, scopes=["read"]) as (app, simulator):
        begun = await app.operations.login_begin("here")
        await app.operations.login_complete("here", simulator.approve(begun["authorize_url"]))
        before = posts(simulator)
        simulator.steal()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(answers(app, "/v1/user/profile", 4))
            async for _ in eventually(4):
                if standing(app) == "needs-login":
                    break
            left = (app.keepers["ada"].standing().access_expires or 0) - app.clock.now().wall
        found = serving.result()
        figure(f"{posts(simulator) - before} POST, {left:.1f} s before the end; {dict(Counter(found))}")
        assert 0 < left < 2
        assert {"200", LOGIN} == set(found)
        first = found.index(LOGIN)
        assert {LOGIN} == set(found[first + CALLERS :]), "served to the end, and not after it"
        assert first > len(found) / 2
        assert ("needs-login", 1) == (standing(app), posts(simulator) - before)


@pytest.mark.timing
async def test_of_two_servers_on_one_database_one_asks(
    state_dir: Path, database: str, figure: Callable[[object], None]
) -> None:
    """The other one learns from the store that this token is dead; after a login both serve."""
    async with fleet(state_dir, database) as here:
        before = (await here.state())["token_posts"]
        await here.command("/steal")
        for _ in range(10):
            for replica in here.replicas:
                wire = Wire(replica.url)
                reply = await wire.call("GET", CALL, here.key)
                await wire.close()
                assert reply is not None
                assert "login-needed" == reply.ours, reply.body
        await asyncio.sleep(1)
        spent = (await here.state())["token_posts"] - before
        figure(f"{spent} POST by 2 servers")
        assert 1 == spent
        assert ["needs-login"] * 2 == [(await replica.mount())["state"] for replica in here.replicas]
        await here.login(here.replicas[1])
        await here.until_all_serve(3)
