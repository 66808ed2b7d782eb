"""A trail on a disk in memory, and what anybody finds who looks at that disk."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from proxy.audit.chain import Keys
from proxy.audit.kept import make_secret, mark_of
from proxy.audit.record import Record
from proxy.audit.trail import Trail
from proxy.audit.trailfile import first_of, name_of
from proxy.audit.verify import Findings, verify
from proxy.clock import Now
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault

ROOT = Path("/state/audit")
INSTALL = "0123456789abcdef" * 2
DAY = 86_400


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self, wall: float = 1_795_000_000.0) -> None:
        self.wall = wall

    def now(self) -> Now:
        return Now(self.wall, self.wall)


def vault() -> Vault:
    """That of a new store."""
    return Vault(MemoryStore(), Sealer(b"k" * 32, "lab"))


@asynccontextmanager
async def opened(disk: MemoryDisk, vault: Vault, **options: Any) -> AsyncIterator[Trail]:
    """The trail on `disk`, open; closed as a server that stops closes it."""
    trail = Trail(ROOT, vault, INSTALL, files=disk, **options)
    await trail.open()
    try:
        yield trail
    finally:
        await trail.close()


async def directory(vault: Vault) -> Path:
    """Where its files are."""
    return ROOT / Keys(await make_secret(vault), INSTALL).id


async def contents(disk: MemoryDisk, vault: Vault) -> dict[int, bytes]:
    """The files of the trail, by the number of their first record."""
    where = await directory(vault)
    firsts = sorted(first for name in disk.names(where) if (first := first_of(name)))
    return {first: disk.content(where / name_of(first)) for first in firsts}


async def findings(disk: MemoryDisk, vault: Vault) -> Findings:
    """What `verify` says of what is on the disk."""
    keys = Keys(await make_secret(vault), INSTALL)
    return verify(keys, (await contents(disk, vault)).items(), await mark_of(vault, keys.id))


async def said(disk: MemoryDisk, vault: Vault) -> list[dict[str, Any]]:
    """Every whole record on the disk, in order of the files."""
    found = []
    for data in (await contents(disk, vault)).values():
        for line in data.split(b"\n")[:-1]:
            with suppress(ValueError):  # what a power loss has torn
                found.append(json.loads(line))
    return found


def read(**changes: Any) -> Record:
    """A read that went well."""
    values: dict[str, Any] = {
        "request_id": "r1", "mount": "questrade", "client": "bot", "row": "/v1/accounts/{account}",
        "scope": "read_acc", "status": 200, "outcome": "broker", "generation": 4, "grant": "questrade",
        "rule": "accounts", "account": "***145",
    }  # fmt: skip
    return Record(method="GET", **values | changes)


def order(**changes: Any) -> Record:
    """An order that is about to be sent."""
    values: dict[str, Any] = {
        "request_id": "o1", "mount": "questrade", "client": "bot", "row": "/v1/accounts/{account}/orders",
        "scope": "trade", "mutating": True, "order": "place", "grant": "questrade", "rule": "order_new",
        "account": "***145",
    }  # fmt: skip
    return Record(method="POST", **values | changes)
