"""What the demo stands on."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy import localca
from proxy.cli.stage import CLIENT, DOORS, ROOTS, TRADER, Plan, configuration, grants, simulator_of
from proxy.clock import SystemClock
from proxy.inforce import Local, load
from proxy.settings import read
from proxy.simulator import serve
from proxy.simulator.serve import Running

PORTS = [1, 2, *range(3, 3 + len(ROOTS)), 99]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = await serve.start([*serve.BROKERS], directory=tmp_path / "ca")
    yield running
    await running.stop()


async def _made(running: Running) -> dict[str, Any]:
    roots = dict(zip(ROOTS, PORTS[2:-1], strict=True))
    return await asyncio.to_thread(configuration, 1, 2, roots, running)


async def test_every_broker_has_a_door(running: Running) -> None:
    """Every simulated broker is mounted, and every grant has a login that its simulator knows."""
    assert set(running.simulators) == {door.broker for door in DOORS.values()}
    for name in grants():
        assert DOORS[name].login in simulator_of(running, name).links().logins


async def test_only_the_client_s_key_decides(running: Running) -> None:
    """The mounts allow all scopes; the client has those without orders, the trader all."""
    made = await _made(running)
    kept = {
        name: [scope for scope in mount["scopes"] if scope not in made["clients"][CLIENT][name]]
        for name, mount in made["mounts"].items()
    }

    assert "127.0.0.1:1" == made["listen"]
    assert {
        "questrade": ["trade"],
        "tradier": ["trade"],
        "alpaca": ["trading"],
        "alpaca-data": [],
        "alpaca-broker": ["broker:trading.write", "broker:oauth"],
        "alpaca-stream": [],
        "tradier-stream": [],
        "tradier-ws": [],
    } == kept
    assert {name: mount["scopes"] for name, mount in made["mounts"].items()} == made["clients"][TRADER]


async def test_roots_are_for_clients_that_drop_a_prefix(running: Running) -> None:
    """Each of them has a port of its own; the Broker API's clients keep theirs."""
    mounts = (await _made(running))["mounts"]

    assert {"questrade": 3, "tradier": 4, "alpaca": 5, "alpaca-data": 6} == {
        name: mount["port"] for name, mount in mounts.items() if "port" in mount
    }
    assert "alpaca" == mounts["alpaca-data"]["grant"]


async def test_the_plan_is_a_configuration_that_can_be_read(running: Running, tmp_path: Path) -> None:
    """Every grant has what its login needs; secrets are in private files, and none in the configuration."""
    plan = await asyncio.to_thread(Plan.make, tmp_path, PORTS, running)
    settings = await asyncio.to_thread(read, plan.config, {"HOME": str(tmp_path)})
    text = plan.config.read_text("utf-8")

    assert {"questrade", "tradier", "alpaca", "alpaca-broker"} == settings.grants.keys()
    assert 1 == len(settings.grants["alpaca-broker"].apps)
    files = await asyncio.to_thread(lambda: [*tmp_path.iterdir()])
    held = [path for path in files if path.suffix in {".secret", ".key", ".token", ".yaml"}]
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in held}
    secrets = [path.read_text("utf-8") for path in held if path.suffix == ".secret"]
    assert 4 == len(secrets)
    assert not any(secret in text for secret in secrets)
    assert plan.token not in text


async def test_the_plan_may_serve_over_tls(running: Running, tmp_path: Path) -> None:
    """Everywhere, or at one address beside the others; one file holds who signs for bearerd and for the simulators."""
    plan = await asyncio.to_thread(Plan.make, tmp_path, PORTS, running, tls=True)
    config = (await asyncio.to_thread(read, plan.config, {"HOME": str(tmp_path)})).config

    assert ("https://127.0.0.1:1", plan.url) == (plan.url, plan.url_tls)
    in_force = await asyncio.to_thread(
        load, config.tls, SystemClock().now().wall, expired=False, local=Local.of(config)
    )
    assert "127.0.0.1" in in_force.hosts
    trusted = await asyncio.to_thread(plan.ca_file.read_bytes)
    assert trusted.startswith(await asyncio.to_thread(running.ca_file.read_bytes))
    assert trusted.endswith((await asyncio.to_thread(localca.read, localca.file_of(config))).pem)


async def test_the_plan_serves_both(running: Running, tmp_path: Path) -> None:
    """Plain HTTP where the report says so, and TLS for clients that insist on it."""
    plan = await asyncio.to_thread(Plan.make, tmp_path, PORTS, running)
    config = (await asyncio.to_thread(read, plan.config, {"HOME": str(tmp_path)})).config

    assert ("http://127.0.0.1:1", "https://127.0.0.1:99") == (plan.url, plan.url_tls)
    assert [("127.0.0.1:1", False), ("127.0.0.1:99", True)] == [
        (str(each), config.encrypts(each)) for each in config.listen
    ]


async def test_nobody_answers_before_bearerd_is_up(running: Running, tmp_path: Path) -> None:
    """`answers` is a question, not an error."""
    plan = await asyncio.to_thread(Plan.make, tmp_path, PORTS, running)

    assert not await plan.answers()
    assert "http://127.0.0.1:1" == plan.url
