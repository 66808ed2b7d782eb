"""A running server takes over another configuration whole, or keeps the old one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import NotPossible
from proxy.app import App
from proxy.config import ConfigInvalid
from proxy.store import StoreError
from tests.callers import eventually
from tests.house import READ_ONLY, SECOND, answers, house, port_of, taken_port


async def test_a_reload_takes_over_rights_and_mounts(state_dir: Path) -> None:
    """Without a connection lost: the keeper and its token stay."""
    async with house(state_dir) as home:
        assert 200 == (await home.order()).status
        await home.rewrite(READ_ONLY, SECOND)
        async for _ in eventually(2):
            if home.app.config_changed():
                break
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


async def test_a_root_that_moves_lets_the_calls_inside_end(state_dir: Path) -> None:
    """An order on the old port is answered, however long the broker takes; new calls go to the new port."""
    here = ("trade]}\nclients", "trade], port: 0}\nclients")
    async with house(state_dir, here) as home, asyncio.TaskGroup() as group:
        root = port_of(home.app.doors.listeners[1])
        home.simulator.options.slow = 2.5
        home.simulator.faults.add("api-slow")
        inside = group.create_task(home.call("GET", "/v1/accounts", port=root))
        async for _ in eventually(5):
            if home.app.gateway.serving.in_flight == 1:
                break
        await home.rewrite((here[1], here[0]))
        await home.app.reload()
        assert 200 == (await inside).status
        assert not await answers(root)


async def test_a_reload_that_is_asked_for_during_the_start_comes_after_it(state_dir: Path) -> None:
    """Else it would find half a server, and each grant might have two keepers that spend one refresh token."""

    class Hasty(App):
        asked: "asyncio.Future[dict[str, Any]]"

        async def start(self) -> None:
            self.made: list[str] = []
            self.keepers._made = lambda keeper: self.made.append(keeper.name)
            reading = self.custody.store.read

            async def slowly(name: str) -> Any:
                if "questrade" in name:
                    await asyncio.sleep(0.3)
                return await reading(name)

            self.custody.store.read = slowly  # type: ignore[method-assign]
            self.asked = asyncio.ensure_future(self.reload())
            await super().start()

    async with house(state_dir, kind=Hasty) as home:
        assert isinstance(home.app, Hasty)
        assert [] == (await home.app.asked)["changed"]
        assert (["questrade"], 200) == (home.app.made, (await home.order()).status)


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
