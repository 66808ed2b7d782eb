"""A server of several processes, before a simulated Questrade; and the processes that it consists of."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.admin import call
from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.store.keys import Source
from tests.callers import Wire, ask, eventually
from tests.product import Program, Reply

ACCOUNTS = "/questrade/v1/accounts"
ORDERS = "/questrade/v1/accounts/26598145/orders"
SCOPES = ["read_acc", "read_md", "trade"]
ORDER = {
    "symbolId": 8049, "quantity": 1, "action": "Buy", "orderType": "Limit", "timeInForce": "Day", "limitPrice": 9,
}  # fmt: skip


@dataclass
class Staff:
    """The running server, and who calls it."""

    directory: Path
    simulator: Questrade
    server: Program
    url: str = ""
    console: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.keys["bot"]

    async def command(self, name: str, /, **params: Any) -> dict[str, Any]:
        """One command to the running server."""
        return await call(self.directory / "state/admin.sock", name, params, timeout=30)

    async def ask(self, target: str = ACCOUNTS, method: str = "GET", body: object = None, **headers: str) -> Reply:
        """One call with the client's key, on a connection of its own."""
        return await ask(self.url, method, target, self.key, body, **headers)

    def wire(self) -> Wire:
        return Wire(self.url)

    async def workers(self) -> list[int]:
        """The processes that relay."""
        return [each["pid"] for each in (await self.command("status"))["workers"]]

    def custody(self) -> int:
        """The process that keeps custody: the child of the supervisor that is no worker."""
        (found,) = [pid for pid, line in self.children().items() if "serve" in line]
        return found

    def children(self) -> dict[int, str]:
        """The supervisor's children, and their command lines."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int(re.findall(r"\) \S (\d+)", (entry / "stat").read_text())[0])
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if parent == self.server.pid:
                    found[int(entry.name)] = line
        return found

    async def restarted(self, pid: int) -> None:
        """Return when `pid` has gone and the server is whole again."""
        async for _ in eventually(20):
            try:
                status = await self.command("status")
            except Exception:  # noqa: BLE001, S112  it is not there at the moment
                continue
            there = [each["pid"] for each in status["workers"] if each["ready"]]
            if len(there) == status_count(self.directory) and pid not in there and self.custody() != pid:
                return
        raise AssertionError(self.server.output)

    async def counted(self, text: str) -> float:
        """The sum of the samples of the metrics that begin so."""
        reply = await ask(self.console, "GET", "/metrics")
        lines = [line for line in reply.body.decode().splitlines() if line.startswith(text)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


def status_count(directory: Path) -> int:
    return int(json.loads((directory / "config.yaml").read_text())["workers"])


def configuration(environment: object, count: int) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "console": "127.0.0.1:0",
        "store": "sqlite:state/store.db",
        "key": "file:master.key",
        "workers": count,
        "mounts": {"questrade": {"broker": "questrade", "environment": "simulator", "scopes": SCOPES}},
        "clients": {"bot": {"questrade": SCOPES}, "other": {"questrade": ["read_acc"]}},
        "brokers": {"questrade": {"environments": {"simulator": environment}}},
        "shutdown": {"grace": 10},
    }


@asynccontextmanager
async def staffed(
    directory: Path,
    count: int = 2,
    *,
    options: Options | None = None,
    more: Mapping[str, Any] | None = None,
    command: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Staff]:
    """`bearerd serve` with workers, logged in, with a key for the client. `command`, `environ`: see `Program`."""
    running = await serve.start(directory=directory / "ca", options=options or Options())
    try:
        simulator = running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        text = configuration(running.description()["environment"], count) | dict(more or {})
        (directory / "config.yaml").write_text(json.dumps(text, indent=1))
        await asyncio.to_thread(Source("file:master.key", directory).create)
        arguments = ("serve", "-c", "config.yaml", "--log-format", "json")
        server = Program(directory, *arguments, command=command, environ=environ)
        staff = Staff(directory, simulator, server)
        try:
            await asyncio.to_thread(server.until, "To do: ")
            staff.url = re.findall(r"serves (http://[0-9.:]+)", server.output)[0]
            staff.console = re.findall(r"Console: (http://[0-9.:]+)/", server.output)[0]
            await staff.command("login", mount="questrade", token=simulator.new_refresh_token())
            staff.keys["bot"] = (await staff.command("clients-add", name="bot"))["key"]
            yield staff
        finally:
            if server.code is None:
                await asyncio.to_thread(server.stop)
    finally:
        await running.stop()


async def until(done: Callable[[], object], seconds: float = 5.0) -> None:
    """Return once it is so."""
    async for _ in eventually(seconds, 0.001):
        if done():
            return
    raise AssertionError("it did not come to that")


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
