"""What `bearerd store status` tells: read from the store and the journal themselves, whether a server runs or not."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.adoption import quarantined
from proxy.cli.exits import Exit
from proxy.cli.invocation import Invocation
from proxy.cli.output import BAD, GOOD, NOTE, Style, home_short
from proxy.cli.storemoves import stopped, there
from proxy.config import Config
from proxy.custody import journal_path, migrate, pending_migrations
from proxy.provenance import RECORD
from proxy.spans import clock_time
from proxy.store import Movable, StoreError, StoreLocked, WrongKey, out_of_use
from proxy.store.files import SYSTEM_FILES, read_private
from proxy.store.rekey import find
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.journalfile import JournalFile
from proxy.tokens.quarantine import Quarantine

MIGRATE = "bearerd store migrate"
_FREE: dict[str, Any] = {"held": False, "pid": None}


async def migrated(config: Config) -> list[str]:
    """Bring the tables up to date; the names of what was done. `Stop` if a server has a SQLite store, `StoreError`."""
    if config.store_path is None:
        return await migrate(config)
    pending = await pending_migrations(config)
    async with there(config), stopped(journal_path(config)):
        return pending


async def facts(invocation: Invocation, config: Config) -> dict[str, Any]:
    """How the store stands; plain data, no secret. `problems` are pairs of what is wrong and what helps, or None."""
    found: dict[str, Any] = {
        "kind": "postgresql" if config.store_path is None else "sqlite",
        "location": config.store,
        "pending": await pending_migrations(config),
        "problems": [],
        "lock": await asyncio.to_thread(holder, journal_path(config)),
    }
    if found["pending"]:
        found["problems"].append((f"migrations are pending: {', '.join(found['pending'])}", MIGRATE))
        return found
    async with there(config) as store:
        await _add_store(found, store)
        try:
            sealer = await find(store, invocation.source(config))
        except StoreError as fault:
            found["key_fits"] = False if isinstance(fault, WrongKey) else None
            look = "`bearerd config show --origin` says where the key is looked for"
            found["problems"].append((str(fault), look if store.key_id else "bearerd init"))
            return found
        found["key_fits"] = True
        await _add_sealed(found, store, sealer)
    path = journal_path(config)
    if await asyncio.to_thread(path.exists):
        await asyncio.to_thread(_add_journal, found, path, sealer)
    return found


async def _add_store(found: dict[str, Any], store: Movable) -> None:
    about = await store.about()
    found |= {
        "store_id": about.store_id,
        "schema_version": about.schema,
        "state": about.state,
        "key_id": about.key_id,
        "commits": about.commits,
        "rows": dict(about.rows),
    }
    if about.state:
        refusal = out_of_use(store.location, about.state)
        found["problems"].append((str(refusal), refusal.fix))


async def _add_sealed(found: dict[str, Any], store: Movable, sealer: Sealer) -> None:
    try:
        entry = await Vault(store, sealer).get(RECORD)
    except StoreError as fault:
        found["problems"].append((str(fault), None))
        return
    value = entry.value if entry else {}
    told: dict[str, Any] = {key: value.get(key, none) for key, none in (("epoch", 0), ("reason", ""), ("since", 0.0))}
    held = await quarantined(Vault(store, sealer), Quarantine(**told)) if told["epoch"] else []
    found["quarantine"] = told | {"grants": len(held)}


def _add_journal(found: dict[str, Any], path: Path, sealer: Sealer) -> None:
    """Read beside a server that may be writing: what is said of slots is a moment old at best. Blocks."""
    try:
        file = JournalFile.open(path, sealer, SYSTEM_FILES, "")
        try:
            slots = list(file.read())
        finally:
            file.close()
    except StoreError as fault:
        found["problems"].append((str(fault), None))
        return
    except OSError as fault:
        found["problems"].append((f"{path}: {fault.strerror}", None))
        return
    found["journal"] = {
        "path": str(path),
        "slots": file.header.slots,
        "in_use": len(slots),
        "answers": sum(slot.answer is not None for slot in slots),
        "commit": file.header.commit,
    }


def holder(journal: Path) -> dict[str, Any]:
    """Who has the state directory. Blocks."""
    lock = journal.with_name(journal.name + ".lock")
    try:
        text = read_private(lock, 20).strip()
    except FileNotFoundError:
        return _FREE
    # Only a live process can have it, and only then we try: a server that starts at this moment must not find it taken.
    if not text.isdigit() or not _alive(int(text)):
        return _FREE
    try:
        SYSTEM_FILES.close(SYSTEM_FILES.lock(lock))
    except StoreLocked as locked:
        return {"held": True, "pid": locked.holder_pid}
    return _FREE


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it belongs to somebody else
    return True


def exit_code(found: Mapping[str, Any]) -> Exit:
    """5 if the key does not fit, 1 if something else is wrong."""
    if found.get("key_fits") is False:
        return Exit.STORE
    return Exit.FAILURE if found["problems"] else Exit.OK


def render(found: Mapping[str, Any], style: Style) -> Iterator[str]:
    """The same for a person."""
    where = home_short(found["location"].removeprefix("sqlite:"))
    version = f" · schema {found['schema_version']}" if "schema_version" in found else ""
    yield f"store {found['kind']} {where}{version}"
    if "store_id" in found:
        fits = {True: "it is at hand", False: "the key at hand is another one", None: "not at hand"}
        yield f"  id {found['store_id']}"
        yield f"  master key {found['key_id'] or 'none yet'} ({fits[found['key_fits']]})"
        rows = ", ".join(f"{kind} {count}" for kind, count in sorted(found["rows"].items())) or "none"
        yield f"  records: {rows} · commit {found['commits']}"
    if "quarantine" in found:
        yield f"  {_quarantine(found['quarantine'], style)}"
    if (journal := found.get("journal")) is not None:
        yield (
            f"  journal {home_short(journal['path'])}: {journal['in_use']} of {journal['slots']} slots in use, "
            f"{journal['answers']} answers outstanding, commit mark {journal['commit']}"
        )
    lock = found["lock"]
    yield "  lock: " + ((f"process {lock['pid']}" if lock["pid"] else "another process") if lock["held"] else "free")
    for problem, fix in found["problems"]:
        yield f"  {style.paint(BAD, BAD)} {problem}.{f' To fix: {fix}' if fix else ''}"


def _quarantine(quarantine: Mapping[str, Any], style: Style) -> str:
    if not quarantine["epoch"]:
        return f"{style.paint(GOOD, GOOD)} never found to be a copy or set back"
    when = clock_time(quarantine["since"])
    what = f"{when} (epoch {quarantine['epoch']}): {quarantine['reason']}"
    count = quarantine["grants"]
    if not count:
        return f"{style.paint(GOOD, GOOD)} no grant is quarantined any more; last finding {what}"
    grants = f"{count} grant{'s' * (count != 1)} quarantined"
    return f"{style.paint(NOTE, NOTE)} {grants} since {what}. To fix: bearerd login MOUNT, or bearerd adopt --all"
