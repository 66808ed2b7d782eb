"""An app starts whole or not at all, stops once, and changes without anybody seeing half of a change."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import NotPossible, call
from proxy.app import App
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.config import ConfigInvalid, Tcp
from proxy.custody import Custody
from proxy.relay.pool.pooled import PooledUpstream
from proxy.settings import read
from proxy.store import StoreError, StoreLocked
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from tests.house import House, _prepare, house, port_of, simulated
from tests.wire import connected

READ_ONLY = ("bot: {questrade: [read_acc, read_md, trade]}", "bot: {questrade: [read_acc, read_md]}")
SECOND = (
    "mounts:",
    "mounts:\n  second: {broker: questrade, environment: simulator, scopes: [read_acc], port: 0}",
)


async def within(seconds: float, true: Callable[[], Any]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  what is waited for happens in the server
            await asyncio.sleep(0.02)


def taken_port() -> socket.socket:
    """A socket that holds a port."""
    holder = socket.create_server(("127.0.0.1", 0))
    holder.settimeout(0)
    return holder


async def answers(port: int) -> bool:
    try:
        async with connected("127.0.0.1", port):
            return True
    except OSError:
        return False


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


async def test_a_reload_takes_over_rights_and_mounts(state_dir: Path) -> None:
    """Without a connection lost: the keeper and its token stay."""
    async with house(state_dir) as home:
        assert 200 == (await home.order()).status
        await home.rewrite(READ_ONLY, SECOND)
        await within(2, lambda: _true(home.app.config_changed()))
        assert any("not loaded" in line for line in home.app.operations.status()["warnings"])

        assert {"mounts", "clients"} == set((await home.app.reload())["changed"])
        assert (403, "scope-denied") == (await home.order()).problem
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert not home.app.config_changed()
        assert ["questrade", "second"] == sorted(home.app.keepers)
        assert (1, 1) == (home.seen("rotations"), home.seen("orders"))
        root = port_of(home.app.doors.listeners[1])
        assert (403, "scope-denied") == (await home.call("GET", "/v1/accounts", port=root)).problem  # no right to it


async def test_a_reload_with_a_mistake_keeps_the_old_configuration(state_dir: Path) -> None:
    """And `status` says why, until one succeeds."""
    async with house(state_dir) as home:
        await home.rewrite(READ_ONLY, ("questrade: {broker", "questrade: {brokr"))
        with pytest.raises(ConfigInvalid, match="brokr"):
            await home.app.reload()
        assert 200 == (await home.order()).status
        assert any("brokr" in line for line in home.app.operations.status()["warnings"])

        await home.rewrite(("{brokr", "{broker"))
        await home.app.reload()
        assert 403 == (await home.order()).status
        assert [] == home.app.operations.status()["warnings"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("listen: 127.0.0.1:0", "listen: 127.0.0.1:1"), "listen can't change"),
        (("clients:", "log: {level: debug}\nclients:"), "log can't change"),
        (("environment: simulator", "environment: other"), "grant questrade can't move"),
        (("trade]}\nclients", "trade], port: TAKEN}\nclients"), "cannot listen on"),
    ],
)
async def test_a_reload_that_cannot_be_done_changes_nothing(
    state_dir: Path, change: tuple[str, str], reason: str
) -> None:
    """The reason names what stands in the way; new mounts of the same file are not half there."""
    with taken_port() as holder:
        port = str(holder.getsockname()[1])
        async with house(state_dir) as home:
            await home.rewrite((change[0], change[1].replace("TAKEN", port)), SECOND)
            before = home.app.gateway.policy
            with pytest.raises(NotPossible, match=reason):
                await home.app.reload()

            assert home.app.gateway.policy is before
            assert (1, ["questrade"]) == (len(home.app.doors.listeners), list(home.app.keepers))
            assert 200 == (await home.order()).status


OWN = """
  own:
    title: Own
    scopes: {read: Read}
    params: {}
    logins: {key: {kind: secret, placement: {headers: [X-Key, X-Secret]}}}
    environments: {live: {api_server: "https://127.0.0.1:1"}}
    rows: [{id: a, method: GET, path: /a, scope: read}]
