"""One run after the other, each with its own mishap: the process that is killed, and a simulator that counts."""

import asyncio
import json
import os
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.store.keys import Source
from proxy.tokens.grant import TokenPair
from tests.callers import eventually
from tests.crash import judging, tracing
from tests.crash.judging import Counts, Judge, Verdict
from tests.crash.rotate import GRANT, KEY
from tests.crash.tracing import Call, Point
from tests.product import ROOT, surroundings

DRIVER = ROOT / "tests/crash/rotate.py"
SQLITE = "sqlite:state/store.db"
PATIENCE, UNTOUCHED = 1.0, 20.0  # seconds for an act: to get over a fault, and where nothing goes wrong
COMMIT = Point(Call("sqlite", "pwrite64", 1), "KILL")
JUDGES: Mapping[str, Judge] = {
    "rotate": judging.rotated,
    "start": judging.rotated,
    "login": judging.logged_in,
    "adopt": judging.adopted,
    "revoke": judging.revoked,
    "add-client": judging.client_added,
}


@dataclass(frozen=True, slots=True)
class Ready:
    """A process that waits for the word to go: its threads, the generation that it holds, what was counted so far."""

    threads: Mapping[str, int]
    generation: int
    count: Counts


class Yard:
    """A simulator of its own, whose counters tell what one run did, and the process that forks for each run.

    In SQLite each run has a store of its own; a shared store lives on from run to run, as its database does.
    """

    def __init__(self, directory: Path, strace: str, store: str, simulator: Questrade, ca_file: Path) -> None:
        self.directory, self.strace, self.store, self.simulator = directory, strace, store, simulator
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._number = 0
        self._forks: asyncio.subprocess.Process
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Yard"]:
        trust = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
        log = await asyncio.to_thread((self.directory / "driver.log").open, "wb")
        self._forks = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(DRIVER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=log, env=surroundings(self.directory, trust), cwd=self.directory,
        )  # fmt: skip
        log.close()
        connector = aiohttp.TCPConnector(ssl=self._tls, force_close=True)
        try:
            async with aiohttp.ClientSession(connector=connector) as self._session:
                yield self
        finally:
            assert self._forks.stdin is not None
            self._forks.stdin.close()
            await asyncio.wait_for(self._forks.communicate(), 10)

    async def calls(self, act: str = "rotate") -> list[Call]:
        """Every call that an untouched run makes of the system."""
        async with self._house() as (house, traces):
            ready = await self._begin(house, act, seconds=UNTOUCHED)
            options = ("-f", "-ff", "-yy", "-o", str(traces / "trace"))
            async with tracing.traced(self.strace, ready.threads["main"], *options):
                told, status = await self._go()
            assert (0, "committed" if act == "rotate" else "acknowledged") == (status, told[-2]), told
            return await asyncio.to_thread(tracing.read, traces, ready.threads)

    async def run(
        self, point: Point, act: str = "rotate", meddle: Callable[[Path], None] = lambda _house: None
    ) -> Verdict:
        """One run with a mishap, a new start, and the verdict. `meddle`, which may block, spoils what is left."""
        async with self._house() as (house, traces):
            ready = await self._begin(house, act)
            count = ready.count
            told, status, failed = await self._mishap(ready, point, traces)
            await self._quiet()
            verdict = Verdict(point, ready.generation, told, status, failed)
            await asyncio.to_thread(meddle, house)
            await judging.judge(JUDGES[act], self, house, verdict, count)
            return verdict

    async def _mishap(self, ready: Ready, point: Point, traces: Path) -> tuple[list[str], int, bool]:
        """What the run told, the status that it ended with, and whether a call got an error."""
        known = point.call.thread in ready.threads
        # The threads of a start are made in it: the first of them that comes so far is hit.
        thread, more = (ready.threads[point.call.thread], ()) if known else (ready.threads["main"], ("-f",))
        output = traces / f"{point.call.name}"
        async with tracing.traced(self.strace, thread, *more, *point.options, "-o", str(output)):
            told, status = await self._go()
        return told, status, "(INJECTED)" in await asyncio.to_thread(output.read_text, errors="replace")

    async def ask(self, pair: TokenPair) -> int:
        """The status of a call to the broker's API."""
        headers = {"Authorization": f"Bearer {pair.access_token.reveal()}", "User-Agent": "test/1"}
        async with self._session.get(f"https://{pair.origin}/v1/accounts", headers=headers) as answer:
            await answer.read()
            return answer.status

    @asynccontextmanager
    async def _house(self) -> AsyncIterator[tuple[Path, Path]]:
        """The state directory of a run, and one for traces."""
        self._number += 1
        anew = self.store == SQLITE
        house, traces = self.directory / f"house-{self._number if anew else 0}", self.directory / "traces"
        if anew or self._number == 1:
            await asyncio.to_thread(furnish, house, self.store, self.simulator.links().environment)
        await asyncio.to_thread(traces.mkdir)
        yield house, traces
        for gone in (house, traces) if anew else (traces,):
            await asyncio.to_thread(shutil.rmtree, gone)

    async def _begin(self, house: Path, act: str, seconds: float = PATIENCE) -> Ready:
        if act != "start":
            return await self._order(house, act, seconds)
        # A start that finds an answer in the journal: the rotation before it was killed as it began to commit.
        before = await self._order(house, "rotate", seconds)
        told, status, _ = await self._mishap(before, COMMIT, house)
        assert (["posting"], -9) == (told[:1], status), told
        await self._quiet()
        return replace(await self._order(house, act, seconds), generation=before.generation, count=before.count)

    async def _order(self, house: Path, act: str, seconds: float) -> Ready:
        tokens = [self.simulator.new_refresh_token() for _ in range(2)]
        order = {"act": act, "directory": str(house), "tokens": tokens, "seconds": seconds}
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(order).encode() + b"\n")
        while True:
            words = await self._line()
            assert words[0] != "ended", (self.directory / "driver.log").read_text()
            if words[0] == "refuse":
                self.simulator.faults.add("token-400-text", 1)
                self._forks.stdin.write(b"\n")
            if words[0] == "ready":
                return Ready(words[1], words[2], Counts(self.simulator))

    async def _go(self) -> tuple[list[str], int]:
        """Let it do its act: what it told, and the status that it ended with."""
        assert self._forks.stdin is not None
        self._forks.stdin.write(b"\n")
        told: list[str] = []
        while True:
            words = await self._line()
            if words[0] == "ended":
                return told, words[1]
            told.append(words[0])

    async def _line(self) -> list[Any]:
        assert self._forks.stdout is not None
        words: list[Any] = json.loads(await asyncio.wait_for(self._forks.stdout.readline(), 20))
        return words

    async def _quiet(self) -> None:
        """Return once the simulator has dealt with all that the dead process had sent."""
        port = self.simulator._login_listener.port
        async for _ in eventually(5, pause=0.002):
            open_now = await asyncio.to_thread(psutil.Process().net_connections, "tcp")
            if not any(at.laddr.port == port and at.status != psutil.CONN_LISTEN for at in open_now):
                return
        raise AssertionError("the simulator holds a connection of a process that is gone")


def furnish(house: Path, store: str, environment: object) -> None:
    """Configuration and master key of a new house. Blocks."""
    config = {
        "store": store,
        "key": KEY,
        "mounts": {GRANT: {"broker": "questrade", "environment": "simulator", "scopes": ["read_acc"]}},
        "brokers": {"questrade": {"environments": {"simulator": environment}}},
    }
    if store != SQLITE:
        config["state"] = "state"
    house.mkdir(mode=0o700)
    (house / "config.yaml").write_text(json.dumps(config))
    Source(KEY, house).create()


@asynccontextmanager
async def yard(directory: Path, strace: str, store: str = SQLITE) -> AsyncIterator[Yard]:
    """A simulator and a process in front of it, in a directory of their own."""
    await asyncio.to_thread(directory.mkdir)
    running = await serve.start(directory=directory / "ca")
    simulator = running.simulators["questrade"]
    assert isinstance(simulator, Questrade)
    async with AsyncExitStack() as ending:
        ending.push_async_callback(running.stop)
        yield await ending.enter_async_context(Yard(directory, strace, store, simulator, running.ca_file).running())
