"""Two environments of one broker behind one bearerd: what is for one never reaches the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.config import ConfigInvalid, Tcp
from proxy.custody import Custody
from proxy.settings import Settings, read
from proxy.simulator import serve
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.alpaca.credentials import Host
from proxy.store.keys import Source
from tests.wire import Reply, connected

ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
TRADING = ["account:read", "trading"]


def configuration(simulator: Alpaca, **live: Any) -> dict[str, Any]:
    """A mount, a grant and a client for each of paper and live; market data goes with paper."""
    environments = {"paper-trading": simulator.links().environment, "real": simulator.live_environment()}
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:store.db", "key": "file:master.key",
        "mounts": {
            "paper": {"broker": "alpaca", "environment": "paper-trading", "scopes": TRADING},
            "paper-data": {
                "broker": "alpaca", "api": "data", "environment": "paper-trading", "grant": "paper", "scopes": ["data"],
            },
            "live": {"broker": "alpaca", "environment": "real", "scopes": TRADING} | live,
        },
        "grants": {"paper": {"login": "keys"}, "live": {"login": "keys"}},
        "clients": {"on-paper": {"paper": TRADING, "paper-data": ["data"]}, "on-live": {"live": TRADING}},
        "brokers": {"alpaca": {"environments": {name: dict(found) for name, found in environments.items()}}},
    }  # fmt: skip


@dataclass
class Desk:
    """The product in front of a simulated Alpaca, both grants logged in; `keys` are by client."""

    app: App
    simulator: Alpaca
    keys: Mapping[str, str]

    def pair(self, host: Host) -> str:
        keys = self.simulator.credentials.keys[host]
        return f"{keys.id}:{keys.secret}"

    def hosts(self, name: str) -> dict[str, Any]:
        """One of the counters of each of Alpaca's hosts that got a call."""
        found: Any = self.simulator.state()["hosts"]
        return {host: seen[name] for host, seen in found.items() if seen["calls"]}

    async def call(self, client: str, target: str, *headers: str, body: object = None) -> Reply:
        bound = self.app.doors.listeners[0].bound
        assert isinstance(bound, Tcp)
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: 127.0.0.1:{bound.port}", *headers]
        lines += [f"Authorization: Bearer {self.keys[client]}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"] if content else []
        async with connected("127.0.0.1", bound.port) as wire:
            await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            return await wire.reply()


def _prepare(directory: Path, config: Mapping[str, Any]) -> tuple[Settings, Source]:
    file = directory / "config.yaml"
    file.write_text(json.dumps(config), "utf-8")
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


@pytest.fixture
async def simulator(state_dir: Path) -> AsyncIterator[Alpaca]:
    running = await serve.start(["alpaca"], directory=state_dir / "ca")
    found = running.simulators["alpaca"]
    assert isinstance(found, Alpaca)
    yield found
    await running.stop()


@pytest.fixture
async def desk(simulator: Alpaca, state_dir: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        settings, source = await asyncio.to_thread(_prepare, state_dir, configuration(simulator))
        custody = await Custody.open(settings.config, source)
        stack.push_async_callback(custody.close)
        app = App(settings, custody, lambda: settings)
        stack.push_async_callback(app.stop)
        await app.start()
        keys = {client: (await app.operations.clients_add(client))["key"] for client in ("on-paper", "on-live")}
        found = Desk(app, simulator, keys)
        await app.operations.login("paper", found.pair(Host.PAPER))
        await app.operations.login("live", found.pair(Host.LIVE))
        yield found


async def test_each_client_reaches_its_own_host_only(desk: Desk) -> None:
    """With each pair at its own host, and paper's at the data host too; no order is where it should not be."""
    for client, target in (("on-paper", "/paper"), ("on-live", "/live")):
        assert 200 == (await desk.call(client, f"{target}/v2/account")).status
    assert 200 == (await desk.call("on-paper", "/paper/v2/orders", body=ORDER)).status
    assert 200 == (await desk.call("on-paper", "/paper-data/v2/stocks/AAPL/trades/latest")).status

    assert {
        "paper": {"GET /v2/account": 1, "POST /v2/orders": 1},
        "live": {"GET /v2/account": 1},
        "data": {"GET /v2/stocks/AAPL/trades/latest": 1},
    } == desk.hosts("calls")
    assert all(seen["current"] == sum(seen.values()) for seen in desk.hosts("authorizations").values())


@pytest.mark.parametrize(
    ("client", "target", "status"),
    [
        ("on-paper", "/live", 403),
        ("on-live", "/paper", 403),
        ("on-live", "/paper-data", 403),
        ("on-paper", "/paper/../live", 400),
        ("on-paper", "/paper/%2e%2e/live", 400),
        ("on-paper", "//live", 400),
        ("on-paper", "/paper//live", 403),
    ],
)
async def test_no_call_gets_across(client: str, target: str, status: int, desk: Desk) -> None:
    """Neither a read nor an order, whatever the path looks like; nothing is sent to any host."""
    assert status == (await desk.call(client, f"{target}/v2/account")).status
    assert status == (await desk.call(client, f"{target}/v2/orders", body=ORDER)).status
    assert {} == desk.hosts("calls")


async def test_a_pair_of_the_other_environment_opens_nothing(desk: Desk) -> None:
    """Paper's pair at the login of live: it goes to the live host, which refuses it, and no other host is asked."""
    await desk.app.operations.login("live", desk.pair(Host.PAPER))

    assert 401 == (await desk.call("on-live", "/live/v2/account")).status
    assert {"live"} == desk.hosts("calls").keys()


async def test_the_status_names_the_host_of_each_mount(desk: Desk) -> None:
    """Two APIs of one grant live at two hosts."""
    hosts = {mount["name"]: mount["api_host"] for mount in desk.app.operations.status()["mounts"]}
    paper: Any = desk.simulator.links().environment["api_servers"]
    live: Any = desk.simulator.live_environment()["api_servers"]

    assert {"paper": paper["trading"], "paper-data": paper["data"], "live": live["trading"]} == {
        name: f"https://{host}" for name, host in hosts.items()
    }


async def test_one_grant_cannot_be_of_both(simulator: Alpaca, state_dir: Path) -> None:
    """A mount that would use the other's login is a mistake in the configuration."""
    with pytest.raises(ConfigInvalid) as caught:
        await asyncio.to_thread(_prepare, state_dir, configuration(simulator, grant="paper"))

    assert "make them equal or give each its own grant" in {
        problem.fix for problem in caught.value.problems if problem.path == "mounts.live.environment"
    }
