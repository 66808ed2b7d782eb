"""`kill -9` under a load of orders: the trail verifies, and knows of every order that the broker has."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.callers import Wire, eventually
from tests.product import demo, run, state

ORDER = {
    "accountNumber": "26598145", "symbolId": 8049, "quantity": 10, "orderType": "Market", "timeInForce": "Day",
    "action": "Buy", "primaryRoute": "AUTO", "secondaryRoute": "AUTO", "isAllOrNone": False, "isAnonymous": False,
}  # fmt: skip
TARGET = "/questrade/v1/accounts/26598145/orders"


@dataclass
class Seen:
    """What the clients saw: request ids of orders that the broker answered, and how many were sent in all."""

    answered: set[str] = field(default_factory=set)
    sent: int = 0
    over: bool = False


async def trade(url: str, key: str, name: str, seen: Seen) -> None:
    """Send orders, one after the other, until it is over; a connection that ends is opened again."""
    wire = Wire(url)
    while not seen.over:
        id_ = f"{name}-{seen.sent}"
        seen.sent += 1
        try:
            reply = await wire.call("POST", TARGET, key, ORDER, X_Request_Id=id_)
        except OSError:
            await wire.close()
            await asyncio.sleep(0.02)
            continue
        if reply is not None and reply.status == 200:
            seen.answered.add(id_)
    await wire.close()


def child_of(demo_pid: int, old: int) -> int | None:
    """The server that the demo has started instead of `old`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(demo_pid).children():
            if process.pid != old:
                return process.pid
    return None


async def killed_under_load(at: dict[str, Any], seen: Seen, times: int) -> None:
    """Eight traders; the server is killed that often, each time once orders are answered again."""
    pid = at["pid"]
    parent = psutil.Process(pid).ppid()
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(trade(at["url"], at["trader_key"], f"t{number}", seen))
        for _ in range(times):
            before = len(seen.answered)
            await until(lambda before=before: len(seen.answered) > before + 20)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            old = pid
            await until(lambda old=old: child_of(parent, old) is not None)  # type: ignore[misc]
            pid = child_of(parent, old)
        before = len(seen.answered)
        await until(lambda: len(seen.answered) > before + 20)
        seen.over = True


async def until(true: Callable[[], bool]) -> None:
    async for _ in eventually(40):  # after many kills the demo waits longer and longer before it starts another
        if true():
            return
    pytest.fail("it did not come to that")


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_no_order_reaches_the_broker_without_a_record(
    state_dir: Path, times: int, figure: Callable[[object], None]
) -> None:
    """As many intents as the broker has orders, or more; an outcome for every order that a client has an answer to."""
    seen = Seen()
    with demo(state_dir) as at:
        await killed_under_load(at, seen, times)
        there = (await asyncio.to_thread(state, at["control"]))["orders"]
        options = ("-c", at["config"])
        verified = await asyncio.to_thread(run, state_dir, "audit", "verify", "--json", *options)
        exported = await asyncio.to_thread(run, state_dir, "audit", "export", *options)
    records = [json.loads(line) for line in exported.out.splitlines()]
    placed = {r["id"]: r["seq"] for r in records if r["kind"] == "intent" and r.get("class") == "place"}
    outcomes = {r["id"] for r in records if r["kind"] == "outcome" and (r["outcome"], r["status"]) == ("broker", 200)}
    (trail,) = verified.document["trails"]
    unknown = len(trail["unknown"])
    figure(f"{times} kills, {there} orders at the broker, {len(placed)} intents, {unknown} of them unknown")
    assert (0, []) == (verified.code, trail["faults"])
    assert len(outcomes) <= there <= len(placed)
    assert seen.answered <= outcomes <= placed.keys()
    assert unknown <= 8 * times
    assert 1 + times == sum(r["kind"] == "started" for r in records)
