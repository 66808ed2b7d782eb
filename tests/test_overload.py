"""More reads than can be served, while orders and cancels go on: those come first.

Product, broker and the crowd are processes of their own, the product alone on a core where there are two.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxy.store.keys import Source
from tests.callers import Wire
from tests.lab import CA_FILE, TRUST
from tests.product import COMMAND, ROOT, Program, run

READ, ORDERS = "/lab/v1/small", "/lab/v1/orders"
PAUSE = 0.05  # seconds between two orders, and between two cancels, of one program
BAR, NOISE = 1.0, 2.0  # seconds that nine of ten orders take at most; the short test leaves more for a busy machine
CROWD = 600  # clients that read, many more than are served in a turn of the loop
Figure = Callable[[object], None]


def configuration(port: int) -> dict[str, Any]:
    """One mount, for whose client a thousand calls at a time are not too many."""
    rows = [
        {"id": "small", "method": "GET", "path": "/v1/small", "scope": "all"},
        {
            "id": "place", "method": "POST", "path": "/v1/orders", "scope": "all",
            "mutating": True, "order": {"kind": "place"},
        },
        {
            "id": "cancel", "method": "DELETE", "path": "/v1/orders/{order}", "scope": "all",
            "mutating": True, "order": {"kind": "lower"},
        },
    ]  # fmt: skip
    broker = {
        "title": "Lab", "scopes": {"all": "Everything"}, "params": {"order": "[0-9]{1,9}"},
        "apis": {"main": {"rows": rows}},
        "logins": {"key": {"kind": "secret", "title": "A key", "asks": ["key"]}},
        "environments": {
            "here": {
                "api_servers": {"main": f"https://127.0.0.1:{port}"},
                "api_hosts": ["127.0.0.1:*"],
                "ca_file": CA_FILE,
            }
        },
    }  # fmt: skip
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:state/store.db",
        "key": "file:master.key", "log": {"level": "error"},
        "limits": {"in_flight_per_client": 100_000},
        "clients": {"bot": {"lab": ["all"]}}, "brokers": {"lab": broker},
        "mounts": {"lab": {"broker": "lab", "environment": "here", "scopes": ["all"]}},
    }  # fmt: skip


@dataclass
class Scene:
    """The product, and a key for it."""

    home: Path
    server: Program
    url: str
    key: str

    async def reads(self, clients: int, rate: float, seconds: float) -> dict[str, Any]:
        """What a crowd got: `statuses`, connections `lost`, and how long answers took."""
        crowd = beside(self.home, "stampede.py", self.url, READ, self.key, str(clients), str(rate), str(seconds))
        try:
            found: dict[str, Any] = await asyncio.to_thread(crowd.document)
        finally:
            crowd.kill()
        return found


def beside(home: Path, program: str, *arguments: str) -> Program:
    return Program(home, str(ROOT / "tests" / program), *arguments, command=(sys.executable, "-P"))


@asynccontextmanager
async def product(home: Path) -> AsyncIterator[Scene]:
    """A server that is logged in at a broker of ours."""
    trust = TRUST.ca_file.parent
    broker = beside(home, "attackers.py", "serve", str(trust / "server.pem"), str(trust / "server.key"))
    port = int(str(await asyncio.to_thread(broker.document)))
    (home / "config.yaml").write_text(json.dumps(configuration(port)))
    await asyncio.to_thread(Source("file:master.key", home).create)
    server = Program(home, "serve", "-c", "config.yaml", command=COMMAND)
    try:
        await asyncio.to_thread(server.until, "To do: ")
        url = re.findall(r"serves (http://[0-9.:]+)", server.output)[0]
        keys: list[str] = []
        for arguments, typed in (
            (("login", "lab", "--token-stdin"), "the-broker-s-own-key\n"),
            (("clients", "add", "bot"), ""),
        ):
            done = await asyncio.to_thread(run, home, *arguments, "-c", "config.yaml", stdin=typed)
            assert 0 == done.code, done.output
            keys += re.findall(r"brd_\w+", done.out)
        settle(server.pid, broker.pid)
        yield Scene(home, server, url, keys[0])
    finally:
        try:
            await asyncio.to_thread(server.stop)
        finally:
            broker.kill()


def settle(server: int, broker: int) -> None:
    """The product has the last core to itself, if there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        psutil.Process(server).cpu_affinity(cores[-1:])
        psutil.Process(broker).cpu_affinity(cores[:-1])


