"""The state directory, opened: store, vault and journal, with one key and under one lock."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy.config import Config
from proxy.store import Store
from proxy.store.files import SYSTEM_FILES, Files
from proxy.store.keys import Source
from proxy.store.rekey import unlock
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from proxy.tokens.journal import Journal, reseal


@dataclass(frozen=True, slots=True)
class Custody:
    """What keeps tokens safe. Whoever holds one holds the directory's lock: no second process redeems."""

    store: Store
    vault: Vault
    journal: Journal

    @classmethod
    async def open(cls, config: Config, source: Source, *, files: Files = SYSTEM_FILES) -> Self:
        """Raises `StoreLocked`, `WrongKey`, `Damaged`, `UnsafeFile`, other `StoreError`s, and `JournalError`.

        `files` is the disk that the journal is on.
        """
        path = journal_path(config)
        if not await asyncio.to_thread(config.store_path.exists):
            await asyncio.to_thread(source.load)  # nothing is made as long as there is no key to seal it with
        store = await SQLiteStore.open(config.store_path, journal=path)
        try:
            sealer = await unlock(store, source, reseal=lambda old, new: reseal(path, old, new, files=files))
            journal = await Journal.open(path, sealer, files=files)
        except BaseException:
            await store.close()
            raise
        return cls(store, Vault(store, sealer), journal)

    async def close(self) -> None:
        await self.journal.close()
        await self.store.close()


def journal_path(config: Config) -> Path:
    """The custody journal, beside the store."""
    return config.state_dir / "journal"


def socket_path(config: Config) -> Path:
    """Where a running server listens for the command line."""
    return config.state_dir / "admin.sock"
