"""Looks at what other processes and persons change: the store, twice a second, and the configuration's file.

Only what has changed since the last look is read. What follows from it: halts stop calls, or no longer; client keys
count, or no longer; keepers and the roster learn of tokens that a peer or the command line has brought; a finding about
the store itself is heeded.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from proxy import logs
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock
from proxy.custody import Custody
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.provenance import RECORD
from proxy.settings import Settings, stamp_of
from proxy.store import Changes, StoreError
from proxy.tokens.journal import JournalError
from proxy.tokens.skew import Skew

WATCH = 0.5  # seconds between looks at the store's commit number
STRETCH = 0.2  # seconds of following changes, after which halts are looked at again
PATIENCE = 0.4  # seconds; a store that takes longer is said to fail, and is waited for

log = logs.get("app")


class Watched(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    clock: Clock
    custody: Custody
    keys: ClientKeys
    halts: Halts
    keepers: Keepers
    skew: Skew


class Watcher:
    """`begin()` before anything is read from the store, then `run()` until cancelled.

    `store_fault` is what is wrong with the store right now, in one line; `file_changed` whether the configuration's
    file is another than the one that was loaded.
    """

    def __init__(self, app: Watched) -> None:
        self.file_changed = False
        self._app = app
        self._seen = 0
        self._fault = ""
        self._unreadable: dict[str, None] = {}

    @property
    def store_fault(self) -> str:
        if not self._fault and self._unreadable:
            return f"a record could not be read: {next(iter(self._unreadable))}"
        return self._fault

    async def begin(self) -> None:
        """What is committed from here on will be told. `StoreError`."""
        app = self._app
        began = app.clock.now().boot
        self._seen = await app.custody.store.changes()
        await app.halts.load()
        app.halts.heard(began)
        self.unread(await app.keys.load())

    def unread(self, records: Sequence[str]) -> None:
        """These could not be opened."""
        self._unreadable |= dict.fromkeys(records)

    async def run(self) -> None:
        """Look, for as long as the server runs."""
        behind = False
        while True:
            await asyncio.sleep(0 if behind else WATCH)
            behind = False
            await self._look_at_the_file()
            self._look_at_the_clock()
            late = asyncio.get_running_loop().call_later(PATIENCE, self._fails, "it does not answer")
            try:
                behind = await self._look_at_the_store()
                if self._fault:
                    log.info("the store answers again", reason=self._fault)
                self._fault = ""
            except (StoreError, JournalError) as error:
                self._fails(str(error))
            except Exception as error:  # noqa: BLE001  a watcher that ended would honour removed keys for ever
                self._fails(f"a record could not be read ({type(error).__name__})")
            finally:
                late.cancel()

    async def _look_at_the_file(self) -> None:
        settings = self._app.settings
        stamp = await asyncio.to_thread(stamp_of, Path(settings.config.name))
        self.file_changed = self._app.settings is settings and stamp != settings.stamp

    def _look_at_the_clock(self) -> None:
        if self._app.skew.look():
            for keeper in list(self._app.keepers.here()):
                keeper.recheck()

    async def _look_at_the_store(self) -> bool:
        """Whether there is more than was followed in one stretch: somebody has removed very many keys, say."""
        custody, now = self._app.custody, asyncio.get_running_loop().time
        until = now() + STRETCH
        began = self._app.clock.now().boot
        commits = await custody.store.changes()
        await self._look_at_the_halts(began, moved=commits != self._seen)
        if commits < custody.journal.commit or commits < self._seen:
            await self._set_back(commits)
            return False
        while self._seen < commits:
            if now() > until:
                return True
            changes = await custody.store.changed(self._seen)
            await self._follow(changes)
            self._seen = changes.number
        await custody.journal.raise_commit(commits)
        return False

    async def _look_at_the_halts(self, began: float, *, moved: bool) -> None:
        """Before anything else that has changed, which may be much: orders wait for nothing."""
        halts = self._app.halts
        if moved:
            await halts.load()
        halts.heard(began)
        await halts.settle()

    async def _set_back(self, commits: int) -> None:
        """The store is an older state of itself: nothing that was read from it need hold."""
        app = self._app
        await app.custody.provenance.check()
        app.keepers.recheck()
        self._unreadable.clear()
        self.unread(await app.keys.load())
        self.unread(await app.keepers.all_look_again())
        self._seen = commits

    async def _follow(self, changes: Changes) -> None:
        app = self._app
        for record in (*(row.name for row in changes.rows), *changes.gone):
            self._unreadable.pop(record, None)
        self.unread(await app.keys.follow(changes.rows, changes.gone))
        if any(row.name == RECORD for row in changes.rows):
            await app.custody.provenance.read_again()
            app.keepers.recheck()
        self.unread(await app.keepers.look_again(changes.rows, changes.gone))

    def _fails(self, reason: str) -> None:
        if not self._fault:
            log.error("the store fails; tokens in hand are served on", reason=reason)
        self._fault = reason
