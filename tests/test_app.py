"""An app starts whole or not at all, stops once, and changes without anybody seeing half of a change."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import call
from proxy.app import App
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.config import Tcp
from proxy.custody import Custody
from proxy.relay.pool.pooled import PooledUpstream
from proxy.settings import read
from proxy.store import StoreError, StoreLocked
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from tests.house import SECOND, House, _prepare, answers, house, port_of, simulated, taken_port
from tests.wire import connected


async def within(seconds: float, true: Callable[[], Any]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  what is waited for happens in the server
            await asyncio.sleep(0.02)


async def test_a_start_opens_everything_and_a_stop_closes_it(state_dir: Path) -> None:
    """Listener, root, console and admin socket; a second stop does nothing."""
    async with house(state_dir, SECOND, ('console: "off"', "console: 127.0.0.1:0")) as home:
        ports = [port_of(listener) for listener in home.app.doors.listeners]
        assert 2 == len(ports)
        assert home.app.console_url is not None
        assert "needs-login" == (await call(state_dir / "admin.sock", "ready", {}, timeout=5))["ready"]

        await asyncio.gather(home.app.stop(), home.app.stop())
        await home.app.stop()
        assert [False, False] == [await answers(port) for port in ports]
        assert not (state_dir / "admin.sock").exists()
        assert isinstance(home.app._upstream, PooledUpstream)
        assert {} == dict(home.app._upstream._pools)


async def test_a_start_that_fails_half_way_leaves_nothing_open(state_dir: Path) -> None:
    """Here the console's port is taken: the listeners before it are closed again, and at once."""
    with taken_port() as holder:
        async with simulated(state_dir) as simulator:
            _, settings, source = await asyncio.to_thread(_prepare, state_dir, simulator.links().environment)
            custody = await Custody.open(settings.config, source)
            config = settings.config.model_copy(
                update={
                    "console": (Tcp("127.0.0.1", holder.getsockname()[1]),),
                    "shutdown": settings.config.shutdown.model_copy(update={"drain_delay": 600.0}),
                }
            )
            settings = replace(settings, config=config)
            app = App(settings, custody, lambda: settings)
            with pytest.raises(OSError, match="cannot listen"):
                await app.start()
            assert [] == app.doors.listeners
            assert not (state_dir / "admin.sock").exists()
            await app.stop()
            await custody.close()


async def test_a_stop_lets_calls_inside_end(state_dir: Path) -> None:
    """They get their answer; a new one meets a closed door."""
    async with house(state_dir) as home, asyncio.TaskGroup() as group:
        home.simulator.faults.add("api-slow")
        inside = group.create_task(home.call("GET", "/questrade/v1/accounts"))
        await within(5, lambda: _true(home.app.gateway.serving.in_flight == 1))
        port = home.port
        stopped = group.create_task(home.app.stop())
        assert 200 == (await inside).status
        await stopped
        assert not await answers(port)


async def _true(value: bool) -> bool:
    return value


async def test_a_second_server_on_the_same_store_is_refused(state_dir: Path) -> None:
    """Two that redeem would lose the grant."""
    async with house(state_dir) as home:
        _, settings, source = await asyncio.to_thread(_prepare, state_dir, None)
        with pytest.raises(StoreLocked):
            await Custody.open(settings.config, source)
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_a_key_of_another_process_counts_within_a_second(state_dir: Path) -> None:
    """Added it works, removed it is refused, without a reload."""
    async with house(state_dir) as home:
        sealer = home.app.custody.vault._sealer
        other = await SQLiteStore.open(state_dir / "store.db")
        try:
            keys = ClientKeys(Vault(other, sealer), SystemClock())
            key = (await keys.add("bot")).reveal()
            await within(1.5, lambda: _status_is(home, key, 200))
            await keys.remove("bot")
            await within(1.5, lambda: _status_is(home, key, 401))
            assert await _status_is(home, home.key, 401)
        finally:
            await other.close()


async def _status_is(home: House, key: str, status: int) -> bool:
    return status == (await home.call("GET", "/questrade/v1/accounts", key=key)).status


async def test_a_failing_store_is_said_to_fail_and_tokens_serve_on(state_dir: Path) -> None:
    """Readiness says so; when the store is back, so does it; a record that makes no sense ends no watch."""
    async with house(state_dir) as home:
        changes = home.app.custody.store.changes
        faults: list[Exception] = [StoreError("disk full"), ValueError("junk")]

        async def failing() -> int:
            if faults:
                raise faults[0]
            return await changes()

        home.app.custody.store.changes = failing  # type: ignore[method-assign]
        for told in ("disk full", "ValueError"):
            await within(2, lambda told=told: _true(told in home.app.store_fault))  # type: ignore[misc]
            assert "degraded" == home.app.operations.ready()[0]
            assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
            faults.pop(0)
        await within(2, lambda: _true(home.app.store_fault == ""))
        assert "ok" == home.app.operations.ready()[0]


async def test_a_root_listener_serves_its_mount(state_dir: Path) -> None:
    """And shares the grant of another mount, if it says so."""
    second = (SECOND[0], SECOND[1].replace("port: 0", "port: 0, grant: questrade"))
    rights = ("bot: {questrade: [read_acc", "bot: {second: [read_acc], questrade: [read_acc")
    async with house(state_dir, second, rights) as home:
        root = port_of(home.app.doors.listeners[1])
        assert 200 == (await home.call("GET", "/v1/accounts", port=root)).status
        assert 200 == (await home.call("GET", "/second/v1/accounts")).status
        assert ["questrade"] == list(home.app.keepers)


async def test_extra_names_are_served_on_every_listener(state_dir: Path) -> None:
    """`allowed_hosts`; after a reload without them they are strangers."""
    names = ("clients:", 'allowed_hosts: ["bearerd.internal:*"]\nclients:')
    async with house(state_dir, names, ('console: "off"', "console: 127.0.0.1:0")) as home:
        console = int((home.app.console_address or "").rstrip("/").rpartition(":")[2])
        request = (
            f"GET /questrade/v1/accounts HTTP/1.1\r\nHost: bearerd.internal\r\nX-Api-Key: {home.key}\r\n\r\n".encode()
        )
        probe = b"GET /livez HTTP/1.1\r\nHost: bearerd.internal\r\n\r\n"
        for status in (200, 421):
            for port in (home.port, console):
                async with connected("127.0.0.1", port) as wire:
                    await wire.send(request if port == home.port else probe)
                    assert (port, status) == (port, (await wire.reply()).status)
            if status == 200:
                await home.rewrite((names[1], names[0]))
                await home.app.reload()


async def test_a_restart_goes_on_with_the_stored_token(state_dir: Path) -> None:
    """No login, no redeem: the pair is good for as long as the broker said."""
    async with simulated(state_dir) as simulator:
        for turn in range(2):
            file, settings, source = await asyncio.to_thread(_prepare, state_dir, simulator.links().environment)
            custody = await Custody.open(settings.config, source)
            app = App(settings, custody, lambda file=file: read(file, {}))  # type: ignore[misc]
            await app.start()
            if not turn:
                await app.operations.login("questrade", simulator.links().refresh_token or "")
            key = (await app.operations.clients_add("bot"))["key"]
            home = House(app, simulator, file, key)
            assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
            await app.stop()
            await custody.close()
        assert 1 == simulator.state()["rotations"]
