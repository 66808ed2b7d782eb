"""A process that hangs, and is not dead, in the real product: what its clients see, and what is sent.

The supervisor here has less patience than the delivered one; all else is the product's.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from proxy.simulator.questrade.options import Options
from proxy.workers.pulse import SILENCE
from tests.callers import eventually
from tests.product import run
from tests.workers.house import ACCOUNTS, ORDER, ORDERS, Staff, alive, staffed, until

SHORT = 1.6
PROGRAM = f"""
import asyncio, sys
from proxy import __version__, logs
from proxy.workers.supervisor import Supervisor, worker_command
logs.setup("json", "info", sys.stderr)
custody = [sys.executable, "-P", "-m", "proxy", *sys.argv[1:], "--supervisor", __version__, "--crew"]
sys.exit(asyncio.run(Supervisor(custody, worker_command("auto"), 2, silence={SHORT}).run()))
"""
IMPATIENT = (sys.executable, "-P", "-c", PROGRAM)


def stop(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def go_on(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def ended(pid: int, seconds: float) -> float:
    """How long it took a process to end."""
    began = time.monotonic()
    async for _ in eventually(seconds):
        if not alive(pid):
            return time.monotonic() - began
    raise AssertionError(f"{pid} lives on")


def sent(staff: Staff) -> int:
    """Orders that have reached the broker."""
    return int(str(staff.simulator.state()["orders"]))


@pytest.mark.parametrize("silence", [SHORT, pytest.param(SILENCE, marks=pytest.mark.soak)])
async def test_a_custody_that_hangs_is_replaced_and_nothing_is_served_twice(
    tmp_path: Path, silence: float, figure: Callable[[object], None]
) -> None:
    """An order that was handed to it waits for the next one; a connection that it had taken is cut, and not sent on."""
    async with staffed(tmp_path, command=IMPATIENT if silence == SHORT else ()) as staff:
        wire = staff.wire()
        assert (await wire.call("POST", ORDERS, staff.key, ORDER)).status == 200  # type: ignore[union-attr]
        hung = staff.custody()
        stop([hung])
        taken = asyncio.ensure_future(wire.call("POST", ORDERS, staff.key, ORDER))
        handed, began = asyncio.ensure_future(staff.ask(ORDERS, "POST", ORDER)), time.monotonic()
        noticed = await ended(hung, silence * 4)
        assert silence * 0.7 < noticed < silence * 3
        assert await taken is None
        assert (await handed).status == 200
        figure(f"noticed after {noticed:.1f} s; the order that was handed to it took {time.monotonic() - began:.1f} s")
        assert sent(staff) == 2
        assert "a process hangs and is killed" in staff.server.output
        await wire.close()


@pytest.mark.soak
async def test_a_worker_that_hangs_is_replaced_and_the_others_serve_on(tmp_path: Path) -> None:
    """After a pause of all processes none is. Its connections are cut; who waits at its socket is not refused."""
    async with staffed(tmp_path, command=IMPATIENT) as staff:
        order = staff.wire()
        assert (await order.call("POST", ORDERS, staff.key, ORDER)).status == 200  # type: ignore[union-attr]
        before = staff.children()
        everyone = [staff.server.pid, *before]
        stop(everyone)
        await asyncio.sleep(SHORT * 1.3)
        go_on(everyone)
        await asyncio.sleep(SHORT / 2)
        assert staff.children() == before

        hung = (await staff.workers())[0]
        stop([hung])
        waiting = [asyncio.ensure_future(staff.ask(ACCOUNTS)) for _ in range(12)]
        assert (await order.call("POST", ORDERS, staff.key, ORDER)).status == 200  # type: ignore[union-attr]
        assert SHORT * 0.7 < await ended(hung, SHORT * 4) < SHORT * 3
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 15)
        assert sum(getattr(each, "status", 0) == 200 for each in found) >= 6
        await staff.restarted(hung)
        told = (await staff.command("status"))["workers"]
        assert [each["restarts"] for each in told] == [1, 0]
        text = (await asyncio.to_thread(run, tmp_path, "status", "-c", "config.yaml")).out
        assert "RESTARTS" in text
        assert sent(staff) == 2
        await order.close()


@pytest.mark.soak
@pytest.mark.parametrize("what", ["order", "redeem"])
@pytest.mark.parametrize("slow", [0.5, 20.0])
async def test_what_was_out_when_custody_hung_is_as_after_any_kill(
    tmp_path: Path, what: str, slow: float, figure: Callable[[object], None]
) -> None:
    """An order, answered while it hung or not at all, is not sent again, and is on record as unknown. A redeem whose

    answer nobody has read is asked for once more; if it was spent, a login is needed, and status says so.
    """
    async with staffed(tmp_path, command=IMPATIENT, options=Options(expires_in=6, slow=slow)) as staff:
        simulator = staff.simulator
        simulator.faults.add("api-slow" if what == "order" else "token-slow")
        calling = None
        if what == "order":
            calling = asyncio.ensure_future(staff.wire().call("POST", ORDERS, staff.key, ORDER))
        await until(lambda: not simulator.faults.armed(), 10)
        hung = staff.custody()
        stop([hung])
        await ended(hung, SHORT * 4)
        assert calling is None or await calling is None
        await staff.restarted(hung)
        await asyncio.sleep(1.0)
        mount = (await staff.command("status"))["mounts"][0]
        figure(f"{mount['state']}: {mount['reason']} {simulator.state()}")
        if mount["state"] != "fresh":
            assert (mount["state"], mount["fix"]) == ("needs-login", "bearerd login questrade")
            assert "the answer to a token request was lost" in mount["reason"]
        assert simulator.state()["reused_refresh_tokens"] == int(what == "redeem")
        verified = await asyncio.to_thread(run, tmp_path, "audit", "verify", "--json", "-c", "config.yaml")
        (trail,) = verified.document["trails"]
        orders = int(what == "order")
        assert (0, [], orders) == (verified.code, trail["faults"], len(trail["unknown"]))
        assert sent(staff) <= orders


@pytest.mark.soak
async def test_without_custody_workers_send_no_more_than_was_left(
    tmp_path: Path, figure: Callable[[object], None]
) -> None:
    """Forty calls a minute, of which ten were made: custody has gone for long, and all workers try many more."""
    async with staffed(tmp_path) as staff:
        path = tmp_path / "config.yaml"
        config = json.loads(await asyncio.to_thread(path.read_text))
        config["brokers"]["questrade"]["environments"]["simulator"]["rate_limits"] = {"account": {"per_minute": 40}}
        await asyncio.to_thread(path.write_text, json.dumps(config))
        await staff.command("reload")
        for _ in range(10):
            assert (await staff.ask()).status == 200
        await asyncio.sleep(0.6)
        custody = staff.custody()
        stop([staff.server.pid])  # nobody starts another one
        os.kill(custody, signal.SIGKILL)
        calls = [asyncio.ensure_future(staff.ask()) for _ in range(40)]
        done, waiting = await asyncio.wait(calls, timeout=3)
        seen = staff.simulator.state()["calls"]
        assert isinstance(seen, dict)
        served = sum(seen.values())
        figure(f"{served} of 40 calls sent, {len(done)} answered")
        assert 14 <= served <= 10 + 2 * (30 // 4)
        assert {each.result().status for each in done} == {200}
        go_on([staff.server.pid])
        await asyncio.wait(waiting, timeout=20)
