"""What `bearerd store` does with whole stores: back one up, bring one back, move one elsewhere."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.audit.acts import Acts
from proxy.audit.trail import Trail
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Invocation
from proxy.cli.progress import Progress
from proxy.clock import SystemClock
from proxy.config import Config
from proxy.custody import audit_path, journal_path, migrate, open_store
from proxy.provenance import leave, quarantine
from proxy.spans import clock_time
from proxy.store import Damaged, Movable, Newer, StoreError, StoreLocked, WrongKey, backup, copying
from proxy.store.backup import Backup, Summary
from proxy.store.copying import Copied
from proxy.store.files import SYSTEM_FILES, make_directory
from proxy.store.rekey import find
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.journal import Journal, JournalError


async def back_up(invocation: Invocation, config: Config, file: Path, *, replace: bool) -> Summary:
    """A backup of the store, whether a server uses it or not. `Stop` if there is no store, and `StoreError`."""
    async with there(config) as store:
        sealer = await find(store, invocation.source(config))
        made = SystemClock().now().wall
        with Progress(invocation, "records written", await _records(store)) as progress:
            return await backup.back_up(store, sealer, file, made, replace=replace, tell=progress.tell)


async def restore(invocation: Invocation, config: Config, file: Path) -> Summary:
    """Put what `file` holds into the store, which is empty or not there; nothing of it may be redeemed then.

    Raises `Stop` and `StoreError`.
    """
    source, path = invocation.source(config), journal_path(config)
    with await asyncio.to_thread(Backup, file) as found:
        sealer = await asyncio.to_thread(lambda: found.sealer((key for key, _ in source.candidates()), source.kind))
        summary = await asyncio.to_thread(found.check, sealer)
        await asyncio.to_thread(make_directory, path.parent)
        await _check_left(path, sealer)
        async with stopped(path, sealer) as journal:
            store = await open_store(config, any_state=True, empty=True)
            try:

                async def finish() -> None:
                    reason = f"it was brought back from a backup of {clock_time(found.header.made)}"
                    await quarantine(Vault(store, sealer), reason, SystemClock().now().wall, {})
                    if journal is not None:  # else the next start comes to the same finding once more
                        await journal.set_commit(await store.changes())

                with Progress(invocation, "records restored", summary.rows) as progress:
                    restored = await backup.restore(found, summary, sealer, store, finish, tell=progress.tell)
                if not restored:
                    raise Stop(f"{store.location} is not empty; nothing was restored", fix=_away(config))
            finally:
                await store.close()
        await _record_restore(invocation, config, sealer, found.header.made)
    return summary


async def _record_restore(invocation: Invocation, config: Config, sealer: Sealer, made: float) -> None:
    """Put the restore into the audit trail of this state directory, whose journal is made if there is none yet."""
    try:
        store = await open_store(config)
        try:
            journal = await Journal.open(journal_path(config), sealer)
            trail = Trail(
                audit_path(config), Vault(store, sealer), journal.install_id, keep_days=config.audit.keep_days
            )
            try:
                await Acts(trail).record("store restore", backup_of=clock_time(made))
            finally:
                await trail.close()
                await journal.close()
        finally:
            await store.close()
    except (StoreError, JournalError) as error:  # a server that was started this very moment
        invocation.warn(f"! the restore is not in the audit trail: {error}")


async def copy(invocation: Invocation, config: Config, to: str, password_file: Path | None) -> Copied:
    """Move the store to the one that the setting `store: TO` names. Raises `Stop` and `StoreError`."""
    target_config = config.model_copy(
        update={"store": to, "store_password": None, "store_password_file": password_file}
    )
    if to == config.store:
        raise Stop("that is where the store is already")
    async with there(config) as source:
        sealer = await find(source, invocation.source(config))
        async with stopped(journal_path(config), sealer) as journal:
            if journal is not None and journal.answered:
                raise Stop(
                    "the journal holds an answer that is not in the store yet; nothing was copied",
                    fix="start bearerd once (bearerd serve), stop it, then repeat the command",
                )
            await migrate(target_config)
            target = await open_store(target_config, any_state=True, empty=True)
            try:
                with Progress(invocation, "records copied", await _records(source)) as progress:
                    return await copying.copy(
                        source,
                        target,
                        sealer,
                        to=to,
                        prepare=lambda: leave(Vault(source, sealer)),
                        tell=progress.tell,
                    )
            finally:
                await target.close()


async def _records(store: Movable) -> int:
    return sum((await store.about()).rows.values())


async def cancel(invocation: Invocation, config: Config) -> bool:
    """Put the store in use again although its copy was not finished. False if it was in use. `Stop`, `StoreError`."""
    async with there(config) as source:
        sealer = await find(source, invocation.source(config))
        async with stopped(journal_path(config), sealer):
            return await copying.cancel(source)


@asynccontextmanager
async def there(config: Config) -> AsyncIterator[Movable]:
    """The configured store, in any state; none is made. `Stop` if there is none, and `StoreError`."""
    path = config.store_path
    if path is not None and not await asyncio.to_thread(path.exists):
        raise Stop(f"there is no store at {path}", fix="bearerd store restore FILE (or, for a new one: bearerd init)")
    store = await open_store(config, any_state=True)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def stopped(path: Path, sealer: Sealer | None = None) -> AsyncIterator[Journal | None]:
    """Within the block no server has the state directory. The journal at `path`, if there is one and it may be read.

    Raises `Stop` if a server runs, and what `Journal.open` raises.
    """
    journal = lock = None
    try:
        if sealer is not None and await asyncio.to_thread(path.exists):
            journal = await Journal.open(path, sealer)
        else:
            lock = await asyncio.to_thread(SYSTEM_FILES.lock, path.with_name(path.name + ".lock"))
    except StoreLocked as locked:
        pid = locked.holder_pid
        who = f"process {pid}" if pid else "another process"
        fix = f"stop it (kill {pid}), then repeat the command" if pid else None
        raise Stop(f"the store is in use by {who}", Exit.STORE, fix) from None
    try:
        yield journal
    finally:
        if journal is not None:
            await journal.close()
        if lock is not None:
            SYSTEM_FILES.close(lock)


async def _check_left(path: Path, sealer: Sealer) -> None:
    """What a journal kept is newer than any backup of its store; that of another store must go. `Stop`."""
    try:
        async with stopped(path, sealer):
            pass
    except Newer:  # it may hold the only copy of a token, which the bearerd that wrote it can commit
        raise
    except (Damaged, WrongKey):
        aside = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.aside')}"
        raise Stop(f"{path} is the journal of another store, or damaged; nothing was restored", fix=aside) from None


def _away(config: Config) -> str:
    if config.store_path is None:
        return "name an empty database in `store:`, run `bearerd store migrate`, then repeat the command"
    path, aside = config.store_path, config.store_path.parent / "before-restore"
    names = f"{shlex.quote(str(path))}*"
    return f"mkdir -m 700 {shlex.quote(str(aside))} && mv {names} {shlex.quote(str(aside))}/, then repeat the command"
