"""The product in one process in front of a broker that it does not come with: definition and simulator are YAML."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from proxy.app import App
from proxy.clock import Now
from proxy.config import parse_yaml
from proxy.custody import Custody
from proxy.settings import Settings, read
from proxy.simulator import serve
from proxy.simulator.plain.broker import Plain, options_for
from proxy.simulator.plain.reading import read_setup
from proxy.simulator.plain.setup import Setup
from proxy.simulator.serve import Kind
from proxy.store.keys import Source
from tests.house import port_of
from tests.wire import Reply, connected

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE, EXAMPLE_SIMULATOR = ROOT / "examples" / "schwab.yaml", ROOT / "examples" / "schwab-simulator.yaml"
NOON = 1_772_557_200.0  # 2026-03-03T12:00:00-05:00


@dataclass
class HandClock:
    """Both clocks of bearerd and the clock of the broker, moved by hand together."""

    passed: float = 0.0

    def now(self) -> Now:
        return Now(wall=NOON + self.passed, boot=self.passed)

    def wall(self) -> float:
        return NOON + self.passed


@dataclass
class OwnHouse:
    """An app with one client, `bot`, whose key is `key`, and the broker behind it."""

    app: App
    broker: Plain
    clock: HandClock
    key: str = field(default="", repr=False)

    async def call(self, method: str, target: str, *headers: str, body: bytes | None = None) -> Reply:
        """One request of the bot's on a connection of its own."""
        port = port_of(self.app.doors.listeners[0])
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        lines += [f"Content-Length: {len(body)}"] if body is not None else []
        async with connected("127.0.0.1", port) as wire:
            await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
            reply: Reply = await wire.reply(method=method)
            return reply

    async def log_in(self, mount: str) -> dict[str, Any]:
        """The login by code as a person does it who pastes the address that the browser ends at."""
        begun = await self.app.operations.login_begin(mount)
        return await self.app.operations.login_complete(mount, self.broker.approve(begun["authorize_url"]))

    def grant(self, name: str) -> dict[str, Any]:
        """The standing of a mount's grant, as `bearerd status` has it."""
        mounts: Sequence[dict[str, Any]] = self.app.operations.status()["mounts"]
        return next(mount for mount in mounts if mount["name"] == name)

    async def settled(self, name: str) -> None:
        """Wait until the newest tokens of a mount's grant are in the store."""
        while self.grant(name)["state"] != "fresh":  # noqa: ASYNC110  the commit is the keeper's own affair
            await asyncio.sleep(0.001)

    def seen(self, name: str) -> Any:
        """One of the broker's counters."""
        return self.broker.state()[name]


def described(file: Path) -> dict[str, Any]:
    """A configuration as data."""
    document = parse_yaml(file.read_text("utf-8"), file.name)
    assert () == document.problems
    data: dict[str, Any] = document.data
    return data


def bound(config: Mapping[str, Any], broker: Plain, rights: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The same configuration, its mounts led to the simulator's environment, each with these scopes for the bot too."""
    links = broker.links()
    found: dict[str, Any] = json.loads(json.dumps(dict(config)))
    found["brokers"][broker.name]["environments"]["simulator"] = dict(links.environment)
    for name, mount in found["mounts"].items():
        mount |= {"environment": "simulator", "scopes": list(rights[name])}
    needs = next(iter(links.logins.values()))
    for name in found.get("grants", {}):
        found["grants"][name] = needs
    fixed = {"listen": "127.0.0.1:0", "console": "off", "store": "sqlite:store.db", "key": "file:master.key"}
    return {"version": 1, **found, **fixed, "clients": {"bot": {name: list(scopes) for name, scopes in rights.items()}}}


def _prepare(directory: Path, config: Mapping[str, Any]) -> tuple[Settings, Source]:
    file = directory / "config.yaml"
    file.write_text(json.dumps(config), "utf-8")
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


def setup_of(directory: Path, text: str) -> Setup:
    """A simulated broker, read from a text."""
    file = directory / "simulator.yaml"
    file.write_text(text, "utf-8")
    return read_setup(file)


@asynccontextmanager
async def own_house(
    directory: Path,
    config: Mapping[str, Any],
    simulator: str,
    rights: Mapping[str, Sequence[str]],
    *,
    limit: tuple[int, float] | None = None,
) -> AsyncIterator[OwnHouse]:
    """The product with `config` in front of the broker that the text `simulator` describes; nobody has logged in.

    `limit`: so many calls in so many seconds are all that the broker takes.
    """
    async with AsyncExitStack() as stack:
        setup = await asyncio.to_thread(setup_of, directory, simulator)
        kinds = {setup.name: Kind(partial(Plain, setup), partial(options_for, setup))}
        running = await serve.start([setup.name], directory=directory / "ca", more=kinds)
        stack.push_async_callback(running.stop)
        broker = running.simulators[setup.name]
        assert isinstance(broker, Plain)
        clock = HandClock()
        broker.options.now, broker.options.limit = clock.wall, limit
        settings, source = await asyncio.to_thread(_prepare, directory, bound(config, broker, rights))
        custody = await Custody.open(settings.config, source)
        stack.push_async_callback(custody.close)
        app = App(settings, custody, lambda: settings, clock=clock)
        stack.push_async_callback(app.stop)
        await app.start()
        yield OwnHouse(app, broker, clock, (await app.operations.clients_add("bot"))["key"])