@dataclass
class Trader:
    """A program that does the same thing again and again, and what it saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    async def work(self, at: Scene, method: str, target: str, body: object = None) -> None:
        wire = Wire(at.url)
        try:
            while True:
                began = time.perf_counter()
                reply = await wire.call(method, target, at.key, body)
                self.seconds.append(time.perf_counter() - began)
                self.statuses.add(reply.status if reply is not None else 0)
                await asyncio.sleep(PAUSE)
        finally:
            await wire.close()

    def at(self, part: float) -> float:
        """What that part of the calls took at most."""
        return sorted(self.seconds)[int(len(self.seconds) * part)]

    def __str__(self) -> str:
        parts = ", ".join(f"{part:.0%} within {self.at(part) * 1000:.0f} ms" for part in (0.5, 0.9, 0.99))
        return f"{len(self.seconds)}, {parts}"


async def trading(at: Scene, during: "asyncio.Future[dict[str, Any]]") -> tuple[Trader, Trader]:
    """Two programs that place orders and two that cancel, as long as the crowd is there."""
    placing, cancelling = Trader(), Trader()
    programs = [
        asyncio.ensure_future(each)
        for _ in range(2)
        for each in (
            placing.work(at, "POST", ORDERS, {"symbol": "AAPL"}),
            cancelling.work(at, "DELETE", f"{ORDERS}/1"),
        )
    ]
    try:
        await during
    finally:
        for program in programs:
            program.cancel()
        await asyncio.gather(*programs, return_exceptions=True)
    return placing, cancelling


async def measured(at: Scene, times: float, seconds: float) -> tuple[dict[str, Any], Trader, Trader, float]:
    """What reads, orders and cancels got when so many times as many reads came as can be served; and how many can."""
    most = await at.reads(32, 1e6, 1.0)
    assert {"200"} == set(most["statuses"]), (most, at.server.output)
    capacity = most["statuses"]["200"] / 1.25  # seconds: half of the clients' half second of coming counts
    crowd = asyncio.ensure_future(at.reads(CROWD, times * capacity, seconds))
    placing, cancelling = await trading(at, crowd)
    return await crowd, placing, cancelling, capacity


def told(found: tuple[dict[str, Any], Trader, Trader, float]) -> str:
    reads, placing, cancelling, capacity = found
    return (
        f"{capacity:.0f} reads/s can be served; reads {reads['statuses']}, p99 {reads['p99'] * 1000:.0f} ms; "
        f"orders: {placing}; cancels: {cancelling}"
    )


@pytest.mark.timing
async def test_orders_and_cancels_go_on_while_three_times_too_many_reads_come(state_dir: Path, figure: Figure) -> None:
    """None of them is refused, and few wait long; reads are served, or refused with words."""
    async with product(state_dir) as at:
        found = await measured(at, 3.0, 2.0)
    figure(told(found))
    reads, placing, cancelling, _ = found
    assert ({200}, {200}) == (placing.statuses, cancelling.statuses)
    assert "200" in reads["statuses"]
    assert set(reads["statuses"]) <= {"200", "503"}
    assert 0 == reads["lost"]
    assert max(placing.at(0.9), cancelling.at(0.9)) <= BAR * NOISE


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("times", [0.5, 2.0, 3.0])
async def test_reads_are_refused_only_where_too_many_come(times: float, state_dir: Path, figure: Figure) -> None:
    """At half of what can be served nobody is refused; beyond it orders and cancels still go through, all of them."""
    async with product(state_dir) as at:
        found = await measured(at, times, 15.0)
    figure(told(found))
    reads, placing, cancelling, _ = found
    assert ({200}, {200}) == (placing.statuses, cancelling.statuses)
    assert times > 1 or "503" not in reads["statuses"]
    assert max(placing.at(0.9), cancelling.at(0.9)) <= BAR
