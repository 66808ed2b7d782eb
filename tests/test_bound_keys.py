"""Client keys that are bound to one person's grant: on a shared mount each person sees their own account, only that."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.admin import CommandFailed, call
from proxy.app import App
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.custody import Custody
from proxy.settings import read
from proxy.simulator import serve
from proxy.simulator.alpaca.broker import Alpaca
from proxy.store.keys import Source
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from proxy.tokens.grant import State
from tests.house import port_of
from tests.wire import Reply, connected

ACCOUNT = "/alpaca/v2/account"
RIGHTS = ["account:read", "trading", "data"]
OWN = "PA3SIMULATED"  # the account of whoever logs the configured grant in


def configuration(simulator: Alpaca) -> dict[str, Any]:
    """One application with many users, and a mount beside it that is nobody's in particular."""
    links = simulator.links()
    mount = {"broker": "alpaca", "environment": "paper"}
    return {
        "version": 1,
        "listen": "127.0.0.1:0",
        "console": "127.0.0.1:0",
        "store": "sqlite:store.db",
        "key": "file:master.key",
        "mounts": {
            "alpaca": {**mount, "environment": "lab", "scopes": ["account:read", "trading"]},
            "alpaca-data": {**mount, "environment": "lab", "api": "data", "grant": "alpaca", "scopes": ["data"]},
            "partner": {
                **mount,
                "environment": "lab",
                "api": "broker",
                "grant": "firm",
                "scopes": ["broker:accounts.read"],
            },
        },
        "grants": {"alpaca": {"login": "connect", **links.logins["connect"]}, "firm": {"login": "broker-basic"}},
        "clients": {"web": {"alpaca": RIGHTS[:2], "alpaca-data": ["data"], "partner": ["broker:accounts.read"]}},
        "brokers": {"alpaca": {"environments": {"lab": links.environment}}},
    }


@dataclass
class Application:
    """A running bearerd with the simulated Alpaca behind it. `keys` are client keys by person."""

    app: App
    simulator: Alpaca
    directory: Path
    keys: dict[str, str] = field(default_factory=dict)

    async def ask(self, command: str, **params: Any) -> dict[str, Any]:
        """One command of an operator."""
        return await call(self.directory / "admin.sock", command, params, timeout=10)

    async def refused(self, command: str, **params: Any) -> str:
        with pytest.raises(CommandFailed) as failed:
            await self.ask(command, **params)
        return failed.value.message

    async def log_in(self, name: str) -> dict[str, Any]:
        """The whole way over the broker's page, for a person who is logged in there as NAME's last part."""
        begun = await self.ask("login-begin", mount=name)
        hint = f"&login_hint={name.partition('/')[2]}" if "/" in name else ""
        came_back = self.simulator.approve(begun["authorize_url"] + hint)
        return await self.ask("login-complete", mount=name, answer=came_back)

    async def key(self, *grants: str) -> str:
        return str((await self.ask("clients-add", name="web", grants=list(grants)))["key"])

    async def join(self, person: str) -> None:
        """One more user of the application."""
        await self.log_in(f"alpaca/{person}")
        self.keys[person] = await self.key(f"alpaca/{person}")

    async def call(self, key: str, target: str = ACCOUNT) -> Reply:
        port = port_of(self.app.doors.listeners[0])
        head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\r\n"
        async with connected("127.0.0.1", port) as wire:
            await wire.send(head.encode())
            reply: Reply = await wire.reply()
            return reply

    async def number(self, key: str) -> str:
        """The number of the account that a call with this key is about."""
        reply = await self.call(key)
        assert 200 == reply.status, reply.body
        return str(json.loads(reply.body)["account_number"])

    async def numbers(self, keys: Sequence[str]) -> list[str]:
        """The same for many, several calls to a connection, all connections at once."""
        return await asyncio.gather(*(self.number(key) for key in keys))


@asynccontextmanager
async def application(directory: Path, kind: type[App] = App) -> AsyncIterator[Application]:
    """Nobody is logged in yet."""
    async with AsyncExitStack() as stack:
        running = await serve.start(["alpaca"], directory=directory / "ca")
        stack.push_async_callback(running.stop)
        simulator = running.simulators["alpaca"]
        assert isinstance(simulator, Alpaca)
        file = directory / "config.yaml"
        await asyncio.to_thread(file.write_text, json.dumps(configuration(simulator), indent=1))
        found = await asyncio.to_thread(read, file, {"HOME": str(directory)})
        source = Source(found.config.key, base=found.config.base, state=found.config.state_dir)
        await asyncio.to_thread(source.create)
        custody = await Custody.open(found.config, source)
        stack.push_async_callback(custody.close)
        app = kind(found, custody, lambda: read(file, {"HOME": str(directory)}))
        stack.push_async_callback(app.stop)
        await app.start()
        simulator.options.callback = f"{app.console_address}callback"
        yield Application(app, simulator, directory)


