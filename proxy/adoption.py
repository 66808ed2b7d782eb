"""Grants that a doubtful store holds back, and whose tokens an operator may have tried (`Keeper.adopt`)."""

import asyncio

from proxy.store import Damaged, Row, WrongKey, pages
from proxy.store.vault import Vault
from proxy.tokens.book import GRANT, MARK
from proxy.tokens.grant import hash_of
from proxy.tokens.quarantine import Quarantine


async def quarantined(vault: Vault, quarantine: Quarantine) -> list[str]:
    """The grants, members too, whose tokens it holds back, if nobody has refused these yet. `StoreError`."""
    found: list[str] = []
    dead: dict[str, str] = {}
    async for rows in pages(vault.store, MARK):
        dead.update(await asyncio.to_thread(_dead, vault, rows))
    async for rows in pages(vault.store, GRANT):
        found += await asyncio.to_thread(_held_back, vault, rows, dead, quarantine.epoch)
    return found


def _dead(vault: Vault, rows: list[Row]) -> dict[str, str]:
    """Grant → hash of the token that its broker has refused. Blocks."""
    return {row.name.removeprefix(MARK): vault.open(row).value["token_hash"] for row in rows}


def _held_back(vault: Vault, rows: list[Row], dead: dict[str, str], epoch: int) -> list[str]:
    """No `Secret` is made of all these tokens: the log's redactor would have to remember each. Blocks."""
    names = []
    for row in rows:
        try:
            record = vault.open(row).value
        except (Damaged, WrongKey):
            continue  # its keeper says so to whoever asks for it
        name, token = row.name.removeprefix(GRANT), record["refresh_token"]
        refused = token is not None and dead.get(name) == hash_of(token)
        if token is not None and not refused and record.get("epoch", 0) < epoch:
            names.append(name)
    return names
