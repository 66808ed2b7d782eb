"""Is this store the one that was left here? A copy or an older state of itself may hold tokens that are long spent.

The store keeps one sealed record about itself: how often it was found to be doubtful (its epoch), and where it lives.
Every finding raises the epoch, and quarantines every grant whose tokens were issued before (`tokens/quarantine.py`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from proxy import logs
from proxy.clock import Clock, SystemClock
from proxy.store import StoreError
from proxy.store.files import machine
from proxy.store.vault import Entry, Vault
from proxy.tokens.journal import Journal
from proxy.tokens.quarantine import Quarantine

RECORD = "custody"
_TRIES = 8  # a peer may write the record at the same moment

log = logs.get("custody")


async def quarantine(vault: Vault, reason: str, since: float, place: Mapping[str, str] | None = None) -> Quarantine:
    """Raise the store's epoch for `reason`: nothing of what it holds is redeemed without an operator. `StoreError`.

    `place` is where the store lives from now on, None to leave that open.
    """
    for _ in range(_TRIES):
        entry = await vault.get(RECORD)
        before = entry.value if entry else {}
        value = {
            "epoch": before.get("epoch", 0) + 1,
            "reason": reason,
            "since": since,
            "place": dict(before.get("place", {}) if place is None else place),
        }
        if await vault.put(RECORD, expected=entry.generation if entry else 0, value=value) is not None:
            return _finding(value)
    raise StoreError(f"{vault.store.location}: the record '{RECORD}' changes all the time")


async def leave(vault: Vault) -> None:
    """Forget where the store lives: an operator brings its values elsewhere, and there it is no copy. `StoreError`."""
    entry = await vault.get(RECORD)
    if entry is None or not entry.value["place"]:
        return
    if await vault.put(RECORD, expected=entry.generation, value=entry.value | {"place": {}}) is None:
        raise StoreError(f"{vault.store.location}: the record '{RECORD}' has just changed; repeat the command")


class Provenance:
    """Compares the store with its journal and its place, and keeps `quarantine` true."""

    def __init__(self, vault: Vault, journal: Journal, clock: Clock | None = None) -> None:
        self.quarantine = Quarantine()
        self._vault = vault
        self._journal = journal
        self._clock = clock or SystemClock()

    async def check(self) -> Quarantine:
        """Look whether the store is a copy or was set back, and record it if so. `StoreError`, `JournalError`."""
        place = await asyncio.to_thread(self._place)
        entry = await self._vault.get(RECORD)
        commits = await self._vault.store.changes()
        reason = self._rolled_back(commits) or _elsewhere(entry, place)
        if reason:
            found = await quarantine(self._vault, reason, self._clock.now().wall, place)
            log.error("nothing is redeemed from this store before a person says so", reason=reason)
            # Only now: until the finding is recorded, each start must come to it again.
            await self._journal.set_commit(await self._vault.store.changes())
            return self._take(found)
        if entry is None or entry.value["place"] != place:
            await self._settle(entry, place)
        return self._take(_finding(entry.value) if entry else Quarantine())

    async def read_again(self) -> Quarantine:
        """Take over what the record says now: a peer may have found something. `StoreError`."""
        entry = await self._vault.get(RECORD)
        return self._take(_finding(entry.value) if entry else Quarantine())

    def _take(self, found: Quarantine) -> Quarantine:
        held = self.quarantine
        held.epoch, held.reason, held.since = found.epoch, found.reason, found.since
        return held

    def _rolled_back(self, commits: int) -> str:
        if commits >= self._journal.commit:
            return ""
        where = self._vault.store.location
        return f"{where} was set back: it is at commit {commits}, and the journal has seen {self._journal.commit}"

    async def _settle(self, entry: Entry | None, place: Mapping[str, str]) -> None:
        """Note where the store lives. If a peer was quicker, its note is as good."""
        value: dict[str, Any] = {"epoch": 0, "reason": "", "since": 0.0} | (entry.value if entry else {})
        await self._vault.put(RECORD, expected=entry.generation if entry else 0, value=value | {"place": dict(place)})

    def _place(self) -> dict[str, str]:
        """Where we are. Blocks. Servers that share a store have journals and machines of their own."""
        store = self._vault.store
        own = {} if store.shared else {"journal": self._journal.install_id, "machine": machine()}
        return {"store": store.place, **own}


_WORDS = {
    "store": "it is a copy of the file or database that it was made in",
    "journal": "it came here without its custody journal, or with another one",
    "machine": "it was made on another machine",
}


def _elsewhere(entry: Entry | None, place: Mapping[str, str]) -> str:
    """Why the store seems to be a copy; empty if it does not. What is not known on one side says nothing."""
    noted = entry.value["place"] if entry else {}
    found = [_WORDS[key] for key, here in place.items() if here and noted.get(key) and noted[key] != here]
    return "the store was moved or copied: " + ", and ".join(found) if found else ""


def _finding(value: Mapping[str, Any]) -> Quarantine:
    return Quarantine(value["epoch"], value["reason"], value["since"])
