"""Slow clients, floods and giants, while honest clients call: those notice little, and nothing stays behind.

The product runs in a process of its own, so that its memory and its processor time can be looked at from outside.
Broker and attackers are elsewhere too (`attackers.py`).
"""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxy.gate.clients import new_key
from proxy.store.keys import Source
from tests.attackers import ORDERS, SMALL
from tests.callers import Wire, eventually
from tests.lab import CA_FILE, TRUST
from tests.measured import Measured
from tests.product import COMMAND, ROOT, Program, run

MEGABYTE = 1 << 20
ROWS = {
    "small": {"rows": [
        {"id": "small", "method": "GET", "path": "/v1/small", "scope": "read"},
        {"id": "order", "method": "POST", "path": "/v1/orders", "scope": "trade", "mutating": True},
    ]},
    "large": {"rows": [{"id": "large", "method": "GET", "path": "/v1/large", "scope": "read"}]},
}  # fmt: skip

Figure = Callable[[object], None]


def configuration(small: int, large: int) -> dict[str, Any]:
    """Two mounts of a broker whose APIs listen on these ports, with a secret that lasts."""
    scopes = ["read", "trade"]
    servers = {"small": f"https://127.0.0.1:{small}", "large": f"https://127.0.0.1:{large}"}
    broker = {
        "title": "Lab", "scopes": {"read": "Looking", "trade": "Placing orders"},
        "logins": {"key": {"kind": "secret", "title": "A key", "asks": ["key"]}}, "params": {}, "apis": ROWS,
        "environments": {"here": {"api_servers": servers, "api_hosts": ["127.0.0.1:*"], "ca_file": CA_FILE}},
    }  # fmt: skip
    mount = {"broker": "lab", "environment": "here", "grant": "lab"}
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:state/store.db",
        "key": "file:master.key", "log": {"level": "error"},
        "clients": {"bot": {"lab": scopes, "bulk": ["read"]}},
        "mounts": {
            "lab": {**mount, "api": "small", "scopes": scopes}, "bulk": {**mount, "api": "large", "scopes": ["read"]},
        },
        "brokers": {"lab": broker},
    }  # fmt: skip


@dataclass
class Running(Measured):
    """The product: where it is, and what it costs."""

    server: Program
    url: str
    key: str
    process: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.process = psutil.Process(self.server.pid)

    @property
    def connections(self) -> int:
        """Clients that are inside."""
        port = int(self.url.rpartition(":")[2])
        return sum(each.laddr.port == port and bool(each.raddr) for each in self.process.net_connections("tcp"))


@asynccontextmanager
async def product(home: Path) -> AsyncIterator[Running]:
    """A server that is logged in at a broker of ours."""
    trust = TRUST.ca_file.parent
    # Two, so that honest clients do not wait for what the broker of the others has to do.
    brokers = [side_by_side(home, "serve", str(trust / "server.pem"), str(trust / "server.key")) for _ in range(2)]
    small, large = [int(str(await asyncio.to_thread(broker.document))) for broker in brokers]
    (home / "config.yaml").write_text(json.dumps(configuration(small, large)))
    await asyncio.to_thread(Source("file:master.key", home).create)
    server = Program(home, "serve", "-c", "config.yaml", command=COMMAND)
    try:
        await asyncio.to_thread(server.until, "To do: ")
        keys: list[str] = []
        url = re.findall(r"serves (http://[0-9.:]+)", server.output)[0]
        for arguments, typed in (
            (("login", "lab", "--token-stdin"), "the-broker-s-own-key\n"),
            (("clients", "add", "bot"), ""),
        ):
            done = await asyncio.to_thread(run, home, *arguments, "-c", "config.yaml", stdin=typed)
            assert 0 == done.code, done.output
            keys += re.findall(r"brd_\w+", done.out)
        yield Running(server, url, keys[0])
    finally:
        await asyncio.to_thread(server.stop)
        for broker in brokers:
            broker.kill()


def side_by_side(home: Path, *arguments: str) -> Program:
    """A part of the scene in a process of its own: what it costs is not the product's, nor the honest clients'."""
    return Program(home, str(ROOT / "tests" / "attackers.py"), *arguments, command=(sys.executable, "-P"))


# -- while honest clients call ----------------------------------------------------------------------------------------


@dataclass
class Honest:
    """Clients that call again and again, and what they saw."""

    at: Running
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def call(self) -> None:
        wire = Wire(self.at.url)
        try:
            while True:
                began = time.perf_counter()
                reply = await wire.call("GET", SMALL, self.at.key)
                self.seconds.append(time.perf_counter() - began)
                self.faults += [str(reply)] * (reply is None or reply.status != 200)
                await asyncio.sleep(0.02)
        finally:
            await wire.close()

    async def during(self, seconds: float) -> tuple[float, float]:
        """p99 and the slowest of what is called from now on, in seconds."""
        self.seconds.clear()
        await asyncio.sleep(seconds)
        found = sorted(self.seconds)
        return found[int(len(found) * 0.99)], found[-1]


@dataclass(frozen=True)
class Figures:
    """What an attack did. Seconds and bytes; `left`: how long after it the last of its connections was gone."""

    connections: int
    calm: float
    p99: float
    slowest: float
    grown: int
    left: float
    faults: list[str]

    @property
    def bearable(self) -> bool:
        """What honest clients notice: a quarter of a second, or a few times what a busy machine takes anyway."""
        return self.p99 <= max(0.25, 6 * self.calm)

    def __str__(self) -> str:
        return (
            f"{self.connections} connections: honest p99 {self.p99 * 1000:.0f} ms (calm: {self.calm * 1000:.0f}), "
            f"slowest {self.slowest * 1000:.0f} ms; +{self.grown / MEGABYTE:.0f} MB; the last was gone after "
            f"{self.left:.0f} s"
        )