@pytest.fixture
async def home(state_dir: Path) -> AsyncIterator[Application]:
    async with application(state_dir) as found:
        yield found


async def test_each_person_sees_their_own_account_on_one_mount(home: Application) -> None:
    """Added without a restart; an unbound key uses the configured grant as ever."""
    await home.log_in("alpaca")
    await home.join("ann")
    await home.join("bob")
    everybody = await home.key()

    assert ["PA3ANN", "PA3BOB", OWN] == await home.numbers([home.keys["ann"], home.keys["bob"], everybody])
    assert {"alpaca", "firm"} == set(home.app.keepers)


async def test_a_person_who_is_not_logged_in_is_told_how(home: Application) -> None:
    """503, with the command; once that was done the same key serves, and after a revocation no longer."""
    await home.log_in("alpaca")
    key = await home.key("alpaca/user-17")
    reply = await home.call(key)
    assert (503, "login-needed") == reply.problem
    assert "bearerd login alpaca/user-17" == json.loads(reply.body)["fix"]

    done = await home.log_in("alpaca/user-17")
    assert ("alpaca/user-17", "fresh") == (done["grant"], done["state"])
    assert "PA3USER-17" == await home.number(key)
    await home.ask("revoke", mount="alpaca/user-17")
    assert (503, "login-needed") == (await home.call(key)).problem
    assert OWN == await home.number(await home.key())


async def test_a_bound_key_is_refused_on_mounts_of_other_grants(home: Application) -> None:
    """It would else act for somebody whom it was not made for; mounts of the same grant are its own, too."""
    await home.ask("login", mount="firm", token=home.simulator.links().logins["broker-basic"]["secret"])
    await home.join("ann")
    reply = await home.call(home.keys["ann"], "/partner/v1/accounts")
    assert (403, "scope-denied") == reply.problem
    told = json.loads(reply.body)
    assert "The key is bound to alpaca/ann; this mount belongs to the grant firm." in told["detail"]
    assert "bearerd clients add web --grant firm/PERSON" in told["fix"]

    assert 200 == (await home.call(home.keys["ann"], "/alpaca-data/v2/stocks/AAPL/bars/latest")).status
    assert 200 == (await home.call(await home.key(), "/partner/v1/accounts")).status


async def test_the_audit_trail_names_the_grant(home: Application, caplog: pytest.LogCaptureFixture) -> None:
    """And the metrics have no label for any member."""
    caplog.set_level("DEBUG", "audit")
    await home.log_in("alpaca")
    await home.join("ann")
    await home.numbers([home.keys["ann"], await home.key()])
    lines = [record.msg for record in caplog.records if record.name == "audit" and isinstance(record.msg, dict)]

    assert ["alpaca", "alpaca/ann"] == sorted(str(line["grant"]) for line in lines)
    metrics = home.app.rendered_metrics().decode()
    assert 'bearerd_members{grant="alpaca",state="fresh"} 1.0' in metrics
    assert "ann" not in metrics


@pytest.mark.parametrize(
    ("grants", "told"),
    [
        (["nothing/ann"], "there is no mount or grant 'nothing'"),
        (["alpaca/Ann"], "'alpaca/Ann' is no name of a grant"),
        (["alpaca/"], "is no name of a grant"),
        (["alpaca/ann/bob"], "is no name of a grant"),
        (["alpaca"], "'alpaca' is everybody's grant"),
        (["alpaca/ann", "alpaca/bob"], "a key can be bound to one member of alpaca only"),
        (["alpaca/ann", "alpaca-data/bob"], "a key can be bound to one member of alpaca only"),
    ],
)
async def test_a_binding_that_makes_no_sense_is_refused(home: Application, grants: list[str], told: str) -> None:
    """No key is made, and the reason names what is wrong."""
    assert told in await home.refused("clients-add", name="web", grants=grants)
    assert [] == home.app.keys.all()


async def test_a_login_of_nobody_s_member_is_refused(home: Application) -> None:
    """There is no grant in the configuration that it could be beside."""
    for name in ("nothing/ann", "alpaca/ann/bob", "alpaca/.."):
        for command in ("login", "login-begin", "revoke"):
            assert "grant" in await home.refused(command, mount=name)
    assert [] == await home.app.custody.store.read_all("grant/")


