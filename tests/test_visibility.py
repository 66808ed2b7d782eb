"""Readiness, `status` and the metrics tell within a second which grant is in which state, why, and what to do."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.provenance import quarantine
from tests.house import House, house
from tests.wire import Reply, connected

Cause = Callable[[House], Awaitable[None]]
CONSOLE = ('console: "off"', "console: 127.0.0.1:0")
DEADLINE = 1.0


async def console(home: House, target: str) -> Reply:
    """What an operator's monitoring gets."""
    port = urlsplit(home.app.console_address or "").port or 0
    async with connected("127.0.0.1", port) as wire:
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        return await wire.reply()


async def seen(home: House) -> dict[str, Any]:
    """All three views of the one grant."""
    ready = (await console(home, "/readyz?verbose")).body.decode()
    metrics = (await console(home, "/metrics")).body.decode()
    (mount,) = home.app.operations.status()["mounts"]
    state = re.search(r'bearerd_grant_state\{grant="questrade",state="([a-z-]+)"\} 1', metrics)
    line = re.search(r"grant questrade ([a-z-]+)", ready)
    return {
        "states": {mount["state"], state and state[1], line and line[1]},
        "ready": ready,
        "reason": mount["reason"],
        "fix": mount["fix"],
        "store_up": "bearerd_store_up 1" in metrics,
    }


async def stolen(home: House) -> None:
    """Another program has spent our refresh token, and a call finds the access token dead."""
    home.simulator.steal()
    await home.call("GET", "/questrade/v1/accounts")


async def doubted(home: House) -> None:
    """Another process has found the store to be doubtful."""
    await quarantine(home.app.custody.vault, "restored from a backup", 1.0)


async def revoked(home: House) -> None:
    """A person has given the login up."""
    await home.app.operations.revoke("questrade")


async def endpoint_down(home: House) -> None:
    """The access token ends, and the token endpoint fails."""
    home.simulator.faults.add("token-500", times=1000)
    home.simulator.expire()
    await home.call("GET", "/questrade/v1/accounts")


@pytest.mark.parametrize(
    ("cause", "state", "reason", "fix"),
    [
        (stolen, "needs-login", "the broker refused the refresh token (400)", "bearerd login questrade"),
        (doubted, "quarantined", "restored from a backup", "bearerd adopt questrade"),
        (revoked, "none", "revoked", "bearerd login questrade"),
        (endpoint_down, "due", "the token endpoint answered 500", None),
    ],
    ids=["refused", "doubtful-store", "revoked", "endpoint-down"],
)
async def test_a_state_is_seen_within_a_second(
    state_dir: Path, *, cause: Cause, state: str, reason: str, fix: str | None, figure: Callable[[object], None]
) -> None:
    """By all three views, with the reason, and the command that helps."""
    async with house(state_dir, CONSOLE) as home:
        assert {"fresh"} == (await seen(home))["states"]
        await cause(home)
        begun = asyncio.get_running_loop().time()
        while (now := await seen(home))["states"] != {state}:
            assert asyncio.get_running_loop().time() - begun < DEADLINE, now
            await asyncio.sleep(0.02)
        figure(f"{state}: seen after {asyncio.get_running_loop().time() - begun:.2f} s")
        assert reason in now["reason"]
        assert reason in now["ready"]
        assert (fix or "") in (now["fix"] or "")


async def test_a_store_that_fails_is_seen_within_a_second(state_dir: Path, figure: Callable[[object], None]) -> None:
    """Not ready, with the reason, and 0 in the metrics; calls are served on; and it is seen when it is back."""
    async with house(state_dir, CONSOLE) as home:
        assert (await seen(home))["store_up"]
        await asyncio.to_thread(os.rename, state_dir / "store.db", state_dir / "away")
        fault = "was deleted or replaced"
        took = [await until(home, up=False, text=fault)]
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert fault in home.app.operations.status()["warnings"][0]
        await asyncio.to_thread(os.rename, state_dir / "away", state_dir / "store.db")
        took.append(await until(home, up=True, text="[+]store ok"))
        assert [] == home.app.operations.status()["warnings"]
        figure(f"down seen after {took[0]:.2f} s, up after {took[1]:.2f} s")


async def until(home: House, *, up: bool, text: str) -> float:
    """Seconds until metrics and readiness tell it."""
    begun = asyncio.get_running_loop().time()
    while not ((now := await seen(home))["store_up"] is up and text in now["ready"]):
        assert asyncio.get_running_loop().time() - begun < DEADLINE, now
        await asyncio.sleep(0.02)
    return asyncio.get_running_loop().time() - begun
