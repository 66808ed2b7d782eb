"""F13, F14, F18 and F25 with real processes, sockets and signals."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import Now, SystemClock
from tests.callers import Wire, eventually
from tests.house import house
from tests.product import command, run, state
from tests.test_kill import Scene, scene, what_is_left


async def redeeming(here: Scene) -> dict[str, Any]:
    """The broker has worked off a redeem, and takes three seconds to say so. Its counters."""
    control = here.simulator["control"]
    await asyncio.to_thread(command, control, "/faults", fault="token-slow")
    found = before = await asyncio.to_thread(state, control)
    async for _ in eventually(10):
        found = await asyncio.to_thread(state, control)
        if found["rotations"] > before["rotations"]:
            break
    return found


async def test_f14_a_second_process_refuses_and_names_the_first(state_dir: Path) -> None:
    """Two that redeem from one directory would lose the grant."""
    async with scene(state_dir) as here:
        assert here.server is not None
        second = await asyncio.to_thread(run, state_dir, "serve", "-c", "config.yaml")

        assert 0 != second.code
        assert f"in use by process {here.server.pid}" in second.err
        assert "" != await here.ready()


async def test_f18_a_socket_that_is_closed_in_the_midst_of_a_redeem_changes_nothing(state_dir: Path) -> None:
    """The pair that was on its way is taken and stored, without a second post."""
    async with scene(state_dir) as here:
        found = await redeeming(here)
        wire = Wire(here.url)
        await wire.send(wire.request("GET", "/questrade/v1/accounts", here.key))
        await asyncio.sleep(0.2)
        await wire.close()
        mount = await here.mount()
        async for _ in eventually(10):
            mount = await here.mount()
            if mount["generation"] >= found["rotations"]:
                break

        assert mount["generation"] >= found["rotations"]
        assert 0 == (await asyncio.to_thread(state, here.simulator["control"]))["reused_refresh_tokens"]


async def test_f25_a_redeem_that_is_out_when_the_server_is_stopped_gets_its_answer(state_dir: Path) -> None:
    """SIGTERM: it ends with 0, the pair is in the store, and nothing was posted after it."""
    async with scene(state_dir) as here:
        assert here.server is not None
        found = await redeeming(here)
        assert 0 == await asyncio.to_thread(here.server.stop)
        left = await what_is_left(state_dir)
        after = await asyncio.to_thread(state, here.simulator["control"])

        assert (found["rotations"], 0, 0) == (left.generation, left.intents, after["reused_refresh_tokens"])
        assert found["rotations"] == after["rotations"]


@dataclass
class SteppedClock(SystemClock):
    """The machine's clocks, the wall clock set by so many seconds."""

    step: float

    def now(self) -> Now:
        now = super().now()
        return replace(now, wall=now.wall + self.step)


async def test_f13_a_running_server_sees_its_clock_set_and_its_brokers_differ(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The step is in the log within a second, once; the difference stands in `bearerd status`."""
    async with house(state_dir) as home:
        skew = home.app.skew
        assert [] == home.app.operations.status()["warnings"]
        skew.clock = SteppedClock(3600)
        async for _ in eventually(3):
            if "the wall clock was set" in caplog.text:
                break
        skew.compare("login.broker.example", SystemClock().now().wall, skew.clock.now())

        (warning,) = home.app.operations.status()["warnings"]
        assert "and login.broker.example says" in warning
        assert 1 == caplog.text.count("the wall clock was set")
