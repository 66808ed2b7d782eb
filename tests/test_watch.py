"""The watcher: what other processes commit, and what happens to the store itself, is seen within a second."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.provenance import RECORD
from proxy.store import StoreError
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from proxy.tokens.grant import State
from tests.house import house


async def within(seconds: float, true: Callable[[], bool]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  what is waited for happens in the server
            await asyncio.sleep(0.02)


class Counting:
    """Puts itself before methods of the store and notes their calls."""

    def __init__(self, store: Any, *names: str) -> None:
        self.calls: list[str] = []
        for name in names:
            setattr(store, name, self._counted(name, getattr(store, name)))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any, **more: Any) -> Any:
            self.calls.append(name)
            return await method(*arguments, **more)

        return counted


async def test_only_what_has_changed_is_read(state_dir: Path) -> None:
    """A thousand keys are not read again for one that is new; the one record of halts is, before anything else."""
    async with house(state_dir) as home:
        for _ in range(5):
            await home.app.keys.add("bot")
        await asyncio.sleep(1.1)
        counting = Counting(home.app.custody.store, "read_all", "changed", "read")
        other = await SQLiteStore.open(state_dir / "store.db")
        try:
            vault = Vault(other, home.app.custody.vault._sealer)
            await ClientKeys(vault, SystemClock()).add("bot")
            await within(1.5, lambda: len(home.app.keys.all()) == 7)
        finally:
            await other.close()
        await asyncio.sleep(1.1)
        assert ["read", "changed"] == counting.calls


async def test_a_login_of_another_process_is_taken_over(state_dir: Path) -> None:
    """The configured grant's keeper serves the newer token without a POST."""
    async with house(state_dir) as home:
        keeper = home.app.keepers["questrade"]
        posts = home.seen("token_posts")
        other = await SQLiteStore.open(state_dir / "store.db")
        try:
            vault = Vault(other, home.app.custody.vault._sealer)
            entry = await vault.get("grant/questrade")
            assert entry is not None
            value = entry.value | {"access_token": secrets.token_hex(8), "lineage": "another"}
            await vault.put("grant/questrade", expected=entry.generation, value=value)
            await within(1.5, lambda: keeper.grant.generation == entry.generation + 1)
        finally:
            await other.close()
        assert (value["access_token"], posts) == (
            keeper.access_token.reveal() if keeper.access_token else "", home.seen("token_posts"),
        )  # fmt: skip


async def test_a_finding_of_a_peer_quarantines_here_too(state_dir: Path) -> None:
    """Its record is the store's, and every server heeds it within a second."""
    async with house(state_dir) as home:
        vault = home.app.custody.vault
        entry = await vault.get(RECORD)
        assert entry is not None
        found = {"epoch": 1, "reason": "the store was moved or copied", "since": 1.0}
        await vault.put(RECORD, expected=entry.generation, value=entry.value | found)
        await within(1.5, lambda: home.app.keepers["questrade"].state is State.QUARANTINED)
        assert "moved or copied" in home.app.custody.quarantine.reason


async def test_a_store_that_was_set_back_under_a_running_server_is_noticed(state_dir: Path) -> None:
    """Nothing is redeemed from it, and keys that it does not have any more do not count."""
    async with house(state_dir) as home:
        await asyncio.sleep(1.1)
        await home.app.custody.journal.raise_commit(10_000)
        await within(1.5, lambda: home.app.keepers["questrade"].state is State.QUARANTINED)
        assert "was set back" in home.app.custody.quarantine.reason
        assert "" == home.app.store_fault
        assert 1 == len(home.app.keys.all())


async def test_a_damaged_record_is_named_and_the_rest_is_followed(state_dir: Path) -> None:
    """A key whose record cannot be opened does not count; once it is gone all is well."""
    async with house(state_dir) as home:
        store = home.app.custody.store
        await store.swap("client/bot/9", expected=0, sealed=b"?" * 5000)
        await within(1.5, lambda: home.app.store_fault == "a record could not be read: client/bot/9")
        assert "degraded" == home.app.operations.ready()[0]
        key = await ClientKeys(home.app.custody.vault, SystemClock()).add("bot")
        await within(1.5, lambda: len(home.app.keys.all()) == 2)
        assert 200 == (await home.call("GET", "/questrade/v1/accounts", key=key.reveal())).status
        await store.swap("client/bot/9", expected=1, sealed=None)
        await within(1.5, lambda: not home.app.store_fault)


async def test_a_damaged_grant_is_named_and_the_rest_is_followed(state_dir: Path) -> None:
    """What is in hand of it is served on, and the journal goes on noting how far the store is."""
    async with house(state_dir) as home:
        store, journal = home.app.custody.store, home.app.custody.journal
        row = await store.read("grant/questrade")
        assert row is not None
        await store.swap("grant/questrade", expected=row.generation, sealed=b"?" * 5000)
        await within(1.5, lambda: home.app.store_fault == "a record could not be read: grant/questrade")
        commits = await store.changes()
        await within(1.5, lambda: journal.commit == commits)
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        commits += 10_000
        await journal.raise_commit(commits)
        await within(1.5, lambda: journal.commit < commits and "was set back" in home.app.custody.quarantine.reason)
        await within(1.5, lambda: home.app.store_fault == "a record could not be read: grant/questrade")


async def test_a_store_that_does_not_answer_is_said_to_fail_within_a_second(state_dir: Path) -> None:
    """It is not given up: the answer may still come."""
    async with house(state_dir) as home:
        changes, gate = home.app.custody.store.changes, asyncio.Event()

        async def hanging() -> int:
            await gate.wait()
            return await changes()

        home.app.custody.store.changes = hanging  # type: ignore[method-assign]
        await within(1.0, lambda: "does not answer" in home.app.store_fault)
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        gate.set()
        await within(1.0, lambda: not home.app.store_fault)


async def test_a_journal_that_cannot_be_written_is_told(state_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The watcher goes on, and the line is logged once."""
    async with house(state_dir) as home:
        await asyncio.sleep(1.1)
        raising = home.app.custody.journal.raise_commit

        async def failing(_number: int) -> None:
            raise StoreError("the journal's disk is full")

        home.app.custody.journal.raise_commit = failing  # type: ignore[assignment,method-assign]
        await within(1.5, lambda: "disk is full" in home.app.store_fault)
        await asyncio.sleep(1.1)
        home.app.custody.journal.raise_commit = raising  # type: ignore[method-assign]
        await within(1.5, lambda: not home.app.store_fault)
        lines = [record for record in caplog.records if "the store fails" in record.getMessage()]
        assert 1 == len(lines)
