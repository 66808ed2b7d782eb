"""The whole product in one process: an `App` on a store of its own, and the simulated broker behind it over HTTPS."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.app import App
from proxy.config import Tcp
from proxy.custody import Custody
from proxy.listener import Listener
from proxy.settings import Settings, read
from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.store.keys import Source
from tests.wire import Reply, connected

ACCOUNT = "/questrade/v1/accounts/26598145"
ORDER = {"symbolId": 8049, "quantity": 10, "action": "Buy", "orderType": "Limit", "limitPrice": 1, "timeInForce": "Day"}

READ_ONLY = ("bot: {questrade: [read_acc, read_md, trade]}", "bot: {questrade: [read_acc, read_md]}")
SECOND = (
    "mounts:",
    "mounts:\n  second: {broker: questrade, environment: simulator, scopes: [read_acc], port: 0}",
)


@dataclass
class House:
    """An app with one mount, `questrade`, and one client, `bot`, whose key is `key`."""

    app: App
    simulator: Questrade
    file: Path
    key: str = ""

    @property
    def port(self) -> int:
        return port_of(self.app.doors.listeners[0])

    async def call(self, method: str, target: str, *headers: str, body: bytes | None = None, **where: Any) -> Reply:
        """One request on a connection of its own. `where`: another `port`, or another `key`."""
        port, key = where.get("port", self.port), where.get("key", self.key)
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers]
        lines += [f"Authorization: Bearer {key}"] if key else []
        lines += [f"Content-Length: {len(body)}"] if body is not None else []
        async with connected("127.0.0.1", port) as wire:
            await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
            reply: Reply = await wire.reply(method=method)
            return reply

    async def order(self) -> Reply:
        return await self.call("POST", f"{ACCOUNT}/orders", body=json.dumps(ORDER).encode())

    def seen(self, name: str) -> Any:
        """One of the simulator's counters."""
        return self.simulator.state()[name]

    async def rewrite(self, *changes: tuple[str, str]) -> None:
        """Change the configuration file; each `old` must be in it."""
        text = self.file.read_text("utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        await asyncio.to_thread(self.file.write_text, text, "utf-8")


def port_of(listener: Listener) -> int:
    assert isinstance(listener.bound, Tcp)
    return listener.bound.port


CONFIG = """
version: 1
listen: 127.0.0.1:0
console: "off"
store: sqlite:store.db
key: file:master.key
mounts:
  questrade: {{broker: questrade, environment: simulator, scopes: [read_acc, read_md, trade]}}
clients:
  bot: {{questrade: [read_acc, read_md, trade]}}
brokers:
  questrade:
    environments:
      simulator: {environment}
      other: {environment}
"""


def _prepare(directory: Path, environment: object) -> tuple[Path, Settings, Source]:
    file = directory / "config.yaml"
    if not file.exists():
        file.write_text(CONFIG.format(environment=json.dumps(environment)), "utf-8")
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    if not (directory / "master.key").exists():
        source.create()
    return file, settings, source


@asynccontextmanager
async def simulated(directory: Path) -> AsyncIterator[Questrade]:
    """A simulated Questrade, its certificates in `directory`/ca."""
    running = await serve.start(directory=directory / "ca", options=Options(slow=0.3))
    try:
        simulator = running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        yield simulator
    finally:
        await running.stop()


@asynccontextmanager
async def house(
    directory: Path, *changes: tuple[str, str], login: bool = True, kind: type[App] = App
) -> AsyncIterator[House]:
    """The product, logged in unless told otherwise. `changes` are made to the configuration before it is read."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(simulated(directory))
        file, settings, source = await asyncio.to_thread(_prepare, directory, simulator.links().environment)
        custody = await Custody.open(settings.config, source)
        stack.push_async_callback(custody.close)
        app = kind(settings, custody, lambda: read(file, {"HOME": str(directory)}), console_token="t" * 24)
        found = House(app, simulator, file)
        if changes:
            await found.rewrite(*changes)
            app.settings = await asyncio.to_thread(read, file, {"HOME": str(directory)})
        stack.push_async_callback(app.stop)
        await app.start()
        if app.settings.config.clients != "none":
            found.key = (await app.operations.clients_add("bot"))["key"]
        if login:
            await app.operations.login("questrade", simulator.links().refresh_token or "")
        yield found


async def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with connected("127.0.0.1", port):
            return True
    except OSError:
        return False


def taken_port() -> socket.socket:
    """A socket that holds a port."""
    holder = socket.create_server(("127.0.0.1", 0))
    holder.settimeout(0)
    return holder