async def attacked(at: Running, home: Path, slow: int, seconds: float, patience: float) -> Figures:
    """Honest clients during an attack by `slow` slow clients and more; then up to `patience` seconds of waiting."""
    honest = Honest(at)
    callers = [asyncio.ensure_future(honest.call()) for _ in range(8)]
    try:
        await honest.during(0.5)
        calm, _ = await honest.during(1.0)
        memory, inside = at.memory, at.connections
        most = memory
        with stopping(side_by_side(home, "attack", at.url, at.key, str(slow), str(seconds))):
            watched = asyncio.ensure_future(honest.during(seconds))
            while not watched.done():
                await asyncio.sleep(0.25)
                most = max(most, at.memory)
            crowd, (p99, slowest) = at.connections, await watched
            left = 0.0
            async for so_far in eventually(patience, pause=0.25):
                left = so_far
                most = max(most, at.memory)
                if at.connections <= inside:
                    break
        return Figures(crowd, calm, p99, slowest, most - memory, left, honest.faults)
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


@contextlib.contextmanager
def stopping(program: Program) -> Iterator[None]:
    """Kills it in the end; it must have run until then."""
    try:
        yield
        assert program.code is None, program.output
    finally:
        program.kill()


@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_honest_clients_notice_little_of_500_slow_ones(state_dir: Path, figure: Figure) -> None:
    """Beside 1,000 idle connections, requests of nobody by the thousand, and endless heads: half a minute of it.

    Nothing is left open half a minute later, though the other ends hold what they have.
    """
    async with product(state_dir) as at:
        found = await attacked(at, state_dir, 500, 30.0, 40.0)
    figure(found)
    assert [] == found.faults
    assert 1000 < found.connections
    assert found.bearable
    assert found.grown <= 64 * MEGABYTE
    assert found.left <= 30


@pytest.mark.timing
@pytest.mark.timeout(120)
async def test_honest_clients_notice_little_of_an_attack(state_dir: Path, figure: Figure) -> None:
    """The same with a tenth of them, for a few seconds."""
    async with product(state_dir) as at:
        costs = [await cost_of(at, name, *asked) for name, asked in requests_of_nobody(at).items()]
        found = await attacked(at, state_dir, 50, 3.0, 0.0)
    figure(found)
    figure("; ".join(map(str, costs)))
    assert [] == [str(cost) for cost in costs if not cost.little]
    assert [] == found.faults
    assert 100 < found.connections
    assert found.bearable
    assert found.grown <= 64 * MEGABYTE


# -- what one request of nobody costs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What one request took, on the average of several: its own bytes, seconds of the processor, bytes of memory."""

    name: str
    size: int
    seconds: float
    memory: int

    @property
    def little(self) -> bool:
        return self.seconds <= 0.05 and self.memory <= 100 * max(self.size, MEGABYTE)

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds * 1000:.1f} ms, {self.memory / MEGABYTE:+.1f} MB"


def requests_of_nobody(at: Running) -> dict[str, tuple[bytes, int]]:
    """Requests without a key that would be dear if anything of ours were: bytes, and how many requests they are."""
    host = at.url.removeprefix("http://")

    def head(method: str, target: str, *headers: str) -> bytes:
        return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()

    stranger = new_key(lambda count: b"\xff" * count).reveal()
    return {
        "a head as large as may be": (head("GET", SMALL, *[f"X-Filler-{n}: {'a' * 240}" for n in range(60)]), 1),
        "an endless head": (b"GET / HTTP/1.1\r\n" + b"X-A: %b\r\n" % (b"a" * 8000) * 130, 1),
        "a body": (head("POST", ORDERS, f"Content-Length: {MEGABYTE}") + b" " * MEGABYTE, 1),
        "tiny chunks": (head("POST", ORDERS, "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 170_000, 1),
        "a query of percents": (head("GET", f"{SMALL}?{'%25' * 2600}=&" + "a&" * 100), 1),
        "many names": (head("GET", f"{SMALL}?" + "&a=" * 2600), 1),
        "a long key": (head("GET", SMALL, "Authorization: Basic " + "QUFB" * 2000), 1),
        "many keys": (head("GET", SMALL, *[f"X-Api-Key: {stranger}" for _ in range(60)]), 1),
        "many at once": (head("GET", SMALL, f"Authorization: Bearer {stranger}") * 500, 500),
    }  # fmt: skip


async def cost_of(at: Running, name: str, data: bytes, count: int) -> Cost:
    """Send it five times, on a connection each."""
    memory, spent, times = at.memory, at.spent, 5
    most = memory
    for _ in range(times):
        reader, writer = await asyncio.open_connection(*at.url.removeprefix("http://").split(":"))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(data)
            for _ in range(count):
                raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                found = re.search(rb"(?i)content-length: (\d+)", raw)
                assert found is not None
                await asyncio.wait_for(reader.readexactly(int(found[1])), 10)
                assert raw.split(b" ")[1] in (b"400", b"401", b"431"), raw
        most = max(most, at.memory)
        writer.close()
    return Cost(name, len(data) // count, (at.spent - spent) / times / count, (most - memory) // count)
