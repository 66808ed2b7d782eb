"""Custody, opened: store, vault and journal, with one key, and the state directory under one lock."""

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy import logs
from proxy.audit.trail import Trail
from proxy.config import Config
from proxy.provenance import Provenance
from proxy.secret import Secret
from proxy.store import Movable, Store, StoreError
from proxy.store.files import SYSTEM_FILES, Files, make_directory, read_provided
from proxy.store.keys import Source
from proxy.store.rekey import unlock
from proxy.store.sqlite import SQLiteStore
from proxy.store.sqlitefile import older
from proxy.store.sqliteschema import SCHEMA
from proxy.store.vault import Vault
from proxy.tokens.journal import Journal, reseal
from proxy.tokens.quarantine import Quarantine

_PASSWORD_LIMIT = 4096  # bytes of its file

log = logs.get("custody")


@dataclass(frozen=True, slots=True)
class Custody:
    """What keeps tokens safe. Whoever holds one holds the directory's lock: no second process there redeems.

    The trail is not open yet: whoever has something to record opens it.
    """

    store: Store
    vault: Vault
    journal: Journal
    provenance: Provenance
    trail: Trail

    @property
    def quarantine(self) -> Quarantine:
        """What was found to be doubtful about the store; one object, changed in place."""
        return self.provenance.quarantine

    @classmethod
    async def open(cls, config: Config, source: Source, *, files: Files = SYSTEM_FILES) -> Self:
        """Raises `StoreLocked`, `WrongKey`, `Damaged`, `UnsafeFile`, other `StoreError`s, and `JournalError`.

        `files` is the disk that the journal is on.
        """
        path = journal_path(config)
        if config.store_path is not None and not await asyncio.to_thread(config.store_path.exists):
            await asyncio.to_thread(source.load)  # nothing is made as long as there is no key to seal it with
        store = await open_store(config)
        try:
            await asyncio.to_thread(make_directory, path.parent)
            sealer = await unlock(store, source, reseal=lambda old, new: reseal(path, old, new, files=files))
            journal = await Journal.open(path, sealer, files=files)
        except BaseException:
            await store.close()
            raise
        if journal.unreadable:
            log.warning("slots of the journal are torn or rotten, and can't be read", slots=journal.unreadable)
        vault = Vault(store, sealer)
        trail = Trail(audit_path(config), vault, journal.install_id, keep_days=config.audit.keep_days, files=files)
        custody = cls(store, vault, journal, Provenance(vault, journal), trail)
        try:
            # A process that was killed in the middle of a renewal would keep all others waiting for a minute. What it
            # had already posted, the note in the row and the journal know.
            with suppress(StoreError):
                await store.release_all(journal.holder)
            await custody.provenance.check()
        except BaseException:
            await custody.close()
            raise
        return custody

    async def close(self) -> None:
        await self.trail.close()
        await self.journal.close()
        await self.store.close()


async def open_store(config: Config, *, any_state: bool = False, empty: bool = False) -> Movable:
    """The store that the configuration names, without its key. Raises `StoreError`; `OutOfUse` unless `any_state`.

    `empty`: a file is made where there is none, even if a journal was left behind. A file of an older bearerd is
    brought up to date, unless that one still runs: `StoreLocked`.
    """
    if config.store_path is not None:
        journal = None if empty else journal_path(config)
        with ExitStack() as alone:
            if not empty and await pending_migrations(config):
                lock = await asyncio.to_thread(_lock, journal_path(config))
                alone.callback(SYSTEM_FILES.close, lock)
            return await SQLiteStore.open(config.store_path, journal=journal, any_state=any_state)
    from proxy.store.postgres import PostgresStore  # only those who have a database have its driver

    password = await asyncio.to_thread(_password, config)
    return await PostgresStore.open(config.store, password=password, any_state=any_state)


async def pending_migrations(config: Config) -> list[str]:
    """What `migrate` would do to the database, or opening it to a file. Raises `StoreError`."""
    if config.store_path is not None:
        return [f"schema {SCHEMA}"] if await asyncio.to_thread(older, config.store_path) else []
    from proxy.store.postgres import PostgresStore

    found = await PostgresStore.status(config.store, password=await asyncio.to_thread(_password, config))
    return [migration.name for migration in found if migration.applied is None]


async def migrate(config: Config) -> list[str]:
    """Bring a database's tables up to date, and say what was done. `StoreError`."""
    if config.store_path is not None:  # it does that itself when it is opened
        return []
    from proxy.store.postgres import PostgresStore

    done = await PostgresStore.migrate(config.store, password=await asyncio.to_thread(_password, config))
    return [migration.name for migration in done]


def _lock(journal: Path) -> int:
    """The lock of the state directory; see `Files.lock`. Blocks."""
    make_directory(journal.parent)
    return SYSTEM_FILES.lock(journal.with_name(journal.name + ".lock"))


def _password(config: Config) -> Secret | None:
    """The database's, if the configuration names one. Blocks."""
    if config.store_password_file is None:
        return config.store_password
    try:
        text = read_provided(config.store_password_file, _PASSWORD_LIMIT).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is no UTF-8"
        raise StoreError(f"store_password_file {config.store_password_file} cannot be read ({reason})") from None
    return Secret(text)


def journal_path(config: Config) -> Path:
    """The custody journal, in the state directory."""
    return config.state_dir / "journal"


def audit_path(config: Config) -> Path:
    """Where the audit trail is, in the state directory."""
    return config.state_dir / "audit"


def socket_path(config: Config) -> Path:
    """Where a running server listens for the command line."""
    return config.state_dir / "admin.sock"
