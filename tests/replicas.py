"""Several servers on one store, each a process of its own, in front of one simulated broker in another.

They share the configuration and the master key; each has a port and a state directory (journal, lock, socket) of its
own. Each can be killed, paused, stopped and started again, and its clock set wrong.
"""

import asyncio
import contextlib
import json
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.admin import ServerGone, call
from proxy.cli.ports import reserve
from proxy.store.keys import Source
from tests.callers import ask, eventually
from tests.product import ROOT, Program, command, new_refresh_token, state
from tests.replica import step

CALL = "/questrade/v1/accounts"
SCOPES = ["read_acc", "read_md"]
UP = 30.0  # seconds that a start may take, on a busy machine


@dataclass
class Replica:
    """One server. `down` are the times (monotonic) from which and until which it was not there, the last one's end
    infinite while that lasts.
    """

    number: int
    home: Path
    port: int
    environ: Mapping[str, str]
    stepped: bool
    program: Program | None = None
    down: list[tuple[float, float]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.home / "state" / "admin.sock"

    def start(self) -> None:
        """Blocks shortly. See `until_up`."""
        if self.stepped:
            self.step(0)
            stepped = (sys.executable, "-P", str(ROOT / "tests" / "replica.py"))
            self.program = Program(
                self.home, "../config.yaml", str(self.port), "clock", environ=self.environ, command=stepped
            )
        else:
            flags = ("-c", "../config.yaml", "--port", str(self.port), "--log-format", "json", "--log-level", "debug")
            self.program = Program(self.home, "serve", *flags, environ=self.environ)

    async def until_up(self) -> None:
        """Return once it takes commands. AssertionError if it ends instead."""
        assert self.program is not None
        async for _ in eventually(UP):
            if await self.ready():
                return
            assert self.program.code is None, self.program.output
        raise AssertionError(self.program.output)

    async def ready(self) -> str:
        try:
            return str((await call(self.socket, "ready", {}, timeout=5))["ready"])
        except ServerGone:
            return ""

    async def mount(self) -> dict[str, Any]:
        """The one mount, as `bearerd status` has it."""
        mount: dict[str, Any] = (await call(self.socket, "status", {}, timeout=10))["mounts"][0]
        return mount

    async def kill(self) -> None:
        """`kill -9`."""
        assert self.program is not None
        self.down.append((time.monotonic(), math.inf))
        await asyncio.to_thread(self.program.kill)

    async def stop(self) -> int:
        """SIGTERM, and its exit code once it has ended."""
        assert self.program is not None
        self.down.append((time.monotonic(), math.inf))
        self.program.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.program.end)

    async def restart(self) -> None:
        """Start what was killed or stopped; again and again, as a supervisor does, if there is no database to open."""
        async for _ in eventually(UP, pause=0.2):
            await asyncio.to_thread(self.start)
            with contextlib.suppress(AssertionError):
                await self.until_up()
                break
        else:
            raise AssertionError(self.program and self.program.output)
        self.down[-1] = (self.down[-1][0], time.monotonic())

    def was_down(self, since: float, until: float) -> bool:
        """See `balancer.Target`."""
        return any(begin <= until and end >= since for begin, end in self.down)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Stopped in its tracks (SIGSTOP), as a virtual machine that is moved is."""
        assert self.program is not None
        self.program.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.program.send_signal(signal.SIGCONT)

    def step(self, seconds: float) -> None:
        """Its wall clock is off by so many seconds from now on."""
        step(self.home / "clock", seconds)

    def told(self, lines: int = 12) -> str:
        """The last that its present process logged, but for calls."""
        assert self.program is not None
        found = [line for line in self.program.err.splitlines() if '"event": "call"' not in line]
        return "\n".join([f"-- replica {self.number}", *found[-lines:]])

    def states(self) -> list[str]:
        """The states of the grant that its present process has logged, in order."""
        assert self.program is not None
        lines = [line for line in self.program.err.splitlines() if '"grant is now"' in line]
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the last line of a killed process
                found.append(str(json.loads(line)["state"]))
        return found


@dataclass
class Fleet:
    """All replicas, the simulator's document (`bearerd simulate --json`), and a client key that they all know."""

    directory: Path
    simulator: Mapping[str, Any]
    replicas: list[Replica]
    key: str = field(default="", repr=False)

    @property
    def control(self) -> str:
        return str(self.simulator["control"])

    async def state(self) -> dict[str, Any]:
        """The simulator's counters."""
        return await asyncio.to_thread(state, self.control)

    async def command(self, path: str, **fields: object) -> None:
        """Tell the simulator to do something."""
        await asyncio.to_thread(lambda: command(self.control, path, "questrade", **fields))

    async def login(self, replica: Replica, token: str | None = None) -> None:
        """Log in at one replica, with a token that nobody has redeemed, and wait until all serve."""
        fresh = token or await asyncio.to_thread(new_refresh_token, self.simulator)
        await call(replica.socket, "login", {"mount": "questrade", "token": fresh}, timeout=40)

    async def until_all_serve(self, seconds: float = 15) -> None:
        """Return once each replica has the login and the client's key."""
        for replica in self.replicas:
            reply = None
            async for _ in eventually(seconds, pause=0.05):
                reply = await ask(replica.url, "GET", CALL, self.key)
                if reply.status == 200:
                    break
            assert reply is not None
            assert 200 == reply.status, (replica.number, reply.body)

    def end(self) -> None:
        """Kill what still runs. Blocks."""
        for replica in self.replicas:
            if replica.program is not None:
                replica.program.kill()

    async def until_all(self, good: Callable[[dict[str, Any]], bool], seconds: float = 15) -> None:
        """Return once the mount of each replica is `good`."""
        mounts: list[dict[str, Any]] = []
        async for _ in eventually(seconds, pause=0.05):
            mounts = [await replica.mount() for replica in self.replicas]
            if all(map(good, mounts)):
                return
        raise AssertionError(mounts)