"""


async def test_a_login_that_has_become_another_is_not_taken_over(state_dir: Path) -> None:
    """What is kept for it would be sent in another place of the call, or could not be sent at all."""
    async with house(state_dir) as home:
        await home.rewrite(
            ("mounts:", "mounts:\n  own: {broker: own, environment: live, scopes: [read]}"),
            ("brokers:", f"brokers:{OWN}"),
        )
        await home.app.reload()
        await home.app.operations.login("own", "an-id:a-secret")
        for placement in ("bearer", "{query: key}", "{headers: [X-Other, X-Secret]}"):
            text = await asyncio.to_thread(home.file.read_text)
            await home.rewrite(("placement: {headers: [X-Key, X-Secret]}", f"placement: {placement}"))
            with pytest.raises(NotPossible, match="grant own can't move to own/live, login key"):
                await home.app.reload()
            await asyncio.to_thread(home.file.write_text, text)
        await home.app.reload()


async def test_a_reload_with_a_failing_store_changes_nothing(state_dir: Path) -> None:
    """A new grant's keeper could not start."""
    async with house(state_dir) as home:
        await home.rewrite(READ_ONLY, SECOND)
        reading = home.app.custody.store.read

        async def failing(name: str) -> Any:
            if "second" in name:
                raise StoreError("disk full")
            return await reading(name)

        home.app.custody.store.read = failing  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="disk full"):
            await home.app.reload()
        assert (["questrade"], 200) == (list(home.app.keepers), (await home.order()).status)


async def test_a_mount_that_goes_takes_its_root_and_keeper_along(state_dir: Path) -> None:
    """Calls to it are unknown from then on, and its port is closed."""
    async with house(state_dir, SECOND) as home:
        root = port_of(home.app.doors.listeners[1])
        assert await answers(root)
        await home.rewrite((SECOND[1], SECOND[0]))
        await home.app.reload()

        assert not await answers(root)
        assert (["questrade"], 1, 1) == (list(home.app.keepers), len(home.app.doors.listeners), len(home.app.doors))
        assert (404, "unknown-mount") == (await home.call("GET", "/second/v1/accounts")).problem


async def test_a_grant_that_goes_takes_its_token_ages_along(state_dir: Path) -> None:
    """An alarm on the expiry of a token that nobody has any more would never end."""
    second = (SECOND[0], SECOND[1].replace("port: 0", "grant: spare"))
    async with house(state_dir, second, login=False) as home:
        await home.app.operations.login("second", home.simulator.links().refresh_token or "")
        assert b'bearerd_generation{grant="spare"} 1.0' in home.app.rendered_metrics()

        await home.rewrite((second[1], second[0]))
        await home.app.reload()
        assert b'grant="spare"} ' not in home.app.rendered_metrics()


async def test_a_root_that_moves_lets_the_calls_inside_end(state_dir: Path) -> None:
    """An order on the old port is answered, however long the broker takes; new calls go to the new port."""
    here = ("trade]}\nclients", "trade], port: 0}\nclients")
    async with house(state_dir, here) as home, asyncio.TaskGroup() as group:
        root = port_of(home.app.doors.listeners[1])
        home.simulator.options.slow = 2.5
        home.simulator.faults.add("api-slow")
        inside = group.create_task(home.call("GET", "/v1/accounts", port=root))
        await within(5, lambda: _true(home.app.gateway.serving.in_flight == 1))
        await home.rewrite((here[1], here[0]))
        await home.app.reload()
        assert 200 == (await inside).status
        assert not await answers(root)


async def test_reloads_and_stops_wait_for_each_other(state_dir: Path) -> None:
    """Two reloads at once are two, one after the other; after a stop there is none."""
    async with house(state_dir) as home:
        await home.rewrite(SECOND)
        first, second = await asyncio.gather(home.app.reload(), home.app.reload())
        assert ([["mounts"], []], 2) == (
            sorted([first["changed"], second["changed"]], reverse=True),
            len(home.app.doors.listeners),
        )
        async with asyncio.timeout(3), asyncio.TaskGroup() as group:
            group.create_task(home.app.stop())
            await asyncio.sleep(0)
            with pytest.raises(NotPossible, match="shutting down"):
                await home.app.reload()


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