async def test_keys_are_counted_and_taken_from_one_person(home: Application) -> None:
    """The list has counts, however many users there are; removing one leaves all others."""
    for person in ("ann", "bob", "cid"):
        await home.join(person)
    await home.key()
    (client,) = (await home.ask("clients-list"))["clients"]
    assert ("web", 4, 3) == (client["name"], client["keys"], client["bound"])

    assert 1 == (await home.ask("clients-remove", name="web", grant="alpaca/bob"))["removed"]
    assert 401 == (await home.call(home.keys["bob"])).status
    assert ["PA3ANN", "PA3CID"] == await home.numbers([home.keys["ann"], home.keys["cid"]])


async def test_a_login_of_another_process_counts_within_a_second(home: Application) -> None:
    """Its key and its grant come through the store, and nothing here was told of either."""
    await home.join("ann")
    held = await home.app.custody.vault.get("grant/alpaca/ann")
    assert held is not None
    other = await SQLiteStore.open(home.directory / "store.db")
    try:
        vault = Vault(other, home.app.custody.vault._sealer)
        key = (await ClientKeys(vault, SystemClock()).add("web", ["alpaca/bob"])).reveal()
        async with asyncio.timeout(1.5):
            # The key is known, and nobody is logged in.
            while (await home.call(key)).status != 503:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        # Ann's token under Bob's name: what comes back shows that it is this record that is used.
        await vault.put("grant/alpaca/bob", expected=0, value=held.value)
        async with asyncio.timeout(1.5):
            while (await home.call(key)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert 2 == home.app.keepers.members("alpaca")[State.FRESH]
        assert "PA3ANN" == await home.number(key)
    finally:
        await other.close()


async def test_status_and_readiness_count_members(home: Application) -> None:
    """One person whose login has ended does not make the server unready, and a shared grant need not be logged in."""
    secret = home.simulator.links().logins["broker-basic"]["secret"]
    await home.ask("login", mount="firm", token=secret)
    assert "needs-login" == home.app.operations.ready()[0]
    await home.join("ann")
    await home.join("bob")
    word, lines = home.app.operations.ready()
    assert ("ok", "[+]members of alpaca: 2 fresh") == (word, lines[1])

    bob = await home.app.keepers.of("alpaca/bob")
    bob._held.enter(State.NEEDS_LOGIN, "the broker refused the token")
    assert ("ok", "[+]members of alpaca: 1 fresh, 1 needs-login") == (
        home.app.operations.ready()[0], home.app.operations.ready()[1][1],
    )  # fmt: skip
    (mount, *_) = home.app.operations.status()["mounts"]
    assert (2, {"fresh": 1, "needs-login": 1}) == (mount["members"]["total"], mount["members"]["states"])
    assert [{"grant": "alpaca/bob", "state": "needs-login", "fix": "bearerd login alpaca/bob"}] == (
        mount["members"]["needing"]
    )
    bob._held.enter(State.STOPPED, "the client secret is wrong")
    assert "degraded" == home.app.operations.ready()[0]
    for person in ("ann", "bob"):
        await home.ask("revoke", mount=f"alpaca/{person}")
    assert "needs-login" == home.app.operations.ready()[0], "nobody is left who could be served"


PERSONS = [f"user-{number}" for number in range(12)]


async def test_two_persons_tokens_never_mix(state_dir: Path) -> None:
    """Whoever calls, in whatever order and company, while keys come and go: each gets their own account's number."""
    async with application(state_dir) as home:
        await home.log_in("alpaca")
        for person in PERSONS:
            await home.join(person)
        unbound = await home.key()
        loop = asyncio.get_running_loop()

        async def turn(callers: list[int], gone: int) -> None:
            # Some are let go in between, as if they had been idle for long.
            await home.app.keepers._members._let_go(f"alpaca/{PERSONS[gone]}", unused=0.0)
            keys = [unbound if caller == len(PERSONS) else home.keys[PERSONS[caller]] for caller in callers]
            wanted = [OWN if caller == len(PERSONS) else f"PA3USER-{caller}" for caller in callers]
            assert wanted == await home.numbers(keys)

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.lists(st.integers(0, len(PERSONS)), min_size=2, max_size=16), st.integers(0, len(PERSONS) - 1))
        def whoever_calls(callers: list[int], gone: int) -> None:
            asyncio.run_coroutine_threadsafe(turn(callers, gone), loop).result(30)

        await asyncio.to_thread(whoever_calls)
        state = home.simulator.state()
        assert 0 == state["several_credentials"]