def configuration(simulator: Mapping[str, Any], store: str, scopes: Sequence[str] = SCOPES) -> dict[str, Any]:
    """What all replicas share."""
    return {
        "version": 1,
        "console": "off",
        "store": store,
        "key": "file:master.key",
        "mounts": {"questrade": {"broker": "questrade", "environment": "simulator", "scopes": list(scopes)}},
        "clients": {"bot": {"questrade": list(scopes)}},
        "brokers": {"questrade": {"environments": {"simulator": simulator["environment"]}}},
        "shutdown": {"grace": 10},
    }


@asynccontextmanager
async def fleet(
    directory: Path,
    store: str,
    *,
    count: int = 2,
    life: int = 1800,
    slow: float = 3.0,
    stepped: bool = False,
    scopes: Sequence[str] = SCOPES,
) -> AsyncIterator[Fleet]:
    """So many replicas, logged in, on `store`; access tokens live for `life` seconds. `directory`: see `state_dir`.

    `slow`: what the broker's slow answers take, in seconds.
    `stepped`: their clocks can be set wrong. A store of SQLite takes one replica.
    """
    async with AsyncExitStack() as stack:
        knobs = ("--expires-in", str(life), "--slow", str(slow))
        program = stack.enter_context(Program(directory, "simulate", "--json", "--broker", "questrade", *knobs))
        simulator = await asyncio.to_thread(program.document)
        (directory / "config.yaml").write_text(json.dumps(configuration(simulator, store, scopes)))
        await asyncio.to_thread(Source("file:master.key", directory).create)
        ports, held = reserve(count)
        stack.enter_context(held)
        found = Fleet(
            directory, simulator, [_replica(directory, number, port, stepped) for number, port in enumerate(ports)]
        )
        stack.callback(found.end)
        for replica in found.replicas:
            replica.start()
        for replica in found.replicas:
            await replica.until_up()
        await found.login(found.replicas[0], simulator["refresh_token"])
        made = await call(found.replicas[0].socket, "clients-add", {"name": "bot"}, timeout=10)
        found.key = made["key"]
        await found.until_all_serve()
        yield found


def _replica(directory: Path, number: int, port: int, stepped: bool) -> Replica:
    home = directory / f"r{number}"
    home.mkdir(mode=0o700)
    return Replica(number, home, port, {"BEARERD_STATE": str(home / "state")}, stepped)
